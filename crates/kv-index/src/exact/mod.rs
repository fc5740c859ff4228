//! Which endpoint really holds the beginning of this prompt, by its engine's own word?
//!
//! Engines publish which blocks they store and drop. An [`ExactWriter`] takes their messages in, one at a time; any
//! number of threads ask an [`ExactIndex`] how many leading tokens of a prompt each slot holds. Names that engines
//! give their blocks need not agree with each other or with ours: blocks are told apart by a hash of our own over
//! token ids and the keys beside them (see `tokens.rs`).
//!
//! # What is known, and what is not
//!
//! - Known, once a slot's messages have been applied without a gap: which blocks its engine holds, in which tier;
//!   a block missing in the middle of a chain ends the match there, whatever is held behind it.
//! - An engine may hold the same block twice and say so twice; a removal then takes one away. Stores are counted, and
//!   the block is held until as many removals came. A store that is told again without a second copy (engines have
//!   such a mode for reused blocks) looks the same: with that mode on, a block may be believed held after it went.
//! - A replay of a message is recognised by its sequence and changes nothing.
//! - A block whose predecessor is not known is left out and counted: its tokens do not say where it belongs.
//! - What was stored before the first message heard is not known until it is stored again.
//! - Between the engine's step and the message's arrival the index lags; [`ExactIndex::send`] bridges that for our
//!   own requests.

mod arena;
mod bits;
mod event;
mod expected;
mod heads;
mod index;
mod lanes;
mod lookup;
mod matches;
mod runs;
mod store;
mod tenant;
mod tokens;
mod trie;
mod writer;

pub use event::{Applied, BatchOutcome, EngineHash, ExtraKey, KvBatch, KvBlockEvent, Tier};
pub use index::{ExactConfig, ExactIndex, ExactSlotStats, ExactStats, Sent};
pub use matches::{ExactMatches, TierTokens};
pub use tokens::{Media, TokenChain, TokenHasher, TokenPrompt};
pub use writer::ExactWriter;

/// An index that holds nothing, and the one writer that fills it.
pub fn exact_index(config: ExactConfig) -> (ExactIndex, ExactWriter) {
    let index = ExactIndex::new(config);
    let writer = ExactWriter::new(index.clone());
    (index, writer)
}
