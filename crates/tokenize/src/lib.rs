//! Which tokens does a model read for a text, and which text does it read for a conversation?
//!
//! A [`Tokenizer`] comes from a Hugging Face directory ([`Tokenizer::from_dir`]) or is the built-in one
//! ([`Tokenizer::built_in`]): a deterministic word-piece tokenizer without files. The built-in one is nobody's
//! vocabulary. It exists so that a simulated engine has tokens of a realistic length (about 4 bytes of
//! English each); its ids mean nothing to a real model.
//!
//! Nothing here reads a clock or a socket; the only I/O is reading a directory once.

mod builtin;
mod chat;
mod files;
pub mod hub;
mod known;
mod pyjson;
mod splits;
mod stream;

pub use builtin::{BuiltIn, filler_ids};
pub use chat::{ChatOptions, ChatTemplate, TemplateError};
pub use files::{Files, LoadError};
pub use known::{KnownTokens, Remembered, Tokenized};
pub use stream::TokenStream;

use std::path::Path;

use serde_json::Value;

use crate::splits::Splits;

/// The files' vocabulary has no tokens for a text.
#[derive(Debug, thiserror::Error)]
#[error("the text cannot be tokenized: {0}")]
pub struct EncodeError(String);

/// A tokenizer with the chat template that belongs to it.
#[derive(Debug)]
pub struct Tokenizer {
    kind: Kind,
    template: Option<ChatTemplate>,
    splits: Splits,
}

#[derive(Debug)]
enum Kind {
    BuiltIn(BuiltIn),
    Files(Box<Files>),
}

impl Tokenizer {
    /// The built-in tokenizer with a ChatML template.
    pub fn built_in() -> Self {
        Self {
            kind: Kind::BuiltIn(BuiltIn),
            template: Some(ChatTemplate::chatml()),
            splits: Splits::BuiltIn,
        }
    }

    /// Reads `tokenizer.json` and, where present, `tokenizer_config.json`, `chat_template.jinja` and
    /// `generation_config.json` of a directory.
    ///
    /// # Errors
    /// A file is missing or cannot be read; the message names it.
    pub fn from_dir(dir: &Path) -> Result<Self, LoadError> {
        let (files, template, splits) = files::load(dir)?;
        Ok(Self {
            kind: Kind::Files(Box::new(files)),
            template,
            splits,
        })
    }

    /// Whether this is the built-in tokenizer.
    pub fn is_built_in(&self) -> bool {
        matches!(self.kind, Kind::BuiltIn(_))
    }

    /// The tokens of `text`, with no token added that the text does not contain.
    ///
    /// # Errors
    /// Only with a vocabulary from files that cannot represent the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        self.encode_with(text, false)
    }

    /// As [`encode`](Self::encode); `add_special` adds what the files put around a bare text (often a
    /// beginning-of-sequence token). The built-in tokenizer adds nothing.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_with(&self, text: &str, add_special: bool) -> Result<Vec<u32>, EncodeError> {
        match &self.kind {
            Kind::BuiltIn(built_in) => Ok(built_in.encode(text)),
            Kind::Files(files) => files.encode(text, add_special),
        }
    }

    /// The text of `tokens`, special tokens written out. Unknown ids and broken UTF-8 become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        match &self.kind {
            Kind::BuiltIn(built_in) => built_in.decode(tokens),
            Kind::Files(files) => files.decode(tokens, false),
        }
    }

    /// Ids end before this.
    pub fn vocab_size(&self) -> u32 {
        match &self.kind {
            Kind::BuiltIn(_) => builtin::VOCAB_SIZE,
            Kind::Files(files) => files.vocab_size(),
        }
    }

    /// Tokens that end an answer.
    pub fn eos_ids(&self) -> &[u32] {
        match &self.kind {
            Kind::BuiltIn(_) => builtin::EOS_IDS,
            Kind::Files(files) => files.eos_ids(),
        }
    }

    /// The template of the files, or ChatML of the built-in tokenizer; `None` where the files have none.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// The prompt text of a conversation.
    ///
    /// # Errors
    /// There is no template, or it refuses the conversation.
    pub fn render_chat(
        &self,
        messages: &Value,
        tools: Option<&Value>,
        options: &ChatOptions<'_>,
    ) -> Result<String, TemplateError> {
        self.template
            .as_ref()
            .ok_or(TemplateError::None)?
            .render(messages, tools, options)
    }

    /// Where texts may be cut.
    pub(crate) fn splits(&self) -> &Splits {
        &self.splits
    }

    /// The text that one token adds in a stream that skips special tokens; see [`TokenStream`].
    fn is_special(&self, token: u32) -> bool {
        match &self.kind {
            Kind::BuiltIn(_) => builtin::is_special(token),
            Kind::Files(files) => files.is_special(token),
        }
    }
}
