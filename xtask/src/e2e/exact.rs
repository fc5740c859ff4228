//! Do predictions from KV-cache events hold under eviction, and is it seen when events fail?

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::python;
use crate::run::{root, step};
use crate::up::Up;

/// Small caches, so that conversations push each other out.
const EVICTING: [&str; 6] = [
    "--time-scale",
    "0.1",
    "--num-gpu-blocks-override",
    "700",
    "--seed",
    "1",
];

/// Conversations, how many at once, turns of each.
const LOAD: [&str; 3] = ["60", "12", "5"];

/// Of requests that could hit, those whose prediction must be right to the token.
const LEAST_EQUAL: f64 = 0.99;

/// Blocks dropped over blocks stored, at least: without eviction nothing is proven.
const LEAST_CHURN: f64 = 0.2;

/// Runs both parts; prints the figures of exact and approximate mode side by side.
///
/// # Errors
/// A prediction too many was wrong, or a failure was not seen in time.
pub(crate) fn check(binary: &Path, _: &[&str]) -> anyhow::Result<()> {
    let python = python::interpreter()?;
    let script = root().join("xtask/e2e/exact.py");
    step(
        "e2e exact: failures",
        Command::new(&python)
            .arg(&script)
            .arg("failures")
            .env("PREFIXGATE", binary),
    )?;
    let exact = hits(binary, &python, &script, "--kv-events")?;
    hits(binary, &python, &script, "--no-kv-events")?;
    let figure = |name: &str| exact[name].as_f64().unwrap_or_default();
    ensure!(
        figure("equal_ratio") >= LEAST_EQUAL,
        "predicted and actual cached tokens are equal in {} of requests that could hit; {LEAST_EQUAL} are needed",
        figure("equal_ratio")
    );
    ensure!(
        figure("eviction_churn") >= LEAST_CHURN,
        "only {} of stored blocks were evicted; the check needs {LEAST_CHURN}",
        figure("eviction_churn")
    );
    Ok(())
}

#[allow(clippy::print_stdout, reason = "xtask talks to a terminal")]
fn hits(binary: &Path, python: &Path, script: &Path, mode: &str) -> anyhow::Result<Value> {
    let flags: Vec<&str> = EVICTING.iter().copied().chain([mode]).collect();
    let up = Up::start(binary, &flags)?;
    let output = Command::new(python)
        .arg(script)
        .arg("hits")
        .args(LOAD)
        .envs(up.variables())
        .output()
        .context("cannot run the load")?;
    super::stopped(up)?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("exact: {mode}: {}", text.trim());
    ensure!(
        output.status.success(),
        "the load failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_str(text.trim()).context("the load's figures are no JSON")
}
