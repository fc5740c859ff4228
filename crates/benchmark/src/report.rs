//! What do the samples say, and how surely?

pub mod bound;
pub mod csv;
pub mod html;
pub mod interval;
pub mod plot;
pub mod scenario;
pub mod serve_keys;
pub mod slo;
pub mod stats;
pub mod table;
pub mod text;

use std::io::Write;

pub use scenario::Scenario;
pub use slo::Slo;
pub use stats::Summary;
pub use table::Table;

/// Prints a report on standard output; a reader that went away is not an error.
pub fn emit(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints `value` as indented JSON with a line end.
pub fn emit_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(emit(&text)?)
}
