//! How sure is a comparison in virtual time? The same under several seeds: means, and 95 % intervals by Student's t.

use serde::Serialize;

use super::result;
use super::show;
use crate::command::probe::Probe;
use crate::report::{Table, interval, text as words};

/// All seeds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) seeds: Vec<u64>,
    pub(super) simulated: bool,
    pub(super) workloads: Vec<Workload>,
    pub(super) by_seed: Vec<result::Report>,
}

/// One workload over all seeds.
#[derive(Debug, Serialize)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) rows: Vec<Line>,
    pub(super) factors: Vec<Line>,
    pub(super) expectations: Vec<Expected>,
}

/// Figures of one arm or factor: name, mean, half the width of the interval.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) mean: Option<f64>,
    pub(super) ci95: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Expected {
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) mean: Option<f64>,
    pub(super) ci95: Option<f64>,
    /// Seeds under which it holds, of those under which it could be measured.
    pub(super) holds: usize,
    pub(super) measured: usize,
}

fn busy(row: &result::Row) -> Option<&Probe> {
    row.busy.as_ref().or(row.high.as_ref())
}

impl Report {
    pub(super) fn of(by_seed: Vec<result::Report>) -> Self {
        let count = by_seed.first().map_or(0, |report| report.workloads.len());
        Self {
            seeds: by_seed.iter().map(|report| report.seed).collect(),
            simulated: true,
            workloads: (0..count).map(|at| workload(&by_seed, at)).collect(),
            by_seed,
        }
    }
}

fn figure(name: &'static str, values: impl Iterator<Item = Option<f64>>) -> Figure {
    let values: Vec<f64> = values.flatten().collect();
    let (mean, ci95) = interval::mean_of_few(&values);
    Figure { name, mean, ci95 }
}

fn workload(by_seed: &[result::Report], at: usize) -> Workload {
    let all: Vec<&result::WorkloadReport> = by_seed
        .iter()
        .filter_map(|report| report.workloads.get(at))
        .collect();
    let first = all.first();
    let arms = first.map_or(0, |one| one.arms.len());
    let factors = first.map_or(0, |one| one.factors.len());
    let expectations = first.map_or(0, |one| one.expectations.len());
    Workload {
        name: first.map_or_else(String::new, |one| one.name.clone()),
        rows: (0..arms).map(|arm| row(&all, arm)).collect(),
        factors: (0..factors).filter_map(|at| factor(&all, at)).collect(),
        expectations: (0..expectations)
            .filter_map(|at| expectation(&all, at))
            .collect(),
    }
}

fn row(all: &[&result::WorkloadReport], arm: usize) -> Line {
    let of = |name, get: fn(&result::Row) -> Option<f64>| {
        figure(name, all.iter().map(|one| get(one.arms.get(arm)?)))
    };
    let name = all.first().and_then(|one| one.arms.get(arm));
    Line {
        name: name.map_or_else(String::new, |row| row.name.to_string()),
        figures: vec![
            of("served/s", |row| row.saturation.throughput_rps),
            of("goodput/s", |row| row.saturation.goodput_rps),
            of("low TTFT p50", |row| row.low.as_ref()?.scenario.ttft_ms.p50),
            of("low TTFT p95", |row| row.low.as_ref()?.scenario.ttft_ms.p95),
            of("high TTFT p50", |row| {
                row.high.as_ref()?.scenario.ttft_ms.p50
            }),
            of("high TTFT p95", |row| {
                row.high.as_ref()?.scenario.ttft_ms.p95
            }),
            of("busy TTFT p95", |row| {
                row.busy.as_ref()?.scenario.ttft_ms.p95
            }),
            of("busy TPOT p99", |row| {
                row.busy.as_ref()?.scenario.tpot_ms.p99
            }),
            of("high hit %", |row| {
                Some(row.high.as_ref()?.engine_hit_rate? * 100.0)
            }),
            of("achievable %", |row| Some(row.achievable_hit_rate? * 100.0)),
            of("max/mean", |row| busy(row)?.max_over_mean),
        ],
    }
}

fn factor(all: &[&result::WorkloadReport], at: usize) -> Option<Line> {
    let first = all.first()?.factors.get(at)?;
    let of = |name, get: fn(&result::Factor) -> Option<f64>| {
        figure(name, all.iter().map(|one| get(one.factors.get(at)?)))
    };
    Some(Line {
        name: format!("{}: {} to {}", first.name, first.from, first.to),
        figures: vec![
            of("throughput x", |factor| factor.throughput),
            of("goodput x", |factor| factor.goodput),
        ],
    })
}

fn expectation(all: &[&result::WorkloadReport], at: usize) -> Option<Expected> {
    let first = all.first()?.expectations.get(at)?;
    let lines = || all.iter().filter_map(|one| one.expectations.get(at));
    let seen = figure("", lines().map(|line| line.seen));
    Some(Expected {
        what: first.what.clone(),
        expected: first.expected.clone(),
        mean: seen.mean,
        ci95: seen.ci95,
        holds: lines().filter(|line| line.holds == Some(true)).count(),
        measured: lines().filter(|line| line.holds.is_some()).count(),
    })
}

/// For people.
pub(super) fn text(report: &Report) -> String {
    let seeds: Vec<String> = report.seeds.iter().map(u64::to_string).collect();
    let mut out = format!(
        "compare ({}), seeds {}: mean +- half the width of the 95 % interval\n",
        words::SIMULATED,
        seeds.join(", ")
    );
    if let Some(first) = report.by_seed.first() {
        out.push_str(&format!(
            "{}, {} blocks a replica, ours = preset {}; windows of {} simulated s, saturation known within {:.0} %, {}\n",
            first.accelerator,
            first.blocks_per_replica,
            first.preset,
            first.window_s,
            first.tolerance * 100.0,
            show::clock(first),
        ));
    }
    for (at, workload) in report.workloads.iter().enumerate() {
        if let Some(one) = report
            .by_seed
            .first()
            .and_then(|first| first.workloads.get(at))
        {
            out.push_str(&format!(
                "\n{}: {} prefixes of {} tokens, questions of {}, answers of {}, {} turn(s); all prefixes fill {:.2} times one replica; good: {}\n",
                one.name, one.groups, one.prefix_tokens, one.question_tokens, one.output_tokens, one.turns,
                one.prefixes_over_one_replica, one.slo,
            ));
        }
        for lines in [&workload.rows, &workload.factors] {
            out.push('\n');
            out.push_str(&lines_table(lines));
        }
        out.push('\n');
        out.push_str(&expected_table(&workload.expectations));
    }
    out
}

/// Each seed's rows under one head, its seed first.
pub(super) fn csv(report: &Report) -> String {
    let mut out = String::new();
    for one in &report.by_seed {
        let rows = show::csv(one);
        for (at, line) in rows.lines().enumerate() {
            match at {
                0 if out.is_empty() => out.push_str(&format!("seed,{line}\n")),
                0 => {}
                _ => out.push_str(&format!("{},{line}\n", one.seed)),
            }
        }
    }
    out
}

fn shown(mean: Option<f64>, ci95: Option<f64>) -> String {
    let number = |value: f64| match value.abs() {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    };
    match (mean, ci95) {
        (None, _) => "n/a".to_owned(),
        (Some(mean), None) => number(mean),
        (Some(mean), Some(half)) => format!("{} +- {}", number(mean), number(half)),
    }
}

fn lines_table(lines: &[Line]) -> String {
    let Some(first) = lines.first() else {
        return String::new();
    };
    let mut head = vec!["arm"];
    head.extend(first.figures.iter().map(|figure| figure.name));
    let mut table = Table::new(&head);
    for line in lines {
        let mut cells = vec![line.name.clone()];
        cells.extend(
            line.figures
                .iter()
                .map(|figure| shown(figure.mean, figure.ci95)),
        );
        table.row(cells);
    }
    table.render()
}

fn expected_table(lines: &[Expected]) -> String {
    let mut table = Table::new(&["expected", "wanted", "seen", "holds"]);
    for line in lines {
        table.row(vec![
            line.what.clone(),
            line.expected.clone(),
            shown(line.mean, line.ci95),
            match line.measured {
                0 => "not measured".to_owned(),
                measured => format!("{} of {measured}", line.holds),
            },
        ]);
    }
    table.render()
}
