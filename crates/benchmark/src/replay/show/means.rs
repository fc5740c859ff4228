//! How does a person read a comparison over several seeds?

use std::fmt::Write as _;

use super::sides;
use crate::replay::gap;
use crate::replay::ledger::CHECKERS;
use crate::replay::seeds::{Mean, Report};
use crate::report::Table;

/// The seeds first, then one line per arm with intervals, then the gap, then what the checkers say.
pub(crate) fn table(report: &Report) -> String {
    let mut out = String::new();
    let seeds: Vec<String> = report.seeds.iter().map(u64::to_string).collect();
    let _ = writeln!(
        out,
        "seeds {}  event hash {}  {} events  [simulated]",
        seeds.join(", "),
        report.event_hash,
        report.events
    );
    if let Some(first) = report.by_seed.first() {
        let _ = writeln!(
            out,
            "{}; {} replicas of {}; good: TTFT <= {} ms and TPOT <= {} ms",
            first.source,
            first.replicas,
            first.accelerators.join(", "),
            first.slo_ttft_ms,
            first.slo_tpot_ms
        );
        if let Some(load) = first.load {
            let rates = report
                .by_seed
                .iter()
                .filter_map(|one| one.round_robin_capacity.as_ref());
            let rates: Vec<String> = rates
                .map(|capacity| format!("{:.3}", capacity.arrivals_per_s))
                .collect();
            let _ = writeln!(
                out,
                "load {load} of the most that round robin carries with 95 % good, arrivals/s by seed: {}",
                rates.join(", ")
            );
        }
    }
    let _ = writeln!(
        out,
        "mean over seeds, then half the width of its 95 % interval (Student's t)\n"
    );
    out.push_str(&rows(report));
    out.push('\n');
    let gap = gap::table(&report.runs.iter().map(sides::of_mean).collect::<Vec<_>>());
    if !gap.is_empty() {
        out.push_str(&gap);
        out.push('\n');
    }
    if report.is_sound() {
        let _ = writeln!(
            out,
            "checkers: {}: all hold in every run",
            CHECKERS.join(", ")
        );
    } else {
        out.push_str("A CHECKER IS BROKEN: run the seeds one by one to see which\n");
    }
    out
}

fn rows(report: &Report) -> String {
    let mut table = Table::new(&[
        "name",
        "hit %",
        "+-",
        "TTFT mean",
        "+-",
        "p50",
        "+-",
        "p99",
        "+-",
        "TPOT p99",
        "+-",
        "E2E mean",
        "+-",
        "good/s",
        "+-",
        "good %",
        "max/mean",
        "minute 1",
        "later",
    ]);
    for run in &report.runs {
        table.row(row(run));
    }
    table.render()
}

fn row(run: &Mean) -> Vec<String> {
    let (mean, half) = (&run.figures, &run.ci95);
    let ms = |value: Option<f64>| match value {
        None => "n/a".to_owned(),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    };
    let last = mean
        .ttft_by_minute_ms
        .iter()
        .skip(1)
        .flatten()
        .last()
        .copied();
    vec![
        run.name.clone(),
        format!("{:.1}", mean.hit_ratio * 100.0),
        format!("{:.1}", half.hit_ratio * 100.0),
        ms(mean.ttft_ms.mean),
        ms(half.ttft_ms.mean),
        ms(mean.ttft_ms.p50),
        ms(half.ttft_ms.p50),
        ms(mean.ttft_ms.p99),
        ms(half.ttft_ms.p99),
        ms(mean.tpot_ms.p99),
        ms(half.tpot_ms.p99),
        ms(mean.e2e_ms.mean),
        ms(half.e2e_ms.mean),
        format!("{:.2}", mean.goodput_rps),
        format!("{:.2}", half.goodput_rps),
        format!("{:.1}", mean.good_share * 100.0),
        format!("{:.3}", mean.max_over_mean),
        ms(mean.ttft_by_minute_ms.first().copied().flatten()),
        ms(last),
    ]
}
