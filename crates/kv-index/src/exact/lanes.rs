//! Which slot and tier does a lane stand for?
//!
//! A lane is one tier of one tenancy (a slot's generation between two clears). Readers look it up in words that are
//! right at any moment; a cleared tenancy's lanes stop counting at once and are given to others when the writer has
//! taken apart what they held.

use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use super::Tier;
use super::event::TIERS;
use super::runs::{LANES_AT_MOST, Lane};
use crate::Slot;

/// No lane.
pub(crate) const NO_LANE: Lane = Lane::MAX;

const LIVE: u64 = 1 << 63;

/// All lanes.
pub(crate) struct Lanes {
    /// Live bit, then for a tenancy's first lane the lanes of its other tiers, then generation and slot index.
    words: Box<[[AtomicU64; 2]]>,
    /// Lanes ever used.
    len: AtomicUsize,
    /// Tenancies with a lane beside the first.
    tiered: AtomicUsize,
}

/// A live tenancy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenancy {
    pub(crate) slot: Slot,
    /// By tier; [`NO_LANE`] for one without blocks.
    pub(crate) lanes: [Lane; TIERS],
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            words: (0..LANES_AT_MOST).map(|_| Default::default()).collect(),
            len: AtomicUsize::new(0),
            tiered: AtomicUsize::new(0),
        }
    }

    /// Lanes ever used: room for a value for each.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Acquire)
    }

    /// Whether some tenancy holds blocks outside the first tier.
    pub(crate) fn any_tiered(&self) -> bool {
        self.tiered.load(Acquire) > 0
    }

    /// The live tenancy whose first lane that is.
    pub(crate) fn tenancy(&self, lane: Lane) -> Option<Tenancy> {
        let words = self.words.get(usize::from(lane))?;
        let word = words[0].load(Acquire);
        if word & LIVE == 0 {
            return None;
        }
        let others = words[1].load(Acquire);
        Some(Tenancy {
            slot: Slot::new(word as u16, (word >> 16) as u16),
            lanes: [lane, others as Lane, (others >> 16) as Lane],
        })
    }

    /// Makes `lane` the first of a tenancy of `slot`. For the writer, as all below.
    pub(crate) fn open(&self, lane: Lane, slot: Slot) {
        let words = &self.words[usize::from(lane)];
        words[1].store(u64::from(NO_LANE) << 16 | u64::from(NO_LANE), Release);
        let word = LIVE | u64::from(slot.generation()) << 16 | slot.index() as u64;
        words[0].store(word, Release);
    }

    /// Gives a tenancy a lane for another tier.
    pub(crate) fn add_tier(&self, first: Lane, tier: Tier, lane: Lane) {
        let words = &self.words[usize::from(first)];
        let shift = 16 * (tier.index().max(1) - 1);
        let others = words[1].load(Relaxed);
        if others as u32 == u32::MAX {
            self.tiered.fetch_add(1, Release);
        }
        let cleared = others & !(u64::from(Lane::MAX) << shift);
        words[1].store(cleared | u64::from(lane) << shift, Release);
    }

    /// The tenancy is over.
    pub(crate) fn close(&self, first: Lane) {
        let words = &self.words[usize::from(first)];
        words[0].store(0, Release);
        if words[1].load(Relaxed) as u32 != u32::MAX {
            self.tiered.fetch_sub(1, Release);
        }
    }

    /// A lane that was never used; `None` when all were.
    pub(crate) fn fresh(&self) -> Option<Lane> {
        let len = self.len.load(Relaxed);
        if len == self.words.len() {
            return None;
        }
        self.len.store(len + 1, Release);
        Some(len as Lane)
    }
}
