//! What does one engine hold, by its own names for its blocks?
//!
//! The writer's private side of a slot: where in the runs each of the engine's block names is, and how often it was
//! stored in each tier. An entry is one word beside its key, so a held block costs some 22 bytes here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::event::TIERS;
use super::index::{OpenSlot, Shared};
use super::lanes::NO_LANE;
use super::runs::{Lane, NoRoom, RunId};
use super::trie::Trie;
use super::{EngineHash, ExactSlotStats, Tier};
use crate::Slot;

/// Entries taken apart in one step of sweeping.
const SWEEP_ENTRIES: usize = 64;

/// Where a block is: its run, and its position there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) run: RunId,
    pub(crate) at: usize,
}

/// Place and stores by tier, packed: 28 bits run, 12 bits position, 12, 6 and 6 bits of counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry(u64);

const COUNT_SHIFT: [u32; TIERS] = [0, 12, 18];
const COUNT_MAX: [u64; TIERS] = [(1 << 12) - 1, (1 << 6) - 1, (1 << 6) - 1];
const COUNTS_MASK: u64 = (1 << 24) - 1;

impl Entry {
    pub(crate) fn new(place: Place) -> Self {
        Self(u64::from(place.run) << 36 | (place.at as u64) << 24)
    }

    pub(crate) fn of(word: u64) -> Self {
        Self(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    pub(crate) fn place(self) -> Place {
        Place {
            run: (self.0 >> 36) as RunId,
            at: (self.0 >> 24) as usize & 0xFFF,
        }
    }

    pub(crate) fn count(self, tier: Tier) -> u64 {
        self.0 >> COUNT_SHIFT[tier.index()] & COUNT_MAX[tier.index()]
    }

    /// One more store, up to what the word has room for: an engine with thousands of copies of one block is believed
    /// to have lost the last a little early.
    pub(crate) fn stored(self, tier: Tier) -> Self {
        match self.count(tier) < COUNT_MAX[tier.index()] {
            true => Self(self.0 + (1 << COUNT_SHIFT[tier.index()])),
            false => self,
        }
    }

    /// One store less; there must be one.
    pub(crate) fn removed(self, tier: Tier) -> Self {
        Self(self.0 - (1 << COUNT_SHIFT[tier.index()]))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 & COUNTS_MASK == 0
    }
}

/// One open slot.
pub(crate) struct Tenant {
    pub(crate) slot: Slot,
    pub(crate) open: Arc<OpenSlot>,
    pub(crate) stats: ExactSlotStats,
    /// Block sizes it was seen with.
    pub(crate) sizes: Vec<u32>,
    pub(crate) holdings: Holdings,
    /// When it last held nothing by its own word.
    pub(crate) emptied_at: Option<Duration>,
    /// Bytes of its maps that the index knows of.
    pub(crate) charged_bytes: usize,
}

/// What a tenancy holds.
pub(crate) struct Holdings {
    pub(crate) lanes: [Lane; TIERS],
    /// Entries by name.
    pub(crate) names: Trie,
    /// Further names for a block that the lane holds under another: how many, by place and tier.
    pub(crate) aliases: Trie,
}

impl Holdings {
    pub(crate) fn new(first: Lane) -> Self {
        Self {
            lanes: [first, NO_LANE, NO_LANE],
            names: Trie::default(),
            aliases: Trie::default(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.names.bytes() + self.aliases.bytes()
    }

    /// A name more for a block that is held already.
    pub(crate) fn add_alias(&mut self, place: Place, tier: Tier, secret: u64) {
        let key = alias_key(place, tier, secret);
        match self.aliases.get_mut(key) {
            Some(count) => *count += 1,
            None => self.aliases.insert_new(key, 1),
        }
    }

    /// A name less; whether another is left.
    pub(crate) fn remove_alias(&mut self, place: Place, tier: Tier, secret: u64) -> bool {
        if self.aliases.len() == 0 {
            return false;
        }
        let key = alias_key(place, tier, secret);
        match self.aliases.get_mut(key) {
            None => false,
            Some(count) if *count > 1 => {
                *count -= 1;
                true
            }
            Some(_) => {
                self.aliases.remove(key);
                true
            }
        }
    }

    /// The last store of a name in `tier` is gone; whether the block is with it.
    pub(crate) fn release(
        &mut self,
        shared: &Shared,
        place: Place,
        tier: Tier,
        secret: u64,
    ) -> Result<bool, NoRoom> {
        if self.remove_alias(place, tier, secret) {
            return Ok(false);
        }
        let lane = self.lanes[tier.index()];
        shared.runs.release(place.run, lane, place.at)?;
        Ok(true)
    }
}

/// Spreads names over the keys of a map, so that an engine cannot aim them at one place.
pub(crate) fn name_key(name: EngineHash, secret: u64) -> u64 {
    spread(name.0 ^ secret)
}

fn alias_key(place: Place, tier: Tier, secret: u64) -> u64 {
    spread((u64::from(place.run) << 14 | (place.at as u64) << 2 | tier.index() as u64) ^ secret)
}

/// A bijection whose every output bit depends on every input bit.
fn spread(word: u64) -> u64 {
    let word = (word ^ (word >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let word = (word ^ (word >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    word ^ (word >> 33)
}

/// What cleared tenancies held, to be taken apart piece by piece.
#[derive(Default)]
pub(crate) struct Cleared {
    queue: VecDeque<Holdings>,
    /// Entries of the first one that are being worked on.
    entries: Vec<u64>,
}

impl Cleared {
    pub(crate) fn push(&mut self, holdings: Holdings) {
        self.queue.push_back(holdings);
    }

    /// Does one step; `None` when nothing is left, else the lanes that came free.
    pub(crate) fn step(&mut self, shared: &Shared) -> Option<Vec<Lane>> {
        let holdings = self.queue.front_mut()?;
        if self.entries.is_empty()
            && let Some(leaf) = holdings.names.take_leaf()
        {
            self.entries.extend(leaf.entries().map(|(_, word)| word));
        }
        if self.entries.is_empty() {
            let lanes = holdings.lanes.into_iter().filter(|lane| *lane != NO_LANE);
            let lanes = lanes.collect();
            shared.expected.remove_lane(holdings.lanes[0]);
            self.queue.pop_front();
            return Some(lanes);
        }
        let from = self.entries.len().saturating_sub(SWEEP_ENTRIES);
        for word in self.entries.drain(from..) {
            let run = Entry::of(word).place().run;
            for lane in holdings.lanes.iter().filter(|lane| **lane != NO_LANE) {
                shared.runs.release_all(run, *lane);
            }
        }
        Some(Vec::new())
    }

    /// Bytes of what is still to be taken apart.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.iter().map(Holdings::bytes).sum()
    }
}
