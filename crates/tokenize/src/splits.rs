//! Where may a text be cut so that its parts' tokens are its tokens?
//!
//! - After a special token of a vocabulary from files: what is around it is normalized, split and tokenized by itself.
//!   Not where some token looks at its neighbours (`lstrip`, `rstrip`, `single_word`), nor under a pre-tokenizer that
//!   treats the beginning of a text in its own way.
//! - Between a line's end and a letter, where the pre-tokenizer's pattern takes whole runs of line ends first, as those
//!   of the GPT-4 family do (Qwen, Llama 3 and others): no piece then reaches over that place, from either side.
//! - Before a space or a line's end that follows neither, with the built-in tokenizer.
//!
//! Anywhere else a text stays whole.

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

/// Parts are about this long, bytes, where there are places to cut: shorter ones cost a look-up each, longer ones are
/// tokenized again for a change at their end.
const PART_BYTES: usize = 2_048;

/// How patterns of the GPT-4 family end.
const LINES_FIRST: &str = r"\s*[\r\n]+|\s+(?!\S)|\s+";

/// Where texts of one tokenizer may be cut.
#[derive(Debug)]
pub(crate) enum Splits {
    /// Nowhere.
    None,
    BuiltIn,
    Files {
        /// Special tokens; `None` where there is none.
        specials: Option<AhoCorasick>,
        lines: bool,
    },
}

impl Splits {
    /// Reads `tokenizer.json`.
    pub(crate) fn of(tokenizer: &Value) -> Self {
        let none = Vec::new();
        let added = tokenizer["added_tokens"].as_array().unwrap_or(&none);
        let looks_around = |token: &Value| {
            ["lstrip", "rstrip", "single_word"]
                .iter()
                .any(|key| token[*key] == true)
        };
        if added.iter().any(looks_around) || knows_beginnings(&tokenizer["pre_tokenizer"]) {
            return Self::None;
        }
        let content = |token: &Value| token["content"].as_str().unwrap_or_default().to_owned();
        let specials: Vec<String> = added
            .iter()
            .filter(|token| token["normalized"] != true)
            .map(content)
            .filter(|content| !content.is_empty())
            .collect();
        let no_lines = added.iter().any(|token| content(token).contains('\n'));
        let matcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&specials);
        Self::Files {
            specials: matcher.ok().filter(|_| !specials.is_empty()),
            lines: !no_lines && takes_lines_first(tokenizer),
        }
    }

    /// Calls `part` with each part of `text`, in order; a text's parts begin with those of any text it goes on from,
    /// but for the last one.
    pub(crate) fn each<'t, E>(
        &self,
        text: &'t str,
        mut part: impl FnMut(&'t str) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self::Files { specials, .. } = self else {
            return self.lines_of(text, &mut part);
        };
        let mut from = 0;
        if let Some(specials) = specials {
            for found in specials.find_iter(text) {
                // Short ones are taken together: a token a word would cost more look-ups than it saves.
                if found.end() - from >= PART_BYTES / 8 {
                    self.lines_of(&text[from..found.end()], &mut part)?;
                    from = found.end();
                }
            }
        }
        self.lines_of(&text[from..], &mut part)
    }

    /// Cuts what holds no place between specials.
    fn lines_of<'t, E>(
        &self,
        text: &'t str,
        part: &mut impl FnMut(&'t str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = text;
        while let Some(at) = self.cut(rest) {
            part(&rest[..at])?;
            rest = &rest[at..];
        }
        if rest.is_empty() { Ok(()) } else { part(rest) }
    }

    /// The first place to cut after [`PART_BYTES`].
    fn cut(&self, text: &str) -> Option<usize> {
        let bytes = text.as_bytes();
        let here = |before: u8, after: u8| match self {
            Self::None | Self::Files { lines: false, .. } => false,
            Self::BuiltIn => matches!(after, b' ' | b'\n') && !before.is_ascii_whitespace(),
            Self::Files { lines: true, .. } => before == b'\n' && after.is_ascii_alphabetic(),
        };
        if matches!(self, Self::None | Self::Files { lines: false, .. }) {
            return None;
        }
        let mut places = PART_BYTES..bytes.len();
        places.find(|at| here(bytes[at - 1], bytes[*at]))
    }
}

/// Whether the first piece of a text is treated unlike others.
fn knows_beginnings(pre_tokenizer: &Value) -> bool {
    let parts = pre_tokenizer["pretokenizers"].as_array();
    let own = pre_tokenizer["type"] == "Metaspace" && pre_tokenizer["prepend_scheme"] != "never";
    own || parts.is_some_and(|parts| parts.iter().any(knows_beginnings))
}

/// Whether the text is first cut by a pattern that takes runs of line ends whole, and by nothing that undoes it.
fn takes_lines_first(tokenizer: &Value) -> bool {
    let normalizer = &tokenizer["normalizer"];
    if !(normalizer.is_null() || normalizer["type"] == "NFC") {
        return false;
    }
    let Some([split, bytes]) = tokenizer["pre_tokenizer"]["pretokenizers"]
        .as_array()
        .map(Vec::as_slice)
    else {
        return false;
    };
    let pattern = split["pattern"]["Regex"].as_str().unwrap_or_default();
    split["type"] == "Split"
        && split["behavior"] == "Isolated"
        && split["invert"] != true
        && pattern.ends_with(LINES_FIRST)
        && bytes["type"] == "ByteLevel"
        && bytes["add_prefix_space"] != true
        && bytes["use_regex"] != true
}
