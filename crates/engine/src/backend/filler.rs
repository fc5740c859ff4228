//! Which token comes next when nothing is computed?
//!
//! The text of a simulated engine means nothing and says so nowhere in itself: it is filler, or the prompt again. It is a
//! pure function of seed, prompt and position, so a run can be repeated and a retried request gives the same text.

use std::sync::Arc;

use super::SequenceStep;
use crate::model::{Generation, Text};

/// Token ids that filler is made of.
#[derive(Debug, Clone)]
pub struct FillerVocabulary(Arc<[u32]>);

impl FillerVocabulary {
    /// Filler made of these ids; empty means a range of plain ids, fit for runs where nobody reads the text.
    #[must_use]
    pub fn new(ids: impl Into<Arc<[u32]>>) -> Self {
        let ids: Arc<[u32]> = ids.into();
        if ids.is_empty() {
            Self::default()
        } else {
            Self(ids)
        }
    }
}

impl Default for FillerVocabulary {
    fn default() -> Self {
        Self((1000..2024).collect())
    }
}

/// The next token of a sequence.
pub(super) fn next_token(
    vocabulary: &FillerVocabulary,
    seed: u64,
    sequence: &SequenceStep<'_>,
) -> u32 {
    let position = sequence.output.len();
    if let Some(stop) = natural_end(sequence.generation, sequence.prompt.len(), position) {
        return stop;
    }
    match sequence.generation.text {
        Text::Echo => sequence.prompt[position % sequence.prompt.len()],
        Text::Filler => {
            let text_seed = sequence
                .generation
                .seed
                .unwrap_or_else(|| prompt_seed(sequence.prompt));
            let draw = mix(mix(seed ^ text_seed).wrapping_add(position as u64));
            vocabulary.0[(draw % vocabulary.0.len() as u64) as usize]
        }
    }
}

/// The stop token, when the text is over at this position.
fn natural_end(generation: &Generation, prompt_tokens: usize, position: usize) -> Option<u32> {
    let length = match generation.text {
        Text::Echo => prompt_tokens,
        Text::Filler => generation.natural_tokens?,
    };
    (position >= length.max(generation.min_tokens))
        .then(|| generation.stop_token_ids.first().copied())
        .flatten()
}

/// Length and last tokens tell prompts apart well enough for filler.
fn prompt_seed(prompt: &[u32]) -> u64 {
    let tail = &prompt[prompt.len().saturating_sub(8)..];
    tail.iter().fold(prompt.len() as u64, |seed, &token| {
        mix(seed ^ u64::from(token))
    })
}

/// A bijective mixer with good avalanche (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
