//! Where do Python test clients come from? From a virtual environment of their own below `target/`, pinned.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::run::{root, step};

/// The environment's interpreter, with everything of `xtask/e2e/requirements.txt` installed. Made anew when that
/// file changes.
///
/// # Errors
/// No Python 3 with venv, or a package cannot be had.
pub(crate) fn interpreter() -> anyhow::Result<PathBuf> {
    let folder = root().join("target").join("e2e-python");
    let python = folder.join("bin").join("python");
    let wanted = std::fs::read_to_string(root().join("xtask/e2e/requirements.txt"))
        .context("cannot read xtask/e2e/requirements.txt")?;
    let stamp = folder.join("installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    step(
        "python environment",
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    )?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ]);
    step(
        "python packages",
        install.arg(root().join("xtask/e2e/requirements.txt")),
    )?;
    std::fs::write(&stamp, wanted).context("cannot note what was installed")?;
    Ok(python)
}
