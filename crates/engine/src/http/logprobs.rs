//! What do log-probabilities look like?
//!
//! Their shape is vLLM's for both routes. The numbers are invented like the text they belong to: the sampled token is the
//! likeliest, with a probability from 0.5 to 0.95 that depends on the token and its place, and each further one has half
//! of what is left. They sum to less than one and never change between runs.

use serde_json::{Map, Value, json};
use tokenize::Tokenizer;

/// Most alternatives a client may ask for at each token, vLLM's default.
pub(crate) const MAX_TOP: i64 = 20;

/// Tokens of one choice, from `place` on in it.
pub(crate) struct Tokens<'a> {
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) ids: &'a [u32],
    /// Tokens of the choice before these.
    pub(crate) place: usize,
    /// Alternatives shown at each.
    pub(crate) top: usize,
}

/// One token and what is said of it.
struct Candidate {
    id: u32,
    text: String,
    logprob: f64,
}

impl Tokens<'_> {
    /// As `/v1/completions` shows them; `offset` characters of text come before the first. With `after_nothing` the
    /// first token begins the text, so that nothing predicts it.
    pub(crate) fn completion(&self, offset: usize, after_nothing: bool) -> Value {
        let (mut offsets, mut logprobs, mut tokens, mut tops) = (vec![], vec![], vec![], vec![]);
        let mut offset = offset;
        for (index, candidates) in self.candidates().enumerate() {
            let sampled = &candidates[0];
            offsets.push(offset);
            offset += sampled.text.chars().count();
            tokens.push(json!(sampled.text));
            if after_nothing && index == 0 {
                logprobs.push(Value::Null);
                tops.push(Value::Null);
                continue;
            }
            logprobs.push(json!(sampled.logprob));
            let top = candidates
                .iter()
                .map(|one| (one.text.clone(), json!(one.logprob)));
            // Sampled first, then as many more: the sampled one is the likeliest, and so one of those.
            tops.push(Value::Object(
                top.take(self.top.max(1)).collect::<Map<_, _>>(),
            ));
        }
        json!({"text_offset": offsets, "token_logprobs": logprobs, "tokens": tokens, "top_logprobs": tops})
    }

    /// As `/v1/chat/completions` shows them.
    pub(crate) fn chat(&self) -> Value {
        let one = |candidates: Vec<Candidate>| {
            let show = |one: &Candidate| json!({"token": one.text, "logprob": one.logprob, "bytes": one.text.as_bytes()});
            let mut token = show(&candidates[0]);
            token["top_logprobs"] = candidates.iter().take(self.top).map(show).collect();
            token
        };
        json!({"content": self.candidates().map(one).collect::<Vec<_>>()})
    }

    /// As both routes show those of a prompt: nothing predicts its first token.
    pub(crate) fn prompt(&self) -> Value {
        let one = |candidates: Vec<Candidate>| {
            let ranked = (1..).zip(candidates);
            let shown = ranked.map(|(rank, one)| {
                let about =
                    json!({"logprob": one.logprob, "rank": rank, "decoded_token": one.text});
                (one.id.to_string(), about)
            });
            Value::Object(shown.collect())
        };
        let later = self.candidates().skip(1).map(one);
        std::iter::once(Value::Null).chain(later).collect()
    }

    /// For each token: itself, then the alternatives.
    fn candidates(&self) -> impl Iterator<Item = Vec<Candidate>> {
        self.ids.iter().enumerate().map(|(index, &id)| {
            let mut left = 1.0;
            let chance = mixed(u64::from(id) << 32 | (self.place + index) as u64);
            let count = self.top.max(1) as u32;
            (0..count)
                .map(|rank| {
                    let share = if rank == 0 {
                        0.5 + 0.45 * (chance % 1000) as f64 / 1000.0
                    } else {
                        left / 2.0
                    };
                    left -= share;
                    let other = (id + rank * 7919) % self.tokenizer.vocab_size();
                    Candidate {
                        id: other,
                        text: self.tokenizer.decode(&[other]),
                        logprob: share.ln(),
                    }
                })
                .collect()
        })
    }
}

/// A number that looks random (the finaliser of SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_fall_and_leave_room() {
        let tokenizer = Tokenizer::built_in();
        let ids = tokenizer.encode("one two three").unwrap();
        let tokens = Tokens {
            tokenizer: &tokenizer,
            ids: &ids,
            place: 0,
            top: 20,
        };
        for candidates in tokens.candidates() {
            let sum: f64 = candidates.iter().map(|one| one.logprob.exp()).sum();
            assert!(sum < 1.0 && candidates.len() == 20);
            assert!(candidates.is_sorted_by(|a, b| a.logprob >= b.logprob));
        }
        let shown = tokens.completion(7, true);
        assert_eq!(shown["text_offset"][0], 7);
        assert_eq!(shown["token_logprobs"][0], Value::Null);
        assert_eq!(shown["tokens"][0], "one");
        assert_eq!(tokens.chat()["content"][0]["bytes"], json!(b"one"));
    }
}
