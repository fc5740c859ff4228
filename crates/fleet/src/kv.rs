//! By whose word do we know what an endpoint holds?

use std::sync::Arc;
use std::time::Duration;

use kv_index::Slot;
use kv_index::exact::{Applied, BatchOutcome, ExactIndex, ExactSlotStats, KvBatch, Tier};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Fleet;

/// What matches at an endpoint rest on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KvMode {
    /// Our own routing history; no events are expected from it.
    #[default]
    Approximate,
    /// Its engine's events, without a gap.
    Exact,
    /// Events are expected but cannot be relied on now: our own routing history stands in.
    Stale {
        /// One word for it, for metrics and rules.
        cause: &'static str,
        /// The same for an operator, with figures and what to do.
        reason: Arc<str>,
    },
}

impl KvMode {
    /// Stale for that reason, in one word and in full.
    pub fn stale(cause: &'static str, reason: impl AsRef<str>) -> Self {
        Self::Stale {
            cause,
            reason: Arc::from(reason.as_ref()),
        }
    }

    /// Lower-case name, for metrics and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Approximate => "approximate",
            Self::Exact => "exact",
            Self::Stale { .. } => "stale",
        }
    }

    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Exact)
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Stale { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Why it is stale, in one word.
    pub fn cause(&self) -> Option<&'static str> {
        match self {
            Self::Stale { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// One endpoint's events, for `/admin/state`, `explain` and metrics.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct KvReport {
    /// `exact`, `approximate`, `stale`
    pub mode: String,
    /// Why it is stale, in one word: `silent`, `gap`, `disconnected`, …
    #[serde(default)]
    pub cause: Option<String>,
    /// Why it is stale, with figures and what to do.
    pub reason: Option<String>,
    /// Blocks its engine says it holds, of the engine's own size.
    pub gpu_blocks: u64,
    pub cpu_blocks: u64,
    pub disk_blocks: u64,
    /// Of the last message applied.
    pub sequence: Option<u64>,
    pub last_event_age_ms: Option<u64>,
    /// From the engine's writing of a message to its being applied: the last one, and the worst so far.
    pub lag_ms: Option<f64>,
    pub worst_lag_ms: Option<f64>,
    pub batches: u64,
    pub stored_blocks: u64,
    pub removed_blocks: u64,
    /// Blocks left out because the block before them is not known.
    pub orphan_blocks: u64,
    pub unknown_removals: u64,
    pub malformed_events: u64,
    /// Blocks left out because the memory cap was reached.
    pub refused_blocks: u64,
    /// New processes seen by their sequence starting again.
    pub restarts: u64,
}

impl KvReport {
    pub(crate) fn of(mode: &KvMode, stats: Option<ExactSlotStats>, now: Duration) -> Self {
        let stats = stats.unwrap_or_default();
        let ms = |lag: Duration| lag.as_secs_f64() * 1_000.0;
        let age_ms =
            |at: Duration| u64::try_from(now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX);
        Self {
            mode: mode.name().to_owned(),
            cause: mode.cause().map(str::to_owned),
            reason: mode.reason().map(str::to_owned),
            gpu_blocks: stats.held_blocks[Tier::Gpu.index()],
            cpu_blocks: stats.held_blocks[Tier::Cpu.index()],
            disk_blocks: stats.held_blocks[Tier::Disk.index()],
            sequence: stats.sequence,
            last_event_age_ms: stats.applied_at.map(age_ms),
            lag_ms: stats.lag.map(ms),
            worst_lag_ms: stats.worst_lag.map(ms),
            batches: stats.batches,
            stored_blocks: stats.stored_blocks,
            removed_blocks: stats.removed_blocks,
            orphan_blocks: stats.orphan_blocks,
            unknown_removals: stats.unknown_removals,
            malformed_events: stats.malformed_events,
            refused_blocks: stats.refused_blocks,
            restarts: stats.restarts,
        }
    }
}

impl Fleet {
    /// The exact index, for hashing a tokenized prompt ([`ExactIndex::chain`]) into
    /// [`crate::Request::token_chains`].
    pub fn exact(&self) -> &ExactIndex {
        &self.exact
    }

    /// What matches at `slot` rest on; `None` once it has left.
    pub fn kv_mode(&self, slot: Slot) -> Option<KvMode> {
        self.view
            .load()
            .get(slot)
            .map(|endpoint| endpoint.kv_mode.clone())
    }

    /// Takes in one message of an engine's cache events. Messages of one slot must come in order;
    /// of several slots from any thread, one after the other.
    ///
    /// The mode is not changed by it, but for an endpoint whose blocks the index has no more room for: that one is
    /// stale from then on. Say [`crate::Event::KvMode`] when messages are complete, and when they no longer are.
    pub fn apply_kv(&self, slot: Slot, batch: &KvBatch<'_>, now: Duration) -> Applied {
        if self.view.load().get(slot).is_none() {
            return Applied {
                outcome: BatchOutcome::NoSlot,
                ..Applied::default()
            };
        }
        let applied = self.exact_writer.lock().apply(slot, batch, now);
        if applied.refused_blocks > 0 {
            self.clear_kv(slot);
            let reason = "its blocks do not fit into the index's memory cap (index_max_bytes)";
            self.set_kv_mode(slot, KvMode::stale("no_room", reason), now);
        }
        applied
    }

    /// Drops what an endpoint's events told: some are missing, or another process sends them. The next message may have
    /// any sequence.
    pub fn clear_kv(&self, slot: Slot) {
        self.exact_writer.lock().clear(slot);
        // Its memory comes back as the writer sweeps it.
        self.index.ring();
    }

    pub(crate) fn set_kv_mode(&self, slot: Slot, mode: KvMode, now: Duration) {
        let Some(block_size_tokens) = self
            .view
            .load()
            .get(slot)
            .map(|e| e.state.block_size_tokens())
        else {
            return;
        };
        match &mode {
            KvMode::Exact => self.exact_writer.lock().open(slot, block_size_tokens),
            KvMode::Approximate => self.clear_kv(slot),
            // What is told from now on is kept: it counts once it is complete, and a connection that comes back may
            // go on where it broke off.
            KvMode::Stale { .. } => {}
        }
        self.edit(slot, now, |member| {
            std::mem::replace(&mut member.kv_mode, mode.clone()) != mode
        });
    }
}
