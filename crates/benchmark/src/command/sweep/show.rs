//! How does a person read a sweep?

use super::Report;
use crate::command::probe::Probe;
use crate::report::plot::{Chart, Mark};
use crate::report::{Summary, Table, csv, text};

/// The table for people.
pub(super) fn text(report: &Report) -> String {
    let mut out = format!(
        "sweep on {} ({}), seed {}\na request is good with {}; a rate is carried with 95 % good and no growth of requests in flight\n",
        report.url, report.model, report.seed, report.slo
    );
    if report.simulated {
        out.push_str(&format!("{}\n", text::SIMULATED));
    }
    out.push('\n');
    let mut table = Table::new(&[
        "offered/s",
        "carried",
        "n",
        "failed",
        "served/s",
        "goodput/s",
        "good",
        "good 95 %",
        "in flight q2->q4",
        "TTFT p50",
        "TTFT p95",
        "p95 95 %",
        "TPOT p95",
        "E2E p95",
        "hit rate",
    ]);
    for step in &report.steps {
        table.row(cells(step));
    }
    out.push_str(&table.render());
    out.push_str(&match (report.saturated_rps, report.first_not_carried_rps) {
        (Some(carried), Some(refused)) if refused > carried => format!(
            "\nsaturation: {carried:.2} requests/s carried, {refused:.2} not\n"
        ),
        (Some(carried), Some(refused)) => format!(
            "\nsaturation: {carried:.2} requests/s carried, although {refused:.2} once was not: the edge is within that noise\n"
        ),
        (Some(carried), None) => {
            format!("\nsaturation: above {carried:.2} requests/s, the highest offered\n")
        }
        (None, _) => "\nsaturation: below every rate offered\n".to_owned(),
    });
    for step in &report.steps {
        for error in &step.scenario.errors {
            out.push_str(&format!(
                "{:.2}/s: failed {} times: {}\n",
                step.rate_per_s, error.count, error.message
            ));
        }
    }
    out
}

fn between(interval: Option<(f64, f64)>, factor: f64) -> String {
    interval.map_or_else(
        || "n/a".to_owned(),
        |(low, high)| format!("{:.1}-{:.1}", low * factor, high * factor),
    )
}

fn cells(step: &Probe) -> Vec<String> {
    let scenario = &step.scenario;
    let show = |summary: &Summary, figure: Option<f64>| summary.show(figure);
    vec![
        format!("{:.2}", step.rate_per_s),
        if step.carried { "yes" } else { "no" }.to_owned(),
        scenario.requests.to_string(),
        scenario.failed.to_string(),
        format!("{:.2}", step.served_rps),
        format!("{:.2}", step.goodput_rps),
        text::percent(Some(step.good_share)),
        between(step.good_share_ci95, 100.0),
        format!("{:.1}->{:.1}", step.in_flight.0, step.in_flight.1),
        show(&scenario.ttft_ms, scenario.ttft_ms.p50),
        show(&scenario.ttft_ms, scenario.ttft_ms.p95),
        between(scenario.ttft_ms.p95_ci95, 1.0),
        show(&scenario.tpot_ms, scenario.tpot_ms.p95),
        show(&scenario.e2e_ms, scenario.e2e_ms.p95),
        text::percent(step.engine_hit_rate.or(scenario.reported_hit_rate())),
    ]
}

/// One row a rate.
pub(super) fn csv(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report.steps.iter().map(row).collect();
    csv::render(
        &[
            "offered_per_s",
            "carried",
            "requests",
            "failed",
            "served_per_s",
            "goodput_per_s",
            "good_share",
            "ttft_p50_ms",
            "ttft_p95_ms",
            "ttft_p99_ms",
            "tpot_p50_ms",
            "tpot_p95_ms",
            "e2e_p50_ms",
            "e2e_p95_ms",
            "hit_rate",
        ],
        &rows,
    )
}

fn row(step: &Probe) -> Vec<String> {
    let scenario = &step.scenario;
    let mut row = vec![
        csv::number(Some(step.rate_per_s)),
        step.carried.to_string(),
        scenario.requests.to_string(),
        scenario.failed.to_string(),
        csv::number(Some(step.served_rps)),
        csv::number(Some(step.goodput_rps)),
        csv::number(Some(step.good_share)),
    ];
    row.extend(
        [
            scenario.ttft_ms.p50,
            scenario.ttft_ms.p95,
            scenario.ttft_ms.p99,
            scenario.tpot_ms.p50,
            scenario.tpot_ms.p95,
            scenario.e2e_ms.p50,
            scenario.e2e_ms.p95,
            step.engine_hit_rate,
        ]
        .map(csv::number),
    );
    row
}

/// Throughput and goodput against rate, latency against rate and against throughput.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let steps = &report.steps;
    let mut throughput = Chart::new("Throughput", "requests/s offered", "requests/s");
    throughput.add(
        "served",
        Mark::Dotted,
        steps.iter().map(|s| (s.rate_per_s, s.served_rps)),
    );
    throughput.add(
        "good",
        Mark::Dotted,
        steps.iter().map(|s| (s.rate_per_s, s.goodput_rps)),
    );
    let of = |figure: fn(&Probe) -> Option<f64>, x: fn(&Probe) -> f64| {
        let point = move |step: &Probe| Some((x(step), figure(step)?));
        steps.iter().filter_map(point).collect::<Vec<_>>()
    };
    let offered = |step: &Probe| step.rate_per_s;
    let served = |step: &Probe| step.served_rps;
    let mut latency = Chart::new("Latency against rate", "requests/s offered", "ms");
    latency.log_y = true;
    latency.add(
        "TTFT p50",
        Mark::Dotted,
        of(|s| s.scenario.ttft_ms.p50, offered),
    );
    latency.add(
        "TTFT p95",
        Mark::Dotted,
        of(|s| s.scenario.ttft_ms.p95, offered),
    );
    latency.add(
        "E2E p50",
        Mark::Dotted,
        of(|s| s.scenario.e2e_ms.p50, offered),
    );
    latency.add(
        "TPOT p95",
        Mark::Dotted,
        of(|s| s.scenario.tpot_ms.p95, offered),
    );
    let mut against = Chart::new("Latency against throughput", "requests/s served", "ms");
    against.log_y = true;
    against.add(
        "TTFT p95",
        Mark::Dots,
        of(|s| s.scenario.ttft_ms.p95, served),
    );
    against.add("E2E p95", Mark::Dots, of(|s| s.scenario.e2e_ms.p95, served));
    let mut hits = Chart::new("Hit rate at the engines", "requests/s offered", "share");
    hits.add("hit rate", Mark::Dotted, of(|s| s.engine_hit_rate, offered));
    vec![throughput, latency, against, hits]
}
