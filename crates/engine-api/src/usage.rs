//! How many tokens did the engine say it used?

/// The engine's own count; `cached_tokens` is `None` where the engine does not report it (never 0 for absent).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub cached_tokens: Option<u64>,
}

/// Finds the top-level `usage` object of a whole (non-streamed) response body; OpenAI, Responses and
/// Anthropic spellings.
pub fn read_body(_body: &[u8]) -> Option<Usage> {
    None
}
