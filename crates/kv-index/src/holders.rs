//! Who holds this block, and since which use?
//!
//! Most blocks have one holder, kept inside the table's word; two to four share a small group; more get a
//! sorted list with a bit set beside it, so that a reader copies words and not a thousand entries.

use crate::table::{CELL_BYTES_AT_MOST, Table};

/// Lane of a tenancy: the index's own small integer for one slot between two clears.
pub(crate) type LaneIndex = u16;

const STAMP_BITS: u32 = 46;
const STAMP_MASK: u64 = (1 << STAMP_BITS) - 1;
const TAG_SMALL: u64 = 1 << 62;
const TAG_LARGE: u64 = 2 << 62;
const TAG_MASK: u64 = 3 << 62;
const SMALL_HOLDERS: usize = 4;
const SMALL_BYTES: usize = SMALL_HOLDERS * 8;
/// What an allocator keeps beside the two lists of a large group.
const LARGE_OVERHEAD_BYTES: usize = 32;

/// Blocks of one shard and their holders.
#[derive(Default)]
pub(crate) struct Shard {
    table: Table,
    small: Slab<[u64; SMALL_HOLDERS]>,
    large: Slab<Large>,
    /// Bytes of the lists of all large groups.
    large_bytes: usize,
}

/// More than [`SMALL_HOLDERS`] holders: packed entries by lane, and the same lanes as bits.
#[derive(Default)]
struct Large {
    entries: Vec<u64>,
    bits: Vec<u64>,
}

/// One holder of a block, in one word; never zero as stamps start at 1.
fn pack(lane: LaneIndex, stamp: u64) -> u64 {
    u64::from(lane) << STAMP_BITS | (stamp & STAMP_MASK)
}

fn lane_of(entry: u64) -> LaneIndex {
    (entry >> STAMP_BITS) as LaneIndex
}

fn set_bit(bits: &mut [u64], lane: LaneIndex) {
    // A lane opened after the caller counted them has no place in its set, and nothing to say to it.
    if let Some(word) = bits.get_mut(usize::from(lane) / 64) {
        *word |= 1 << (lane % 64);
    }
}

impl Shard {
    /// Upper bound of what the shard allocated, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let groups =
            self.small.allocated() * SMALL_BYTES + self.large.allocated() * size_of::<Large>();
        self.table.len() * CELL_BYTES_AT_MOST + groups + self.large_bytes
    }

    /// Stamp under which `lane` holds `key`.
    pub(crate) fn stamp(&self, key: u64, lane: LaneIndex) -> Option<u64> {
        let word = self.table.get(key)?;
        let index = (word & !TAG_MASK) as usize;
        let entry = match word & TAG_MASK {
            TAG_SMALL => self.small.items[index]
                .iter()
                .copied()
                .find(|e| *e != 0 && lane_of(*e) == lane)?,
            TAG_LARGE => {
                let entries = &self.large.items[index].entries;
                entries[entries.binary_search_by_key(&lane, |e| lane_of(*e)).ok()?]
            }
            _ if lane_of(word) == lane => word,
            _ => return None,
        };
        Some(entry & STAMP_MASK)
    }

    /// Sets the bit of every holder of `key` in `bits`.
    pub(crate) fn fill(&self, key: u64, bits: &mut [u64]) {
        let Some(word) = self.table.get(key) else {
            return;
        };
        let index = (word & !TAG_MASK) as usize;
        match word & TAG_MASK {
            TAG_SMALL => self.small.items[index]
                .iter()
                .filter(|e| **e != 0)
                .for_each(|e| set_bit(bits, lane_of(*e))),
            TAG_LARGE => bits
                .iter_mut()
                .zip(&self.large.items[index].bits)
                .for_each(|(to, from)| *to |= from),
            _ => set_bit(bits, lane_of(word)),
        }
    }

    /// Makes `lane` a holder of `key` as of `stamp`; whether it was none before.
    pub(crate) fn hold(&mut self, key: u64, lane: LaneIndex, stamp: u64) -> bool {
        let entry = pack(lane, stamp);
        let Some(word) = self.table.get_mut(key) else {
            self.table.insert_new(key, entry);
            return true;
        };
        let index = (*word & !TAG_MASK) as usize;
        match *word & TAG_MASK {
            TAG_SMALL => {
                let group = &mut self.small.items[index];
                if let Some(place) = group.iter_mut().find(|e| **e == 0 || lane_of(**e) == lane) {
                    return std::mem::replace(place, entry) == 0;
                }
                let (large, group) = (Large::of(group, entry), index);
                self.large_bytes += large.bytes();
                *word = TAG_LARGE | self.large.add(large);
                self.small.free(group);
                true
            }
            TAG_LARGE => {
                let large = &mut self.large.items[index];
                let before = large.bytes();
                let new = large.hold(lane, entry);
                self.large_bytes = self.large_bytes + large.bytes() - before;
                new
            }
            _ if lane_of(*word) == lane => {
                *word = entry;
                false
            }
            _ => {
                *word = TAG_SMALL | self.small.add([*word, entry, 0, 0]);
                true
            }
        }
    }

    /// `lane` no longer holds `key`; whether it did.
    pub(crate) fn release(&mut self, key: u64, lane: LaneIndex) -> bool {
        let Some(word) = self.table.get_mut(key) else {
            return false;
        };
        let index = (*word & !TAG_MASK) as usize;
        match *word & TAG_MASK {
            TAG_SMALL => {
                let group = &mut self.small.items[index];
                let Some(at) = group.iter().position(|e| *e != 0 && lane_of(*e) == lane) else {
                    return false;
                };
                // Entries stay at the front, so that the first zero ends the group.
                let last = group.iter().rposition(|e| *e != 0).unwrap_or(at);
                group.swap(at, last);
                group[last] = 0;
                if last == 1 {
                    *word = group[0];
                    self.small.free(index);
                    self.shrink_small();
                }
                true
            }
            TAG_LARGE => {
                let large = &mut self.large.items[index];
                let before = large.bytes();
                let held = large.release(lane);
                self.large_bytes = self.large_bytes + large.bytes() - before;
                if held && large.entries.len() < SMALL_HOLDERS {
                    let mut group = [0; SMALL_HOLDERS];
                    group[..large.entries.len()].copy_from_slice(&large.entries);
                    self.large_bytes -= large.bytes();
                    *large = Large::default();
                    self.large.free(index);
                    *word = TAG_SMALL | self.small.add(group);
                }
                held
            }
            _ if lane_of(*word) == lane => {
                self.table.remove(key);
                true
            }
            _ => false,
        }
    }

    /// Moves the small groups together once most of them are free.
    fn shrink_small(&mut self) {
        if self.small.free.len() < 16 || self.small.free.len() * 2 < self.small.items.len() {
            return;
        }
        let old = std::mem::take(&mut self.small);
        self.small
            .items
            .reserve_exact(old.items.len() - old.free.len());
        for word in self
            .table
            .words_mut()
            .filter(|word| **word & TAG_MASK == TAG_SMALL)
        {
            *word = TAG_SMALL | self.small.add(old.items[(*word & !TAG_MASK) as usize]);
        }
    }
}

impl Large {
    fn of(group: &[u64; SMALL_HOLDERS], entry: u64) -> Self {
        let mut large = Self::default();
        for entry in group.iter().copied().chain([entry]) {
            large.hold(lane_of(entry), entry);
        }
        large
    }

    /// Bytes of its lists.
    fn bytes(&self) -> usize {
        LARGE_OVERHEAD_BYTES + (self.entries.capacity() + self.bits.capacity()) * 8
    }

    fn hold(&mut self, lane: LaneIndex, entry: u64) -> bool {
        match self.entries.binary_search_by_key(&lane, |e| lane_of(*e)) {
            Ok(at) => {
                self.entries[at] = entry;
                false
            }
            Err(at) => {
                self.entries.insert(at, entry);
                let words = usize::from(lane) / 64 + 1;
                if self.bits.len() < words {
                    self.bits.reserve_exact(words - self.bits.len());
                    self.bits.resize(words, 0);
                }
                set_bit(&mut self.bits, lane);
                true
            }
        }
    }

    fn release(&mut self, lane: LaneIndex) -> bool {
        let Ok(at) = self.entries.binary_search_by_key(&lane, |e| lane_of(*e)) else {
            return false;
        };
        self.entries.remove(at);
        self.bits[usize::from(lane) / 64] &= !(1 << (lane % 64));
        if self.entries.len() * 4 < self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        true
    }
}

/// Items found by a number that stays the same while they live.
#[derive(Default)]
struct Slab<T> {
    items: Vec<T>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    fn allocated(&self) -> usize {
        self.items.capacity()
    }

    fn add(&mut self, item: T) -> u64 {
        if let Some(index) = self.free.pop() {
            self.items[index as usize] = item;
            return u64::from(index);
        }
        if self.items.len() == self.items.capacity() {
            self.items.reserve_exact(self.items.len() / 4 + 1);
        }
        self.items.push(item);
        self.items.len() as u64 - 1
    }

    fn free(&mut self, index: usize) {
        self.free.push(index as u32);
        if self.free.len() == self.items.len() {
            (self.items, self.free) = (Vec::new(), Vec::new());
        }
    }
}
