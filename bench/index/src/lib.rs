//! Exact prefix indexes under one face, fed the same events and asked the same prompts.

pub mod figures;
pub mod naive;
pub mod ours;
#[cfg(feature = "peers")]
pub mod peers;
pub mod trace;

/// Endpoints in all measurements.
pub const WORKERS: usize = 16;
/// Tokens in a block.
pub const BLOCK_TOKENS: usize = 16;

/// A prompt: one number for each block, equal where the blocks' tokens are.
pub type Prompt = Vec<u64>;

/// The tokens of a block.
pub fn tokens(block: u64) -> [u32; BLOCK_TOKENS] {
    let mixed = block.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    std::array::from_fn(|at| (mixed >> (at % 4 * 11)) as u32 % 150_000 + at as u32)
}

/// An engine's names for the blocks of a prompt: chained.
pub fn names(prompt: &[u64]) -> Vec<u64> {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let blocks = prompt.iter();
    blocks
        .map(|block| {
            hash = (hash ^ block).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
            hash ^= hash >> 32;
            hash
        })
        .collect()
}

/// Blocks `from..` of a prompt stored at a worker, ready to be applied: whatever an engine would have computed is.
pub trait Index {
    /// A prompt as the index wants it asked.
    type Asked;
    /// A store event as the index wants it told.
    type Event;

    const NAME: &'static str;

    fn asked(&self, prompt: &[u64]) -> Self::Asked;
    fn event(&self, worker: usize, prompt: &[u64], names: &[u64], from: usize) -> Self::Event;
    fn apply(&mut self, event: Self::Event);
    /// Leading blocks by worker.
    fn find(&mut self, asked: &Self::Asked);
    /// What the last [`Index::find`] found.
    fn found(&self) -> [u32; WORKERS];
}
