//! Which prefixes did we send where, and what of it is probably still cached?

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{RwLockReadGuard, RwLockWriteGuard};

use crate::lanes::{LaneId, Lanes, Standing};
use crate::recent::Ticket;
use crate::search;
use crate::writer::{Op, Shared};
use crate::{Chain, Matches, Slot};

/// Bounds of an index.
#[derive(Clone, Copy, Debug)]
pub struct IndexConfig {
    /// Memory cap over all slots, bytes: three quarters for what is held, an eighth each for placements in
    /// flight and queued operations. Some 300 KiB of fixed tables come on top.
    pub max_bytes: usize,
    /// Blocks a slot may hold before its capacity is known.
    pub default_capacity_blocks: u32,
    /// Operations the writer may be behind; more are dropped and counted.
    pub queue_ops: usize,
}

/// What an index holds and has been through.
#[derive(Clone, Copy, Debug, Default)]
pub struct IndexStats {
    /// (slot, block) pairs held, placements in flight not counted.
    pub held_blocks: u64,
    /// Upper bound of the memory in use, bytes.
    pub approximate_bytes: u64,
    /// Pairs that went because a slot's capacity or the memory cap was reached, ever.
    pub evicted_blocks: u64,
    /// Operations that found the queue full, ever.
    pub dropped_ops: u64,
    /// Operations the writer is behind.
    pub pending_ops: u64,
}

/// One prompt sent to one slot: visible to lookups from the moment it is made; confirmed at first byte,
/// dropped on failure.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Where it went.
    pub slot: Slot,
    /// What went there.
    pub chain: Chain,
    /// `None` if the slot was stale when it was placed.
    lane: Option<LaneId>,
    ticket: Ticket,
}

/// Remembers what was sent where; see the [crate] documentation for what that tells.
pub struct ApproximateIndex {
    shared: Shared,
    dropped_ops: AtomicU64,
}

impl ApproximateIndex {
    /// An index that holds nothing.
    pub fn new(config: IndexConfig) -> Self {
        Self {
            shared: Shared::new(config),
            dropped_ops: AtomicU64::new(0),
        }
    }

    /// Adds to `out`, per slot, the leading run of `chain` it holds. Never blocks on the writer.
    ///
    /// Allocates nothing once `out` has been used with as many slots.
    pub fn lookup(&self, chain: &Chain, out: &mut Matches) {
        let mut scratch = std::mem::take(&mut out.scratch);
        let lanes = self.shared.lanes.read();
        scratch.reset(lanes.lanes.len());
        // Recent ones first: on their way to the store they are in both, never in neither.
        self.shared.recent.raise_runs(chain, &mut scratch.runs);
        search::raise_runs(&self.shared.store, &chain.marks, &mut scratch);
        for (lane, run) in lanes.lanes.iter().zip(&scratch.runs) {
            match lane.slot {
                Some(slot) if *run > 0 => {
                    let blocks = chain.covered(*run as usize) as u32;
                    out.add(slot, lane.capacity_blocks.min(blocks));
                }
                _ => {}
            }
        }
        drop(lanes);
        out.scratch = scratch;
    }

    /// Leading blocks of `chain` that `slot` holds; 0 for a stale slot.
    pub fn matched_prefix_of(&self, slot: Slot, chain: &Chain) -> u32 {
        let lanes = self.shared.lanes.read();
        let Some(lane) = lanes.current(slot) else {
            return 0;
        };
        let at = usize::from(lane.index);
        let placed = self.shared.recent.run_of(chain, lane.index);
        let held = search::run_of(&self.shared.store, &chain.marks, lane.index);
        let blocks = chain.covered(held.max(placed) as usize) as u32;
        blocks.min(lanes.lanes[at].capacity_blocks)
    }

    /// Records that `chain` is on its way to `slot`. Visible to the next lookup on any thread.
    ///
    /// Every placement ends in [`confirm`](Self::confirm) or [`forget`](Self::forget); one that does not is
    /// forgotten when 16,384 younger ones, or an eighth of the memory cap, came after it.
    pub fn place(&self, slot: Slot, chain: &Chain) -> Placement {
        let (lane, ticket) = match self.open(slot) {
            // Under the lanes' lock, so that no clear comes in between.
            Some((_lanes, lane)) => (Some(lane), self.shared.recent.add(lane.index, chain)),
            None => (None, 0),
        };
        Placement {
            slot,
            chain: chain.clone(),
            lane,
            ticket,
        }
    }

    /// The engine answered: the blocks are there.
    ///
    /// With the queue full this is dropped and counted, and the blocks are unknown from then on.
    pub fn confirm(&self, placement: Placement) {
        let Placement {
            chain,
            lane: Some(lane),
            ticket,
            ..
        } = placement
        else {
            return;
        };
        if chain.is_empty() || !self.shared.lanes.read().is_live(lane) {
            return;
        }
        self.shared.recent.confirm(ticket, &chain);
        if let Err(Op::Hold { chain, .. }) = self.shared.push(Op::Hold {
            lane,
            chain,
            ticket,
        }) {
            self.dropped_ops.fetch_add(1, Ordering::Relaxed);
            self.shared.recent.remove(ticket, &chain);
        }
    }

    /// The request failed before its first byte: the blocks that only this placement vouched for go.
    ///
    /// At once; what another placement vouches for, or was confirmed before, stays.
    pub fn forget(&self, placement: Placement) {
        self.shared
            .recent
            .forget(placement.ticket, &placement.chain);
    }

    /// The engine reported holding only the first `keep_blocks` of `chain`: what lies beyond the last mark within
    /// them goes.
    ///
    /// So does everything else the slot holds that begins with the first of those. Takes effect when the
    /// writer comes to it; placements still without a first byte keep vouching for their blocks.
    pub fn cut(&self, slot: Slot, chain: &Chain, keep_blocks: u32) {
        let depth = chain.marks_within(keep_blocks as usize);
        let Some(first_gone) = chain.marks.get(depth).copied() else {
            return;
        };
        let Some(lane) = self.shared.lanes.read().current(slot) else {
            return;
        };
        self.shared.recent.cut(lane.index, chain, depth);
        let Err(op) = self.shared.push(Op::Cut {
            lane,
            first_gone,
            depth,
        }) else {
            return;
        };
        // A cut that is lost leaves blocks that are not there: make room for it, if nobody else is at it.
        self.shared.apply_pending(1);
        if self.shared.push(op).is_err() {
            self.dropped_ops.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The engine's real cache size, in canonical blocks.
    ///
    /// Lookups report no more than this at once; the writer evicts down to it at its next step. Stays until
    /// another generation comes to the slot.
    pub fn set_capacity(&self, slot: Slot, blocks: u32) {
        if self.shared.lanes.write().set_capacity(slot, blocks) {
            self.shared.set_chores();
        }
    }

    /// The endpoint restarted or left: everything it held is gone before this returns.
    ///
    /// Its memory comes back as the writer gets to it. Placements made before no longer count, whatever
    /// becomes of them. Nothing happens if a newer generation lives in the slot.
    pub fn clear(&self, slot: Slot) {
        self.shared.lanes.write().clear(slot);
        self.shared.set_chores();
    }

    /// Applies queued operations, at most `limit`; returns how many. One caller at a time does the work,
    /// others return 0 at once.
    ///
    /// Sweeping up behind a clear counts as operations too, so 0 to the only caller means nothing is left. An
    /// operation takes some 0.4 µs per mark of its prompt, up to half a millisecond for the longest: not for a thread that
    /// others wait for.
    pub fn apply_pending(&self, limit: usize) -> usize {
        self.shared.apply_pending(limit)
    }

    /// What to call when there is work again after [`ApproximateIndex::arm`]; it is called on the thread that has the
    /// work, a request's for instance, and must not wait. The last one set counts.
    pub fn on_work(&self, ring: impl Fn() + Send + Sync + 'static) {
        self.shared.bell.set(Box::new(ring));
    }

    /// Asks to be called, once, when there is something to apply; false if there is already, and nobody need wait.
    pub fn arm(&self) -> bool {
        self.shared.bell.arm();
        self.shared.is_idle()
    }

    /// Calls whoever waits for work here: there is some beside this index.
    pub fn ring(&self) {
        self.shared.bell.ring();
    }

    /// What is held now. Takes a walk over all slots.
    pub fn stats(&self) -> IndexStats {
        let shared = &self.shared;
        let lanes = shared.lanes.read();
        let live = lanes.lanes.iter().filter(|lane| lane.slot.is_some());
        let held_blocks = live
            .map(|lane| u64::from(lane.held_blocks.load(Ordering::Relaxed)))
            .sum();
        let in_flight = shared.recent.bytes() + shared.queued_bytes.load(Ordering::Relaxed);
        let held_bytes = shared.store.bytes() + shared.log_bytes.load(Ordering::Relaxed);
        IndexStats {
            held_blocks,
            approximate_bytes: (held_bytes + in_flight) as u64,
            evicted_blocks: shared.evicted_blocks.load(Ordering::Relaxed),
            dropped_ops: self.dropped_ops.load(Ordering::Relaxed),
            pending_ops: shared.queue.len() as u64,
        }
    }

    /// The lane of `slot`, opened if need be, with the lock under which it stays its lane.
    fn open(&self, slot: Slot) -> Option<(RwLockReadGuard<'_, Lanes>, LaneId)> {
        let lanes = self.shared.lanes.read();
        match lanes.standing(slot) {
            Standing::Current(lane) => return Some((lanes, lane)),
            Standing::Stale => return None,
            Standing::Vacant => drop(lanes),
        }
        let mut lanes = self.shared.lanes.write();
        let lane = lanes.open(slot, self.shared.config.default_capacity_blocks)?;
        // It may have taken the place of an older generation.
        self.shared.set_chores();
        Some((RwLockWriteGuard::downgrade(lanes), lane))
    }
}
