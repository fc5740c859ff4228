//! How does a comparison become one page with pictures?

use super::bars;
use super::table::table;
use crate::replay::outcome::{Outcome, Report};
use crate::report::html;
use crate::report::plot::{Chart, Mark};

/// Replicas drawn in a timeline.
const MAX_LINES: usize = 8;

/// A page that needs nothing beside it.
pub(crate) fn page(report: &Report) -> anyhow::Result<String> {
    let json = serde_json::to_string_pretty(report)?;
    let page = html::page(
        "prefixgate replay (simulated)",
        &table(report),
        &charts(report),
        &json,
    );
    Ok(page.replacen(
        "<div class=\"charts\">",
        &format!("<div class=\"charts\">\n{}", bar_charts(report)),
        1,
    ))
}

fn bar_charts(report: &Report) -> String {
    let bars_of = |title: &str, unit: &str, of: &dyn Fn(&Outcome) -> Vec<(&'static str, f64)>| {
        let rows: Vec<bars::Row> = report
            .runs
            .iter()
            .map(|run| bars::Row {
                name: run.name.clone(),
                values: of(run),
            })
            .collect();
        bars::svg(title, unit, &rows)
    };
    [
        bars_of("Hit ratio", "% of prompt tokens", &|run| {
            vec![
                ("actual", run.hit_ratio * 100.0),
                ("predicted", run.prediction.predicted_hit_ratio * 100.0),
            ]
        }),
        bars_of("Goodput", "requests/s within both limits", &|run| {
            vec![("goodput", run.goodput_rps)]
        }),
        bars_of(
            "Computed tokens, busiest replica over mean",
            "1 is even",
            &|run| vec![("max/mean", run.max_over_mean)],
        ),
    ]
    .concat()
}

fn charts(report: &Report) -> Vec<Chart> {
    let quantiles = |title: &str, of: fn(&Outcome) -> [Option<f64>; 3]| {
        let mut chart = Chart::new(title, "percentile", "ms");
        chart.log_y = true;
        for run in &report.runs {
            let points = [50.0, 90.0, 99.0].into_iter().zip(of(run));
            let points = points.filter_map(|(x, y)| Some((x, y?)));
            chart.add(&run.name, Mark::Dotted, points);
        }
        chart
    };
    let mut charts = vec![
        quantiles("Time to first token", |run| {
            [run.ttft_ms.p50, run.ttft_ms.p90, run.ttft_ms.p99]
        }),
        quantiles("Time per output token", |run| {
            [run.tpot_ms.p50, run.tpot_ms.p90, run.tpot_ms.p99]
        }),
        quantiles("End to end", |run| {
            [run.e2e_ms.p50, run.e2e_ms.p90, run.e2e_ms.p99]
        }),
    ];
    charts.extend(curves(report));
    charts.extend(report.runs.iter().map(timeline));
    charts
}

/// Throughput against latency, where loads were swept.
fn curves(report: &Report) -> Vec<Chart> {
    if report.curves.is_empty() {
        return Vec::new();
    }
    let mut mean = Chart::new("TTFT against throughput", "output tokens/s", "mean TTFT ms");
    let mut p99 = Chart::new(
        "TTFT p99 against throughput",
        "output tokens/s",
        "TTFT p99 ms",
    );
    let mut good = Chart::new("Goodput against load", "arrivals/s", "good requests/s");
    mean.log_y = true;
    p99.log_y = true;
    for curve in &report.curves {
        let of = |x: fn(&crate::replay::sweep::Point) -> f64,
                  y: fn(&crate::replay::sweep::Point) -> Option<f64>| {
            let points = curve.points.iter();
            points
                .filter_map(|point| Some((x(point), y(point)?)))
                .collect::<Vec<_>>()
        };
        let tokens = |point: &crate::replay::sweep::Point| point.output_tokens_per_s;
        mean.add(
            &curve.name,
            Mark::Dotted,
            of(tokens, |point| point.ttft_mean_ms),
        );
        p99.add(
            &curve.name,
            Mark::Dotted,
            of(tokens, |point| point.ttft_p99_ms),
        );
        good.add(
            &curve.name,
            Mark::Dotted,
            of(
                |point| point.arrivals_per_s,
                |point| Some(point.goodput_rps),
            ),
        );
    }
    vec![mean, p99, good]
}

/// Requests in the batch of each replica over time.
fn timeline(run: &Outcome) -> Chart {
    let mut chart = Chart::new(
        &format!("{}: requests running", run.name),
        "simulated s",
        "requests",
    );
    let width = run.timeline.width_s;
    for (replica, lane) in run.timeline.lanes.iter().take(MAX_LINES).enumerate() {
        let points = lane
            .iter()
            .enumerate()
            .map(|(at, cell)| (at as f64 * width, cell.request_s / width));
        chart.add(&format!("replica {replica}"), Mark::Line, points);
    }
    chart
}
