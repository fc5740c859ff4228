//! Which placements has the writer not seen yet?
//!
//! A bounded table that a placement enters at once, for every thread to see, and leaves when the writer has
//! taken it over, when it failed, or when too many younger ones came after. It is what makes the second of
//! two identical prompts see the first, however far behind the writer is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use crate::holders::LaneIndex;
use crate::recent_tree::RecentTree;
use crate::{BlockHash, Chain};

/// Placements kept; the oldest leave first.
const PLACEMENTS_AT_MOST: usize = 16_384;
const SHARDS: usize = 64;
/// Bytes of a placement beside its chain: its entry, its place in the order, about two nodes.
const ENTRY_BYTES: usize = 320;

/// Number of a placement; 0 is none.
pub(crate) type Ticket = u64;

/// The table.
pub(crate) struct Recent {
    shards: Box<[RwLock<RecentShard>]>,
    /// Tickets by age with their shards; those that left early are still in it.
    order: Mutex<VecDeque<(Ticket, usize)>>,
    tickets: AtomicU64,
    bytes: AtomicUsize,
    bytes_at_most: usize,
}

/// Placements whose first blocks share some bits.
#[derive(Default)]
struct RecentShard {
    tree: RecentTree,
    entries: HashMap<Ticket, Entry>,
}

struct Entry {
    lane: LaneIndex,
    chain: Chain,
    /// Leading entries of the chain it vouches for.
    len: usize,
    /// First byte seen: the writer's, and out of [`Recent::forget`]'s reach.
    confirmed: bool,
}

impl Entry {
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.chain.marks.len() * size_of::<BlockHash>()
    }
}

impl RecentShard {
    fn remove(&mut self, ticket: Ticket) -> Option<Entry> {
        let entry = self.entries.remove(&ticket)?;
        self.tree.remove(entry.lane, &entry.chain.marks, entry.len);
        Some(entry)
    }
}

fn shard_of(chain: &Chain) -> Option<usize> {
    chain
        .marks
        .first()
        .map(|block| (block.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58) as usize % SHARDS)
}

impl Recent {
    /// A table whose chains take up at most `bytes_at_most`.
    pub(crate) fn new(bytes_at_most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            order: Mutex::default(),
            tickets: AtomicU64::new(1),
            bytes: AtomicUsize::new(0),
            bytes_at_most,
        }
    }

    /// Bytes of all placements kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Enters a placement; 0 if its chain has no block.
    pub(crate) fn add(&self, lane: LaneIndex, chain: &Chain) -> Ticket {
        let Some(shard) = shard_of(chain) else {
            return 0;
        };
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            lane,
            chain: chain.clone(),
            len: chain.marks.len(),
            confirmed: false,
        };
        self.bytes.fetch_add(entry.bytes(), Ordering::Relaxed);
        {
            let mut shard = self.shards[shard].write();
            shard.tree.add(lane, &chain.marks, chain.marks.len());
            shard.entries.insert(ticket, entry);
        }
        // Only now may it be pushed out: whoever does so finds it.
        self.order.lock().push_back((ticket, shard));
        self.push_out();
        ticket
    }

    /// Takes a placement out; whether it was in.
    pub(crate) fn remove(&self, ticket: Ticket, chain: &Chain) -> bool {
        shard_of(chain).is_some_and(|shard| self.remove_from(shard, ticket))
    }

    /// Marks a placement as the writer's, which will take it out.
    pub(crate) fn confirm(&self, ticket: Ticket, chain: &Chain) {
        let Some(shard) = shard_of(chain) else { return };
        if let Some(entry) = self.shards[shard].write().entries.get_mut(&ticket) {
            entry.confirmed = true;
        }
    }

    /// Takes a placement out unless it is the writer's.
    pub(crate) fn forget(&self, ticket: Ticket, chain: &Chain) {
        let Some(shard) = shard_of(chain) else { return };
        let mut shard = self.shards[shard].write();
        if shard
            .entries
            .get(&ticket)
            .is_some_and(|entry| !entry.confirmed)
        {
            let entry = shard.remove(ticket);
            self.discharge(entry.as_ref());
        }
    }

    /// Cuts confirmed placements on `lane` that hold `chain` deeper than `keep` blocks.
    ///
    /// Those without a first byte yet stay: their blocks are still to come.
    pub(crate) fn cut(&self, lane: LaneIndex, chain: &Chain, keep: usize) {
        let (Some(shard), Some(first_gone)) = (shard_of(chain), chain.marks.get(keep)) else {
            return;
        };
        if self.run_of(chain, lane) as usize <= keep {
            return;
        }
        let shard = &mut *self.shards[shard].write();
        let affected = |entry: &&mut Entry| {
            entry.confirmed
                && entry.lane == lane
                && entry.len > keep
                && entry.chain.marks[keep] == *first_gone
        };
        for entry in shard.entries.values_mut().filter(affected) {
            shard.tree.remove(lane, &entry.chain.marks, entry.len);
            entry.len = keep;
            shard.tree.add(lane, &entry.chain.marks, keep);
        }
    }

    /// Takes out everything of `lane`.
    pub(crate) fn remove_lane(&self, lane: LaneIndex) {
        for shard in &self.shards {
            let mut shard = shard.write();
            let of_lane = shard.entries.iter().filter(|(_, entry)| entry.lane == lane);
            let tickets: Vec<Ticket> = of_lane.map(|(ticket, _)| *ticket).collect();
            for ticket in tickets {
                let entry = shard.remove(ticket);
                self.discharge(entry.as_ref());
            }
        }
    }

    /// Raises `runs`, by lane, to the leading blocks of `chain` placed there.
    pub(crate) fn raise_runs(&self, chain: &Chain, runs: &mut [u32]) {
        if let Some(shard) = shard_of(chain) {
            self.shards[shard]
                .read()
                .tree
                .raise_runs(&chain.marks, runs);
        }
    }

    /// Leading blocks of `chain` placed on `lane`.
    pub(crate) fn run_of(&self, chain: &Chain, lane: LaneIndex) -> u32 {
        shard_of(chain).map_or(0, |shard| {
            self.shards[shard].read().tree.run_of(&chain.marks, lane)
        })
    }

    /// Makes the oldest leave while the table is over a bound.
    fn push_out(&self) {
        loop {
            let mut order = self.order.lock();
            if order.len() <= PLACEMENTS_AT_MOST && self.bytes() <= self.bytes_at_most {
                return;
            }
            let Some((ticket, shard)) = order.pop_front() else {
                return;
            };
            drop(order);
            self.remove_from(shard, ticket);
        }
    }

    fn remove_from(&self, shard: usize, ticket: Ticket) -> bool {
        let entry = self.shards[shard].write().remove(ticket);
        self.discharge(entry.as_ref());
        entry.is_some()
    }

    fn discharge(&self, entry: Option<&Entry>) {
        if let Some(entry) = entry {
            self.bytes.fetch_sub(entry.bytes(), Ordering::Relaxed);
        }
    }
}
