//! How does one tokenize without a vocabulary file?
//!
//! Every id *is* its text: ids are laid out in ranges ([`layout`]), and the offset in a range encodes the
//! bytes. So encoding needs one pass and no table look-up of size, decoding is arithmetic, and
//! `decode(encode(s)) == s` holds for every text, because the pieces of `s` are concatenated again.
//!
//! A space belongs to the word that follows it. No piece reaches from other bytes into whitespace, so for a
//! text `a` that does not end in whitespace and a text `b` that begins with it, the tokens of `a` are a
//! prefix of the tokens of `a + b`.

mod layout;
mod pieces;
mod words;

pub(crate) use layout::{EOS_IDS, VOCAB_SIZE, is_special};

use layout::SPECIALS;

/// The built-in tokenizer; it has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltIn;

impl BuiltIn {
    /// The tokens of any text.
    pub fn encode(self, text: &str) -> Vec<u32> {
        // Most texts have between 3 and 5 bytes a token; one growth at most.
        let mut ids = Vec::with_capacity(text.len() / 4 + 8);
        let mut rest = text;
        while let Some((plain, id, after)) = next_special(rest) {
            pieces::encode(plain, &mut ids);
            ids.push(id);
            rest = after;
        }
        pieces::encode(rest, &mut ids);
        ids
    }

    /// The text of any ids; unknown ones and broken UTF-8 become U+FFFD.
    pub fn decode(self, tokens: &[u32]) -> String {
        let mut bytes = Vec::with_capacity(tokens.len() * 4);
        for &token in tokens {
            self.decode_into(token, &mut bytes);
        }
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Appends the bytes of one token.
    pub(crate) fn decode_into(self, token: u32, bytes: &mut Vec<u8>) {
        layout::decode(token, bytes);
    }
}

/// Ids of plain lower-case English words with their leading space: what invented text is made of.
pub fn filler_ids() -> Vec<u32> {
    (0..words::COUNT).map(layout::spaced_word).collect()
}

/// The next special token of `text`: what comes before it, its id, what comes after.
fn next_special(text: &str) -> Option<(&str, u32, &str)> {
    let mut from = 0;
    while let Some(found) = text[from..].find("<|") {
        let at = from + found;
        for &(special, id) in SPECIALS {
            if let Some(after) = text[at..].strip_prefix(special) {
                return Some((&text[..at], id, after));
            }
        }
        from = at + 2;
    }
    None
}

#[cfg(test)]
mod tests;
