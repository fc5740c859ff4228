//! How full is each pool, under the names that the field's dashboards and autoscalers read?

use std::fmt::Write;

use fleet::{EndpointReport, FleetReport};

use super::picker::Picker;
use crate::gateway::Gateway;

/// Figure of a pool: both names, what it says, how it is read.
type PoolFigure = (&'static [&'static str], &'static str, fn(&Pool) -> f64);

static POOL_FIGURES: [PoolFigure; 8] = [
    (
        &[
            "llm_d_epp_average_kv_cache_utilization",
            "inference_pool_average_kv_cache_utilization",
        ],
        "KV cache in use, mean over ready endpoints, last scrape",
        |pool| pool.mean(|e| e.kv_usage),
    ),
    (
        &[
            "llm_d_epp_average_queue_size",
            "inference_pool_average_queue_size",
        ],
        "Waiting requests, mean over ready endpoints, last scrape",
        |pool| pool.mean(|e| e.waiting),
    ),
    (
        &[
            "llm_d_epp_average_running_requests",
            "inference_pool_average_running_requests",
        ],
        "Running requests, mean over ready endpoints, last scrape",
        |pool| pool.mean(|e| e.running),
    ),
    (
        &["llm_d_epp_std_dev_kv_cache_utilization"],
        "KV cache in use, standard deviation",
        |pool| pool.deviation(|e| e.kv_usage),
    ),
    (
        &["llm_d_epp_std_dev_queue_size"],
        "Waiting requests, standard deviation",
        |pool| pool.deviation(|e| e.waiting),
    ),
    (
        &["llm_d_epp_std_dev_running_requests"],
        "Running requests, standard deviation",
        |pool| pool.deviation(|e| e.running),
    ),
    (
        &["llm_d_epp_ready_endpoints", "inference_pool_ready_pods"],
        "Endpoints that may be picked",
        |pool| pool.ready().count() as f64,
    ),
    (
        &[
            "llm_d_epp_prefix_indexer_size",
            "inference_extension_prefix_indexer_size",
        ],
        "Blocks the prefix index holds",
        |pool| pool.0.index_blocks as f64,
    ),
];

struct Pool(FleetReport);

impl Pool {
    fn ready(&self) -> impl Iterator<Item = &EndpointReport> {
        self.0.endpoints.iter().filter(|e| e.health == "ready")
    }

    fn values(&self, read: fn(&EndpointReport) -> Option<f64>) -> Vec<f64> {
        self.ready().filter_map(read).collect()
    }

    fn mean(&self, read: fn(&EndpointReport) -> Option<f64>) -> f64 {
        mean(&self.values(read))
    }

    fn deviation(&self, read: fn(&EndpointReport) -> Option<f64>) -> f64 {
        let values = self.values(read);
        let middle = mean(&values);
        let squares: Vec<f64> = values
            .iter()
            .map(|value| (value - middle).powi(2))
            .collect();
        mean(&squares).sqrt()
    }
}

/// 0 without values.
fn mean(values: &[f64]) -> f64 {
    match values.len() {
        0 => 0.0,
        count => values.iter().sum::<f64>() / count as f64,
    }
}

/// Writes every pool's figures.
pub(crate) fn write(page: &mut String, gateway: &Gateway, picker: &Picker) {
    // Writing to a string does not fail.
    let _ = try_write(page, gateway, picker);
}

fn try_write(page: &mut String, gateway: &Gateway, picker: &Picker) -> std::fmt::Result {
    let now = gateway.clock.now();
    let routes = gateway.routes.load();
    let pools: Vec<Pool> = routes
        .pools
        .iter()
        .map(|pool| {
            Pool(FleetReport {
                pool: pool.name.to_string(),
                ..pool.fleet().report(now)
            })
        })
        .collect();
    for (names, help, read) in &POOL_FIGURES {
        for name in *names {
            begin(page, name, help)?;
            for pool in &pools {
                let value = read(pool);
                writeln!(page, "{name}{{name=\"{}\"}} {value}", escaped(&pool.0.pool))?;
            }
        }
    }
    for (name, label) in [
        ("llm_d_epp_per_endpoint_queue_size", "model_server_endpoint"),
        ("inference_pool_per_pod_queue_size", "model_server_pod"),
    ] {
        begin(page, name, "Waiting requests, last scrape")?;
        for pool in &pools {
            for endpoint in pool.ready() {
                let value = endpoint.waiting.unwrap_or(0.0);
                let (pool, endpoint) = (escaped(&pool.0.pool), escaped(&endpoint.name));
                writeln!(
                    page,
                    "{name}{{name=\"{pool}\",{label}=\"{endpoint}\"}} {value}"
                )?;
            }
        }
    }
    let namespace = escaped(&picker.config.namespace);
    for (name, help, read) in IN_FLIGHT {
        begin(page, name, help)?;
        for pool in &pools {
            for endpoint in &pool.0.endpoints {
                let (value, endpoint) = (read(endpoint), escaped(&endpoint.name));
                writeln!(
                    page,
                    "{name}{{endpoint=\"{endpoint}\",namespace=\"{namespace}\",\
                     producer=\"inflight-load-producer\",fairness_id=\"\",priority=\"\"}} {value}"
                )?;
            }
        }
    }
    for name in ["llm_d_epp_info", "inference_extension_info"] {
        begin(page, name, "Build")?;
        let version = env!("CARGO_PKG_VERSION");
        writeln!(
            page,
            "{name}{{commit=\"\",build_ref=\"prefixgate-{version}\"}} 1"
        )?;
    }
    Ok(())
}

type InFlight = (&'static str, &'static str, fn(&EndpointReport) -> u64);
const IN_FLIGHT: [InFlight; 2] = [
    ("llm_d_epp_inflight_requests", "Our requests there", |e| {
        e.active_requests
    }),
    (
        "llm_d_epp_inflight_tokens",
        "Uncached prompt tokens of our requests there",
        |e| e.active_tokens,
    ),
];

fn begin(page: &mut String, name: &str, help: &str) -> std::fmt::Result {
    writeln!(page, "# HELP {name} {help}.\n# TYPE {name} gauge")
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means() {
        for (values, expected) in [(&[][..], 0.0), (&[2.0], 2.0), (&[1.0, 2.0, 6.0], 3.0)] {
            assert_eq!(mean(values), expected, "{values:?}");
        }
    }
}
