//! Where does a report go?

use std::path::PathBuf;

use serde::Serialize;

use crate::load::driver::Run;
use crate::report::plot::Chart;
use crate::report::{self, csv, html};

/// Flags of every command with one run to report.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Outputs {
    /// Print JSON instead of the summary.
    #[arg(long)]
    pub json: bool,
    /// Also write the JSON report here.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Also write one row per request (of several loads: per load) here.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Also write a page with plots here; it needs no other file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// JSON: add lists with one entry per request.
    #[arg(long)]
    pub save_detailed: bool,
}

impl Outputs {
    /// Prints the report, and writes the files asked for, of one run.
    pub(crate) fn deliver(
        &self,
        title: &str,
        report: &impl Serialize,
        text: &str,
        run: &Run,
    ) -> anyhow::Result<()> {
        let rows = || csv::requests(run);
        self.deliver_with(title, report, text, rows, || html::run_charts(run))
    }

    /// The same with rows and charts of one's own.
    pub(crate) fn deliver_with(
        &self,
        title: &str,
        report: &impl Serialize,
        text: &str,
        rows: impl FnOnce() -> String,
        charts: impl FnOnce() -> Vec<Chart>,
    ) -> anyhow::Result<()> {
        let mut json = serde_json::to_string_pretty(report)?;
        json.push('\n');
        if let Some(file) = &self.save {
            csv::write(file, &json)?;
        }
        if let Some(file) = &self.csv {
            csv::write(file, &rows())?;
        }
        if let Some(file) = &self.html {
            csv::write(file, &html::page(title, text, &charts(), &json))?;
        }
        Ok(report::emit(if self.json { &json } else { text })?)
    }
}
