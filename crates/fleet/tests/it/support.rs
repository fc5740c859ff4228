//! A fleet with some endpoints, and requests to send at it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine_api::metrics::EngineMetrics;
use engine_api::models::ModelCard;
use engine_api::usage::Usage;
use fleet::{Change, End, EndpointSpec, Event, Fleet, FleetConfig, Outcome, Pick, Request};
use kv_index::{Chain, ChainHasher, HashSeed, Namespace, Slot};
use rand::SeedableRng;
use scheduler::{Profile, Rng};

pub(crate) const MODEL: &str = "m";

pub(crate) fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn rng() -> Rng {
    Rng::seed_from_u64(7)
}

pub(crate) fn spec(name: &str) -> EndpointSpec {
    EndpointSpec {
        name: Arc::from(name),
        url: Arc::from(format!("http://{name}")),
        address: Arc::from(name),
        rank: None,
        labels: BTreeMap::new(),
    }
}

pub(crate) fn resync(names: &[&str]) -> Event {
    Event::Change(Change::Resync {
        source: Arc::from("static"),
        endpoints: names.iter().map(|name| spec(name)).collect(),
    })
}

pub(crate) fn card(id: &str) -> ModelCard {
    ModelCard {
        id: id.to_owned(),
        parent: None,
        max_model_len: None,
    }
}

/// A fleet of `names`, all ready and serving [`MODEL`].
pub(crate) fn ready_fleet(names: &[&str]) -> Fleet {
    let fleet = Fleet::new(FleetConfig::default(), Profile::default_profile());
    fleet.apply(resync(names), at(0));
    for name in names {
        make_ready(&fleet, name);
    }
    fleet
}

pub(crate) fn make_ready(fleet: &Fleet, name: &str) {
    let slot = slot(fleet, name);
    fleet.apply(
        Event::Probe {
            slot,
            result: Ok(()),
        },
        at(0),
    );
    fleet.apply(
        Event::Models {
            slot,
            cards: Some(vec![card(MODEL)]),
        },
        at(0),
    );
    scrape(
        fleet,
        slot,
        EngineMetrics {
            waiting: Some(0),
            running: Some(0),
            kv_usage: Some(0.0),
            ..cache()
        },
        at(0),
    );
}

/// A cache of 64k tokens in blocks of 16.
pub(crate) fn cache() -> EngineMetrics {
    EngineMetrics {
        block_size_tokens: Some(16),
        num_blocks: Some(4096),
        ..EngineMetrics::default()
    }
}

pub(crate) fn scrape(fleet: &Fleet, slot: Slot, metrics: EngineMetrics, now: Duration) {
    let mark = fleet.scrape_begin(slot);
    fleet.apply(
        Event::Scrape {
            slot,
            mark,
            result: Ok(metrics),
        },
        now,
    );
}

pub(crate) fn slot(fleet: &Fleet, name: &str) -> Slot {
    fleet
        .view()
        .by_name(name)
        .expect("the endpoint is there")
        .slot
}

pub(crate) fn name(fleet: &Fleet, slot: Slot) -> String {
    fleet
        .view()
        .get(slot)
        .expect("the endpoint is there")
        .spec
        .name
        .to_string()
}

pub(crate) fn chain(text: &str) -> Chain {
    let mut hasher = ChainHasher::new(
        HashSeed(0),
        Namespace {
            model: MODEL,
            lora: None,
            cache_salt: None,
        },
    );
    hasher.update(text.as_bytes());
    hasher.finish()
}

/// `tokens` tokens of text that is the same for the same `seed` and shares no block with another's.
pub(crate) fn text(seed: &str, tokens: usize) -> String {
    format!("{seed:-<64}")
        .chars()
        .cycle()
        .take(tokens * 4)
        .collect()
}

pub(crate) fn pick(fleet: &Fleet, prompt: &str, now: Duration) -> Pick {
    let chains = [chain(prompt)];
    let request = Request {
        model: MODEL,
        chains: &chains,
        stream: true,
        ..Request::default()
    };
    fleet
        .pick(&request, now, &mut rng())
        .expect("an endpoint is ready")
}

pub(crate) fn complete(fleet: &Fleet, mut pick: Pick, usage: Option<Usage>, now: Duration) {
    fleet.first_byte(&mut pick.reservation, now);
    fleet.finish(
        pick.reservation,
        Outcome {
            end: End::Complete { status: 200 },
            usage,
        },
        now,
    );
}

/// Sends, completes, and says where it went.
pub(crate) fn send(fleet: &Fleet, prompt: &str, now: Duration) -> String {
    let pick = pick(fleet, prompt, now);
    let name = name(fleet, pick.reservation.slot);
    complete(fleet, pick, None, now + at(50));
    name
}
