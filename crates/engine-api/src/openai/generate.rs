//! What stands in a body of an engine's own generate route?
//!
//! SGLang's `/generate` (`text`, `input_ids`, `sampling_params.max_new_tokens`, `extra_key`, media beside the text) and
//! vLLM's `/inference/v1/generate` (`token_ids`, `sampling_params.max_tokens`). Other engines serve the first path too,
//! so that a member of another shape reads as nothing instead of being judged.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_128;

use super::error::Stop;
use super::fields::Field;
use super::{Prompt, prompt};
use crate::json::Cursor;
use crate::read::{each_member, number};

/// What keeps equal prompts apart in the engine's cache, beside a salt.
#[derive(Default)]
pub(super) struct Apart(String);

impl Apart {
    fn push(&mut self, key: &str, raw: &str) {
        // Whatever its length, it only has to differ where the value does; the order of members is not the client's
        // to choose from one request to the next.
        let digest = xxh3_128(raw.as_bytes());
        self.0.push_str(&format!("\u{0}{key}:{digest:032x}"));
    }

    /// `salt` with everything else that keeps prompts apart.
    pub(super) fn with<'a>(&self, salt: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
        match (self.0.is_empty(), salt) {
            (true, salt) => salt,
            (false, salt) => Some(Cow::Owned(format!(
                "{}{}",
                salt.unwrap_or_default(),
                self.0
            ))),
        }
    }
}

/// Reads `key` if it says something about the prompt.
pub(super) fn member<'a>(
    at: &mut Cursor<'a>,
    key: &str,
    prompt: &mut Field<Prompt<'a>>,
    max_tokens: &mut Field<u64>,
    apart: &mut Apart,
) -> Result<bool, Stop> {
    match key {
        "text" | "inputs" | "input_ids" | "token_ids" => {
            if let Ok(Some(read)) = super::fields::field(at, prompt::read)? {
                *prompt = Ok(Some(read));
            }
        }
        "sampling_params" => each_member(at, |at, key| {
            if matches!(key, "max_new_tokens" | "max_tokens") {
                if let Some(count) = number(at)? {
                    *max_tokens = Ok(Some(count));
                }
                return Ok(());
            }
            at.skip()
        })?,
        "extra_key" | "lora_path" | "image_data" | "video_data" | "audio_data" | "features" => {
            let raw = at.raw()?;
            if !matches!(raw, "null" | "[]" | "\"\"") {
                apart.push(key, raw);
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}
