//! The conversation trace, as prompts of blocks of 16 tokens.

use serde::Deserialize;

use crate::{BLOCK_TOKENS, Prompt};

/// Tokens that one of the trace's block ids stands for.
const TRACE_BLOCK_TOKENS: usize = 512;

#[derive(Deserialize)]
struct Line {
    hash_ids: Vec<u64>,
}

/// Every request of the trace, each of its ids as 32 blocks.
pub fn prompts(path: &str) -> std::io::Result<Vec<Prompt>> {
    let text = std::fs::read_to_string(path)?;
    let each = (TRACE_BLOCK_TOKENS / BLOCK_TOKENS) as u64;
    let lines = text.lines().map(serde_json::from_str::<Line>);
    lines
        .map(|line| {
            let ids = line?.hash_ids.into_iter();
            Ok(ids
                .flat_map(|id| (0..each).map(move |at| id * each + at))
                .collect())
        })
        .collect()
}
