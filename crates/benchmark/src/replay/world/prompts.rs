//! What do the gateways' routers look at in a prompt, so that nothing else is worked out?

use super::Gateway;
use crate::replay::router::Router;
use crate::workload::jobs::{Job, token};

/// What the gateways' routers look at, so that nothing else is worked out.
#[derive(Clone, Copy)]
pub(super) struct Wants {
    pub(super) chain: bool,
    pub(super) blocks: bool,
    pub(super) names: bool,
    pub(super) cache_events: bool,
}

impl Wants {
    pub(super) fn of(gateways: &[Gateway]) -> Self {
        let any =
            |wants: fn(&dyn Router) -> bool| gateways.iter().any(|gateway| wants(&*gateway.router));
        Self {
            chain: any(|router| router.wants_chain()),
            blocks: any(|router| router.wants_blocks()),
            names: any(|router| router.wants_names()),
            cache_events: any(|router| router.wants_cache_events()),
        }
    }
}

/// Tokens of a block in [`Ask::blocks`].
pub(super) const BLOCK_TOKENS: usize = 16;

/// Chained hashes of whole blocks of 16 tokens.
fn blocks(prompt: &[u32]) -> Vec<u64> {
    let mut parent = 0u64;
    let whole = prompt.chunks_exact(BLOCK_TOKENS);
    whole
        .map(|block| {
            let own = block.chunks_exact(2).fold(parent, |state, pair| {
                let word = u64::from(pair[0]) << 32 | u64::from(pair[1]);
                let mixed = (state.rotate_left(23) ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
                mixed ^ (mixed >> 32)
            });
            parent = own;
            own
        })
        .collect()
}

/// Those of the prompt, and of what will be generated: all but the last token of that ends up in a cache.
pub(super) fn blocks_with_output(prompt: &[u32], job: &Job) -> Vec<u64> {
    let output = (0..job.output_tokens.saturating_sub(1)).map(|at| token(job.output_key, at));
    let whole: Vec<u32> = prompt.iter().copied().chain(output).collect();
    blocks(&whole)
}
