//! Which text does each choice of an answer have, and why did it end?

use serde_json::{Value, json};
use tokenize::{TokenStream, Tokenizer};

use super::generate::Style;
use super::logprobs::Tokens;
use crate::core::Piece;
use crate::model::FinishReason;

/// What ends a text before its tokens do.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    pub(crate) strings: Vec<String>,
    /// The stop string stays in the answer.
    pub(crate) include: bool,
    /// Tokens before which no stop string counts.
    pub(crate) min_tokens: usize,
    /// Stop tokens that are nothing special to report: ends of text.
    pub(crate) eos_ids: Vec<u32>,
}

impl Stops {
    /// Bytes at the end of a text that may be the beginning of a stop string.
    fn hold_bytes(&self) -> usize {
        self.strings
            .iter()
            .map(String::len)
            .max()
            .map_or(0, |longest| longest - 1)
    }

    /// Where the text of `held` ends because of a stop string, and which.
    fn find(&self, held: &str) -> Option<(usize, &str)> {
        let found = self
            .strings
            .iter()
            .filter_map(|stop| Some((held.find(stop.as_str())?, stop.as_str())));
        let (at, stop) = found.min_by_key(|&(at, _)| at)?;
        Some((if self.include { at + stop.len() } else { at }, stop))
    }
}

/// One choice while it grows.
#[derive(Debug)]
pub(crate) struct Choice {
    stream: TokenStream,
    /// Text not given out yet, because a stop string may have begun in it.
    held: String,
    pub(crate) token_ids: Vec<u32>,
    pub(crate) completion_tokens: usize,
    /// Characters of all tokens so far, each on its own.
    pub(crate) token_chars: usize,
    pub(crate) cached_tokens: usize,
    pub(crate) finish: Option<Finish>,
}

/// Why a choice ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finish {
    pub(crate) reason: FinishReason,
    pub(crate) stop_reason: Value,
}

impl Choice {
    pub(crate) fn new(tokenizer: &Tokenizer, prompt: &[u32]) -> Self {
        Self {
            stream: TokenStream::after(tokenizer, prompt),
            held: String::new(),
            token_ids: Vec::new(),
            completion_tokens: 0,
            token_chars: 0,
            cached_tokens: 0,
            finish: None,
        }
    }

    /// Takes what the model made; returns the text to give out now. `keep_ids` collects token ids.
    pub(crate) fn take(
        &mut self,
        tokenizer: &Tokenizer,
        stops: &Stops,
        piece: &Piece,
        keep_ids: bool,
    ) -> String {
        self.cached_tokens = piece.cached_tokens;
        let end = piece.end;
        for (index, &token) in piece.tokens.iter().enumerate() {
            self.completion_tokens += 1;
            if keep_ids {
                self.token_ids.push(token);
            }
            let last = index + 1 == piece.tokens.len();
            let stopped_here = last && end.is_some_and(|end| end.stop_token == Some(token));
            if !stopped_here || stops.include {
                self.stream.push(tokenizer, token, &mut self.held);
            }
            if self.completion_tokens > stops.min_tokens
                && let Some((at, stop)) = stops.find(&self.held)
            {
                self.finish = Some(Finish {
                    reason: FinishReason::Stop,
                    stop_reason: json!(stop),
                });
                self.held.truncate(at);
                return std::mem::take(&mut self.held);
            }
        }
        let Some(end) = end else {
            return self.release(stops.hold_bytes());
        };
        self.stream.finish(tokenizer, &mut self.held);
        let stop_reason = end
            .stop_token
            .filter(|token| !stops.eos_ids.contains(token));
        self.finish = Some(Finish {
            reason: end.reason,
            stop_reason: json!(stop_reason),
        });
        std::mem::take(&mut self.held)
    }

    /// Log-probabilities of `ids`, the tokens that this choice is about to take, as a stream of `style` shows them.
    pub(crate) fn logprobs(
        &mut self,
        tokenizer: &Tokenizer,
        style: Style,
        ids: &[u32],
        top: usize,
    ) -> Value {
        let tokens = Tokens {
            tokenizer,
            ids,
            place: self.completion_tokens,
            top,
        };
        if style == Style::Chat {
            return tokens.chat();
        }
        let shown = tokens.completion(self.token_chars, false);
        self.token_chars += ids
            .iter()
            .map(|&id| tokenizer.decode(&[id]).chars().count())
            .sum::<usize>();
        shown
    }

    /// All but the last `hold` bytes, at a character border.
    fn release(&mut self, hold: usize) -> String {
        if hold == 0 {
            return std::mem::take(&mut self.held);
        }
        let mut at = self.held.len().saturating_sub(hold);
        while !self.held.is_char_boundary(at) {
            at -= 1;
        }
        self.held.drain(..at).collect()
    }
}

/// Tokens of a whole answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
    /// Present where the flag asks for details.
    pub(crate) details: Option<Details>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Details {
    pub(crate) cached_tokens: usize,
    /// Prompt tokens cached by this request; chat only.
    pub(crate) created_cache_tokens: Option<usize>,
}

impl Usage {
    /// As the events of a stream have it: what is not there is left out, but for one field of chats.
    pub(crate) fn event(&self, style: Style) -> Value {
        let mut usage = json!({
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
        });
        if let Some(details) = self.details {
            usage["prompt_tokens_details"] = json!({"cached_tokens": details.cached_tokens});
            if let Some(created) = details.created_cache_tokens {
                usage["prompt_tokens_details"]["created_cache_tokens"] = json!(created);
            }
        } else if style == Style::Chat {
            usage["completion_tokens_details"] = Value::Null;
        }
        usage
    }

    pub(crate) fn json(&self) -> Value {
        let details = self.details.map(|details| {
            json!({
                "cached_tokens": details.cached_tokens,
                "created_cache_tokens": details.created_cache_tokens,
                "multimodal_tokens": null,
            })
        });
        json!({
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": details,
            "completion_tokens_details": null,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::End;

    /// Feeds a text token by token; returns the pieces given out and the end.
    #[track_caller]
    fn check(text: &str, stops: &[&str], include: bool, expected: &str, reason: Option<&str>) {
        let tokenizer = Tokenizer::built_in();
        let stops = Stops {
            strings: stops.iter().map(|&stop| stop.to_owned()).collect(),
            include,
            ..Stops::default()
        };
        let mut choice = Choice::new(&tokenizer, &[]);
        let (ids, mut seen) = (tokenizer.encode(text).unwrap(), String::new());
        for (index, &id) in ids.iter().enumerate() {
            let end = (index + 1 == ids.len()).then_some(End {
                reason: FinishReason::Length,
                stop_token: None,
            });
            let piece = Piece {
                sequence: 0,
                tokens: vec![id],
                cached_tokens: 0,
                end,
            };
            seen += &choice.take(&tokenizer, &stops, &piece, false);
            if choice.finish.is_some() {
                break;
            }
        }
        assert_eq!(seen, expected);
        assert_eq!(choice.finish.unwrap().stop_reason.as_str(), reason);
    }

    #[test]
    fn a_stop_string_ends_the_text_even_across_tokens() {
        check("one two three", &[], false, "one two three", None);
        check("one two three", &["two"], false, "one ", Some("two"));
        check("one two three", &["two"], true, "one two", Some("two"));
        check("one two three", &["e tw"], false, "on", Some("e tw"));
        check(
            "one two three",
            &["zzz", "thr"],
            false,
            "one two ",
            Some("thr"),
        );
        check("one two thr", &["three"], false, "one two thr", None);
        check("é😀x", &["😀"], false, "é", Some("😀"));
    }
}
