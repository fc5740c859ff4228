//! How many leading tokens of a prompt does each slot hold, asked from any thread?

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::event::TIERS;
use super::{EngineHash, ExactMatches, Tier, TierTokens, TokenChain, TokenHasher, TokenPrompt};
use crate::{BlockHash, HashSeed, Slot};

/// Bounds of an index.
#[derive(Clone, Copy, Debug)]
pub struct ExactConfig {
    /// Memory cap over all slots, bytes. Blocks beyond it are left out and counted.
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

/// What the index holds and has been through.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExactStats {
    /// (slot, block) pairs held, each tier on its own.
    pub held_blocks: u64,
    /// Blocks held by at least one slot.
    pub distinct_blocks: u64,
    /// Runs they are kept in.
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
    /// From the engine's writing of a message to its being applied, the last one and the worst of late; `None` where
    /// the wire has no times.
    pub lag: Option<Duration>,
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
#[derive(Clone, Debug)]
pub struct Sent {
    pub(crate) slot: Slot,
    pub(crate) ticket: u64,
}

/// The readers' side; cloning copies a pointer.
#[derive(Clone)]
pub struct ExactIndex {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Default)]
pub(crate) struct SlotState {
    pub(crate) blocks: HashMap<EngineHash, (BlockHash, u32, [u32; TIERS])>,
    pub(crate) stats: ExactSlotStats,
}

pub(crate) struct Shared {
    pub(crate) config: ExactConfig,
    pub(crate) hasher: TokenHasher,
    pub(crate) sizes: RwLock<Vec<u32>>,
    pub(crate) slots: RwLock<HashMap<Slot, SlotState>>,
    pub(crate) sent: RwLock<Vec<(u64, Slot, TokenChain)>>,
}

impl ExactIndex {
    pub(crate) fn new(config: ExactConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                hasher: TokenHasher::new(config.seed),
                sizes: RwLock::default(),
                slots: RwLock::default(),
                sent: RwLock::default(),
            }),
        }
    }

    /// Hashes a prompt for every block size that some slot has now.
    pub fn chain(&self, prompt: &TokenPrompt<'_>) -> TokenChain {
        self.shared.hasher.chain(prompt, &self.shared.sizes.read())
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
            let blocks = &sized.blocks[..sized.blocks.len().min(usable as usize)];
            for (slot, state) in self.shared.slots.read().iter() {
                let held: HashMap<BlockHash, usize> = state
                    .blocks
                    .values()
                    .filter_map(|(hash, _, counts)| {
                        Some((*hash, counts.iter().position(|count| *count > 0)?))
                    })
                    .collect();
                let mut tokens = TierTokens::default();
                for tier in blocks.iter().map_while(|block| held.get(block)) {
                    tokens.by_tier[*tier] += sized.block_size_tokens;
                }
                out.raise(*slot, tokens);
            }
            for (_, slot, sent) in self.shared.sent.read().iter() {
                let theirs = sent.blocks(sized.block_size_tokens);
                let common = theirs
                    .iter()
                    .zip(blocks)
                    .take_while(|(a, b)| a == b)
                    .count();
                let mut tokens = TierTokens::default();
                tokens.by_tier[Tier::Gpu.index()] = common as u32 * sized.block_size_tokens;
                out.raise(*slot, tokens);
            }
        }
    }

    /// A request with this prompt is on its way to `slot`: its blocks count as held from now on.
    pub fn send(&self, slot: Slot, chain: &TokenChain, now: Duration) -> Sent {
        let mut sent = self.shared.sent.write();
        let ticket = now.as_nanos() as u64 ^ (sent.len() as u64) << 48;
        sent.push((ticket, slot, chain.clone()));
        Sent { slot, ticket }
    }

    /// Its first byte came: events about its blocks are due.
    pub fn first_byte(&self, _sent: &Sent, _now: Duration) {}

    /// It failed before its first byte: its blocks are not expected any more.
    pub fn forget(&self, sent: &Sent) {
        self.shared
            .sent
            .write()
            .retain(|(ticket, slot, _)| (*ticket, *slot) != (sent.ticket, sent.slot));
    }

    /// Ends expectations whose time is up; call every 100 ms or so.
    pub fn expire(&self, _now: Duration) {}

    /// What is held now, over all slots.
    pub fn stats(&self) -> ExactStats {
        ExactStats::default()
    }

    /// What one slot's messages came to; `None` for a slot that is not open.
    pub fn slot_stats(&self, slot: Slot) -> Option<ExactSlotStats> {
        self.shared.slots.read().get(&slot).map(|state| state.stats)
    }
}
