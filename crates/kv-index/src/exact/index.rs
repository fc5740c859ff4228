//! How many leading tokens of a prompt does each slot hold, asked from any thread?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use super::event::TIERS;
use super::expected::Expected;
use super::lanes::Lanes;
use super::lookup::{leading_runs, tiered_runs};
use super::runs::{Lane, Runs};
use super::tokens::SizedChain;
use super::{ExactMatches, Tier, TierTokens, TokenChain, TokenHasher, TokenPrompt};
use crate::recent::Ticket;
use crate::{HashSeed, Slot};

/// Times a lookup begins anew because a lane changed hands under it.
const LOOKUPS_AT_MOST: usize = 4;

/// Bounds of an index.
#[derive(Clone, Copy, Debug)]
pub struct ExactConfig {
    /// Memory cap over all slots, bytes. Blocks beyond it are left out and counted. Some 200 KiB of fixed tables come
    /// on top.
    pub max_bytes: usize,
    /// Key of all hashes.
    pub seed: HashSeed,
    /// How long blocks that a request will store are believed in after its first byte while no event speaks of them.
    pub confirm_within: Duration,
    /// How long they are believed in without a first byte.
    pub start_within: Duration,
}

impl Default for ExactConfig {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            seed: HashSeed(0),
            confirm_within: Duration::from_secs(2),
            start_within: Duration::from_secs(120),
        }
    }
}

/// What the index holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExactStats {
    /// (slot, block) pairs held, each tier on its own.
    pub held_blocks: u64,
    /// Blocks held by at least one slot, and those before them in their stretch.
    pub distinct_blocks: u64,
    /// Stretches of consecutive blocks they are kept in.
    pub runs: u64,
    /// Memory in use, bytes.
    pub bytes: u64,
    /// Requests whose blocks are expected but not confirmed.
    pub expected_requests: u64,
}

/// What one slot's messages came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExactSlotStats {
    /// Blocks held, by [`Tier::index`].
    pub held_blocks: [u64; TIERS],
    /// Sequence of the last message applied.
    pub sequence: Option<u64>,
    /// When the last message was applied.
    pub applied_at: Option<Duration>,
    /// From the engine's writing of a message to its being applied: the last one; `None` where the wire has no times.
    pub lag: Option<Duration>,
    /// The same, the worst so far.
    pub worst_lag: Option<Duration>,
    pub batches: u64,
    pub stored_blocks: u64,
    pub removed_blocks: u64,
    pub orphan_blocks: u64,
    pub unknown_removals: u64,
    pub malformed_events: u64,
    pub refused_blocks: u64,
    pub restarts: u64,
}

/// Blocks that a request under way will store. Ends in [`ExactIndex::forget`], in events, or in time.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    tickets: Vec<Ticket>,
}

/// The readers' side; cloning copies a pointer.
#[derive(Clone)]
pub struct ExactIndex {
    pub(crate) shared: Arc<Shared>,
}

/// Everything that readers and the writer have in common.
pub(crate) struct Shared {
    pub(crate) config: ExactConfig,
    pub(crate) hasher: TokenHasher,
    /// Block sizes of live slots.
    pub(crate) sizes: ArcSwap<Vec<u32>>,
    pub(crate) runs: Runs,
    pub(crate) lanes: Lanes,
    /// Times a lane was given to another tenancy.
    pub(crate) reuses: AtomicU64,
    pub(crate) expected: Expected,
    /// First lane and figures of each open slot.
    pub(crate) open: RwLock<HashMap<Slot, Arc<OpenSlot>>>,
    /// Bytes of the writer's maps.
    pub(crate) map_bytes: AtomicUsize,
}

pub(crate) struct OpenSlot {
    pub(crate) lane: AtomicU64,
    pub(crate) stats: Mutex<ExactSlotStats>,
}

impl Shared {
    /// Memory in use, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.runs.bytes() + self.map_bytes.load(Relaxed) + self.expected.bytes()
    }
}

impl ExactIndex {
    pub(crate) fn new(config: ExactConfig) -> Self {
        let expected_bytes = config.max_bytes / 16;
        Self {
            shared: Arc::new(Shared {
                config,
                hasher: TokenHasher::new(config.seed),
                sizes: ArcSwap::default(),
                runs: Runs::new(config.max_bytes - expected_bytes),
                lanes: Lanes::new(),
                reuses: AtomicU64::new(0),
                expected: Expected::new(expected_bytes),
                open: RwLock::default(),
                map_bytes: AtomicUsize::new(0),
            }),
        }
    }

    /// Hashes a prompt for every block size that some slot has now.
    pub fn chain(&self, prompt: &TokenPrompt<'_>) -> TokenChain {
        self.shared.hasher.chain(prompt, &self.shared.sizes.load())
    }

    /// Adds to `out`, per slot, the leading tokens of the prompt that an engine would reuse: whole blocks, and never
    /// the last token, which is always computed. What was sent and not yet confirmed counts as held.
    ///
    /// A request with several prompts calls this for each; they are summed. Never waits for the writer, allocates
    /// nothing once `out` has been used with as many slots.
    pub fn lookup(&self, chain: &TokenChain, out: &mut ExactMatches) {
        out.next_prompt();
        for sized in chain.sized.iter() {
            let usable = chain.tokens.saturating_sub(1) / sized.block_size_tokens.max(1);
            for _ in 0..LOOKUPS_AT_MOST {
                let reuses = self
                    .shared
                    .reuses
                    .load(std::sync::atomic::Ordering::Acquire);
                self.find(sized, usable, out);
                std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
                if self.shared.reuses.load(Relaxed) == reuses {
                    out.take_found();
                    break;
                }
            }
        }
    }

    /// Puts what is found for one block size, `usable` blocks of which count, into `out.found`.
    fn find(&self, sized: &SizedChain, usable: u32, out: &mut ExactMatches) {
        let shared = &*self.shared;
        let (scratch, found) = (&mut out.scratch, &mut out.found);
        let blocks = &sized.chain.marks[..sized.chain.marks.len().min(usable as usize)];
        scratch.reset(shared.lanes.len());
        found.clear();
        let tokens = |blocks: u32| blocks.min(usable) * sized.block_size_tokens;
        match shared.lanes.any_tiered() {
            false => leading_runs(&shared.runs, blocks, scratch),
            true => tiered_runs(&shared.runs, &shared.lanes, blocks, scratch),
        }
        for (tenancy, tiers) in &scratch.tiered {
            let by_tier = tiers.map(tokens);
            found.push((tenancy.slot, TierTokens { by_tier }));
        }
        let mut near = |lane: Lane, run: u32| {
            if let Some(tenancy) = shared.lanes.tenancy(lane) {
                let mut near = TierTokens::default();
                near.by_tier[Tier::Gpu.index()] = tokens(run);
                found.push((tenancy.slot, near));
            }
        };
        if shared.expected.open() > 0 {
            shared.expected.raise_runs(&sized.chain, &mut scratch.runs);
            for (lane, run) in scratch.runs.iter().enumerate().filter(|(_, run)| **run > 0) {
                near(lane as Lane, *run);
            }
            return;
        }
        for lane in &scratch.touched {
            near(*lane, scratch.runs[usize::from(*lane)]);
        }
    }

    /// A request with this prompt is on its way to `slot`: its blocks count as held from now on. Nothing happens for a
    /// slot that is not open, or that holds all of them already.
    pub fn send(&self, slot: Slot, chain: &TokenChain, now: Duration) -> Sent {
        let Some(open) = self.shared.open.read().get(&slot).cloned() else {
            return Sent::default();
        };
        let lane = open.lane.load(Relaxed) as Lane;
        let deadline = now + self.shared.config.start_within;
        let sized = chain.sized.iter().filter(|sized| !sized.chain.is_empty());
        let missing = sized.filter(|sized| !self.holds_all(lane, sized));
        Sent {
            tickets: missing
                .map(|sized| self.shared.expected.add(lane, &sized.chain, deadline))
                .collect(),
        }
    }

    fn holds_all(&self, lane: Lane, sized: &SizedChain) -> bool {
        let blocks = &sized.chain.marks;
        let (mut at, mut holders) = (0, Vec::new());
        while at < blocks.len() {
            let Some(seen) = self.shared.runs.read(&blocks[at..], &mut holders, None) else {
                return false;
            };
            let whole = |lead: u16| usize::from(lead) >= seen.blocks;
            if !holders.iter().any(|h| h.lane == lane && whole(h.lead)) {
                return false;
            }
            at += seen.blocks;
        }
        true
    }

    /// Its first byte came: events about its blocks are due.
    pub fn first_byte(&self, sent: &Sent, now: Duration) {
        let deadline = now + self.shared.config.confirm_within;
        for ticket in &sent.tickets {
            self.shared.expected.hasten(*ticket, deadline);
        }
    }

    /// It failed before its first byte: its blocks are not expected any more.
    pub fn forget(&self, sent: &Sent) {
        for ticket in &sent.tickets {
            self.shared.expected.forget(*ticket);
        }
    }

    /// Ends expectations whose time is up; call every 100 ms or so.
    pub fn expire(&self, now: Duration) {
        self.shared.expected.expire(now);
    }

    /// What is held now, over all slots.
    pub fn stats(&self) -> ExactStats {
        let shared = &self.shared;
        let (runs, distinct_blocks) = shared.runs.counts();
        let open = shared.open.read();
        let held = open.values().map(|slot| slot.stats.lock().held_blocks);
        ExactStats {
            held_blocks: held.flatten().sum(),
            distinct_blocks: distinct_blocks as u64,
            runs: runs as u64,
            bytes: shared.bytes() as u64,
            expected_requests: shared.expected.open() as u64,
        }
    }

    /// What one slot's messages came to; `None` for a slot that is not open.
    pub fn slot_stats(&self, slot: Slot) -> Option<ExactSlotStats> {
        let open = self.shared.open.read();
        open.get(&slot).map(|slot| *slot.stats.lock())
    }
}
