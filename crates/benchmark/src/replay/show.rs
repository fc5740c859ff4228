//! How is a comparison shown?

mod bars;
mod csv;
mod list;
mod means;
mod page;
pub(crate) mod progress;
mod sides;
mod table;

use std::path::Path;

use anyhow::Context;

pub(crate) use list::list;

use super::args::Args;
use super::outcome::Report;
use crate::report;

/// Standard output gets the table or the JSON object; files get what was asked for.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn emit(args: &Args, report: &Report) -> anyhow::Result<()> {
    if args.json {
        report::emit_json(report)?;
    } else {
        report::emit(&table::table(report))?;
    }
    if let Some(path) = &args.json_file {
        let mut text = serde_json::to_string_pretty(report)?;
        text.push('\n');
        write(path, &text)?;
    }
    if let Some(path) = &args.html {
        write(path, &page::page(report)?)?;
    }
    if let Some(path) = &args.csv {
        write(path, &csv::csv(std::slice::from_ref(report)))?;
    }
    Ok(())
}

/// The same over several seeds; CSV has a line per seed and arm.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn emit_seeds(args: &Args, report: &super::seeds::Report) -> anyhow::Result<()> {
    if args.json {
        report::emit_json(report)?;
    } else {
        report::emit(&means::table(report))?;
    }
    if let Some(path) = &args.json_file {
        let mut text = serde_json::to_string_pretty(report)?;
        text.push('\n');
        write(path, &text)?;
    }
    if let Some(path) = &args.csv {
        write(path, &csv::csv(&report.by_seed))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
