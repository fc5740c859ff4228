//! How does a foreign model server end with us, even when we are killed?
//!
//! `up` starts it through this command: a process group of its own, and a pipe on standard input that the
//! system closes when `up` is gone, however it went.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// Between asking the group to end and ending it.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command line, given to `sh -c`.
    command: String,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(&args.command)
        .stdin(std::process::Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `sh -c {}`", args.command))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let ended = tokio::select! {
        status = child.wait() => Some(status.context("cannot wait for the engine command")?),
        () = input_closed() => None,
        () = crate::up::signals::stop_requested() => None,
    };
    let Some(status) = ended else {
        signal(group, Signal::TERM);
        // Asked a second time, there is no time left.
        let waited = tokio::time::timeout(GRACE, child.wait());
        crate::up::signals::unless_hurried(async { drop(waited.await) }).await;
        signal(group, Signal::KILL);
        return Ok(ExitCode::SUCCESS);
    };
    // What the command left running in its group goes with it.
    signal(group, Signal::KILL);
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // The group may be gone already: nothing is left to do then.
        let _ = kill_process_group(group, signal);
    }
}

/// Resolves when the other end of standard input is closed.
pub(crate) async fn input_closed() {
    let mut input = tokio::io::stdin();
    let mut buffer = [0u8; 256];
    while matches!(input.read(&mut buffer).await, Ok(read) if read > 0) {}
}
