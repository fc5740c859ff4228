//! Which rules about the tree does no compiler check?

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::run::root;

/// Rooms in the order of dependency: a crate may depend on those named with it, never the other way.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("kv-index", &[]),
    ("engine-api", &[]),
    ("tokenize", &[]),
    ("scheduler", &["kv-index"]),
    ("fleet", &["scheduler", "kv-index", "engine-api"]),
    ("engine", &["engine-api", "tokenize"]),
    ("pool", &["fleet", "kv-index", "engine-api"]),
    (
        "gateway",
        &[
            "pool",
            "fleet",
            "scheduler",
            "kv-index",
            "engine-api",
            "tokenize",
        ],
    ),
    (
        "benchmark",
        &[
            "fleet",
            "scheduler",
            "kv-index",
            "engine-api",
            "engine",
            "tokenize",
        ],
    ),
    // Stands for a cluster in tests and in the playground: nothing it tests may be in it.
    ("k8s-testbed", &[]),
    ("operate", &["benchmark", "engine-api"]),
    (
        "k8s",
        &["pool", "fleet", "scheduler", "kv-index", "engine-api"],
    ),
    (
        "cli",
        &[
            "kv-index",
            "engine-api",
            "tokenize",
            "scheduler",
            "fleet",
            "engine",
            "pool",
            "gateway",
            "benchmark",
            "operate",
            "k8s",
        ],
    ),
];

/// Crates that do no I/O, read no clock and draw no randomness.
const PURE: [&str; 5] = ["kv-index", "scheduler", "fleet", "engine-api", "tokenize"];

/// What a pure crate can never depend on.
const IMPURE: [&str; 7] = [
    "tokio",
    "hyper",
    "hyper-util",
    "reqwest",
    "socket2",
    "chrono",
    "tracing",
];

/// Checks everything.
///
/// # Errors
/// All violations, a line each.
#[allow(clippy::print_stdout, reason = "xtask talks to a terminal")]
pub(crate) fn run() -> anyhow::Result<()> {
    println!("=== tidy");
    let mut wrong = Vec::new();
    for (room, allowed) in ALLOWED {
        let folder = root().join("crates").join(room);
        let dependencies = dependencies(&folder.join("Cargo.toml"))?;
        let rooms: Vec<_> = ALLOWED.iter().map(|(room, _)| *room).collect();
        for dependency in &dependencies {
            if rooms.contains(&dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{room} may not depend on {dependency}"));
            }
            if PURE.contains(&room) && IMPURE.contains(&dependency.as_str()) {
                wrong.push(format!("{room} is pure and may not depend on {dependency}"));
            }
        }
        for file in sources(&folder.join("src"))? {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            if !text.starts_with("//!") && !is_test(&file) {
                wrong.push(format!("{} has no module documentation", file.display()));
            }
            if text.contains("#[ignore") {
                wrong.push(format!("{} ignores a test", file.display()));
            }
        }
        unlisted_plugins(room, &folder, &mut wrong)?;
    }
    ensure!(wrong.is_empty(), "tidy:\n  {}", wrong.join("\n  "));
    Ok(())
}

/// Names below `[dependencies]`.
fn dependencies(manifest: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut section = "";
    let mut names = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" {
            let name: String = line
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
                .collect();
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// Test files stand beside what they test and need no introduction.
fn is_test(file: &Path) -> bool {
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    stem.ends_with("test")
        || stem.ends_with("tests")
        || file.components().any(|part| part.as_os_str() == "tests")
}

fn sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Every plugin file is named in the one table.
fn unlisted_plugins(room: &str, folder: &Path, wrong: &mut Vec<String>) -> anyhow::Result<()> {
    if room != "scheduler" {
        return Ok(());
    }
    let mut tables = BTreeMap::new();
    let table = std::fs::read_to_string(folder.join("src/plugins.rs"))
        .context("scheduler has no plugins.rs")?;
    for kind in ["filter", "scorer", "picker"] {
        for file in sources(&folder.join("src").join(kind))? {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let is_plugin = ["impl Filter for", "impl Scorer for", "impl Picker for"]
                .iter()
                .any(|word| text.contains(word));
            let stem = file
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            if is_plugin && !is_test(&file) {
                tables.insert(format!("{stem}::"), file.clone());
            }
        }
    }
    for (name, file) in tables {
        if !table.contains(&name) {
            wrong.push(format!("{} is not in plugins.rs", file.display()));
        }
    }
    Ok(())
}
