//! How does an engine process start, stay up and end?

use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Wait before a dead engine is started again; doubled while it keeps dying young.
const RESTART_DELAY: Duration = Duration::from_millis(200);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(5);

/// An engine that lived this long was well: the next death starts from the short delay.
const WELL_AFTER: Duration = Duration::from_secs(2);

/// Between asking an engine to end and ending it.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// The same for a guard that was asked to hurry, and has killed what it guards by then.
const HURRY_GRACE: Duration = Duration::from_secs(2);

/// Last lines kept of what an engine printed, for when it dies.
const KEPT_LINES: usize = 20;

/// How to start one engine; started again with the same words after a death.
#[derive(Clone, Debug)]
pub(crate) struct EngineCommand {
    /// 1-based, for messages.
    pub(crate) number: usize,
    pub(crate) port: u16,
    pub(crate) program: std::path::PathBuf,
    pub(crate) arguments: Vec<String>,
    /// `program` is a guard, which must live to end what it guards.
    pub(crate) guarded: bool,
}

/// How engines are asked to end.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// Running requests may end.
    pub(crate) orderly: CancellationToken,
    /// Nothing is waited for. Cancelled before the other.
    pub(crate) at_once: CancellationToken,
}

/// Told when an engine has died, before it is started again, with its last words where it gave up by itself.
pub(crate) type OnDeath = Arc<dyn Fn(&EngineCommand, Option<String>) + Send + Sync>;

/// Starts `command` and keeps it running until `stop`.
///
/// # Errors
/// It cannot be started at all.
pub(crate) fn supervise(
    command: EngineCommand,
    on_death: OnDeath,
    stop: Stop,
    tracker: &TaskTracker,
) -> anyhow::Result<()> {
    let child = start(&command)?;
    tracker.spawn(keep_up(command, child, on_death, stop));
    Ok(())
}

async fn keep_up(command: EngineCommand, first: Started, on_death: OnDeath, stop: Stop) {
    let mut running = Some(first);
    let mut delay = RESTART_DELAY;
    loop {
        if let Some(mut started) = running.take() {
            let since = tokio::time::Instant::now();
            tokio::select! {
                status = started.child.wait() => {
                    let status = status.ok();
                    on_death(&command, last_words(status, &started.lines));
                    report(&command, status, &started.lines);
                }
                () = stop.orderly.cancelled() => return end(&command, started, &stop.at_once).await,
            }
            if since.elapsed() >= WELL_AFTER {
                delay = RESTART_DELAY;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.orderly.cancelled() => return,
        }
        delay = (delay * 2).min(RESTART_DELAY_MAX);
        match start(&command) {
            Ok(started) => running = Some(started),
            Err(error) => tracing::error!(
                "engine {} cannot be started again: {error:#}",
                command.number
            ),
        }
    }
}

struct Started {
    child: Child,
    /// Held open for the engine's life; waiting for the child would close it if it were left there.
    input: Option<ChildStdin>,
    lines: Arc<Mutex<VecDeque<String>>>,
}

fn start(command: &EngineCommand) -> anyhow::Result<Started> {
    let mut child = Command::new(&command.program)
        .args(&command.arguments)
        // Closed by the system when this process is gone, however it went: the engine ends with it.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal goes to every process of the group; engines are to end after the drain instead.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!(
                "cannot start engine {} ({})",
                command.number,
                command.program.display()
            )
        })?;
    let lines = Arc::new(Mutex::new(VecDeque::with_capacity(KEPT_LINES)));
    if let Some(output) = child.stdout.take() {
        tokio::spawn(keep_lines(command.number, output, Arc::clone(&lines)));
    }
    if let Some(output) = child.stderr.take() {
        tokio::spawn(keep_lines(command.number, output, Arc::clone(&lines)));
    }
    let input = child.stdin.take();
    Ok(Started {
        child,
        input,
        lines,
    })
}

async fn keep_lines(
    number: usize,
    output: impl AsyncRead + Unpin,
    lines: Arc<Mutex<VecDeque<String>>>,
) {
    let mut reader = BufReader::new(output).lines();
    while let Ok(Some(line)) = reader.next_line().await {
        tracing::debug!(engine = number, "{line}");
        let mut lines = lines.lock();
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

fn report(command: &EngineCommand, status: Option<ExitStatus>, lines: &Mutex<VecDeque<String>>) {
    let how = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
    tracing::warn!(
        "engine {} on port {} ended ({how}); it is started again",
        command.number,
        command.port
    );
    let words = last_words(status, lines);
    for line in words.iter().flat_map(|words| words.lines()) {
        tracing::warn!("  engine {}: {line}", command.number);
    }
}

/// What the engine printed last, where it ended with a failure of its own; a signal came from outside, and what was
/// printed before it says nothing about it.
fn last_words(status: Option<ExitStatus>, lines: &Mutex<VecDeque<String>>) -> Option<String> {
    status?.code().filter(|code| *code != 0)?;
    let lines = lines.lock();
    Some(
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

/// Asks the engine to end by SIGTERM, then ends it; asked to hurry, ends it now.
async fn end(command: &EngineCommand, started: Started, at_once: &CancellationToken) {
    let Started {
        mut child, input, ..
    } = started;
    ask_to_end(&child);
    let ended = tokio::select! {
        ended = tokio::time::timeout(STOP_GRACE, child.wait()) => ended.is_ok(),
        () = at_once.cancelled() => false,
    };
    if !ended && command.guarded {
        ask_to_end(&child);
        let _ = tokio::time::timeout(HURRY_GRACE, child.wait()).await;
    }
    if !ended {
        // Ended meanwhile: nothing is left to kill.
        let _ = child.kill().await;
    }
    drop(input);
}

fn ask_to_end(child: &Child) {
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // Gone already: nothing to ask.
        let _ = kill_process(pid, Signal::TERM);
    }
}
