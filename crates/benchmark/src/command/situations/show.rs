//! How does a person read the traffic table?

use super::{Report, Situation};
use crate::report::{Table, text};

/// The table for people.
pub(super) fn text(report: &Report) -> String {
    let mut out = format!(
        "traffic situations on {} ({}), seed {}\n",
        report.url, report.model, report.seed
    );
    if report.simulated {
        out.push_str(&format!("{}\n", text::SIMULATED));
    }
    out.push_str(&format!(
        "saturation: {:.1} requests/s",
        report.saturation_per_s
    ));
    let steps: Vec<String> = report
        .saturation_steps
        .iter()
        .map(|(lanes, rate)| format!("{lanes} lanes {rate:.1}"))
        .collect();
    if !steps.is_empty() {
        out.push_str(&format!(" ({})", steps.join(", ")));
    }
    out.push_str("\n\n");
    let mut table = Table::new(&[
        "situation",
        "load",
        "n",
        "failed",
        "replicas",
        "per prefix",
        "hit rate",
        "ideal",
        "max/mean",
        "TTFT p50",
        "TTFT p95",
    ]);
    for row in &report.situations {
        table.row(cells(row));
    }
    out.push_str(&table.render());
    out.push_str("\nTTFT in ms from the intended send time; hit rate at the engines, else as answers report it.\n");
    out.push_str(&remarks(report));
    out
}

/// Notes and errors of each row.
fn remarks(report: &Report) -> String {
    let mut out = String::new();
    for row in &report.situations {
        for note in &row.scenario.notes {
            out.push_str(&format!("{}: {note}\n", row.name));
        }
        for error in &row.scenario.errors {
            out.push_str(&format!(
                "{}: failed {} times: {}\n",
                row.name, error.count, error.message
            ));
        }
    }
    out
}

fn cells(row: &Situation) -> Vec<String> {
    let or_na = |text: Option<String>| text.unwrap_or_else(|| "n/a".to_owned());
    let ttft = &row.scenario.ttft_ms;
    vec![
        row.name.clone(),
        format!("{:.1}", row.load_over_saturation),
        row.scenario.requests.to_string(),
        row.scenario.failed.to_string(),
        or_na(row.replicas_used.map(|count| count.to_string())),
        or_na(row.replicas_per_prefix.map(|count| format!("{count:.2}"))),
        text::percent(row.engine_hit_rate.or(row.reported_hit_rate)),
        text::percent(row.ideal_hit_rate),
        or_na(row.max_over_mean.map(|ratio| format!("{ratio:.2}"))),
        ttft.show(ttft.p50),
        ttft.show(ttft.p95),
    ]
}
