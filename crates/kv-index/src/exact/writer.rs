//! How do an engine's messages become what the index holds?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
    fence,
};
use std::time::Duration;

use parking_lot::Mutex;

use super::event::TIERS;
use super::index::OpenSlot;
use super::runs::Lane;
use super::store::Storing;
use super::tenant::{Cleared, Holdings, Tenant, name_key};
use super::{Applied, BatchOutcome, ExactIndex, ExactSlotStats, KvBatch, KvBlockEvent, Tier};
use crate::{BlockHash, Slot};

/// Block sizes in use at once, over all slots; prompts are hashed for each.
const SIZES_AT_MOST: usize = 8;
/// Two reports of a new process closer than this are one: other signs of it come later than its first message.
const ONE_RESTART: Duration = Duration::from_secs(30);

/// The one writer. Every call does its work before it returns; nothing that a reader does can
/// make it wait.
pub struct ExactWriter {
    index: ExactIndex,
    /// By slot index; the latest generation only.
    tenants: BTreeMap<usize, Box<Tenant>>,
    cleared: Cleared,
    free_lanes: Vec<Lane>,
    /// Spreads engines' names over maps.
    secret: u64,
    /// Hashes of an event's blocks, while some are expected.
    hashes: Vec<BlockHash>,
}

impl ExactWriter {
    pub(crate) fn new(index: ExactIndex) -> Self {
        Self {
            secret: index.shared.hasher.root(0, Some("names of engines")),
            index,
            tenants: BTreeMap::new(),
            cleared: Cleared::default(),
            free_lanes: Vec::new(),
            hashes: Vec::new(),
        }
    }

    /// The readers' side.
    pub fn index(&self) -> &ExactIndex {
        &self.index
    }

    /// Messages from `slot` are to be expected, with blocks of that size; prompts are hashed for it from now on.
    /// What an older generation held is dropped. Applying a message does the same without being told a size.
    pub fn open(&mut self, slot: Slot, block_size_tokens: u32) {
        if let Some(mut tenant) = self.take(slot) {
            self.know_size(&mut tenant, block_size_tokens);
            self.tenants.insert(slot.index(), tenant);
            self.publish_sizes();
        }
    }

    /// Applies one message; `now` is time since process start.
    pub fn apply(&mut self, slot: Slot, batch: &KvBatch<'_>, now: Duration) -> Applied {
        let mut applied = Applied::default();
        let Some(mut tenant) = self.take(slot) else {
            applied.outcome = BatchOutcome::NoSlot;
            return applied;
        };
        applied.outcome = outcome(tenant.stats.sequence, batch);
        match applied.outcome {
            BatchOutcome::Applied => {}
            BatchOutcome::Restarted => {
                tenant.stats.restarts += 1;
                self.empty(&mut tenant, Some(now));
            }
            _ => {
                self.tenants.insert(slot.index(), tenant);
                return applied;
            }
        }
        for event in batch.events {
            self.event(&mut tenant, event, &mut applied, now);
        }
        self.charge_tenant(&mut tenant);
        self.count(&mut tenant, batch, &applied, now);
        self.tenants.insert(slot.index(), tenant);
        applied
    }

    fn event(
        &mut self,
        tenant: &mut Tenant,
        event: &KvBlockEvent<'_>,
        applied: &mut Applied,
        now: Duration,
    ) {
        let done = match event {
            KvBlockEvent::Cleared => {
                self.empty(tenant, Some(now));
                Ok(())
            }
            KvBlockEvent::Removed { block_hashes, tier } => {
                block_hashes.iter().try_for_each(|name| {
                    self.remove(tenant, name_key(*name, self.secret), *tier, applied)
                })
            }
            KvBlockEvent::Stored {
                block_size_tokens, ..
            } => match self.size_is_fine(tenant, *block_size_tokens) {
                true => self.store(tenant, event, applied),
                false => {
                    applied.malformed_events += 1;
                    Ok(())
                }
            },
        };
        if done.is_err() {
            // What is left of it could not be kept in order: better nothing than something wrong.
            applied.refused_blocks += tenant.stats.held_blocks.iter().sum::<u64>().max(1);
            self.empty(tenant, None);
        }
    }

    fn store(
        &mut self,
        tenant: &mut Tenant,
        event: &KvBlockEvent<'_>,
        applied: &mut Applied,
    ) -> Result<(), super::runs::NoRoom> {
        let KvBlockEvent::Stored { tier, .. } = event else {
            return Ok(());
        };
        if tenant.holdings.lanes[tier.index()] == super::lanes::NO_LANE {
            let Some(lane) = self.lane() else {
                applied.malformed_events += 1;
                return Ok(());
            };
            tenant.holdings.lanes[tier.index()] = lane;
            let first = tenant.holdings.lanes[0];
            self.index.shared.lanes.add_tier(first, *tier, lane);
        }
        self.hashes.clear();
        let storing = Storing {
            shared: &self.index.shared,
            holdings: &mut tenant.holdings,
            held_blocks: &mut tenant.stats.held_blocks,
            secret: self.secret,
            hashes: &mut self.hashes,
            applied,
        };
        storing.run(event)?;
        let lane = tenant.holdings.lanes[0];
        self.index.shared.expected.confirm(lane, &self.hashes);
        Ok(())
    }

    fn remove(
        &self,
        tenant: &mut Tenant,
        key: u64,
        tier: Tier,
        applied: &mut Applied,
    ) -> Result<(), super::runs::NoRoom> {
        let found = tenant.holdings.names.get(key).map(super::tenant::Entry::of);
        let Some(entry) = found.filter(|entry| entry.count(tier) > 0) else {
            applied.unknown_removals += 1;
            return Ok(());
        };
        applied.removed_blocks += 1;
        let left = entry.removed(tier);
        if left.is_empty() {
            tenant.holdings.names.remove(key);
        } else if let Some(word) = tenant.holdings.names.get_mut(key) {
            *word = left.word();
        }
        if left.count(tier) == 0 {
            let (shared, place) = (&self.index.shared, entry.place());
            let gone = tenant.holdings.release(shared, place, tier, self.secret)?;
            tenant.stats.held_blocks[tier.index()] -= u64::from(gone);
        }
        Ok(())
    }

    /// The slot holds nothing any more, and its next message may have any sequence (a gap that no replay filled, a
    /// new process). Gone for readers when this returns.
    pub fn clear(&mut self, slot: Slot) {
        if let Some(mut tenant) = self.known(slot) {
            self.empty(&mut tenant, None);
            tenant.stats.sequence = None;
            *tenant.open.stats.lock() = tenant.stats;
            self.tenants.insert(slot.index(), tenant);
        }
    }

    /// Something else than its messages says that a new process is behind the slot: it holds nothing, unless its
    /// messages said so not long ago.
    pub fn restarted(&mut self, slot: Slot, now: Duration) {
        let emptied_at = self.tenants.get(&slot.index()).and_then(|t| t.emptied_at);
        if emptied_at.is_none_or(|at| now.saturating_sub(at) >= ONE_RESTART) {
            self.clear(slot);
            if let Some(tenant) = self.tenants.get_mut(&slot.index()) {
                tenant.emptied_at = Some(now);
            }
        }
    }

    /// The endpoint left: as [`clear`](Self::clear), and its room is given to others.
    pub fn close(&mut self, slot: Slot) {
        if let Some(tenant) = self.known(slot) {
            self.retire(*tenant);
            self.publish_sizes();
        }
    }

    /// Sweeps up behind cleared slots, at most `limit` steps of some microseconds; returns how many there were.
    pub fn sweep(&mut self, limit: usize) -> usize {
        let before = self.cleared.bytes();
        let mut done = 0;
        while done < limit {
            let Some(lanes) = self.cleared.step(&self.index.shared) else {
                break;
            };
            self.free_lanes.extend(lanes);
            done += 1;
        }
        if done > 0 {
            self.charge(before, self.cleared.bytes());
        }
        done
    }

    /// Takes the tenant of exactly that generation out of the map.
    fn known(&mut self, slot: Slot) -> Option<Box<Tenant>> {
        let at = slot.index();
        self.tenants
            .get(&at)
            .is_some_and(|tenant| tenant.slot == slot)
            .then(|| self.tenants.remove(&at))
            .flatten()
    }

    /// Takes the tenant of `slot` out of the map, a new one if need be; `None` where a newer generation lives, or
    /// there is no lane left.
    fn take(&mut self, slot: Slot) -> Option<Box<Tenant>> {
        if let Some(tenant) = self.tenants.get(&slot.index()) {
            let age = slot.generation().wrapping_sub(tenant.slot.generation());
            // Generations wrap, so the nearer way round counts.
            if age > u16::MAX / 2 {
                return None;
            }
        }
        if let Some(tenant) = self.tenants.remove(&slot.index()) {
            if tenant.slot == slot {
                return Some(tenant);
            }
            self.retire(*tenant);
        }
        let lane = self.lane()?;
        let shared = &self.index.shared;
        shared.lanes.open(lane, slot);
        let open = Arc::new(OpenSlot {
            lane: AtomicU64::new(u64::from(lane)),
            stats: Mutex::default(),
        });
        shared.open.write().insert(slot, Arc::clone(&open));
        Some(Box::new(Tenant {
            slot,
            open,
            stats: ExactSlotStats::default(),
            sizes: Vec::new(),
            holdings: Holdings::new(lane),
            emptied_at: None,
            charged_bytes: 0,
        }))
    }

    /// Gone for good.
    fn retire(&mut self, mut tenant: Tenant) {
        self.charge_tenant(&mut tenant);
        let shared = &self.index.shared;
        shared.open.write().remove(&tenant.slot);
        shared.lanes.close(tenant.holdings.lanes[0]);
        self.cleared.push(tenant.holdings);
    }

    /// Another tenancy of the same slot, which holds nothing.
    fn empty(&mut self, tenant: &mut Tenant, at: Option<Duration>) {
        tenant.emptied_at = at.or(tenant.emptied_at);
        tenant.stats.held_blocks = [0; TIERS];
        self.index
            .shared
            .expected
            .remove_lane(tenant.holdings.lanes[0]);
        if tenant.holdings.names.len() == 0 {
            return;
        }
        let lane = match self.lane() {
            Some(lane) => lane,
            // Its own lanes, once they are swept.
            None => tenant.holdings.lanes[0],
        };
        let shared = &self.index.shared;
        shared.lanes.close(tenant.holdings.lanes[0]);
        // From here on it is charged with what is to be swept.
        self.charge_tenant(tenant);
        tenant.charged_bytes = 0;
        let old = std::mem::replace(&mut tenant.holdings, Holdings::new(lane));
        let same = old.lanes[0] == lane;
        self.cleared.push(old);
        if same {
            while self.sweep(usize::MAX) > 0 {}
            self.free_lanes.retain(|free| *free != lane);
        }
        let shared = &self.index.shared;
        shared.lanes.open(lane, tenant.slot);
        tenant.open.lane.store(u64::from(lane), Relaxed);
    }

    /// A lane that nobody has.
    fn lane(&mut self) -> Option<Lane> {
        if self.free_lanes.is_empty() {
            if let Some(lane) = self.index.shared.lanes.fresh() {
                return Some(lane);
            }
            while self.free_lanes.is_empty() && self.sweep(1) > 0 {}
        }
        let lane = self.free_lanes.pop()?;
        self.index.shared.reuses.fetch_add(1, Release);
        fence(Release);
        Some(lane)
    }

    fn size_is_fine(&mut self, tenant: &mut Tenant, block_size_tokens: u32) -> bool {
        if tenant.sizes.contains(&block_size_tokens) {
            return true;
        }
        let known = self.know_size(tenant, block_size_tokens);
        if known {
            let mut sizes = Vec::clone(&self.index.shared.sizes.load());
            if !sizes.contains(&block_size_tokens) {
                sizes.push(block_size_tokens);
                self.index.shared.sizes.store(Arc::new(sizes));
            }
        }
        known
    }

    /// Notes a block size; whether there is room for it.
    fn know_size(&self, tenant: &mut Tenant, block_size_tokens: u32) -> bool {
        let sizes = self.index.shared.sizes.load();
        let room = sizes.len() < SIZES_AT_MOST || sizes.contains(&block_size_tokens);
        if block_size_tokens == 0 || !room {
            return false;
        }
        if !tenant.sizes.contains(&block_size_tokens) {
            tenant.sizes.push(block_size_tokens);
        }
        true
    }

    fn publish_sizes(&self) {
        let mut sizes: Vec<u32> = self
            .tenants
            .values()
            .flat_map(|t| t.sizes.clone())
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        self.index.shared.sizes.store(Arc::new(sizes));
    }

    fn charge_tenant(&self, tenant: &mut Tenant) {
        let bytes = tenant.holdings.bytes();
        self.charge(tenant.charged_bytes, bytes);
        tenant.charged_bytes = bytes;
    }

    fn charge(&self, before: usize, after: usize) {
        // Wraps below zero for a moment of arithmetic only; the sum is exact.
        let grown = after.wrapping_sub(before);
        self.index.shared.map_bytes.fetch_add(grown, Relaxed);
    }

    fn count(&self, tenant: &mut Tenant, batch: &KvBatch<'_>, applied: &Applied, now: Duration) {
        let stats = &mut tenant.stats;
        stats.sequence = batch.sequence.or(stats.sequence);
        stats.applied_at = Some(now);
        // A replayed message is late by its nature.
        if !batch.replay {
            stats.lag = batch.age;
            stats.worst_lag = stats.worst_lag.max(batch.age);
        }
        stats.batches += 1;
        stats.stored_blocks += applied.stored_blocks;
        stats.removed_blocks += applied.removed_blocks;
        stats.orphan_blocks += applied.orphan_blocks;
        stats.unknown_removals += applied.unknown_removals;
        stats.malformed_events += applied.malformed_events;
        stats.refused_blocks += applied.refused_blocks;
        *tenant.open.stats.lock() = *stats;
    }
}

/// What a message with that sequence is, after one with sequence `last`.
fn outcome(last: Option<u64>, batch: &KvBatch<'_>) -> BatchOutcome {
    let (Some(last), Some(found)) = (last, batch.sequence) else {
        return BatchOutcome::Applied;
    };
    match (found <= last, batch.replay) {
        (true, true) => BatchOutcome::AlreadySeen,
        (true, false) => BatchOutcome::Restarted,
        (false, _) if found == last + 1 => BatchOutcome::Applied,
        (false, _) => BatchOutcome::Gap {
            expected: last + 1,
            found,
        },
    }
}
