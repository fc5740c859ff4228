//! What must hold before a change is good?

use crate::run::{cargo, step};
use crate::{e2e, tidy};

/// Everything, in the order in which it fails soonest.
///
/// # Errors
/// The first step that fails.
pub(crate) fn run() -> anyhow::Result<()> {
    step("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    step(
        "clippy",
        &mut cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    step("tests", &mut cargo(&["test", "--workspace", "--locked"]))?;
    let mut rustdoc = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    step("documentation", rustdoc.env("RUSTDOCFLAGS", "-D warnings"))?;
    docs(true)?;
    e2e::run(&[])?;
    deny()
}

/// Writes the generated reference pages, or checks that they are current.
///
/// # Errors
/// The binary does not build, or a page is not current.
pub(crate) fn docs(check: bool) -> anyhow::Result<()> {
    let mut words = vec!["run", "--quiet", "--package", "prefixgate", "--", "docs"];
    if check {
        words.push("--check");
    }
    step("generated docs", &mut cargo(&words))
}

#[allow(clippy::print_stdout, reason = "xtask talks to a terminal")]
fn deny() -> anyhow::Result<()> {
    let installed = cargo(&["deny", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !installed {
        println!("=== deny: skipped, cargo-deny is not installed");
        return Ok(());
    }
    step(
        "deny",
        &mut cargo(&["deny", "check", "licenses", "bans", "sources"]),
    )
}
