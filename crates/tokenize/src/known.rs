//! How is a conversation's known beginning not tokenized again?
//!
//! A text is cut where that changes nothing (`splits.rs`), and each part's tokens are remembered under a hash of the part.
//! A conversation that goes on consists of parts that are known and a few new ones at its end; so does any prompt that
//! shares a document or a system prompt with another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::{EncodeError, Tokenizer};

/// Beside its tokens, what an entry takes: key, pointers, table space.
const ENTRY_BYTES: usize = 96;

/// A tokenizer that remembers.
#[derive(Debug)]
pub struct KnownTokens {
    tokenizer: Arc<Tokenizer>,
    seed: u64,
    /// What `add_special` puts before and after any text; `None` where that is not the same for all.
    around: Option<(Vec<u32>, Vec<u32>)>,
    parts: Mutex<Remembered>,
}

/// What a tokenization came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokenized {
    pub ids: Vec<u32>,
    /// Bytes of text whose tokens were known.
    pub known_bytes: usize,
    /// Bytes that were tokenized.
    pub new_bytes: usize,
}

/// Token lists by key, in two generations: what is used moves to the younger one, and when that is half of what is allowed the
/// older one goes. Every step is constant, and what was used lately stays.
#[derive(Debug, Default)]
pub struct Remembered {
    max_bytes: usize,
    young: HashMap<u128, Arc<[u32]>>,
    young_bytes: usize,
    old: HashMap<u128, Arc<[u32]>>,
    old_bytes: usize,
}

impl KnownTokens {
    /// Remembers at most `max_bytes`; `seed` keys the hashes, so that nobody outside can make two parts collide.
    pub fn new(tokenizer: Arc<Tokenizer>, max_bytes: usize, seed: u64) -> Self {
        Self {
            around: around(&tokenizer),
            tokenizer,
            seed,
            parts: Mutex::new(Remembered::new(max_bytes)),
        }
    }

    /// The tokenizer behind it.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Memory in use, bytes, about.
    pub fn held_bytes(&self) -> usize {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.held_bytes()
    }

    /// The tokens of `text`: the same as [`Tokenizer::encode_with`] gives.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Tokenized, EncodeError> {
        let mut out = Tokenized {
            ids: Vec::with_capacity(text.len() / 4 + 8),
            ..Tokenized::default()
        };
        let (before, after) = match (&self.around, add_special) {
            (_, false) => (&[] as &[u32], &[] as &[u32]),
            (Some((before, after)), true) => (before.as_slice(), after.as_slice()),
            (None, true) => {
                out.ids = self.tokenizer.encode_with(text, true)?;
                out.new_bytes = text.len();
                return Ok(out);
            }
        };
        out.ids.extend_from_slice(before);
        self.tokenizer
            .splits()
            .each(text, |part| self.part(part, &mut out))?;
        out.ids.extend_from_slice(after);
        Ok(out)
    }

    fn part(&self, part: &str, out: &mut Tokenized) -> Result<(), EncodeError> {
        let key = xxh3_128_with_seed(part.as_bytes(), self.seed);
        let known = self
            .parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key);
        if let Some(ids) = known {
            out.known_bytes += part.len();
            out.ids.extend_from_slice(&ids);
            return Ok(());
        }
        // Without the lock: others go on meanwhile, at worst with the same part.
        let ids: Arc<[u32]> = self.tokenizer.encode(part)?.into();
        out.new_bytes += part.len();
        out.ids.extend_from_slice(&ids);
        self.parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(key, ids);
        Ok(())
    }
}

impl Remembered {
    /// Holds at most `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            ..Self::default()
        }
    }

    /// Memory in use, bytes, about.
    pub fn held_bytes(&self) -> usize {
        self.young_bytes + self.old_bytes
    }

    /// The tokens under `key`, which stay longer for it.
    pub fn get(&mut self, key: u128) -> Option<Arc<[u32]>> {
        if let Some(ids) = self.young.get(&key) {
            return Some(Arc::clone(ids));
        }
        let ids = self.old.remove(&key)?;
        self.old_bytes -= bytes_of(&ids);
        self.put(key, Arc::clone(&ids));
        Some(ids)
    }

    /// Remembers `ids`, unless they alone are half of what is allowed.
    pub fn put(&mut self, key: u128, ids: Arc<[u32]>) {
        let bytes = bytes_of(&ids);
        if bytes > self.max_bytes / 2 {
            return;
        }
        if self.young_bytes + bytes > self.max_bytes / 2 {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        if self.young.insert(key, ids).is_none() {
            self.young_bytes += bytes;
        }
    }
}

fn bytes_of(ids: &[u32]) -> usize {
    std::mem::size_of_val(ids) + ENTRY_BYTES
}

/// Learns from two texts what special tokens are put around one.
fn around(tokenizer: &Tokenizer) -> Option<(Vec<u32>, Vec<u32>)> {
    let one = |text: &str| {
        let bare = tokenizer.encode(text).ok()?;
        let full = tokenizer.encode_with(text, true).ok()?;
        let at =
            (0..=full.len().checked_sub(bare.len())?).find(|at| full[*at..].starts_with(&bare))?;
        Some((full[..at].to_vec(), full[at + bare.len()..].to_vec()))
    };
    let first = one("a")?;
    (one("Some words, 12.")? == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_memory_is_bounded() {
        let max_bytes = 20 * (ENTRY_BYTES + 40);
        let mut parts = Remembered::new(max_bytes);
        let ids: Arc<[u32]> = vec![1; 10].into();
        parts.put(0, Arc::clone(&ids));
        for key in 1..200 {
            parts.put(key, Arc::clone(&ids));
            assert!(parts.get(0).is_some(), "used before {key}");
            assert!(parts.young_bytes + parts.old_bytes <= max_bytes);
        }
        assert!(parts.get(1).is_none());
        parts.put(500, vec![1; 100_000].into());
        assert!(parts.get(500).is_none());
    }

    #[test]
    fn a_conversation_that_goes_on_is_known_but_for_its_end() {
        let known = KnownTokens::new(Arc::new(Tokenizer::built_in()), 1 << 20, 7);
        let mut text: String = (0..2_000)
            .map(|day| format!("All work and no play on day {day}. "))
            .collect();
        let first = known.encode(&text, false).unwrap();
        assert_eq!(first.known_bytes, 0);
        text.push_str("And one more question?");
        let second = known.encode(&text, false).unwrap();
        assert!(second.new_bytes < 5_000, "{}", second.new_bytes);
        assert_eq!(second.ids, known.tokenizer().encode(&text).unwrap());
        assert!(known.held_bytes() < 1 << 20);
    }
}
