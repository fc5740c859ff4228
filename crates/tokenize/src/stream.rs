//! Which text does a stream of tokens add, token by token?
//!
//! A token may end in the middle of a character. Its bytes are held back until the character is whole, so a
//! piece of a stream never splits UTF-8, and the pieces concatenate to the text of all tokens. Special
//! tokens add nothing.

use crate::{Kind, Tokenizer};

/// Tokens of context that a vocabulary from files may need to space a word right.
const CONTEXT_TOKENS: usize = 6;
/// Held-back tokens after which broken UTF-8 is given out as it is: no character is longer.
const MAX_HELD_TOKENS: usize = 8;

/// State of one stream; at most a few tokens or bytes.
#[derive(Debug, Default)]
pub struct TokenStream {
    /// Built-in: bytes of an unfinished character.
    bytes: Vec<u8>,
    /// Files: recent tokens, of which those from `given` on are not given out yet.
    recent: Vec<u32>,
    given: usize,
}

impl TokenStream {
    /// A stream that begins after the tokens of `prompt`.
    pub fn after(tokenizer: &Tokenizer, prompt: &[u32]) -> Self {
        match tokenizer.kind {
            Kind::BuiltIn(_) => Self::default(),
            Kind::Files(_) => {
                let recent = prompt[prompt.len().saturating_sub(CONTEXT_TOKENS)..].to_vec();
                Self {
                    bytes: Vec::new(),
                    given: recent.len(),
                    recent,
                }
            }
        }
    }

    /// Appends to `out` what `token` adds.
    pub fn push(&mut self, tokenizer: &Tokenizer, token: u32, out: &mut String) {
        if tokenizer.is_special(token) {
            return;
        }
        match &tokenizer.kind {
            Kind::BuiltIn(built_in) => {
                built_in.decode_into(token, &mut self.bytes);
                take_whole(&mut self.bytes, out);
            }
            Kind::Files(_) => {
                self.recent.push(token);
                self.give(tokenizer, false, out);
            }
        }
    }

    /// Appends what is still held back, broken as it is.
    pub fn finish(&mut self, tokenizer: &Tokenizer, out: &mut String) {
        match &tokenizer.kind {
            Kind::BuiltIn(_) => {
                out.push_str(&String::from_utf8_lossy(&self.bytes));
                self.bytes.clear();
            }
            Kind::Files(_) => self.give(tokenizer, true, out),
        }
    }

    /// Decodes the recent tokens with and without the new ones; the difference is what they add.
    fn give(&mut self, tokenizer: &Tokenizer, all: bool, out: &mut String) {
        let Kind::Files(files) = &tokenizer.kind else {
            return;
        };
        let before = files.decode(&self.recent[..self.given], true);
        let with = files.decode(&self.recent, true);
        let held = self.recent.len() - self.given;
        if with.ends_with('\u{fffd}') && !all && held < MAX_HELD_TOKENS {
            return;
        }
        out.push_str(with.get(before.len()..).unwrap_or_default());
        let surplus = self.recent.len().saturating_sub(CONTEXT_TOKENS);
        self.recent.drain(..surplus);
        self.given = self.recent.len();
    }
}

/// Moves the whole characters at the beginning of `bytes` to `out`; broken ones become U+FFFD.
fn take_whole(bytes: &mut Vec<u8>, out: &mut String) {
    let mut rest = bytes.as_slice();
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                out.push_str(text);
                bytes.clear();
                return;
            }
            Err(error) => {
                let (whole, broken) = rest.split_at(error.valid_up_to());
                out.push_str(&String::from_utf8_lossy(whole));
                let Some(length) = error.error_len() else {
                    *bytes = broken.to_vec();
                    return;
                };
                out.push('\u{fffd}');
                rest = &broken[length..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
        let mut out = String::new();
        let mut stream = TokenStream::after(tokenizer, &[]);
        for &id in ids {
            stream.push(tokenizer, id, &mut out);
        }
        stream.finish(tokenizer, &mut out);
        out
    }

    #[test]
    fn an_unfinished_character_is_held_back() {
        let tokenizer = Tokenizer::built_in();
        let ids = tokenizer.encode("a😀b").unwrap();
        let mut stream = TokenStream::default();
        let mut seen = Vec::new();
        for &id in &ids {
            let mut piece = String::new();
            stream.push(&tokenizer, id, &mut piece);
            seen.push(piece);
        }
        assert_eq!(seen, ["a", "", "", "", "😀", "b"]);
    }

    proptest! {
        #[test]
        fn pieces_concatenate_to_the_text(text in any::<String>()) {
            let tokenizer = Tokenizer::built_in();
            let text = text.replace("<|", "");
            prop_assert_eq!(streamed(&tokenizer, &tokenizer.encode(&text).unwrap()), text);
        }

        #[test]
        fn any_ids_give_what_decode_gives(ids in prop::collection::vec(0u32..300, 0..32)) {
            let tokenizer = Tokenizer::built_in();
            prop_assert_eq!(streamed(&tokenizer, &ids), tokenizer.decode(&ids));
        }
    }
}
