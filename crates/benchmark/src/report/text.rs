//! How does a person read the figures?

use std::fmt::Write as _;

use super::scenario::Scenario;
use super::stats::Summary;
use super::table::Table;

/// Said wherever figures come from simulated compute.
pub const SIMULATED: &str =
    "simulated: the engine models its compute; these are not measurements of an accelerator";

/// A heading, a table of times, throughput, distribution, errors and notes.
pub fn scenario(scenario: &Scenario) -> String {
    let mut out = String::new();
    let load = match (scenario.concurrency, scenario.rate_per_s) {
        (Some(concurrency), _) => format!("concurrency {concurrency}"),
        (None, Some(rate)) => format!("{rate:.1} requests/s offered"),
        (None, None) => String::new(),
    };
    let simulated = if scenario.simulated {
        "  [simulated]"
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "{}: {} requests, {load}{simulated}",
        scenario.name, scenario.requests
    );
    let _ = writeln!(
        out,
        "  {} succeeded, {} failed, {:.2} s, {:.1} requests/s, {:.0} output tokens/s, {:.0} prompt tokens/s",
        scenario.successful,
        scenario.failed,
        scenario.duration_s,
        scenario.requests_per_s,
        scenario.output_tokens_per_s,
        scenario.prompt_tokens_per_s,
    );
    out.push_str(&indent(&times(scenario)));
    if let Some(rate) = scenario.reported_hit_rate() {
        let _ = writeln!(
            out,
            "  cached prompt tokens, as the answers report them: {:.1} %",
            rate * 100.0
        );
    }
    if !scenario.endpoints.is_empty() {
        let _ = writeln!(out, "  requests by endpoint: {}", distribution(scenario));
    }
    for error in &scenario.errors {
        let _ = writeln!(out, "  failed {} times: {}", error.count, error.message);
    }
    for note in &scenario.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    out
}

fn times(scenario: &Scenario) -> String {
    let mut table = Table::new(&["ms", "n", "mean", "p50", "p90", "p95", "p99", "max"]);
    let mut row = |name: &str, summary: &Summary| {
        table.row(vec![
            name.to_owned(),
            summary.n.to_string(),
            summary.show(summary.mean),
            summary.show(summary.p50),
            summary.show(summary.p90),
            summary.show(summary.p95),
            summary.show(summary.p99),
            summary.show(summary.max),
        ]);
    };
    row("TTFT", &scenario.ttft_ms);
    row("TPOT", &scenario.tpot_ms);
    row("ITL", &scenario.itl_ms);
    row("E2E", &scenario.e2e_ms);
    row("client queue", &scenario.client_queue_ms);
    table.render()
}

/// `name count, name count …`
pub fn distribution(scenario: &Scenario) -> String {
    let parts: Vec<String> = scenario
        .endpoints
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    parts.join(", ")
}

/// A percentage, or `n/a`.
pub fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "n/a".to_owned(), |rate| format!("{:.1} %", rate * 100.0))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
