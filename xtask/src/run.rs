//! How is a step run so that its time and its failure are plain to see?

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    // Cargo says where it runs this from; what was compiled in may be another checkout that shared a target folder.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// `cargo` with `words`, in the root.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.args(words).current_dir(root());
    // The outer cargo's words about xtask itself would make build scripts that look at them run anew each time.
    for (name, _) in std::env::vars_os() {
        let own = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if own {
            command.env_remove(name);
        }
    }
    command
}

/// Runs one step; says its name before and its time after.
///
/// # Errors
/// The step cannot be started or exits with another code than 0.
#[allow(clippy::print_stdout, reason = "xtask talks to a terminal")]
pub(crate) fn step(name: &str, command: &mut Command) -> anyhow::Result<()> {
    println!("=== {name}");
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{name}: cannot start {command:?}"))?;
    println!("=== {name}: {:.1} s", start.elapsed().as_secs_f64());
    ensure!(status.success(), "{name} failed ({status})");
    Ok(())
}
