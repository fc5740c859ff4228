//! Which rules does the field route by?
//!
//! One file each, written from its published description, with the source. They are for comparison: each keeps to what
//! its original knows (raw metrics as last scraped, its own counts, its own idea of caches) and to its defaults. Bounds are
//! not rules: they look at what no router can know.

mod affinity_load;
mod bounds;
mod consistent_hash;
mod dynamo_cost;
mod least_requests;
mod llm_d_default;
mod llm_d_memory;
mod llm_d_precise;
mod memory;
mod power_of_two;
mod random;
mod round_robin;
mod threshold;

pub(crate) use bounds::INFINITE_SHARED_CACHE;

use std::time::Duration;

use engine::model::CacheEvent;
use rand::rngs::SmallRng;

use super::clock::Replica;
use super::replicas::Replicas;
use super::router::{Ask, Choice, Gauges};
use memory::Told;

/// What a rule's router has seen of one replica.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Our requests there.
    pub(crate) in_flight: u64,
    /// Their prompt tokens not believed cached, until their end.
    pub(crate) in_flight_uncached_tokens: u64,
    /// The same, until their first token.
    pub(crate) queued_tokens: u64,
    /// Their whole prompts, until their end.
    pub(crate) context_tokens: u64,
    /// The last metrics page, as it was.
    pub(crate) page: Gauges,
}

/// What a rule's router has seen of the fleet.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) replicas: Vec<Seen>,
}

impl Sight {
    pub(crate) fn len(&self) -> usize {
        self.replicas.len()
    }
}

/// Chooses a replica.
pub(crate) trait Rule: Send {
    fn choose(
        &mut self,
        ask: &Ask<'_>,
        sight: &Sight,
        truth: &Replicas,
        now: Duration,
        rng: &mut SmallRng,
    ) -> Choice;

    fn wants_blocks(&self) -> bool {
        false
    }

    /// What the engines' cache events have told it, where it listens to them.
    fn told(&self) -> Option<&Told> {
        None
    }

    fn told_mut(&mut self) -> Option<&mut Told> {
        None
    }

    fn wants_names(&self) -> bool {
        self.told().is_some()
    }

    fn wants_cache_events(&self) -> bool {
        self.told().is_some()
    }

    fn cache_events(&mut self, replica: Replica, events: &[CacheEvent]) {
        if let Some(told) = self.told_mut() {
            told.events(replica, events);
        }
    }

    /// Blocks it remembers, and how many it may.
    fn index(&self) -> (u64, u64) {
        self.told().map_or((0, 0), Told::size)
    }
}

/// A rule or a bound, as the command line knows it.
pub(crate) struct Known {
    pub(crate) name: &'static str,
    /// Looks at what no router can know.
    pub(crate) bound: bool,
    /// What it does, and where that is written.
    pub(crate) summary: &'static str,
    pub(crate) make: fn(replicas: usize, seed: u64) -> Box<dyn Rule>,
}

/// Every rule and bound.
pub(crate) static RULES: &[Known] = &[
    round_robin::KNOWN,
    random::KNOWN,
    least_requests::KNOWN,
    power_of_two::KNOWN,
    consistent_hash::SESSION,
    consistent_hash::SECOND_BLOCK,
    threshold::KNOWN,
    llm_d_default::KNOWN,
    llm_d_default::LOAD_ONLY,
    llm_d_precise::KNOWN,
    affinity_load::KNOWN,
    dynamo_cost::KNOWN,
    bounds::INFINITE_SHARED_CACHE,
    bounds::ORACLE,
];

/// A choice that foresees nothing of the cache.
pub(crate) fn plain(replica: Replica) -> Choice {
    Choice {
        replica,
        predicted_tokens: 0,
        external_tokens: 0,
    }
}

/// The index of the lowest cost; ties by chance.
pub(crate) fn lowest(costs: impl Iterator<Item = f64>, rng: &mut SmallRng) -> Replica {
    use rand::Rng;
    let (mut best, mut least, mut ties) = (0, f64::INFINITY, 0u32);
    for (replica, cost) in costs.enumerate() {
        if cost < least {
            (best, least, ties) = (replica, cost, 1);
        } else if cost == least {
            // Each of n equal ones ends up chosen with chance 1/n.
            ties += 1;
            if rng.random_range(0..ties) == 0 {
                best = replica;
            }
        }
    }
    best
}
