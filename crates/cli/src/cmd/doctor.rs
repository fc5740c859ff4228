//! `prefixgate doctor`: what is wrong, the evidence, and the fix.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use k8s::preflight::{Check, Hints, Verdict};

/// Exit code when nothing failed but something could not be read.
const UNKNOWN: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look at the cluster that the kubeconfig or the service account leads to
    #[arg(long, required = true, requires = "preflight")]
    kubernetes: bool,

    /// Manifest to judge before it is applied; `-` reads standard input. Exits 0 when everything is ok, 1 when something
    /// failed, 3 when nothing failed but something could not be read
    #[arg(long, value_name = "MANIFEST")]
    preflight: Option<PathBuf>,

    /// Most nodes the accelerators' node pool may grow to, where the cluster does not say so itself
    #[arg(long, value_name = "NODES")]
    node_pool_max: Option<u64>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let path = args.preflight.context("--preflight names no manifest")?;
    let manifest = read(&path)?;
    let client = k8s::discovery::client().await?;
    let hints = Hints {
        node_pool_max: args.node_pool_max,
    };
    let checks = k8s::preflight::run(&client, &manifest, hints).await?;
    match args.json {
        true => print_json(&checks)?,
        false => print(&checks),
    }
    Ok(match checks.iter().map(|check| check.verdict).max() {
        Some(Verdict::Failed) => ExitCode::FAILURE,
        Some(Verdict::Unknown) => ExitCode::from(UNKNOWN),
        _ => ExitCode::SUCCESS,
    })
}

fn read(path: &std::path::Path) -> anyhow::Result<String> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()));
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read the manifest from standard input")?;
    Ok(text)
}

#[allow(clippy::print_stdout, reason = "the answer of the command")]
fn print_json(checks: &[Check]) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(checks)?);
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the answer of the command")]
fn print(checks: &[Check]) {
    let mut service = "";
    for check in checks {
        if check.service != service {
            service = &check.service;
            println!("{service}");
        }
        println!(
            "  {:<8} {:<19} {}",
            check.verdict.name(),
            check.name,
            check.evidence
        );
        if let Some(fix) = &check.fix {
            println!("  {:<28} -> {fix}", "");
        }
    }
    let count = |verdict: Verdict| {
        checks
            .iter()
            .filter(|check| check.verdict == verdict)
            .count()
    };
    println!(
        "{} ok, {} warnings, {} unknown, {} failed",
        count(Verdict::Ok),
        count(Verdict::Warning),
        count(Verdict::Unknown),
        count(Verdict::Failed)
    );
}
