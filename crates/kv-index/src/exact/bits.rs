//! What does a holder hold of a run behind its first hole?
//!
//! A bit set in a span of its own: one word with its length, then the bits. Holes are rare, so there is one only for
//! holders that have one.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::arena::{Arena, NOWHERE, capacity_words};
use super::runs::NoRoom;

/// Spans that are still named by what readers see: to be freed once they no longer are.
#[derive(Default)]
pub(crate) struct Leftover {
    spans: [Option<(u32, usize)>; 2],
}

impl Leftover {
    fn add(&mut self, at: u32, words: usize) {
        if let Some(place) = self.spans.iter_mut().find(|span| span.is_none()) {
            *place = Some((at, words));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.iter().all(Option::is_none)
    }

    /// Frees them; readers must have been warned.
    pub(crate) fn free(self, arena: &Arena) {
        for (at, words) in self.spans.into_iter().flatten() {
            arena.free(at, words);
        }
    }
}

/// Where the bit set is, if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bits(u32);

impl Bits {
    /// Nothing.
    pub(crate) const NONE: Self = Self(NOWHERE);

    pub(crate) fn unpack(word: u32) -> Self {
        Self(word)
    }

    pub(crate) fn pack(self) -> u32 {
        self.0
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == NOWHERE
    }

    /// Words of bits.
    fn words(self, arena: &Arena) -> usize {
        match self.is_none() {
            true => 0,
            false => arena
                .span(self.0, 1)
                .first()
                .map_or(0, |word| word.load(Acquire) as usize),
        }
    }

    fn word(self, arena: &Arena, at: usize) -> u64 {
        let words = self.words(arena);
        if at >= words {
            return 0;
        }
        arena
            .span(self.0, at + 2)
            .get(at + 1)
            .map_or(0, |word| word.load(Acquire))
    }

    /// Whether block `at` is among them.
    pub(crate) fn get(self, arena: &Arena, at: usize) -> bool {
        self.word(arena, at / 64) >> (at % 64) & 1 == 1
    }

    /// Appends the length in words, and the words, to `to`. For readers: a length that makes no sense, as in a span
    /// with a new owner, is taken for none.
    pub(crate) fn copy(self, arena: &Arena, to: &mut Vec<u64>) {
        let words = match self.words(arena) {
            words @ 0..=64 => words,
            _ => 0,
        };
        to.push(words as u64);
        to.extend((0..words).map(|at| self.word(arena, at)));
    }

    /// Adds blocks `from..to`.
    pub(crate) fn set(
        self,
        arena: &Arena,
        from: usize,
        to: usize,
        left: &mut Leftover,
    ) -> Result<Self, NoRoom> {
        let grown = self.with_room(arena, to.div_ceil(64), left)?;
        let words = arena.span(grown.0, to.div_ceil(64) + 1);
        for (at, mask) in masks(from, to) {
            let word = &words[at + 1];
            word.store(word.load(Relaxed) | mask, Release);
        }
        Ok(grown)
    }

    /// Takes out blocks `from..to`; gone when nothing is left.
    pub(crate) fn clear(self, arena: &Arena, from: usize, to: usize, left: &mut Leftover) -> Self {
        let words = self.words(arena);
        if words == 0 {
            return self;
        }
        let span = arena.span(self.0, words + 1);
        for (at, mask) in masks(from, to.min(words * 64)) {
            let word = &span[at + 1];
            word.store(word.load(Relaxed) & !mask, Release);
        }
        if span[1..].iter().all(|word| word.load(Relaxed) == 0) {
            left.add(self.0, words + 1);
            return Self::NONE;
        }
        self
    }

    /// How many blocks from `from` on are among them without a gap.
    pub(crate) fn run_from(self, arena: &Arena, from: usize) -> usize {
        let mut at = from;
        while self.get(arena, at) {
            at += 1;
        }
        at - from
    }

    /// The block after the last; 0 for none.
    pub(crate) fn end(self, arena: &Arena) -> usize {
        let mut words = (0..self.words(arena)).rev();
        let last = words.find_map(|at| match self.word(arena, at) {
            0 => None,
            word => Some(at * 64 + 64 - word.leading_zeros() as usize),
        });
        last.unwrap_or(0)
    }

    /// Gives its span back.
    pub(crate) fn free(self, arena: &Arena) {
        let words = self.words(arena);
        if words > 0 {
            arena.free(self.0, words + 1);
        }
    }

    /// The same with at least `words` words.
    fn with_room(self, arena: &Arena, words: usize, left: &mut Leftover) -> Result<Self, NoRoom> {
        let had = self.words(arena);
        if had >= words {
            return Ok(self);
        }
        let room = capacity_words(words + 1);
        let at = arena.allocate(room).ok_or(NoRoom)?;
        let span = arena.span(at, room);
        span[0].store((room - 1) as u64, Relaxed);
        for (to, word) in span[1..].iter().enumerate() {
            word.store(self.word(arena, to), Relaxed);
        }
        if had > 0 {
            left.add(self.0, had + 1);
        }
        Ok(Self(at))
    }
}

/// Words that blocks `from..to` are in, and their bits there.
fn masks(from: usize, to: usize) -> impl Iterator<Item = (usize, u64)> {
    (from / 64..to.div_ceil(64).max(from / 64)).map(move |at| {
        let low = from.saturating_sub(at * 64).min(64);
        let high = to.saturating_sub(at * 64).min(64);
        let below = |bits: usize| match bits {
            64 => u64::MAX,
            bits => (1 << bits) - 1,
        };
        (at, below(high) & !below(low))
    })
}
