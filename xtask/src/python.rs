//! Where do Python test clients come from? From a virtual environment of their own below `target/`, pinned.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::run::{root, step};

/// The environment's interpreter, with everything of `xtask/e2e/requirements.txt` installed. Made anew when that
/// file changes.
///
/// # Errors
/// No Python 3 with venv, or a package cannot be had.
pub(crate) fn interpreter() -> anyhow::Result<PathBuf> {
    environment("e2e-python", "requirements.txt")
}

/// Envoy, from a pinned wheel in an environment of its own.
///
/// # Errors
/// As [`interpreter`], and where the wheel holds no Envoy.
pub(crate) fn envoy() -> anyhow::Result<PathBuf> {
    let python = environment("e2e-envoy", "requirements-envoy.txt")?;
    let output = Command::new(python)
        .args([
            "-c",
            "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')",
        ])
        .output()
        .context("cannot ask where Envoy is")?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    ensure!(
        path.is_file(),
        "the wheel of Envoy holds no program at {}",
        path.display()
    );
    Ok(path)
}

fn environment(name: &str, requirements: &str) -> anyhow::Result<PathBuf> {
    let folder = root().join("target").join(name);
    let python = folder.join("bin").join("python");
    let requirements = root().join("xtask/e2e").join(requirements);
    let wanted = std::fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
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
    step("python packages", install.arg(&requirements))?;
    std::fs::write(&stamp, wanted).context("cannot note what was installed")?;
    Ok(python)
}
