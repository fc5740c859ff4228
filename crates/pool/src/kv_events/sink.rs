//! How does a batch as it came over the wire become what the index takes?

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine_api::kv_events::{Batch, CacheKind, ExtraKey, KvEvent, Medium, Stored};
use fleet::{Event, KvMode};
use kv_index::exact::{self, Applied, EngineHash, KvBatch, KvBlockEvent, Tier};
use parking_lot::Mutex;

use super::follower::Sink;
use super::state::State;
use crate::watched::Watched;

/// Groups of blocks that are remembered as of no use for prefixes; models have a handful.
const MAX_GROUPS: usize = 64;

/// Clocks further apart than this say nothing about how late a batch is.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The fleet, as one endpoint's messages see it.
pub(super) struct FleetSink<'a> {
    pub(super) endpoint: &'a Watched,
    /// Groups whose blocks do not make prefixes usable; engines say which only when they store.
    partial_groups: Mutex<Vec<u32>>,
}

impl<'a> FleetSink<'a> {
    pub(super) fn new(endpoint: &'a Watched) -> Self {
        Self {
            endpoint,
            partial_groups: Mutex::default(),
        }
    }

    pub(super) fn tell(&self, state: &State) {
        let mode = match state.is_exact() {
            true => KvMode::Exact,
            false => KvMode::stale(state.why.name(), &state.reason),
        };
        self.endpoint.shared.apply(Event::KvMode {
            slot: self.endpoint.slot,
            mode,
        });
    }

    /// Whether an event is about blocks that make a prefix usable.
    fn counts(&self, event: &KvEvent) -> bool {
        let mut partial = self.partial_groups.lock();
        match event {
            KvEvent::Stored(stored) if stored.kind == CacheKind::Partial => {
                if !partial.contains(&stored.group) && partial.len() < MAX_GROUPS {
                    partial.push(stored.group);
                }
                false
            }
            KvEvent::Stored(stored) => stored.medium != Medium::Other,
            KvEvent::Removed(removed) => {
                removed.medium != Medium::Other && !partial.contains(&removed.group)
            }
            KvEvent::Cleared => true,
        }
    }
}

impl Sink for FleetSink<'_> {
    fn apply(&self, batch: &Batch, sequence: u64, replay: bool) -> Applied {
        let kept: Vec<&KvEvent> = batch
            .events
            .iter()
            .filter(|event| self.counts(event))
            .collect();
        let held: Vec<Held<'_>> = kept.iter().map(|event| Held::of(event)).collect();
        let events: Vec<_> = kept
            .iter()
            .zip(&held)
            .map(|(event, held)| held.event(event))
            .collect();
        let batch = KvBatch {
            sequence: Some(sequence),
            replay,
            events: &events,
            age: if replay { None } else { age(batch.timestamp_s) },
        };
        let shared = &self.endpoint.shared;
        shared
            .fleet
            .apply_kv(self.endpoint.slot, &batch, shared.clock.now())
    }

    fn clear(&self) {
        self.endpoint.shared.fleet.clear_kv(self.endpoint.slot);
    }

    fn lost(&self, state: &State) {
        self.tell(state);
    }

    fn sequence(&self) -> Option<u64> {
        let exact = self.endpoint.shared.fleet.exact();
        exact.slot_stats(self.endpoint.slot)?.sequence
    }

    fn block_size_tokens(&self) -> Option<u32> {
        self.endpoint.figures.block_size_tokens()
    }

    fn num_blocks(&self) -> Option<u64> {
        self.endpoint.figures.num_blocks()
    }
}

/// What the index borrows, in its own shapes.
struct Held<'a> {
    hashes: Vec<EngineHash>,
    extra_keys: Vec<Vec<exact::ExtraKey<'a>>>,
}

impl<'a> Held<'a> {
    fn of(event: &'a KvEvent) -> Self {
        let hashes = match event {
            KvEvent::Stored(stored) => stored.block_hashes.as_slice(),
            KvEvent::Removed(removed) => removed.block_hashes.as_slice(),
            KvEvent::Cleared => &[],
        };
        Self {
            hashes: hashes.iter().map(|hash| EngineHash(hash.0)).collect(),
            extra_keys: match event {
                KvEvent::Stored(stored) => extra_keys(stored),
                _ => Vec::new(),
            },
        }
    }

    fn event<'b>(&'b self, event: &'b KvEvent) -> KvBlockEvent<'b> {
        match event {
            KvEvent::Cleared => KvBlockEvent::Cleared,
            KvEvent::Removed(removed) => KvBlockEvent::Removed {
                block_hashes: &self.hashes,
                tier: tier(removed.medium),
            },
            KvEvent::Stored(stored) => KvBlockEvent::Stored {
                block_hashes: &self.hashes,
                parent: stored.parent.map(|hash| EngineHash(hash.0)),
                token_ids: &stored.token_ids,
                block_size_tokens: stored.block_size_tokens,
                lora: stored.lora_name.as_deref(),
                extra_keys: &self.extra_keys,
                tier: tier(stored.medium),
            },
        }
    }
}

/// One list for each block, or none at all.
fn extra_keys(stored: &Stored) -> Vec<Vec<exact::ExtraKey<'_>>> {
    if stored.extra_keys.iter().all(Vec::is_empty) {
        return Vec::new();
    }
    let blocks = stored.block_hashes.len();
    let mut keys: Vec<Vec<_>> = stored
        .extra_keys
        .iter()
        .take(blocks)
        .map(|keys| keys.iter().map(extra_key).collect())
        .collect();
    keys.resize_with(blocks, Vec::new);
    keys
}

fn extra_key(key: &ExtraKey) -> exact::ExtraKey<'_> {
    match key {
        ExtraKey::Text(text) => exact::ExtraKey::Text(text),
        ExtraKey::Media {
            hash,
            offset_tokens,
        } => exact::ExtraKey::Media {
            hash,
            offset_tokens: *offset_tokens,
        },
    }
}

fn tier(medium: Medium) -> Tier {
    match medium {
        Medium::Cpu => Tier::Cpu,
        Medium::Disk | Medium::Other => Tier::Disk,
        Medium::Gpu => Tier::Gpu,
    }
}

/// Time since the engine wrote a batch, by its clock and ours.
fn age(timestamp_s: f64) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let written = Duration::try_from_secs_f64(timestamp_s).ok()?;
    now.checked_sub(written).filter(|age| *age <= MAX_AGE)
}

/// What an engine's metrics said last, as far as its events are judged by it.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<Seen>);

/// One look at [`Figures`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(super) block_size_tokens: Option<u32>,
    pub(super) num_blocks: Option<u32>,
    /// Prompt tokens that were not found in the cache, since the engine's start.
    pub(crate) computed_tokens: Option<f64>,
    /// Good scrapes so far.
    pub(super) scrapes: u64,
}

impl Figures {
    /// A scrape ended well.
    pub(crate) fn store(&self, metrics: &engine_api::metrics::EngineMetrics) {
        let mut seen = self.0.lock();
        seen.block_size_tokens = metrics.block_size_tokens.filter(|size| *size > 0);
        seen.num_blocks = metrics.num_blocks.filter(|blocks| *blocks > 0);
        let queries = metrics
            .prefix_queries_tokens
            .zip(metrics.prefix_hits_tokens);
        seen.computed_tokens = queries.map(|(queries, hits)| queries - hits);
        seen.scrapes += 1;
    }

    pub(crate) fn look(&self) -> Seen {
        *self.0.lock()
    }

    pub(super) fn block_size_tokens(&self) -> Option<u32> {
        self.0.lock().block_size_tokens
    }

    fn num_blocks(&self) -> Option<u64> {
        self.0.lock().num_blocks.map(u64::from)
    }
}

/// Where connections that engines made to us wait for their endpoint.
pub(crate) type Inbox = Arc<Mutex<Option<super::socket::Connection>>>;
