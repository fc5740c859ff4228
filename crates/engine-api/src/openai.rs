//! What does routing need to know of a request body?
//!
//! [`parse`] makes one pass over the bytes and borrows from them; [`streams`] turns what it found into the byte
//! stream whose prefixes are compared.

mod canonical;
mod error;
mod fields;
mod generate;
mod loose;
mod messages;
mod prompt;
mod route;

use std::borrow::Cow;

pub use canonical::{MEDIA_STREAM_BYTES, streams};
pub use error::BodyError;
pub use fields::parse;
pub use route::Route;

/// Prompts, messages and parts that one body may hold together; more are refused, so that a view never takes
/// many times the memory of the body it borrows from.
pub const MAX_NODES: usize = 262_144;

/// Extra members that one message may hold.
pub const MAX_OTHER_MEMBERS: usize = 64;

/// Text of one JSON value inside a body, as written, checked to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(pub(crate) &'a str);

impl<'a> Raw<'a> {
    /// The text, beginning with the value's first byte and ending with its last.
    pub fn get(self) -> &'a str {
        self.0
    }
}

/// The fields of a body that routing reads; everything borrows from the body.
#[derive(Debug)]
pub struct RequestView<'a> {
    pub model: Option<Cow<'a, str>>,
    pub stream: bool,
    /// `stream_options.include_usage`
    pub include_usage: bool,
    /// `max_completion_tokens`, else `max_tokens`, else `max_output_tokens`
    pub max_tokens: Option<u64>,
    pub cache_salt: Option<Cow<'a, str>>,
    /// Responses API: the stored response this one continues.
    pub previous_response_id: Option<Cow<'a, str>>,
    pub prompt: Prompt<'a>,
}

#[derive(Debug)]
pub enum Prompt<'a> {
    Text(Cow<'a, str>),
    Texts(Vec<Cow<'a, str>>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
    Chat(ChatView<'a>),
    /// Nothing that a prefix could be made of.
    None,
}

impl Prompt<'_> {
    /// How many prompts this is; [`streams`] numbers them from 0.
    pub fn count(&self) -> usize {
        match self {
            Self::Text(_) | Self::Tokens(_) | Self::Chat(_) => 1,
            Self::Texts(texts) => texts.len(),
            Self::TokenLists(lists) => lists.len(),
            Self::None => 0,
        }
    }
}

/// A conversation: what enters the engine's prompt, in order.
#[derive(Debug, Default)]
pub struct ChatView<'a> {
    pub tools: Option<Raw<'a>>,
    /// Other fields that change how the head of the prompt renders (`chat_template`, `chat_template_kwargs`,
    /// `documents`, Responses' `instructions`, Anthropic's `system`), by name, raw, sorted by name.
    pub template: Vec<(&'static str, Raw<'a>)>,
    pub messages: Vec<MessageView<'a>>,
    /// Changes only the tail of the prompt, so it is no part of the canonical stream.
    pub add_generation_prompt: Option<bool>,
    /// Changes only the tail of the prompt, so it is no part of the canonical stream.
    pub continue_final_message: Option<bool>,
}

#[derive(Debug, Default)]
pub struct MessageView<'a> {
    pub role: Cow<'a, str>,
    pub name: Option<Cow<'a, str>>,
    pub content: Content<'a>,
    pub tool_calls: Option<Raw<'a>>,
    pub tool_call_id: Option<Cow<'a, str>>,
    /// Any other member that some template may render (`reasoning_content`, `refusal`, …), by name, raw.
    pub other: Vec<(Cow<'a, str>, Raw<'a>)>,
}

#[derive(Debug, Default)]
pub enum Content<'a> {
    #[default]
    None,
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

#[derive(Debug)]
pub enum Part<'a> {
    Text(Cow<'a, str>),
    /// Image, audio, file or an unknown part: its raw JSON.
    Raw(Raw<'a>),
}
