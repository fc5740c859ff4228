//! How does the gateway's own scheduling decide? The same fleet, scheduler and index, on virtual time.

mod events;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use engine::model::CacheEvent;
use engine_api::metrics::EngineMetrics;
use engine_api::usage::Usage;
use fleet::{
    Change, End, EndpointSpec, Event, Fleet, FleetConfig, Outcome, Request, Reservation, ScrapeMark,
};
use kv_index::{HashSeed, Slot};
use rand::SeedableRng;
use scheduler::{Compiled, Rng};

use super::{Answer, Ask, Books, Choice, Gauges, Router};
use crate::replay::clock::{Replica, RequestNumber};
use crate::replay::replicas::Replicas;

/// Index writes between two looks at the queue, as the gateway's writer does.
const WRITES_AT_ONCE: usize = 256;

/// Tokens of a canonical block: four bytes of stream each.
const BLOCK_TOKENS: u64 = kv_index::BLOCK_BYTES as u64 / 4;

/// A gateway's decisions.
pub(crate) struct FleetRouter {
    fleet: Fleet,
    seed: u64,
    slots: Vec<Slot>,
    replica_of: HashMap<Slot, Replica>,
    marks: Vec<ScrapeMark>,
    open: HashMap<RequestNumber, Reservation>,
    headers: Vec<String>,
    scrape_interval: Option<Duration>,
    /// Set where the configuration fixes what each engine is believed to hold.
    index_capacity_blocks: Option<u64>,
    pending_writes: bool,
    /// Messages of each engine so far, where the engines' cache events are heard.
    heard: Option<Vec<u64>>,
}

impl FleetRouter {
    /// One gateway before `replicas` endpoints, with this scheduling.
    pub(crate) fn new(compiled: Compiled, replicas: usize, hash_seed: u64, seed: u64) -> Self {
        let scrape_interval = compiled.wiring.scrape.interval;
        let config = FleetConfig {
            pool: "replay".to_owned(),
            seed: HashSeed(hash_seed),
            require_probe: false,
            wiring: compiled.wiring,
            ..FleetConfig::default()
        };
        let prefix = &config.wiring.prefix;
        let index_capacity_blocks = (!prefix.auto_tune).then(|| {
            let tokens = u64::from(prefix.capacity_blocks) * u64::from(prefix.block_size_tokens);
            (tokens / BLOCK_TOKENS).max(1) * replicas as u64
        });
        let fleet = Fleet::new(config, compiled.profile);
        fleet.apply(
            Event::Change(Change::Resync {
                source: Arc::from("replay"),
                endpoints: (0..replicas).map(spec).collect(),
            }),
            Duration::ZERO,
        );
        let view = fleet.view();
        let slots: Vec<Slot> = (0..replicas)
            .filter_map(|replica| view.by_name(&name(replica)).map(|endpoint| endpoint.slot))
            .collect();
        let replica_of = slots
            .iter()
            .enumerate()
            .map(|(at, slot)| (*slot, at))
            .collect();
        Self {
            headers: fleet.headers(),
            fleet,
            seed,
            marks: vec![ScrapeMark::default(); replicas],
            slots,
            replica_of,
            open: HashMap::new(),
            scrape_interval,
            index_capacity_blocks,
            pending_writes: false,
            heard: None,
        }
    }
}

fn name(replica: Replica) -> String {
    format!("replica-{replica:04}")
}

fn spec(replica: Replica) -> EndpointSpec {
    let name: Arc<str> = Arc::from(name(replica));
    EndpointSpec {
        url: Arc::from(format!("http://{name}:8000")),
        address: Arc::from(format!("{name}:8000")),
        name,
        rank: None,
        labels: BTreeMap::new(),
    }
}

impl Router for FleetRouter {
    fn route(&mut self, ask: &Ask<'_>, _truth: &Replicas, now: Duration) -> anyhow::Result<Choice> {
        let session = format!("s{}", ask.session);
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|name| (name.as_str(), session.as_str()))
            .collect();
        let chains = [ask.chain.clone()];
        let token_chains = self.token_chains(ask.prompt, now);
        let request = Request {
            model: "",
            chains: &chains,
            token_chains: &token_chains,
            prompt_tokens: Some(ask.prompt_tokens),
            max_tokens: Some(ask.max_tokens),
            stream: true,
            headers: &headers,
            ..Request::default()
        };
        // One stream of chance per request, as in the gateway.
        let mut rng = Rng::seed_from_u64(self.seed.wrapping_add(ask.number));
        let pick = self
            .fleet
            .pick(&request, now, &mut rng)
            .context("the scheduler found no endpoint")?;
        let replica = *self
            .replica_of
            .get(&pick.reservation.slot)
            .context("the scheduler picked a slot that is no replica")?;
        let predicted_tokens = pick.reservation.predicted_cached_tokens;
        self.open.insert(ask.number, pick.reservation);
        Ok(Choice {
            replica,
            predicted_tokens,
            external_tokens: 0,
        })
    }

    fn scrape_sent(&mut self, replica: Replica, _now: Duration) {
        self.marks[replica] = self.fleet.scrape_begin(self.slots[replica]);
    }

    fn scrape_read(&mut self, replica: Replica, page: &Gauges, now: Duration) {
        let metrics = EngineMetrics {
            waiting: Some(page.waiting),
            running: Some(page.running),
            kv_usage: Some(page.kv_usage),
            block_size_tokens: Some(page.block_size_tokens),
            num_blocks: Some(page.num_blocks),
            prefix_queries_tokens: Some(page.queries_tokens as f64),
            prefix_hits_tokens: Some(page.hits_tokens as f64),
            prefix_caching_enabled: Some(page.prefix_caching),
            ..EngineMetrics::default()
        };
        let event = Event::Scrape {
            slot: self.slots[replica],
            mark: self.marks[replica],
            result: Ok(metrics),
        };
        self.fleet.apply(event, now);
    }

    fn first_token(&mut self, number: RequestNumber, now: Duration) {
        if let Some(reservation) = self.open.get_mut(&number) {
            self.fleet.first_byte(reservation, now);
            self.pending_writes = true;
        }
    }

    fn finished(&mut self, number: RequestNumber, answer: Answer, now: Duration) {
        let Some(reservation) = self.open.remove(&number) else {
            return;
        };
        let outcome = Outcome {
            end: End::Complete { status: 200 },
            usage: Some(Usage {
                prompt_tokens: answer.prompt_tokens,
                completion_tokens: answer.output_tokens,
                cached_tokens: answer.cached_tokens,
            }),
        };
        self.fleet.finish(reservation, outcome, now);
        self.pending_writes = true;
    }

    fn wants_cache_events(&self) -> bool {
        self.heard.is_some()
    }

    fn cache_events(&mut self, replica: Replica, events: &[CacheEvent], now: Duration) {
        self.hear(replica, events, now);
    }

    fn chores(&mut self) -> bool {
        if !std::mem::take(&mut self.pending_writes) {
            return false;
        }
        while self.fleet.write_index(WRITES_AT_ONCE) > 0 {}
        true
    }

    fn wants_chain(&self) -> bool {
        true
    }

    fn scrape_interval(&self) -> Option<Duration> {
        self.scrape_interval
    }

    fn books(&self, now: Duration) -> Books {
        let report = self.fleet.report(now);
        let mut left_over = Vec::new();
        for endpoint in &report.endpoints {
            for (counter, left) in [
                ("active requests", endpoint.active_requests),
                ("active tokens", endpoint.active_tokens),
                ("queued tokens", endpoint.queued_tokens),
            ] {
                if left > 0 {
                    left_over.push(format!("{}: {left} {counter}", endpoint.name));
                }
            }
        }
        if !self.open.is_empty() {
            left_over.push(format!("{} reservations", self.open.len()));
        }
        Books {
            left_over,
            index_blocks: report.index_blocks,
            index_capacity_blocks: self.index_capacity_blocks,
        }
    }
}
