//! How does a person read a comparison?

use std::fmt::Write as _;

use super::sides;
use crate::replay::gap;
use crate::replay::ledger::CHECKERS;
use crate::replay::outcome::{Outcome, Report};
use crate::report::Table;

/// The seed first, then one line per arm, then what the checkers say.
pub(crate) fn table(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "seed {}  event hash {}  {} events  [simulated]",
        report.seed, report.event_hash, report.events
    );
    let gateways = match report.gateways {
        1 => String::new(),
        count => format!(", {count} gateways that do not see each other"),
    };
    let _ = writeln!(
        out,
        "{}; {} replicas of {}{gateways}; good: TTFT <= {} ms and TPOT <= {} ms",
        report.source,
        report.replicas,
        report.accelerators.join(", "),
        report.slo_ttft_ms,
        report.slo_tpot_ms
    );
    if let (Some(load), Some(capacity)) = (report.load, &report.round_robin_capacity) {
        let _ = writeln!(
            out,
            "load {load} of {:.3} arrivals/s, the most that round robin carries with {:.1} % good (speed {:.3}, {} runs)",
            capacity.arrivals_per_s,
            capacity.good_share * 100.0,
            capacity.factor,
            capacity.runs
        );
    }
    out.push('\n');
    out.push_str(&rows(report));
    out.push('\n');
    let gap = gap::table(&report.runs.iter().map(sides::of_run).collect::<Vec<_>>());
    if !gap.is_empty() {
        out.push_str(&gap);
        out.push('\n');
    }
    out.push_str(&checkers(report));
    out
}

fn rows(report: &Report) -> String {
    let mut table = Table::new(&[
        "name",
        "requests",
        "hit %",
        "pred %",
        "TTFT mean",
        "p50",
        "p90",
        "p99",
        "TPOT mean",
        "p99",
        "E2E mean",
        "p99",
        "good/s",
        "good %",
        "out tok/s",
        "max/mean",
    ]);
    for run in &report.runs {
        table.row(row(run));
    }
    table.render()
}

fn row(run: &Outcome) -> Vec<String> {
    let ms = |value: Option<f64>| value.map_or_else(|| "n/a".to_owned(), show_ms);
    vec![
        run.name.clone(),
        run.requests.to_string(),
        format!("{:.1}", run.hit_ratio * 100.0),
        format!("{:.1}", run.prediction.predicted_hit_ratio * 100.0),
        ms(run.ttft_ms.mean),
        ms(run.ttft_ms.p50),
        ms(run.ttft_ms.p90),
        ms(run.ttft_ms.p99),
        ms(run.tpot_ms.mean),
        ms(run.tpot_ms.p99),
        ms(run.e2e_ms.mean),
        ms(run.e2e_ms.p99),
        format!("{:.2}", run.goodput_rps),
        format!("{:.1}", run.good_share * 100.0),
        format!("{:.0}", run.output_tokens_per_s),
        format!("{:.3}", run.max_over_mean),
    ]
}

fn show_ms(value: f64) -> String {
    match value {
        value if value < 100.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    }
}

fn checkers(report: &Report) -> String {
    if report.is_sound() {
        return format!("checkers: {}: all hold in every run\n", CHECKERS.join(", "));
    }
    let mut out = String::new();
    for run in &report.runs {
        for violation in &run.violations {
            let _ = writeln!(
                out,
                "CHECKER {} broken in {}: {}",
                violation.checker, run.name, violation.what
            );
        }
        if run.violation_count > run.violations.len() as u64 {
            let _ = writeln!(
                out,
                "  and {} more",
                run.violation_count - run.violations.len() as u64
            );
        }
    }
    out
}
