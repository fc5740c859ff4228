//! How does a person read the comparison?

use super::result::{Report, Row, WorkloadReport};
use crate::command::probe::Probe;
use crate::report::plot::{Chart, Mark, distribution};
use crate::report::{Table, csv, text};

/// Everything for people.
pub(super) fn text(report: &Report) -> String {
    let mut out = format!(
        "compare: hardware, cache and routing apart\n{} ({}), {} blocks a replica, ours = preset {}, seed {}\nwindows of {} simulated s, saturation known within {:.0} %, {}\n",
        report.accelerator,
        text::SIMULATED,
        report.blocks_per_replica,
        report.preset,
        report.seed,
        report.window_s,
        report.tolerance * 100.0,
        clock(report),
    );
    if report.quick {
        out.push_str("--quick: to see that it works, not for figures\n");
    }
    for workload in &report.workloads {
        out.push('\n');
        out.push_str(&one(workload));
    }
    out
}

/// What kept the time.
pub(super) fn clock(report: &Report) -> String {
    match report.virtual_time {
        true => {
            "in virtual time: models on one clock, no HTTP, no tokenization, no network".to_owned()
        }
        false => format!("time scale {}", report.time_scale),
    }
}

fn one(workload: &WorkloadReport) -> String {
    let mut out = format!(
        "{}: {} prefixes of {} tokens, questions of {}, answers of {}, {} turn(s); all prefixes fill {:.2} times one replica\ngood: {}; a rate is carried with 95 % good and no growth of requests in flight\nequal loads: {:.2} and {:.2} requests/s and replica, so Pattern 1 at r stands against Pattern 3 at 3r\n\n",
        workload.name,
        workload.groups,
        workload.prefix_tokens,
        workload.question_tokens,
        workload.output_tokens,
        workload.turns,
        workload.prefixes_over_one_replica,
        workload.slo,
        workload.low_rps_per_replica,
        workload.high_rps_per_replica,
    );
    out.push_str(&saturation(workload));
    out.push('\n');
    out.push_str(&equal(workload));
    for row in &workload.arms {
        for reason in &row.void {
            out.push_str(&format!("void: {}: {reason}\n", row.name));
        }
    }
    out.push('\n');
    out.push_str(&factors(workload));
    out.push('\n');
    out.push_str(&expectations(workload));
    out
}

fn or_na(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.digits$}"))
}

fn between(interval: Option<(f64, f64)>, factor: f64, digits: usize) -> String {
    interval.map_or_else(
        || "n/a".to_owned(),
        |(low, high)| format!("{:.digits$}-{:.digits$}", low * factor, high * factor),
    )
}

/// The trial that saturation was read from.
fn at(row: &Row) -> Option<&Probe> {
    let rate = row.saturation.carried_rps?;
    let mut trials = row.saturation.trials.iter();
    trials.find(|trial| trial.carried && trial.rate_per_s == rate)
}

fn saturation(workload: &WorkloadReport) -> String {
    let mut table = Table::new(&[
        "saturated",
        "carried/s",
        "not carried/s",
        "served/s",
        "goodput/s",
        "n",
        "good",
        "good 95 %",
        "TTFT p50",
        "TTFT p95",
        "p95 95 %",
        "TPOT p99",
        "hit rate",
        "max/mean",
        "step lag ms",
        "client lag ms",
        "lag",
        "host busy",
    ]);
    for row in &workload.arms {
        let mut cells = vec![
            row.name.to_string(),
            or_na(row.saturation.carried_rps, 2),
            or_na(row.saturation.refused_rps, 2),
        ];
        cells.extend(at(row).map_or_else(
            || vec!["n/a".to_owned(); 15],
            |probe| {
                let scenario = &probe.scenario;
                vec![
                    or_na(Some(probe.served_rps), 2),
                    or_na(Some(probe.goodput_rps), 2),
                    scenario.requests.to_string(),
                    text::percent(Some(probe.good_share)),
                    between(probe.good_share_ci95, 100.0, 1),
                    scenario.ttft_ms.show(scenario.ttft_ms.p50),
                    scenario.ttft_ms.show(scenario.ttft_ms.p95),
                    between(scenario.ttft_ms.p95_ci95, 1.0, 0),
                    scenario.tpot_ms.show(scenario.tpot_ms.p99),
                    text::percent(probe.engine_hit_rate),
                    or_na(probe.max_over_mean, 2),
                    or_na(probe.step_lag_ms, 2),
                    or_na(Some(probe.client_lag_ms), 2),
                    text::percent(probe.lag_share),
                    text::percent(probe.host_busy),
                ]
            },
        ));
        table.row(cells);
    }
    table.render()
}

fn equal(workload: &WorkloadReport) -> String {
    let mut table = Table::new(&[
        "equal loads",
        "load",
        "offered/s",
        "n",
        "TTFT p50",
        "p50 95 %",
        "TTFT p95",
        "p95 95 %",
        "TPOT p50",
        "TPOT p99",
        "E2E p50",
        "E2E p95",
        "good",
        "hit rate",
        "hit 95 %",
        "achievable",
        "max/mean",
        "lag",
        "host busy",
    ])
    .left(1);
    for row in &workload.arms {
        for (what, probe) in [("low", &row.low), ("high", &row.high), ("busy", &row.busy)] {
            if let Some(probe) = probe {
                let bound = row.achievable_hit_rate.filter(|_| what == "high");
                table.row(equal_cells(row, what, probe, bound));
            }
        }
    }
    table.render()
}

fn equal_cells(row: &Row, what: &str, probe: &Probe, bound: Option<f64>) -> Vec<String> {
    let scenario = &probe.scenario;
    let (ttft, tpot, e2e) = (&scenario.ttft_ms, &scenario.tpot_ms, &scenario.e2e_ms);
    vec![
        row.name.to_string(),
        what.to_owned(),
        or_na(Some(probe.rate_per_s), 2),
        scenario.requests.to_string(),
        ttft.show(ttft.p50),
        between(ttft.p50_ci95, 1.0, 0),
        ttft.show(ttft.p95),
        between(ttft.p95_ci95, 1.0, 0),
        tpot.show(tpot.p50),
        tpot.show(tpot.p99),
        e2e.show(e2e.p50),
        e2e.show(e2e.p95),
        text::percent(Some(probe.good_share)),
        text::percent(probe.engine_hit_rate),
        between(probe.hit_rate_ci95, 100.0, 1),
        text::percent(bound),
        or_na(probe.max_over_mean, 2),
        text::percent(probe.lag_share),
        text::percent(probe.host_busy),
    ]
}

fn factors(workload: &WorkloadReport) -> String {
    let mut table = Table::new(&[
        "each factor alone",
        "from",
        "to",
        "saturated throughput",
        "between",
        "goodput",
    ])
    .left(1)
    .left(2);
    for factor in &workload.factors {
        let times = |value: Option<f64>| {
            value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.2}x"))
        };
        table.row(vec![
            factor.name.clone(),
            factor.from.to_string(),
            factor.to.to_string(),
            times(factor.throughput),
            between(factor.between, 1.0, 2),
            times(factor.goodput),
        ]);
    }
    table.render()
}

fn expectations(workload: &WorkloadReport) -> String {
    let mut table = Table::new(&["expected", "wanted", "seen", "holds"]);
    for line in &workload.expectations {
        table.row(vec![
            line.what.clone(),
            line.expected.clone(),
            or_na(line.seen, 3),
            match line.holds {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "not measured",
            }
            .to_owned(),
        ]);
    }
    table.render()
}

/// One row per workload, arm and load.
pub(super) fn csv(report: &Report) -> String {
    let mut rows = Vec::new();
    for workload in &report.workloads {
        for row in &workload.arms {
            let loads = [
                ("saturated", at(row)),
                ("low", row.low.as_ref()),
                ("high", row.high.as_ref()),
                ("busy", row.busy.as_ref()),
            ];
            for (what, probe) in loads {
                if let Some(probe) = probe {
                    rows.push(csv_row(&workload.name, row, what, probe));
                }
            }
        }
    }
    csv::render(
        &[
            "workload",
            "arm",
            "load",
            "void",
            "offered_per_s",
            "served_per_s",
            "goodput_per_s",
            "n",
            "good_share",
            "ttft_p50_ms",
            "ttft_p95_ms",
            "tpot_p99_ms",
            "e2e_p50_ms",
            "e2e_p95_ms",
            "hit_rate",
            "achievable_hit_rate",
            "max_over_mean",
            "lag_share",
            "host_busy",
        ],
        &rows,
    )
}

fn csv_row(workload: &str, row: &Row, what: &str, probe: &Probe) -> Vec<String> {
    let scenario = &probe.scenario;
    let mut cells = vec![
        workload.to_owned(),
        row.name.to_string(),
        what.to_owned(),
        (!row.void.is_empty()).to_string(),
    ];
    cells.extend(
        [
            Some(probe.rate_per_s),
            Some(probe.served_rps),
            Some(probe.goodput_rps),
            Some(scenario.requests as f64),
            Some(probe.good_share),
            scenario.ttft_ms.p50,
            scenario.ttft_ms.p95,
            scenario.tpot_ms.p99,
            scenario.e2e_ms.p50,
            scenario.e2e_ms.p95,
            probe.engine_hit_rate,
            row.achievable_hit_rate.filter(|_| what == "high"),
            probe.max_over_mean,
            probe.lag_share,
            probe.host_busy,
        ]
        .map(csv::number),
    );
    cells
}

/// Goodput of every trial against its rate, per workload; TTFT percentiles at the high load.
pub(super) fn charts(report: &Report) -> Vec<Chart> {
    let mut charts = Vec::new();
    for workload in &report.workloads {
        let mut goodput = Chart::new(
            &format!("{}: goodput of each rate tried", workload.name),
            "requests/s offered",
            "good requests/s",
        );
        let mut latency = Chart::new(
            &format!("{}: TTFT p95 of each rate tried", workload.name),
            "requests/s offered",
            "ms",
        );
        latency.log_y = true;
        let mut saturated = Chart::new(
            &format!("{}: saturated throughput of the arms", workload.name),
            "requests/s",
            "share of the arms at or below",
        );
        for row in &workload.arms {
            let mut trials: Vec<&Probe> = row.saturation.trials.iter().collect();
            trials.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
            let name = row.name.to_string();
            let good = trials
                .iter()
                .map(|t| (t.rate_per_s, t.good_share * t.rate_per_s));
            goodput.add(&name, Mark::Dotted, good);
            let p95 = (trials.iter())
                .filter_map(|trial| Some((trial.rate_per_s, trial.scenario.ttft_ms.p95?)));
            latency.add(&name, Mark::Dotted, p95);
        }
        let rates = (workload.arms.iter()).filter_map(|row| row.saturation.throughput_rps);
        saturated.add("arms", Mark::Dotted, distribution(rates));
        charts.extend([goodput, latency, saturated]);
    }
    charts
}
