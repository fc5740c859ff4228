//! Which tenancy of a slot does an entry belong to?
//!
//! A lane is the index's own number for one slot from its first placement to its next clear. Entries are kept
//! by lane, so a clear only has to take the lane away from the slot: whatever still carries it matches
//! nothing from then on. The writer sweeps up behind and gives the number back.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::Slot;
use crate::holders::LaneIndex;

/// One use of a lane; a later use of the same number has another `tenancy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LaneId {
    pub(crate) index: LaneIndex,
    pub(crate) tenancy: u32,
}

/// State of one lane.
pub(crate) struct Lane {
    /// Whom it belongs to; `None` once cleared.
    pub(crate) slot: Option<Slot>,
    tenancy: u32,
    /// Blocks its slot may hold.
    pub(crate) capacity_blocks: u32,
    /// Blocks it holds, as of the writer's last step.
    pub(crate) held_blocks: AtomicU32,
}

/// State of one slot index.
#[derive(Clone, Copy, Default)]
struct Seat {
    /// Generation of the tenant; `None` before the first.
    generation: Option<u16>,
    capacity_blocks: Option<u32>,
    lane: Option<LaneIndex>,
}

/// How a slot stands to what is known of its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Current(LaneId),
    /// The slot is the tenant, or newer than it, but has no lane.
    Vacant,
    /// A newer tenant was seen.
    Stale,
}

/// All lanes and slot indexes.
#[derive(Default)]
pub(crate) struct Lanes {
    pub(crate) lanes: Vec<Lane>,
    seats: Vec<Seat>,
    free: Vec<LaneIndex>,
    retired: Vec<LaneIndex>,
}

/// Whether `generation` came after `than`, wrapping.
fn newer(generation: u16, than: u16) -> bool {
    (generation.wrapping_sub(than) as i16) > 0
}

impl Lanes {
    pub(crate) fn standing(&self, slot: Slot) -> Standing {
        let Some(seat) = self.seats.get(slot.index()) else {
            return Standing::Vacant;
        };
        match seat.generation {
            Some(tenant) if tenant == slot.generation() => match seat.lane {
                Some(index) => Standing::Current(self.id(index)),
                None => Standing::Vacant,
            },
            Some(tenant) if newer(tenant, slot.generation()) => Standing::Stale,
            _ => Standing::Vacant,
        }
    }

    /// The lane of `slot` now, if it has one.
    pub(crate) fn current(&self, slot: Slot) -> Option<LaneId> {
        match self.standing(slot) {
            Standing::Current(id) => Some(id),
            Standing::Vacant | Standing::Stale => None,
        }
    }

    /// Whether entries of `id` still count.
    pub(crate) fn is_live(&self, id: LaneId) -> bool {
        self.lanes
            .get(usize::from(id.index))
            .is_some_and(|lane| lane.tenancy == id.tenancy && lane.slot.is_some())
    }

    /// The lane of `slot`, opened if need be; `None` for a stale slot, or with every number in use.
    pub(crate) fn open(&mut self, slot: Slot, default_capacity_blocks: u32) -> Option<LaneId> {
        match self.standing(slot) {
            Standing::Current(id) => return Some(id),
            Standing::Stale => return None,
            Standing::Vacant => self.adopt(slot),
        }
        let index = self.free.pop().or_else(|| self.add_lane())?;
        let seat = &mut self.seats[slot.index()];
        seat.lane = Some(index);
        let lane = &mut self.lanes[usize::from(index)];
        lane.slot = Some(slot);
        lane.capacity_blocks = seat.capacity_blocks.unwrap_or(default_capacity_blocks);
        Some(self.id(index))
    }

    /// Sets what `slot` may hold; whether that was taken.
    pub(crate) fn set_capacity(&mut self, slot: Slot, blocks: u32) -> bool {
        if self.standing(slot) == Standing::Stale {
            return false;
        }
        self.adopt(slot);
        let seat = &mut self.seats[slot.index()];
        seat.capacity_blocks = Some(blocks);
        if let Some(index) = seat.lane {
            self.lanes[usize::from(index)].capacity_blocks = blocks;
        }
        true
    }

    /// Takes the lane from `slot`, unless a newer tenant is there.
    pub(crate) fn clear(&mut self, slot: Slot) {
        if self.standing(slot) != Standing::Stale {
            self.adopt(slot);
            self.retire(slot.index());
        }
    }

    /// A lane to sweep up behind, if any; it stays until [`release`](Self::release).
    pub(crate) fn next_retired(&self) -> Option<LaneIndex> {
        self.retired.last().copied()
    }

    /// Gives a swept lane's number back.
    pub(crate) fn release(&mut self, index: LaneIndex) {
        self.retired.retain(|other| *other != index);
        let lane = &mut self.lanes[usize::from(index)];
        lane.tenancy = lane.tenancy.wrapping_add(1);
        lane.held_blocks.store(0, Ordering::Relaxed);
        self.free.push(index);
    }

    /// Makes `slot` the tenant of its index; an older tenant loses its lane and capacity.
    fn adopt(&mut self, slot: Slot) {
        if self.seats.len() <= slot.index() {
            self.seats.resize(slot.index() + 1, Seat::default());
        }
        if self.seats[slot.index()].generation != Some(slot.generation()) {
            self.retire(slot.index());
            self.seats[slot.index()] = Seat {
                generation: Some(slot.generation()),
                ..Seat::default()
            };
        }
    }

    fn retire(&mut self, seat: usize) {
        if let Some(index) = self.seats[seat].lane.take() {
            self.lanes[usize::from(index)].slot = None;
            self.retired.push(index);
        }
    }

    fn add_lane(&mut self) -> Option<LaneIndex> {
        let index = LaneIndex::try_from(self.lanes.len()).ok()?;
        self.lanes.push(Lane {
            slot: None,
            tenancy: 0,
            capacity_blocks: 0,
            held_blocks: AtomicU32::new(0),
        });
        Some(index)
    }

    fn id(&self, index: LaneIndex) -> LaneId {
        LaneId {
            index,
            tenancy: self.lanes[usize::from(index)].tenancy,
        }
    }
}
