//! What would an index do that has no structure at all?
//!
//! Per slot a map from prefix to the time of its last use, for the prefixes that are remembered. Slow, and plain
//! enough to be believed.

use std::cmp::Reverse;
use std::collections::HashMap;

use kv_index::{Chain, ChainHasher, HashSeed, Namespace, Slot};

/// A chain with one block per symbol.
pub(crate) fn chain_of(symbols: &[u8]) -> Chain {
    let mut hasher = ChainHasher::new(HashSeed(1), Namespace::default());
    symbols
        .iter()
        .for_each(|symbol| hasher.update(&[*symbol; 64]));
    hasher.finish()
}

/// Whether prefixes of `len` blocks are remembered whatever comes after: all up to 128 blocks, then 64 in each
/// doubling.
fn is_mark(len: usize) -> bool {
    len <= 128 || len.is_multiple_of((1 << len.ilog2()) / 64)
}

/// Lengths of the prefixes of a prompt of `len` blocks that are remembered.
fn marks(len: usize) -> impl Iterator<Item = usize> {
    (1..=len).filter(move |at| is_mark(*at) || *at == len)
}

/// Blocks that a remembered prefix of `len` blocks counts for: up to the next mark.
fn weight(len: usize) -> u64 {
    let before = (0..len).rev().find(|at| is_mark(*at)).unwrap_or(0);
    let next = (before + 1..).find(|at| is_mark(*at)).unwrap_or(len);
    (next - before) as u64
}

#[derive(Default)]
struct Seat {
    generation: Option<u16>,
    capacity: Option<u32>,
    /// Counts clears, so that what came before one is told apart.
    era: u32,
    used: HashMap<Vec<u8>, u64>,
}

struct Recent {
    id: usize,
    seat: (usize, u32),
    symbols: Vec<u8>,
    confirmed: bool,
}

enum Op {
    Hold(usize, (usize, u32), Vec<u8>),
    Cut((usize, u32), Vec<u8>),
}

pub(crate) struct Naive {
    default_capacity: u32,
    seats: HashMap<usize, Seat>,
    recent: Vec<Recent>,
    open: HashMap<usize, ((usize, u32), Vec<u8>)>,
    ops: Vec<Op>,
    next: usize,
    clock: u64,
}

impl Naive {
    pub(crate) fn new(default_capacity: u32) -> Self {
        Self {
            default_capacity,
            seats: HashMap::new(),
            recent: Vec::new(),
            open: HashMap::new(),
            ops: Vec::new(),
            next: 0,
            clock: 0,
        }
    }

    pub(crate) fn place(&mut self, slot: Slot, symbols: &[u8]) -> usize {
        self.next += 1;
        if let Some(era) = self.adopt(slot) {
            let seat = (slot.index(), era);
            self.recent.push(Recent {
                id: self.next,
                seat,
                symbols: symbols.to_vec(),
                confirmed: false,
            });
            self.open.insert(self.next, (seat, symbols.to_vec()));
        }
        self.next
    }

    pub(crate) fn confirm(&mut self, id: usize) {
        let Some((seat, symbols)) = self.open.remove(&id) else {
            return;
        };
        if self.is_live(seat) {
            self.recent
                .iter_mut()
                .filter(|recent| recent.id == id)
                .for_each(|recent| recent.confirmed = true);
            self.ops.push(Op::Hold(id, seat, symbols));
        }
    }

    pub(crate) fn forget(&mut self, id: usize) {
        self.open.remove(&id);
        self.recent.retain(|recent| recent.id != id);
    }

    pub(crate) fn cut(&mut self, slot: Slot, symbols: &[u8], keep: usize) {
        let Some(era) = self.era(slot) else { return };
        let Some(first_gone) = marks(symbols.len()).find(|at| *at > keep) else {
            return;
        };
        let keep = marks(symbols.len())
            .take_while(|at| *at <= keep)
            .last()
            .unwrap_or(0);
        let (seat, gone) = ((slot.index(), era), symbols[..first_gone].to_vec());
        for recent in self
            .recent
            .iter_mut()
            .filter(|r| r.confirmed && r.seat == seat && r.symbols.starts_with(&gone))
        {
            recent.symbols.truncate(keep);
        }
        self.ops.push(Op::Cut(seat, gone));
    }

    pub(crate) fn set_capacity(&mut self, slot: Slot, blocks: u32) {
        if self.adopt(slot).is_some() {
            self.seats
                .get_mut(&slot.index())
                .expect("is there")
                .capacity = Some(blocks);
        }
    }

    pub(crate) fn clear(&mut self, slot: Slot) {
        if self.adopt(slot).is_some() {
            let seat = self.seats.get_mut(&slot.index()).expect("is there");
            seat.era += 1;
            seat.used.clear();
        }
    }

    pub(crate) fn apply(&mut self) {
        for seat in self.seats.values_mut() {
            evict(seat, self.default_capacity);
        }
        for op in std::mem::take(&mut self.ops) {
            match op {
                Op::Hold(id, seat, symbols) => {
                    self.recent.retain(|recent| recent.id != id);
                    if self.is_live(seat) {
                        self.clock += 1;
                        let clock = self.clock;
                        let default = self.default_capacity;
                        let seat = self.seats.get_mut(&seat.0).expect("is there");
                        let capacity = u64::from(seat.capacity.unwrap_or(default));
                        // What cannot fit anyway pushes nobody out.
                        let mut room = capacity;
                        let fits = marks(symbols.len()).take_while(|len| {
                            let weight = weight(*len);
                            let fits = weight <= room;
                            room = room.saturating_sub(weight);
                            fits
                        });
                        fits.for_each(|len| {
                            seat.used.insert(symbols[..len].to_vec(), clock);
                        });
                        evict(seat, default);
                    }
                }
                Op::Cut(seat, gone) if self.is_live(seat) => {
                    self.seats
                        .get_mut(&seat.0)
                        .expect("is there")
                        .used
                        .retain(|prefix, _| !prefix.starts_with(&gone));
                }
                Op::Cut(..) => {}
            }
        }
    }

    pub(crate) fn run(&self, slot: Slot, symbols: &[u8]) -> u32 {
        let Some(era) = self.era(slot) else { return 0 };
        let seat = &self.seats[&slot.index()];
        let held = marks(symbols.len())
            .take_while(|len| seat.used.contains_key(&symbols[..*len]))
            .last();
        let recent = self
            .recent
            .iter()
            .filter(|recent| recent.seat == (slot.index(), era));
        let placed = recent.filter_map(|r| {
            marks(r.symbols.len())
                .zip(marks(symbols.len()))
                .take_while(|(a, b)| a == b && r.symbols[..*a] == symbols[..*b])
                .last()
                .map(|(at, _)| at)
        });
        (held.max(placed.max()).unwrap_or(0) as u32)
            .min(seat.capacity.unwrap_or(self.default_capacity))
    }

    pub(crate) fn held_blocks(&self) -> u64 {
        self.seats.values().map(held).sum()
    }

    fn era(&self, slot: Slot) -> Option<u32> {
        let seat = self.seats.get(&slot.index())?;
        (seat.generation == Some(slot.generation())).then_some(seat.era)
    }

    fn is_live(&self, (index, era): (usize, u32)) -> bool {
        self.seats.get(&index).is_some_and(|seat| seat.era == era)
    }

    /// The era of `slot`, which becomes the tenant if it is not older than the one there.
    fn adopt(&mut self, slot: Slot) -> Option<u32> {
        let seat = self.seats.entry(slot.index()).or_default();
        match seat.generation {
            Some(tenant) if tenant > slot.generation() => return None,
            Some(tenant) if tenant == slot.generation() => {}
            _ => {
                let era = seat.era + 1;
                *seat = Seat {
                    generation: Some(slot.generation()),
                    era,
                    ..Seat::default()
                };
            }
        }
        Some(seat.era)
    }
}

fn held(seat: &Seat) -> u64 {
    seat.used.keys().map(|prefix| weight(prefix.len())).sum()
}

/// The least recently used go; of one use, the deepest.
fn evict(seat: &mut Seat, default_capacity: u32) {
    while held(seat) > u64::from(seat.capacity.unwrap_or(default_capacity)) {
        let oldest = seat
            .used
            .iter()
            .min_by_key(|(prefix, used)| (**used, Reverse(prefix.len())));
        let oldest = oldest.map(|(prefix, _)| prefix.clone()).expect("not empty");
        seat.used.remove(&oldest);
    }
}
