//! Does the built binary do what the README says, with clients that were not written here?

mod exact;
mod kubernetes;

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::python;
use crate::run::{root, step};
use crate::up::{self, Up};

/// Kill seeds that CI runs; the whole list of twenty is run by hand.
const CI_KILL_SEEDS: &str = "2";

/// Simulated time runs this much faster than life in checks that do not look at times.
const QUICK: [&str; 2] = ["--time-scale", "0.2"];

/// A check by name.
type Check = fn(&Path, &[&str]) -> anyhow::Result<()>;

const CHECKS: [(&str, Check); 9] = [
    ("client", client),
    ("kv-events", kv_events),
    ("exact", exact::check),
    ("verify", verify),
    ("bad-input", bad_input),
    ("kill", kill),
    ("stop", stop),
    ("kubernetes", kubernetes::check),
    ("envoy", envoy),
];

/// Runs all checks, or the one named first in `words`.
///
/// # Errors
/// The first check that fails.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let binary = up::binary()?;
    match words {
        [] => CHECKS.iter().try_for_each(|(_, check)| check(&binary, &[])),
        [name, rest @ ..] => match CHECKS.iter().find(|(known, _)| known == name) {
            Some((_, check)) => check(&binary, rest),
            None => bail!(
                "no such check: {name}; there are {}",
                CHECKS.map(|(name, _)| name).join(", ")
            ),
        },
    }
}

/// OpenAI's own Python client against gateway and engine, unchanged.
fn client(binary: &Path, _: &[&str]) -> anyhow::Result<()> {
    let python = python::interpreter()?;
    let up = Up::start(binary, &QUICK)?;
    let mut command = Command::new(python);
    command
        .arg(root().join("xtask/e2e/openai_client.py"))
        .envs(up.variables());
    step("e2e client", &mut command)?;
    stopped(up)
}

/// `verify` passes on the default, and notices that random routing is none.
fn verify(binary: &Path, _: &[&str]) -> anyhow::Result<()> {
    let up = Up::start(binary, &QUICK)?;
    let verify = |up: &Up| {
        let mut command = Command::new(binary);
        command.args(["verify", "--url", &up.gateway, "--admin", &up.admin]);
        command
    };
    step("e2e verify", &mut verify(&up))?;
    stopped(up)?;
    let up = Up::start(
        binary,
        &["--time-scale", "0.2", "--preset", "random", "--seed", "1"],
    )?;
    let output = verify(&up)
        .output()
        .context("cannot start `prefixgate verify`")?;
    ensure!(
        !output.status.success(),
        "`verify` passed although routing is random"
    );
    stopped(up)
}

/// libzmq subscribes to an engine's KV events, in both roles, and asks for a replay.
fn kv_events(binary: &Path, _: &[&str]) -> anyhow::Result<()> {
    let python = python::interpreter()?;
    let mut command = Command::new(python);
    command
        .arg(root().join("xtask/e2e/kv_events.py"))
        .env("PREFIXGATE", binary);
    step("e2e kv-events", &mut command)
}

/// One replica killed under load: nothing without a first byte fails.
fn kill(binary: &Path, words: &[&str]) -> anyhow::Result<()> {
    let seeds = match words {
        ["--seeds", seeds] => seeds,
        _ => CI_KILL_SEEDS,
    };
    let python = python::interpreter()?;
    let up = Up::start(binary, &["--num-gpu-blocks-override", "4096"])?;
    let mut command = Command::new(python);
    command
        .arg(root().join("xtask/e2e/kill.py"))
        .args(["--seeds", seeds])
        .envs(up.variables());
    step("e2e kill", &mut command)?;
    stopped(up)
}

/// Every mistake a client can make gets its answer, and touches no other client.
fn bad_input(binary: &Path, _: &[&str]) -> anyhow::Result<()> {
    let up = Up::start(binary, &QUICK)?;
    let mut command = Command::new(python::interpreter()?);
    command
        .arg(root().join("xtask/e2e/bad_input.py"))
        .env("PREFIXGATE", binary)
        .envs(up.variables());
    step("e2e bad-input", &mut command)?;
    stopped(up)
}

/// The endpoint picker behind a real Envoy, with the configuration that is shipped.
fn envoy(binary: &Path, _: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(python::interpreter()?);
    command
        .arg(root().join("xtask/e2e/envoy.py"))
        .env("PREFIXGATE", binary)
        .env("ENVOY", python::envoy()?)
        .env("ROOT", root());
    step("e2e envoy", &mut command)
}

/// No process is left behind, not even when `up` is killed.
fn stop(binary: &Path, _: &[&str]) -> anyhow::Result<()> {
    for signal in ["-INT", "-TERM", "-KILL"] {
        let up = Up::start(binary, &QUICK)?;
        let engines = up.engines.clone();
        let status = up.signal(signal)?;
        ensure!(
            status.success() || signal == "-KILL",
            "`prefixgate up` ended with {status} on {signal}"
        );
        gone(&engines, signal)?;
    }
    Ok(())
}

fn stopped(up: Up) -> anyhow::Result<()> {
    let engines = up.engines.clone();
    let status = up.signal("-TERM")?;
    ensure!(status.success(), "`prefixgate up` ended with {status}");
    gone(&engines, "-TERM")
}

/// Waits until nothing listens where engines did.
fn gone(engines: &[String], signal: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let alive = |url: &&String| TcpStream::connect(url.trim_start_matches("http://")).is_ok();
        if engines.iter().filter(alive).count() == 0 {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    bail!("an engine outlived `prefixgate up` ended by {signal}")
}
