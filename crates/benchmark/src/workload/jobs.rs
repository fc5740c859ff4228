//! Which requests arrive when, and what do their prompts share?
//!
//! A [`Job`] says what a request asks without holding its tokens: a prompt is a row of [`Piece`]s, and equal pieces at the
//! same place mean equal tokens. Jobs come one at a time in order of arrival, so that a trace of any length takes the same
//! memory.

pub mod generate;
pub mod mooncake;
pub mod shuffle;
pub mod stages;

use std::time::Duration;

/// A run of tokens that is equal wherever `key` is equal; a shorter piece of the same key is a prefix of a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    pub key: u64,
    pub tokens: u32,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Since the start of the workload; never before that of the job given out before it.
    pub at: Duration,
    pub prompt: Vec<Piece>,
    pub output_tokens: u32,
    /// The tokens generated are those of a piece with this key, so that a later turn can hold them.
    pub output_key: u64,
    /// Requests of one conversation have the same.
    pub session: u64,
}

impl Job {
    /// Length of the prompt.
    #[must_use]
    pub fn prompt_tokens(&self) -> usize {
        self.prompt.iter().map(|piece| piece.tokens as usize).sum()
    }

    /// Its prompt, written out.
    #[must_use]
    pub fn tokens(&self) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(self.prompt_tokens());
        for piece in &self.prompt {
            tokens.extend((0..piece.tokens).map(|at| token(piece.key, at)));
        }
        tokens
    }
}

/// Jobs in order of arrival; the same value gives the same jobs.
pub trait Jobs {
    /// The next one; `None` when all have arrived.
    ///
    /// # Errors
    /// The source could not be read or makes no sense, with the line.
    fn next_job(&mut self) -> anyhow::Result<Option<Job>>;

    /// About how much of it was given out, 0..=1.
    fn progress(&self) -> f64;
}

impl Jobs for Box<dyn Jobs> {
    fn next_job(&mut self) -> anyhow::Result<Option<Job>> {
        (**self).next_job()
    }

    fn progress(&self) -> f64 {
        (**self).progress()
    }
}

/// Token ids stay below this: the size of a current vocabulary.
const VOCABULARY: u32 = 1 << 17;

/// Token `at` of a piece with this key.
#[must_use]
pub fn token(key: u64, at: u32) -> u32 {
    (mix(key.wrapping_add(u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 40) as u32
        % VOCABULARY
}

/// A key that only these parts have.
#[must_use]
pub fn key(parts: &[u64]) -> u64 {
    parts.iter().fold(0x243f_6a88_85a3_08d3, |state, part| {
        mix(state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15)
    })
}

/// splitmix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_piece_begins_a_longer_one() {
        let job = |tokens| Job {
            at: Duration::ZERO,
            prompt: vec![Piece { key: 7, tokens }],
            output_tokens: 1,
            output_key: 0,
            session: 0,
        };
        let (short, long) = (job(40).tokens(), job(90).tokens());
        assert_eq!(short.len(), 40);
        assert_eq!(short, long[..40]);
        assert!(long.iter().all(|token| *token < VOCABULARY));
    }

    #[test]
    fn keys_differ_by_every_part() {
        let all = [key(&[1, 2]), key(&[2, 1]), key(&[1]), key(&[1, 2, 0])];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one));
        }
    }
}
