//! How many tokens did the engine say it used?

use crate::json::{Cursor, Fault};
use crate::read::{each_member, number};
use crate::sse::read_answer;

/// The engine's own count; `cached_tokens` is `None` where the engine does not report it (never 0 for absent).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub cached_tokens: Option<u64>,
}

impl Usage {
    /// Takes in what a later event of the same stream said; what it left out (Anthropic's last event counts only
    /// the output) stays.
    pub fn absorb(&mut self, later: Usage) {
        self.prompt_tokens = self.prompt_tokens.max(later.prompt_tokens);
        self.completion_tokens = self.completion_tokens.max(later.completion_tokens);
        self.cached_tokens = later.cached_tokens.or(self.cached_tokens);
    }

    /// Both together, of two prompts of one request.
    fn and(self, other: Usage) -> Usage {
        let cached = self.cached_tokens.zip(other.cached_tokens);
        Usage {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self
                .completion_tokens
                .saturating_add(other.completion_tokens),
            cached_tokens: cached.map(|(one, other)| one.saturating_add(other)),
        }
    }
}

/// What a whole (non-streamed) response body says, as far as routing cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub usage: Option<Usage>,
    /// Responses API: the id under which the engine keeps this response.
    pub response_id: Option<String>,
    /// The body is an error: its `code` if numeric.
    pub error: Option<Option<u16>>,
}

/// Finds the top-level `usage` object of a whole (non-streamed) response body; OpenAI, Responses and
/// Anthropic spellings.
pub fn read_body(body: &[u8]) -> Option<Usage> {
    read_whole(body).usage
}

/// Reads a whole response body; nonsense reads as nothing. Of a list, which SGLang answers several prompts with, the
/// counts are added up.
pub fn read_whole(body: &[u8]) -> Answer {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Answer {
            usage: read_list(body),
            ..Answer::default()
        };
    }
    let (view, response_id) = read_answer(body);
    Answer {
        usage: view.usage,
        response_id: response_id.or(view.response_id),
        error: view.error,
    }
}

fn read_list(body: &[u8]) -> Option<Usage> {
    let mut at = Cursor::new(simdutf8::basic::from_utf8(body).ok()?);
    let mut sum: Option<Usage> = None;
    let read = at.array(|at| {
        if let Some(one) = read_answer(at.raw()?.as_bytes()).0.usage {
            sum = Some(match sum {
                Some(sum) => sum.and(one),
                None => one,
            });
        }
        Ok::<(), Fault>(())
    });
    read.ok().and(sum)
}

/// Reads a usage object under any of its spellings, SGLang's `meta_info` included; `None` if none of its members is a count.
pub(crate) fn read(at: &mut Cursor<'_>) -> Result<Option<Usage>, Fault> {
    let mut prompt = None;
    let mut completion = None;
    let mut cached = None;
    each_member(at, |at, key| {
        match key {
            "prompt_tokens" | "input_tokens" => prompt = number(at)?.or(prompt),
            "completion_tokens" | "output_tokens" => completion = number(at)?.or(completion),
            "cache_read_input_tokens" | "cached_tokens" => cached = number(at)?.or(cached),
            "prompt_tokens_details" | "input_tokens_details" => {
                each_member(at, |at, key| {
                    if key == "cached_tokens" {
                        cached = number(at)?.or(cached);
                        return Ok(());
                    }
                    at.skip()
                })?;
            }
            _ => at.skip()?,
        }
        Ok(())
    })?;
    if prompt.is_none() && completion.is_none() {
        return Ok(None);
    }
    Ok(Some(Usage {
        prompt_tokens: prompt.unwrap_or(0),
        completion_tokens: completion.unwrap_or(0),
        cached_tokens: cached,
    }))
}
