//! Where do words live that one thread writes while others read them?
//!
//! Spans of words in chunks that are allocated once and never move, so that growing copies nothing but the span that
//! grows. Spans given back are used again: whoever reads a span that may have been given back meanwhile finds out by
//! the version kept where the span was named (see `runs.rs`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Words in a chunk: 64 KiB.
const CHUNK_WORDS: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 13;
/// Longest span, words: 32 KiB.
pub(crate) const SPAN_WORDS_AT_MOST: usize = 4096;
/// Sizes of spans, four to an octave, so that a fifth is wasted at most.
const CLASSES: usize = 48;
/// No span.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Words of a size class.
fn class_words(class: usize) -> usize {
    match class {
        0..4 => class + 1,
        _ => (5 + (class & 3)) << ((class - 4) >> 2),
    }
}

/// The smallest class with room for `words`.
fn class_of(words: usize) -> usize {
    if words <= 4 {
        return words.max(1) - 1;
    }
    let octave = (words - 1).ilog2() as usize - 2;
    let step = (words - 1) >> octave;
    octave * 4 + step
}

/// Words that a span with room for `words` has.
pub(crate) fn capacity_words(words: usize) -> usize {
    class_words(class_of(words))
}

/// All chunks. Reading is for everyone; [`Arena::allocate`] and [`Arena::free`] for the one writer.
pub(crate) struct Arena {
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
    /// Chunks allocated.
    used_chunks: AtomicUsize,
    /// First span of each class that was given back; its first word names the next.
    free: [AtomicU32; CLASSES],
    /// Where the last chunk's untouched rest begins, words from the first chunk's beginning.
    next: AtomicUsize,
}

impl Arena {
    /// Room for `max_bytes` bytes, allocated as it is needed.
    pub(crate) fn new(max_bytes: usize) -> Self {
        let chunks = (max_bytes / (CHUNK_WORDS * 8)).clamp(1, (NOWHERE as usize) >> CHUNK_BITS);
        Self {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            used_chunks: AtomicUsize::new(0),
            free: std::array::from_fn(|_| AtomicU32::new(NOWHERE)),
            next: AtomicUsize::new(0),
        }
    }

    /// Bytes of all chunks allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.used_chunks.load(Relaxed) * CHUNK_WORDS * 8
    }

    /// `len` words from `at`; fewer where there are not as many.
    #[inline]
    pub(crate) fn span(&self, at: u32, len: usize) -> &[AtomicU64] {
        let chunk = self.chunks.get((at >> CHUNK_BITS) as usize);
        let Some(words) = chunk.and_then(OnceLock::get) else {
            return &[];
        };
        let from = at as usize % CHUNK_WORDS;
        &words[from..(from + len).min(CHUNK_WORDS)]
    }

    /// A span with room for `words` (at most [`SPAN_WORDS_AT_MOST`]); `None` when all chunks are full. Its content
    /// is whatever was there.
    pub(crate) fn allocate(&self, words: usize) -> Option<u32> {
        let class = class_of(words);
        let head = self.free[class].load(Relaxed);
        if head != NOWHERE {
            let next = self.span(head, 1).first()?.load(Relaxed);
            self.free[class].store(next as u32, Relaxed);
            return Some(head);
        }
        let words = class_words(class);
        let next = self.next.load(Relaxed);
        let left = self.used_chunks.load(Relaxed) * CHUNK_WORDS - next;
        if words <= left {
            self.next.store(next + words, Relaxed);
            return Some(next as u32);
        }
        let fresh = self.used_chunks.load(Relaxed);
        let chunk = self.chunks.get(fresh)?;
        self.give_away(next, left);
        chunk.get_or_init(|| (0..CHUNK_WORDS).map(|_| AtomicU64::new(0)).collect());
        self.used_chunks.store(fresh + 1, Relaxed);
        self.next.store(fresh * CHUNK_WORDS + words, Relaxed);
        Some((fresh * CHUNK_WORDS) as u32)
    }

    /// Gives back a span that had room for `words`. Whoever may still read it must have been warned before.
    pub(crate) fn free(&self, at: u32, words: usize) {
        let class = class_of(words);
        if let Some(first) = self.span(at, 1).first() {
            first.store(u64::from(self.free[class].load(Relaxed)), Relaxed);
            self.free[class].store(at, Relaxed);
        }
    }

    /// Makes spans of the rest of a chunk.
    fn give_away(&self, mut at: usize, mut left: usize) {
        while left > 0 {
            // The largest class that fits.
            let class = (0..CLASSES)
                .rev()
                .find(|class| class_words(*class) <= left.min(SPAN_WORDS_AT_MOST))
                .unwrap_or_default();
            let words = class_words(class);
            self.free(at as u32, words);
            at += words;
            left -= words;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_room_and_wastes_a_fifth_at_most() {
        for words in 1..=SPAN_WORDS_AT_MOST {
            let class = class_of(words);
            assert!(class < CLASSES, "{words}");
            let room = class_words(class);
            assert!(room >= words, "{words}: {room}");
            assert!(room <= SPAN_WORDS_AT_MOST, "{words}: {room}");
            assert!((room - words) * 5 <= room, "{words}: {room}");
            assert_eq!(class_of(room), class);
        }
    }

    #[test]
    fn spans_do_not_overlap_and_come_back() {
        let arena = Arena::new(4 * CHUNK_WORDS * 8);
        let mut spans = Vec::new();
        let sizes = [1, 4096, 7, 100, 3000, 33, 4096, 9, 1500, 4096];
        for (number, words) in sizes.iter().cycle().enumerate() {
            let Some(at) = arena.allocate(*words) else {
                break;
            };
            let span = arena.span(at, *words);
            assert_eq!(span.len(), *words);
            span.iter()
                .for_each(|word| word.store(number as u64, Relaxed));
            spans.push((at, *words));
        }
        for (number, (at, words)) in spans.iter().enumerate() {
            let span = arena.span(*at, *words);
            assert!(span.iter().all(|word| word.load(Relaxed) == number as u64));
        }
        assert_eq!(arena.bytes(), 4 * CHUNK_WORDS * 8);
        let (at, words) = spans[1];
        arena.free(at, words);
        assert_eq!(arena.allocate(words), Some(at));
    }
}
