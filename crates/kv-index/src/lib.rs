//! Which endpoint already holds the beginning of this prompt?
//!
//! Two answers: [`exact`] by what engines tell of their caches, and the approximate one of this page.
//!
//! A prompt becomes a [`Chain`] of 64-bit block hashes; an [`ApproximateIndex`] remembers, from our own
//! routing history, which [`Slot`] was sent which chain, and answers with the leading run each slot holds.
//!
//! ```
//! use kv_index::{ApproximateIndex, ChainHasher, HashSeed, IndexConfig, Matches, Namespace, Slot};
//!
//! let index = ApproximateIndex::new(IndexConfig {
//!     max_bytes: 64 << 20,
//!     default_capacity_blocks: 8_192,
//!     queue_ops: 1_024,
//! });
//! let mut hasher = ChainHasher::new(HashSeed(1), Namespace { model: "m", ..Namespace::default() });
//! hasher.update(&[b'x'; 200]);
//! let chain = hasher.finish();
//!
//! let slot = Slot::new(0, 0);
//! let placement = index.place(slot, &chain);
//! let mut matches = Matches::default();
//! index.lookup(&chain, &mut matches);
//! assert_eq!(matches.blocks(slot), 3); // 200 bytes are three whole blocks
//! index.confirm(placement); // the engine's first byte came
//! index.apply_pending(usize::MAX);
//! ```
//!
//! # What is known, and what is not
//!
//! - Known: what was sent where, in which order, and whether it was answered. Two prompts that differ in
//!   model, adapter, salt or any byte of a prefix share nothing from there on.
//! - Assumed: an engine keeps what it was sent, as far as its capacity goes, and evicts the least recently
//!   used, ends before beginnings. Requests that did not come through here, generated tokens and preemptions
//!   are not seen. When an engine reports less than was predicted, [`ApproximateIndex::cut`] says so.
//! - A long prompt is remembered at depths that get sparser, so a match may fall short of the truth by one part
//!   in 64; it never exceeds it.
//! - Blocks here are bytes of our own stream, not tokens of the engine's; a match is an estimate of tokens.
//! - A slot that holds a block of a chain holds all before it, at every moment, also while entries go.
//!   Lookups depend on that.
//!
//! # Who waits for whom
//!
//! Lookups and placements run on any thread. Confirmations and cuts queue up for whoever calls
//! [`ApproximateIndex::apply_pending`]; with the queue full they are dropped and counted. A lookup locks one
//! shard for one probe at a time, so it never waits for more than one block's change.
//!
//! Nothing here does I/O, reads a clock or draws a random number.

mod approximate;
mod bell;
mod chain;
pub mod exact;
mod holders;
mod lane_log;
mod lanes;
mod marks;
mod matches;
mod recent;
mod recent_tree;
#[cfg(test)]
mod recent_tree_tests;
mod search;
mod slot;
mod store;
#[cfg(test)]
mod store_tests;
mod table;
mod writer;
#[cfg(test)]
mod writer_tests;

pub use approximate::{ApproximateIndex, IndexConfig, IndexStats, Placement};
pub use chain::{BLOCK_BYTES, BlockHash, Chain, ChainHasher, HashSeed, Namespace};
pub use matches::Matches;
pub use slot::Slot;
