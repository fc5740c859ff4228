//! Which reference pages are generated, and are they current?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder the pages live in.
    #[arg(long, default_value = "docs")]
    dir: PathBuf,

    /// Change nothing; fail when a page is not current.
    #[arg(long)]
    check: bool,
}

/// Every generated page by file name.
fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("plugins.md", scheduler::plugins_markdown()),
        ("configuration.md", crate::config::markdown()),
        ("cli.md", super::help_markdown()),
        ("metrics.md", gateway::metrics_markdown()),
    ]
}

#[allow(clippy::print_stdout, reason = "the answer of the command")]
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut stale = Vec::new();
    for (name, page) in pages() {
        let path = args.dir.join(name);
        if args.check {
            if std::fs::read_to_string(&path).unwrap_or_default() != page {
                stale.push(name);
            }
        } else {
            std::fs::write(&path, page)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("not current: {}; run `cargo xtask docs`", stale.join(", "));
    Ok(ExitCode::FAILURE)
}
