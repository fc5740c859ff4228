//! What do the fleets say, as metrics?

use std::sync::Arc;

use arc_swap::ArcSwap;
use fleet::{EndpointReport, FleetReport};
use pool::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::admit::Gate;
use crate::route::Routes;

/// Reads every pool's report when asked.
struct Figures {
    routes: Arc<ArcSwap<Routes>>,
    clock: Clock,
    gate: Gate,
}

pub(crate) fn collector(
    routes: Arc<ArcSwap<Routes>>,
    clock: Clock,
    gate: Gate,
) -> Box<dyn Collector> {
    Box::new(Figures {
        routes,
        clock,
        gate,
    })
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Figures")
    }
}

type Read<T> = fn(&T) -> Option<f64>;

/// Gauges per endpoint.
static ENDPOINT_GAUGES: [(&str, &str, Read<EndpointReport>); 12] = [
    (
        "prefixgate_endpoint_ready",
        "1 if the endpoint may be picked",
        |e| Some(f64::from(u8::from(e.health == "ready"))),
    ),
    (
        "prefixgate_endpoint_active_requests",
        "Our requests in flight there",
        |e| Some(e.active_requests as f64),
    ),
    (
        "prefixgate_endpoint_queued_tokens",
        "Uncached prompt tokens before a new request",
        |e| Some(e.queued_tokens as f64),
    ),
    (
        "prefixgate_endpoint_waiting_requests",
        "Waiting requests, last scrape",
        |e| e.waiting,
    ),
    (
        "prefixgate_endpoint_running_requests",
        "Running requests, last scrape",
        |e| e.running,
    ),
    (
        "prefixgate_endpoint_kv_usage_ratio",
        "KV cache in use, last scrape",
        |e| e.kv_usage,
    ),
    (
        "prefixgate_endpoint_hit_ratio_1m",
        "Prompt tokens found in the engine's cache over those looked up, last minute, engine's counters",
        |e| e.hit_ratio_1m,
    ),
    (
        "prefixgate_endpoint_scrape_age_seconds",
        "Time since the last good scrape",
        |e| e.scrape_age_ms.map(|ms| ms as f64 / 1_000.0),
    ),
    (
        "prefixgate_endpoint_prefill_ms_per_token",
        "Learned prefill cost",
        |e| e.prefill_ms_per_token,
    ),
    (
        "prefixgate_endpoint_kv_mode",
        "What prefix matches rest on: 2 the engine's events, 1 our own history, 0 our own history although events are expected",
        |e| Some(kv_mode(&e.kv.mode)),
    ),
    (
        "prefixgate_endpoint_kv_blocks",
        "Blocks the engine's events say it holds, all tiers",
        |e| Some((e.kv.gpu_blocks + e.kv.cpu_blocks + e.kv.disk_blocks) as f64),
    ),
    (
        "prefixgate_endpoint_kv_lag_seconds",
        "From the engine's writing of its last event to its being applied",
        |e| e.kv.lag_ms.map(|ms| ms / 1_000.0),
    ),
];

fn kv_mode(name: &str) -> f64 {
    match name {
        "exact" => 2.0,
        "stale" => 0.0,
        _ => 1.0,
    }
}

/// Counters per endpoint.
static ENDPOINT_COUNTERS: [(&str, &str, Read<EndpointReport>); 8] = [
    ("prefixgate_endpoint_picks", "Requests sent there", |e| {
        Some(e.picks as f64)
    }),
    (
        "prefixgate_endpoint_failures",
        "Attempts that failed there",
        |e| Some(e.failures as f64),
    ),
    ("prefixgate_endpoint_restarts", "Restarts noticed", |e| {
        Some(e.restarts as f64)
    }),
    (
        "prefixgate_endpoint_kv_stored_blocks",
        "Blocks stored, by the engine's events",
        |e| Some(e.kv.stored_blocks as f64),
    ),
    (
        "prefixgate_endpoint_kv_removed_blocks",
        "Blocks dropped, by the engine's events",
        |e| Some(e.kv.removed_blocks as f64),
    ),
    (
        "prefixgate_endpoint_kv_orphan_blocks",
        "Stored blocks left out because the one before them is not known",
        |e| Some(e.kv.orphan_blocks as f64),
    ),
    (
        "prefixgate_endpoint_exact_predictions",
        "Answers whose predicted cached tokens rested on events",
        |e| Some(e.prediction.exact_requests as f64),
    ),
    (
        "prefixgate_endpoint_exact_predictions_equal",
        "Those of them that the engine confirmed to the token",
        |e| Some(e.prediction.exact_equal_requests as f64),
    ),
];

/// Gauges and counters per pool.
static POOL_GAUGES: [(&str, &str, Read<FleetReport>); 2] = [
    (
        "prefixgate_index_blocks",
        "Blocks the prefix index holds",
        |p| Some(p.index_blocks as f64),
    ),
    (
        "prefixgate_index_bytes",
        "Memory of the prefix index",
        |p| Some(p.index_bytes as f64),
    ),
];
static POOL_COUNTERS: [(&str, &str, Read<FleetReport>); 2] = [
    (
        "prefixgate_index_evicted_blocks",
        "Blocks evicted from the prefix index",
        |p| Some(p.index_evicted_blocks as f64),
    ),
    (
        "prefixgate_index_dropped_writes",
        "Index writes dropped because its queue was full",
        |p| Some(p.index_dropped_ops as f64),
    ),
];

/// Cached prompt tokens: predicted against actual, by where the actual figure comes from.
type Cached = (&'static str, Read<EndpointReport>, Read<EndpointReport>);
static CACHED: [Cached; 2] = [
    (
        "usage",
        |e| Some(e.prediction.predicted_tokens as f64),
        |e| Some(e.prediction.actual_tokens as f64),
    ),
    (
        "engine_counters",
        |e| Some(e.prediction.unreported_predicted_tokens as f64),
        |e| Some(e.prediction.counter_hit_tokens as f64),
    ),
];

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let now = self.clock.now();
        let routes = self.routes.load();
        let reports: Vec<FleetReport> = routes
            .pools
            .iter()
            .map(|pool| FleetReport {
                pool: pool.name.to_string(),
                ..pool.fleet().report(now)
            })
            .collect();
        let inside = ConstGauge::new(self.gate.inside() as f64);
        let gauge = encoder.encode_descriptor(
            "prefixgate_requests_in_flight",
            "Requests admitted and not ended",
            None,
            inside.metric_type(),
        )?;
        inside.encode(gauge)?;
        for (name, help, read) in &ENDPOINT_GAUGES {
            endpoints(&mut encoder, &reports, name, help, false, *read)?;
        }
        kv_states(&mut encoder, &reports)?;
        for (name, help, read) in &ENDPOINT_COUNTERS {
            endpoints(&mut encoder, &reports, name, help, true, *read)?;
        }
        for (name, help, read) in &POOL_GAUGES {
            pools(&mut encoder, &reports, name, help, false, *read)?;
        }
        for (name, help, read) in &POOL_COUNTERS {
            pools(&mut encoder, &reports, name, help, true, *read)?;
        }
        let predicted = (
            "prefixgate_predicted_cached_tokens",
            "Prompt tokens expected in the cache",
        );
        let actual = (
            "prefixgate_cached_tokens",
            "Prompt tokens found in the cache, by source of the figure",
        );
        cached(&mut encoder, &reports, predicted, |(_, predicted, _)| {
            *predicted
        })?;
        cached(&mut encoder, &reports, actual, |(_, _, actual)| *actual)
    }
}

/// Which of the modes each endpoint is in, and why: one series each.
fn kv_states(
    encoder: &mut DescriptorEncoder<'_>,
    reports: &[FleetReport],
) -> Result<(), std::fmt::Error> {
    let help = "1 for what an endpoint's prefix matches rest on; the cause where its events cannot be relied on";
    let mut family = Family::begin(encoder, "prefixgate_endpoint_kv_state", help, false)?;
    for report in reports {
        for endpoint in &report.endpoints {
            let labels = [
                ("pool", report.pool.as_str()),
                ("endpoint", endpoint.name.as_str()),
                ("mode", endpoint.kv.mode.as_str()),
                ("cause", endpoint.kv.cause.as_deref().unwrap_or_default()),
            ];
            family.write(&labels, 1.0)?;
        }
    }
    Ok(())
}

fn endpoints(
    encoder: &mut DescriptorEncoder<'_>,
    reports: &[FleetReport],
    name: &str,
    help: &str,
    counts: bool,
    read: Read<EndpointReport>,
) -> Result<(), std::fmt::Error> {
    let mut family = Family::begin(encoder, name, help, counts)?;
    for report in reports {
        for endpoint in &report.endpoints {
            if let Some(value) = read(endpoint) {
                let labels = [
                    ("pool", report.pool.as_str()),
                    ("endpoint", endpoint.name.as_str()),
                ];
                family.write(&labels, value)?;
            }
        }
    }
    Ok(())
}

fn pools(
    encoder: &mut DescriptorEncoder<'_>,
    reports: &[FleetReport],
    name: &str,
    help: &str,
    counts: bool,
    read: Read<FleetReport>,
) -> Result<(), std::fmt::Error> {
    let mut family = Family::begin(encoder, name, help, counts)?;
    for report in reports {
        if let Some(value) = read(report) {
            family.write(&[("pool", report.pool.as_str())], value)?;
        }
    }
    Ok(())
}

fn cached(
    encoder: &mut DescriptorEncoder<'_>,
    reports: &[FleetReport],
    (name, help): (&str, &str),
    which: fn(&Cached) -> Read<EndpointReport>,
) -> Result<(), std::fmt::Error> {
    let mut family = Family::begin(encoder, name, help, true)?;
    for report in reports {
        for endpoint in &report.endpoints {
            for source in &CACHED {
                let labels = [
                    ("pool", report.pool.as_str()),
                    ("endpoint", endpoint.name.as_str()),
                    ("source", source.0),
                ];
                family.write(&labels, which(source)(endpoint).unwrap_or(0.0))?;
            }
        }
    }
    Ok(())
}

/// One metric name with a value per label set.
struct Family<'a> {
    encoder: prometheus_client::encoding::MetricEncoder<'a>,
    counts: bool,
}

impl<'a> Family<'a> {
    fn begin(
        encoder: &'a mut DescriptorEncoder<'_>,
        name: &'a str,
        help: &'a str,
        counts: bool,
    ) -> Result<Self, std::fmt::Error> {
        let kind = match counts {
            true => ConstCounter::new(0.0).metric_type(),
            false => ConstGauge::new(0.0).metric_type(),
        };
        Ok(Self {
            encoder: encoder.encode_descriptor(name, help, None, kind)?,
            counts,
        })
    }

    fn write<const N: usize>(
        &mut self,
        labels: &[(&str, &str); N],
        value: f64,
    ) -> Result<(), std::fmt::Error> {
        let encoder = self.encoder.encode_family(labels)?;
        match self.counts {
            true => ConstCounter::new(value).encode(encoder),
            false => ConstGauge::new(value).encode(encoder),
        }
    }
}
