//! How does a spreadsheet read a comparison?

use std::fmt::Write as _;

use crate::replay::outcome::{Quantiles, Report};

/// One line per seed and arm.
pub(crate) fn csv(reports: &[Report]) -> String {
    let mut out = String::from(
        "seed,name,bound,requests,refused,hit_ratio,predicted_hit_ratio,ttft_mean_ms,ttft_p50_ms,ttft_p90_ms,ttft_p99_ms,tpot_mean_ms,tpot_p50_ms,tpot_p90_ms,tpot_p99_ms,e2e_mean_ms,e2e_p50_ms,e2e_p90_ms,e2e_p99_ms,goodput_rps,good_share,output_tokens_per_s,max_over_mean,preemptions,duration_s,event_hash\n",
    );
    let runs = reports
        .iter()
        .flat_map(|report| report.runs.iter().map(move |run| (report, run)));
    for (report, run) in runs {
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            report.seed,
            quoted(&run.name),
            run.bound,
            run.requests,
            run.refused,
            run.hit_ratio,
            run.prediction.predicted_hit_ratio,
            times(&run.ttft_ms),
            times(&run.tpot_ms),
            times(&run.e2e_ms),
            run.goodput_rps,
            run.good_share,
            run.output_tokens_per_s,
            run.max_over_mean,
            run.preemptions,
            run.duration_s,
            run.event_hash
        );
    }
    out
}

fn times(times: &Quantiles) -> String {
    let cell = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    [times.mean, times.p50, times.p90, times.p99]
        .map(cell)
        .join(",")
}

fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
