//! What does the fleet tell an operator?

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::member::{Member, Models};
use crate::slot_state::micros;
use crate::{Fleet, FleetConfig, KvReport};

/// One endpoint, for `/admin/state`, `explain` and metrics.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EndpointReport {
    pub name: String,
    pub url: String,
    pub source: String,
    /// `ready`, `unknown`, `unready`, `ejected`, `draining`
    pub health: String,
    pub reason: Option<String>,
    pub models: Option<Vec<String>>,
    pub active_requests: u64,
    pub active_tokens: u64,
    pub queued_tokens: u64,
    pub picks: u64,
    /// Last scrape; `None` before the first.
    pub scrape_age_ms: Option<u64>,
    pub scrape_error: Option<String>,
    pub waiting: Option<f64>,
    pub running: Option<f64>,
    pub kv_usage: Option<f64>,
    pub block_size_tokens: Option<u32>,
    pub num_blocks: Option<u32>,
    pub prefix_caching: Option<bool>,
    /// Engine's own counters over the last minute: tokens found over tokens looked up; `None` without lookups.
    pub hit_ratio_1m: Option<f64>,
    /// The same over the engine's life.
    pub hit_ratio: Option<f64>,
    pub prefill_ms_per_token: Option<f64>,
    #[serde(default)]
    pub decode_ms_per_token: Option<f64>,
    pub prediction: PredictionReport,
    pub failures: u64,
    pub restarts: u64,
    /// What matches here rest on, and what its events came to.
    #[serde(default)]
    pub kv: KvReport,
}

/// Predicted against actual cached tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PredictionReport {
    /// Requests whose answer reported cached tokens.
    pub reported_requests: u64,
    pub predicted_tokens: u64,
    pub actual_tokens: u64,
    pub absolute_error_tokens: u64,
    /// Requests whose prediction rested on events, and those of them that hit to the token.
    #[serde(default)]
    pub exact_requests: u64,
    #[serde(default)]
    pub exact_equal_requests: u64,
    /// Requests whose answer reported nothing; their predicted tokens stand against `counter_hit_tokens`,
    /// what the engine's own hit counter gained over the same time (all traffic, not only ours).
    pub unreported_requests: u64,
    pub unreported_predicted_tokens: u64,
    pub counter_hit_tokens: u64,
}

/// The pool.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FleetReport {
    pub pool: String,
    pub endpoints: Vec<EndpointReport>,
    pub index_blocks: u64,
    pub index_bytes: u64,
    pub index_evicted_blocks: u64,
    pub index_dropped_ops: u64,
    /// Blocks held by events' word: pairs of endpoint and block, and the blocks they are of.
    #[serde(default)]
    pub exact_held_blocks: u64,
    #[serde(default)]
    pub exact_distinct_blocks: u64,
    #[serde(default)]
    pub exact_bytes: u64,
    pub bytes_per_token: Vec<(String, f64)>,
}

impl Fleet {
    /// Everything an operator may see of the pool now.
    pub fn report(&self, now: Duration) -> FleetReport {
        let index = self.index.stats();
        let exact = self.exact.stats();
        let members = self.members.lock();
        FleetReport {
            pool: self.config.pool.clone(),
            endpoints: members
                .iter()
                .map(|member| self.endpoint(member, now))
                .collect(),
            index_blocks: index.held_blocks,
            index_bytes: index.approximate_bytes,
            index_evicted_blocks: index.evicted_blocks,
            index_dropped_ops: index.dropped_ops,
            exact_held_blocks: exact.held_blocks,
            exact_distinct_blocks: exact.distinct_blocks,
            exact_bytes: exact.bytes,
            bytes_per_token: self.ratios.report(),
        }
    }

    fn endpoint(&self, member: &Member, now: Duration) -> EndpointReport {
        EndpointReport {
            kv: KvReport::of(&member.kv_mode, self.exact.slot_stats(member.slot), now),
            ..endpoint(member, &self.config, now)
        }
    }
}

fn endpoint(member: &Member, config: &FleetConfig, now: Duration) -> EndpointReport {
    let health = member.health(config);
    let state = &member.state;
    let (gauges, scrape) = (&state.gauges, &state.scrape);
    let scraped = state.scraped_at();
    let nonzero = |value: u32| (value != 0).then_some(value);
    let learned = state.gauges.prefill_ms_per_token.get();
    let decode = state.gauges.decode_ms_per_token.get();
    EndpointReport {
        name: member.spec.name.to_string(),
        url: member.spec.url.to_string(),
        source: member.source.to_string(),
        health: health.name().to_owned(),
        reason: health.reason().map(str::to_owned),
        models: match &member.models {
            Models::Listed(cards) => Some(cards.iter().map(|card| card.id.clone()).collect()),
            Models::Unread | Models::Any => None,
        },
        active_requests: gauges.active_requests.load(Relaxed),
        active_tokens: gauges.active_tokens.load(Relaxed),
        queued_tokens: gauges.queued_tokens(micros(now)) as u64,
        picks: state.picks.load(Relaxed),
        scrape_age_ms: scraped
            .map(|at| u64::try_from(now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX)),
        scrape_error: member.scrape_error.clone(),
        waiting: scraped.map(|_| scrape.waiting.load(Relaxed) as f64),
        running: scraped.map(|_| gauges.running.load(Relaxed) as f64),
        kv_usage: scraped.map(|_| gauges.kv_usage.get()),
        block_size_tokens: nonzero(gauges.block_size_tokens.load(Relaxed)),
        num_blocks: nonzero(scrape.num_blocks.load(Relaxed)),
        prefix_caching: scraped.map(|_| gauges.prefix_cache_off.load(Relaxed) == 0),
        hit_ratio_1m: member.hit_ratio_window(),
        hit_ratio: member.hit_ratio_life(),
        prefill_ms_per_token: (learned != 0.0).then_some(learned),
        decode_ms_per_token: (decode != 0.0).then_some(decode),
        prediction: prediction(member),
        failures: state.failures.load(Relaxed),
        restarts: member.restarts,
        kv: KvReport::default(),
    }
}

fn prediction(member: &Member) -> PredictionReport {
    let counters = &member.state.prediction;
    PredictionReport {
        reported_requests: counters.reported_requests.load(Relaxed),
        predicted_tokens: counters.predicted_tokens.load(Relaxed),
        actual_tokens: counters.actual_tokens.load(Relaxed),
        absolute_error_tokens: counters.absolute_error_tokens.load(Relaxed),
        exact_requests: counters.exact_requests.load(Relaxed),
        exact_equal_requests: counters.exact_equal_requests.load(Relaxed),
        unreported_requests: counters.unreported_requests.load(Relaxed),
        unreported_predicted_tokens: counters.unreported_predicted_tokens.load(Relaxed),
        counter_hit_tokens: member.counter_hit_tokens(),
    }
}
