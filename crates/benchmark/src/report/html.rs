//! How does a report become one page that can be kept and sent, with nothing beside it?

use super::plot::{Chart, Mark, distribution, escape};
use crate::load::Sample;
use crate::load::driver::Run;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1340px;margin:2em auto;padding:0 1em;color:#222}\
pre{background:#f6f6f6;padding:1em;overflow-x:auto;font-size:13px}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(480px,1fr));gap:1em}\
svg{width:100%;height:auto;border:1px solid #ddd}svg text{font:11px system-ui,sans-serif;fill:#333}\
svg .title{font-size:13px;font-weight:600}svg .grid{stroke:#e4e4e4}";

/// A page of a report's text, charts and its JSON.
pub fn page(title: &str, text: &str, charts: &[Chart], json: &str) -> String {
    let drawn: String = charts.iter().map(Chart::svg).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{0}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n<div class=\"charts\">\n{drawn}</div>\n<pre>{1}</pre>\n<details><summary>All figures as JSON</summary>\n<pre>{2}</pre>\n</details>\n</body>\n</html>\n",
        escape(title),
        escape(text),
        escape(json)
    )
}

/// Latencies as distributions and over time, and requests in flight.
pub fn run_charts(run: &Run) -> Vec<Chart> {
    let good = || run.samples.iter().filter(|sample| sample.is_ok());
    let mut latency = Chart::new("Latency", "ms", "share of requests");
    latency.add(
        "TTFT",
        Mark::Line,
        distribution(good().filter_map(Sample::ttft_ms)),
    );
    latency.add("E2E", Mark::Line, distribution(good().map(Sample::e2e_ms)));
    let mut tokens = Chart::new("Time per output token", "ms", "share");
    tokens.add(
        "TPOT",
        Mark::Line,
        distribution(good().filter_map(Sample::tpot_ms)),
    );
    tokens.add(
        "ITL",
        Mark::Line,
        distribution(good().flat_map(Sample::itl_ms)),
    );
    let since = |sample: &Sample| {
        (sample.intended)
            .saturating_duration_since(run.begun)
            .as_secs_f64()
    };
    let mut over_time = Chart::new("TTFT over the run", "s since the start", "ms");
    over_time.add(
        "TTFT",
        Mark::Dots,
        good().filter_map(|sample| Some((since(sample), sample.ttft_ms()?))),
    );
    let mut flight = Chart::new("Requests in flight", "s since the start", "requests");
    flight.add("in flight", Mark::Line, in_flight(run));
    vec![latency, tokens, over_time, flight]
}

/// Requests meant to have left and not ended, after each change; seconds from the start.
pub fn in_flight(run: &Run) -> Vec<(f64, f64)> {
    let mut edges: Vec<(std::time::Instant, f64)> = (run.samples.iter())
        .flat_map(|sample| [(sample.intended, 1.0), (sample.ended(), -1.0)])
        .collect();
    edges.sort_by_key(|edge| edge.0);
    let mut now = 0.0;
    let step = |(at, change): (std::time::Instant, f64)| {
        now += change;
        (at.saturating_duration_since(run.begun).as_secs_f64(), now)
    };
    edges.into_iter().map(step).collect()
}
