//! What of waiting is shown on the metrics page?

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::Flow;
use crate::route::Pool;

/// Upper bounds of the buckets of waiting times, seconds.
const BOUNDS: [f64; 12] = [
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0,
];

/// How waiting ended, in the field's words.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Dispatched,
    RejectedCapacity,
    EvictedTtl,
    EvictedCancelled,
}

const OUTCOMES: [&str; 4] = [
    "Dispatched",
    "RejectedCapacity",
    "EvictedTTL",
    "EvictedContextCancelled",
];

#[derive(Default)]
pub(super) struct Figures {
    outcomes: [AtomicU64; 4],
    buckets: [AtomicU64; BOUNDS.len()],
    waits: AtomicU64,
    waited_us: AtomicU64,
}

impl Figures {
    pub(super) fn count(&self, outcome: Outcome, waited: Duration) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
        let seconds = waited.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = bucket {
            self.buckets[bucket].fetch_add(1, Relaxed);
        }
        self.waits.fetch_add(1, Relaxed);
        let us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.waited_us.fetch_add(us, Relaxed);
    }
}

/// Prefixes of the current names and of those that older dashboards know.
const PREFIXES: [&str; 2] = ["llm_d_epp_flow_control", "inference_extension_flow_control"];

/// Writes the figures of every pool that has flow control; nothing where none has.
pub(crate) fn write<'a>(page: &mut String, pools: impl Iterator<Item = &'a Pool>) {
    let with: Vec<(&Pool, &Flow)> = pools
        .filter_map(|pool| Some((pool, pool.route.flow.as_deref()?)))
        .filter(|(_, flow)| flow.settings.load().is_some())
        .collect();
    if with.is_empty() {
        return;
    }
    for prefix in PREFIXES {
        // Writing to a string does not fail.
        let _ = family(page, prefix, &with);
    }
}

fn family(page: &mut String, prefix: &str, with: &[(&Pool, &Flow)]) -> std::fmt::Result {
    let begin = |page: &mut String, name: &str, help: &str, kind: &str| {
        writeln!(
            page,
            "# HELP {prefix}_{name} {help}.\n# TYPE {prefix}_{name} {kind}"
        )
    };
    for (name, help, bytes) in [
        ("queue_size", "Requests that wait", false),
        ("queue_bytes", "Bytes of their bodies", true),
    ] {
        begin(page, name, help, "gauge")?;
        for (pool, flow) in with {
            for ((priority, fairness), held) in flow.state.lock().queue.held() {
                let value = if bytes { held.bytes } else { held.requests };
                writeln!(
                    page,
                    "{prefix}_{name}{{fairness_id=\"{}\",priority=\"{priority}\",inference_pool=\"{}\"}} {value}",
                    escaped(&fairness),
                    escaped(&pool.name)
                )?;
            }
        }
    }
    begin(page, "pool_saturation", "1 and more is full", "gauge")?;
    for (pool, flow) in with {
        if let Some(settings) = flow.settings.load().as_deref() {
            let (value, name) = (flow.saturation(settings).0, escaped(&pool.name));
            writeln!(
                page,
                "{prefix}_pool_saturation{{inference_pool=\"{name}\"}} {value}"
            )?;
        }
    }
    begin(page, "requests", "How waiting ended", "counter")?;
    for (pool, flow) in with {
        for (outcome, count) in OUTCOMES.iter().zip(&flow.figures.outcomes) {
            let (value, name) = (count.load(Relaxed), escaped(&pool.name));
            writeln!(
                page,
                "{prefix}_requests_total{{outcome=\"{outcome}\",inference_pool=\"{name}\"}} {value}"
            )?;
        }
    }
    let name = "request_queue_duration_seconds";
    begin(
        page,
        name,
        "Time spent waiting, however it ended",
        "histogram",
    )?;
    for (pool, flow) in with {
        let figures = &flow.figures;
        let label = format!("inference_pool=\"{}\"", escaped(&pool.name));
        let mut sum = 0;
        for (bound, count) in BOUNDS.iter().zip(&figures.buckets) {
            sum += count.load(Relaxed);
            writeln!(
                page,
                "{prefix}_{name}_bucket{{{label},le=\"{bound}\"}} {sum}"
            )?;
        }
        let count = figures.waits.load(Relaxed);
        writeln!(
            page,
            "{prefix}_{name}_bucket{{{label},le=\"+Inf\"}} {count}"
        )?;
        let seconds = figures.waited_us.load(Relaxed) as f64 / 1e6;
        writeln!(page, "{prefix}_{name}_sum{{{label}}} {seconds}")?;
        writeln!(page, "{prefix}_{name}_count{{{label}}} {count}")?;
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
