//! How does one arm come up: its engines and its gateway as processes of their own?

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::arm::{Arm, Routing};
use crate::engines::Engines;
use crate::load::{Client, ClientOptions, Target};

/// Longest wait for a process to say where it listens, and for all replicas to be ready.
const START_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Longest a request may take: far above saturation's latencies, so that nothing is cut.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(30);
/// Of a gateway whose time runs as that of the engines does; multiplied by the time scale.
const SCRAPE_MIN_MS: f64 = 100.0;
const SCRAPE_MAX_MS: f64 = 2_000.0;

/// What stands before an address in the first lines of a process.
const ENGINE_SAYS: &str = "Engine running on ";
const GATEWAY_SAYS: &str = "gateway on ";
const ADMIN_SAYS: &str = "metrics on ";

/// What all arms have in common.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) program: PathBuf,
    pub(super) accelerator: String,
    pub(super) model: String,
    pub(super) blocks: u32,
    pub(super) preset: String,
    pub(super) seed: u64,
    pub(super) time_scale: f64,
    /// No processes: models on one virtual clock.
    pub(super) virtual_time: bool,
}

/// A running arm; its processes end with it, or with this process, however it goes.
pub(super) struct Fleet {
    pub(super) client: Arc<Client>,
    pub(super) engines: Engines,
    _processes: Vec<Process>,
    _config: Scratch,
}

struct Process {
    _child: Child,
    /// Closed by the system when this process is gone: then the child ends.
    _input: Option<ChildStdin>,
}

impl Fleet {
    /// Starts the engines, then the gateway; returns when every replica is ready.
    ///
    /// # Errors
    /// A process does not start, or does not become ready; with what it said last.
    pub(super) async fn start(build: &Build, arm: Arm) -> anyhow::Result<Self> {
        let mut processes = Vec::new();
        let mut urls = Vec::new();
        for number in 1..=arm.replicas {
            let words = engine_words(build, arm, number);
            let (process, line) = spawn(build, &words, ENGINE_SAYS).await?;
            processes.push(process);
            urls.push(address(&line, ENGINE_SAYS).context("an engine without an address")?);
        }
        let config = Scratch::new(&gateway_config(build, arm, &urls))?;
        let serve = format!(
            "exec {} serve --config {} 2>&1",
            quoted(&build.program.to_string_lossy()),
            quoted(&config.path.to_string_lossy())
        );
        let words = ["guard".to_owned(), serve];
        let (process, line) = spawn(build, &words, GATEWAY_SAYS).await?;
        processes.push(process);
        let found = address(&line, GATEWAY_SAYS).zip(address(&line, ADMIN_SAYS));
        let (url, admin_url) = found.context("a gateway without an address")?;
        let options = ClientOptions {
            timeout: REQUEST_TIMEOUT,
            ..ClientOptions::default()
        };
        let fleet = Self {
            client: Arc::new(Client::new(Target::parse(&url)?, options.clone())?),
            engines: Engines::new(&urls, &options)?,
            _processes: processes,
            _config: config,
        };
        let admin = Client::new(Target::parse(&admin_url)?, options)?;
        fleet.all_ready(&admin, arm.replicas).await?;
        Ok(fleet)
    }

    /// The gateway itself says so.
    async fn all_ready(&self, admin: &Client, replicas: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let ready = match admin.get("/admin/state").await {
                Ok(answer) => ready(&answer.body),
                Err(_) => 0,
            };
            if ready >= usize::from(replicas) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "only {ready} of the {replicas} replicas of an arm were ready in {START_WITHIN:?}"
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Ready endpoints in the gateway's `/admin/state`.
fn ready(state: &[u8]) -> usize {
    let state: Value = serde_json::from_slice(state).unwrap_or_default();
    let pools = state["pools"].as_array().into_iter().flatten();
    pools
        .flat_map(|pool| pool["endpoints"].as_array().into_iter().flatten())
        .filter(|endpoint| endpoint["health"] == "ready")
        .count()
}

fn engine_words(build: &Build, arm: Arm, number: u16) -> Vec<String> {
    let mut words: Vec<String> = [
        "engine",
        "--exit-on-stdin-close",
        "--enable-prompt-tokens-details",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    .map(str::to_owned)
    .into();
    let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
    flag("--model", build.model.clone());
    flag("--accelerator", build.accelerator.clone());
    flag("--time-scale", build.time_scale.to_string());
    flag("--num-gpu-blocks-override", build.blocks.to_string());
    flag(
        "--seed",
        build.seed.wrapping_add(u64::from(number)).to_string(),
    );
    let caching = if arm.cache {
        "--enable-prefix-caching"
    } else {
        "--no-enable-prefix-caching"
    };
    words.push(caching.to_owned());
    words
}

/// A configuration file; JSON is YAML. Scrapes are spaced by the fleet's own time, so that a slowed fleet is not seen
/// more freshly than a real one.
fn gateway_config(build: &Build, arm: Arm, urls: &[String]) -> Value {
    let preset = match arm.routing {
        Routing::RoundRobin => "round-robin",
        Routing::Ours => build.preset.as_str(),
    };
    let scaled = |ms: f64| (ms * build.time_scale).round().max(1.0) as u64;
    json!({
        "listen": "127.0.0.1:0",
        "admin_listen": "127.0.0.1:0",
        "seed": build.seed,
        "gateway": {
            "response_headers": true,
            "access_log": false,
            "max_in_flight": 65_536,
            "idle_timeout_ms": 1_800_000,
            "max_idle_connections_per_endpoint": 4_096,
        },
        "scheduling": {"preset": preset},
        "pools": [{
            "name": "compare",
            "endpoints": urls,
            "scrape": {
                "min_interval_ms": scaled(SCRAPE_MIN_MS),
                "max_interval_ms": scaled(SCRAPE_MAX_MS),
            },
        }],
    })
}

/// Starts this program with `words` and waits for the line that says where it listens; returns that line.
async fn spawn(build: &Build, words: &[String], marker: &str) -> anyhow::Result<(Process, String)> {
    let mut child = Command::new(&build.program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // No kill on drop: each ends by itself when its input closes, and the guard ends the gateway behind it first.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", build.program.display()))?;
    let input = child.stdin.take();
    let errors = child.stderr.take().map(collected);
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    let found = tokio::time::timeout(START_WITHIN, async {
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await? {
            if address(&line, marker).is_some() {
                return Ok(line);
            }
            said.push(line);
        }
        if let Some(errors) = errors {
            said.extend(errors.await.unwrap_or_default());
        }
        bail!("`{}` ended: {}", words.join(" "), said.join("; "))
    })
    .await;
    let line = match found {
        Ok(line) => line?,
        Err(_) => bail!("`{}` did not say where it listens", words.join(" ")),
    };
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    let process = Process {
        _child: child,
        _input: input,
    };
    Ok((process, line))
}

/// Reads on, so that the writer is never held up; its last lines at the end.
fn collected(
    stream: impl AsyncRead + Unpin + Send + 'static,
) -> tokio::task::JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        let mut kept = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            kept.push(line);
            if kept.len() > 20 {
                kept.remove(0);
            }
        }
        kept
    })
}

/// The URL behind `marker`.
fn address(line: &str, marker: &str) -> Option<String> {
    let (_, rest) = line.split_once(marker)?;
    let end = rest.find([' ', ',']).unwrap_or(rest.len());
    rest.starts_with("http").then(|| rest[..end].to_owned())
}

/// One word of a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A file of our own that goes when we do.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(content: &Value) -> anyhow::Result<Self> {
        let name = format!(
            "prefixgate-compare-{}-{:x}.yaml",
            std::process::id(),
            crate::workload::text::fresh_seed()
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content.to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Gone already, or not ours to worry about.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_what_a_process_says() {
        let check = |line: &str, marker: &str, expected: Option<&str>| {
            assert_eq!(address(line, marker).as_deref(), expected, "{line}");
        };
        check(
            "INFO:     Engine running on http://127.0.0.1:4711 (Press CTRL+C to quit)",
            "Engine running on ",
            Some("http://127.0.0.1:4711"),
        );
        check(
            "2026 INFO gateway on http://127.0.0.1:1, admin and metrics on http://127.0.0.1:2",
            "gateway on ",
            Some("http://127.0.0.1:1"),
        );
        check(
            "2026 INFO gateway on http://127.0.0.1:1, admin and metrics on http://127.0.0.1:2",
            "metrics on ",
            Some("http://127.0.0.1:2"),
        );
        check("gateway on fire", "gateway on ", None);
        check("nothing", "gateway on ", None);
        assert_eq!(quoted("a'b c"), "'a'\\''b c'");
    }

    #[test]
    fn only_ready_endpoints_count() {
        let check = |state: &str, expected: usize| assert_eq!(ready(state.as_bytes()), expected);
        check(
            r#"{"pools":[{"endpoints":[{"health":"ready"},{"health":"unknown"}]}]}"#,
            1,
        );
        check(r#"{"pools":[]}"#, 0);
        check("no json", 0);
    }

    #[test]
    fn scrapes_keep_pace_with_a_slowed_fleet() {
        let build = Build {
            program: PathBuf::from("p"),
            accelerator: "l4".into(),
            model: "m".into(),
            blocks: 8,
            preset: "default".into(),
            seed: 1,
            time_scale: 4.0,
            virtual_time: false,
        };
        let config = gateway_config(&build, super::super::arm::PATTERN_3, &[]);
        assert_eq!(config["pools"][0]["scrape"]["min_interval_ms"], 400);
        assert_eq!(config["scheduling"]["preset"], "default");
        let config = gateway_config(&build, super::super::arm::HARDWARE, &[]);
        assert_eq!(config["scheduling"]["preset"], "round-robin");
    }
}
