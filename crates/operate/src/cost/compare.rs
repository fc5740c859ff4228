//! Which accelerator costs less at an SLO that both meet?

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::TableArgs;
use super::basis::Basis;
use super::measured::{Measured, Point};
use super::pricing::{Accelerator, Throughput};

/// Requests of two measurements are the same work when their token counts differ by no more than this.
const SAME_WORK: f64 = 0.1;

/// What one accelerator does at the SLO.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtSlo {
    pub accelerator: String,
    /// Requests per second of one replica, at the highest load that meets the SLO.
    pub replica_rps: Option<f64>,
    pub per_million: Option<f64>,
    pub source: String,
    /// Why it is not compared, where it is not.
    pub why_not: Option<String>,
    #[serde(skip)]
    tokens: (Option<f64>, Option<f64>),
}

/// The comparison, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub rows: Vec<AtSlo>,
    pub verdict: String,
}

/// Every accelerator with a price, at the SLO of `args`.
///
/// # Errors
/// A report that cannot be read, or one of an accelerator without a price.
pub fn compare(args: &TableArgs, basis: &Basis) -> anyhow::Result<Comparison> {
    let mut points: BTreeMap<&str, Vec<(Point, String)>> = BTreeMap::new();
    for (name, accelerator) in &basis.pricing.accelerators {
        let filed = accelerator.throughput.iter().map(of_file);
        points.insert(name, filed.collect());
    }
    for (name, file) in &args.against {
        basis.pricing.accelerator(name)?;
        add(&mut points, name, &Measured::read(file)?);
    }
    if let Some(report) = &basis.report {
        add(&mut points, &basis.accelerator.name, report);
    }
    if !args.common.has_slo() {
        return Ok(Comparison {
            rows: Vec::new(),
            verdict: "accelerators are compared only at an SLO that both meet: give --slo-ttft-ms, --slo-tpot-ms or \
                      --slo-e2e-ms, and a report of each with --against NAME=FILE"
                .to_owned(),
        });
    }
    let mut rows = Vec::new();
    for (name, points) in points {
        rows.push(at_slo(
            args,
            basis,
            basis.pricing.accelerator(name)?,
            &points,
        ));
    }
    let verdict = verdict(&rows, &basis.currency);
    Ok(Comparison { rows, verdict })
}

fn add<'a>(points: &mut BTreeMap<&'a str, Vec<(Point, String)>>, name: &'a str, report: &Measured) {
    let read = report
        .points
        .iter()
        .map(|point| (point.clone(), report.source.clone()));
    points.entry(name).or_default().extend(read);
}

fn of_file(entry: &Throughput) -> (Point, String) {
    let point = Point {
        name: entry.origin.clone(),
        requests_per_s: entry.requests_per_s,
        replicas: Some(entry.replicas),
        ttft_p95_ms: entry.ttft_p95_ms,
        tpot_p95_ms: entry.tpot_p95_ms,
        e2e_p95_ms: entry.e2e_p95_ms,
        input_tokens: entry.input_tokens,
        output_tokens: entry.output_tokens,
        ..Point::default()
    };
    (point, entry.origin.clone())
}

fn at_slo(
    args: &TableArgs,
    basis: &Basis,
    accelerator: &Accelerator,
    points: &[(Point, String)],
) -> AtSlo {
    let replicas = |point: &Point| {
        let said = point.replicas.or(args.common.report_replicas);
        f64::from(said.unwrap_or(1).max(1))
    };
    let per_replica = |point: &Point| point.requests_per_s / replicas(point);
    let best = (points.iter())
        .filter(|(point, _)| args.common.meets(point) == Some(true))
        .max_by(|a, b| per_replica(&a.0).total_cmp(&per_replica(&b.0)));
    let Some((point, source)) = best else {
        let known = points
            .iter()
            .any(|(point, _)| args.common.meets(point).is_some());
        let why = if known {
            "no measured load meets the SLO"
        } else {
            "no measurement carries the latency that the SLO is about"
        };
        return AtSlo {
            accelerator: accelerator.name.clone(),
            replica_rps: None,
            per_million: None,
            source: String::new(),
            why_not: Some(why.to_owned()),
            tokens: (None, None),
        };
    };
    // Shared parts are the same on either side; they are shown with one replica.
    let rate = per_replica(point);
    let day = basis.service.shared_per_day + accelerator.per_day;
    AtSlo {
        accelerator: accelerator.name.clone(),
        replica_rps: Some(rate),
        per_million: Some(day / basis.service.requests_per_day(rate) * 1e6),
        source: source.clone(),
        why_not: None,
        tokens: (point.input_tokens, point.output_tokens),
    }
}

fn verdict(rows: &[AtSlo], currency: &str) -> String {
    let mut met: Vec<(&AtSlo, f64)> = (rows.iter())
        .filter_map(|row| Some((row, row.per_million?)))
        .collect();
    met.sort_by(|a, b| a.1.total_cmp(&b.1));
    let [(best, low), (next, high), ..] = met[..] else {
        return "not compared: fewer than two accelerators are known to meet the SLO".to_owned();
    };
    if let Some(row) = met
        .iter()
        .map(|(row, _)| row)
        .find(|row| !same_work(best, row))
    {
        return format!(
            "not compared: {} and {} were measured with requests of different length",
            best.accelerator, row.accelerator
        );
    }
    format!(
        "{} costs least at this SLO: {low:.2} {currency} per 1M requests, {:.1} % less than {}",
        best.accelerator,
        (1.0 - low / high) * 100.0,
        next.accelerator
    )
}

fn same_work(a: &AtSlo, b: &AtSlo) -> bool {
    let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= SAME_WORK * a.max(b),
        _ => true,
    };
    near(a.tokens.0, b.tokens.0) && near(a.tokens.1, b.tokens.1)
}
