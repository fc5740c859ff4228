//! Which KV-cache blocks did an engine store, and which did it drop?
//!
//! Engines publish what happens to their cache as messages of three frames: topic, sequence number, and a batch in
//! MessagePack (<https://docs.vllm.ai/en/latest/serving/kv_events.html>). [`Batch::decode`] reads a batch in both
//! forms that are about: maps with a `type`, and the older positional arrays. Block hashes come as signed or unsigned
//! integers or as bytes; here they are the low 64 bits, which are the same in all three. Unknown keys are passed over,
//! unknown kinds of event are counted.
//!
//! Total over any bytes: no recursion, and nothing is reserved for what a length only claims.

mod event;
mod pack;
mod topic;

pub use topic::Topic;

use pack::{Fault, Reader};

/// Longest payload read, bytes. A step that stores a million tokens takes about 5 MB.
pub const MAX_PAYLOAD_BYTES: usize = 32 << 20;

/// Sequence number that ends a replay.
pub const END_OF_REPLAY: u64 = u64::MAX;

/// Why bytes are no batch of events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a message of {0} frames; events have topic, sequence and payload")]
    Frames(usize),
    #[error("a sequence number of {0} bytes instead of 8")]
    Sequence(usize),
    #[error("a payload of {0} bytes; at most {MAX_PAYLOAD_BYTES} are read")]
    TooLong(usize),
    #[error("not MessagePack at byte {0}")]
    Pack(usize),
    #[error("{0}")]
    Shape(&'static str),
    #[error("{tokens} token ids for {blocks} blocks of {block_size_tokens}")]
    Unfilled {
        tokens: usize,
        blocks: usize,
        block_size_tokens: u32,
    },
}

/// The engine's own name for a block: the low 64 bits of its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineHash(pub u64);

/// Where a block is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Medium {
    #[default]
    Gpu,
    Cpu,
    Disk,
    /// One that is not known here.
    Other,
}

/// What goes into a block's hash beside its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExtraKey {
    /// Salt, adapter name, hash of an embedding.
    Text(String),
    /// Hash of an image or the like, and where in the block it begins, tokens.
    Media { hash: String, offset_tokens: i64 },
}

/// Which attention a group of blocks belongs to, where the engine says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheKind {
    /// Every token sees every earlier one, so a prefix can be reused from its beginning.
    #[default]
    Full,
    /// Sliding window, state space and others: holding a block there does not mean that a prefix is usable.
    Partial,
}

/// Consecutive blocks of one sequence that the engine now holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// In order; none is empty or partly filled.
    pub block_hashes: Vec<EngineHash>,
    /// The block before the first one; `None` at the beginning of a prompt.
    pub parent: Option<EngineHash>,
    /// `block_size_tokens` for each block.
    pub token_ids: Vec<u32>,
    pub block_size_tokens: u32,
    pub medium: Medium,
    /// Adapter, by name.
    pub lora_name: Option<String>,
    /// Adapter, by the engine's number, where it gives no name.
    pub lora_id: Option<i64>,
    /// Per block, in order; shorter than the blocks where the rest have none.
    pub extra_keys: Vec<Vec<ExtraKey>>,
    pub group: u32,
    pub kind: CacheKind,
}

/// Blocks that the engine no longer holds in `medium`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub block_hashes: Vec<EngineHash>,
    pub medium: Medium,
    pub group: u32,
}

/// One change of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvEvent {
    Stored(Stored),
    Removed(Removed),
    /// Everything is gone.
    Cleared,
}

/// What one engine step changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Engine's clock, seconds since 1970.
    pub timestamp_s: f64,
    /// In the order in which they happened.
    pub events: Vec<KvEvent>,
    /// Data-parallel rank, where the engine gives it.
    pub rank: Option<u32>,
    /// Events of a kind that is not known here.
    pub unknown_events: u32,
}

impl Batch {
    /// Reads a payload.
    ///
    /// # Errors
    /// [`DecodeError`] where it is no MessagePack, no batch, or an event lacks what it is nothing without.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(DecodeError::TooLong(payload.len()));
        }
        let mut reader = Reader::new(payload);
        let items = reader
            .array()?
            .ok_or(DecodeError::Shape("the payload is no list"))?;
        if items < 2 {
            return Err(DecodeError::Shape(
                "the payload has no timestamp and list of events",
            ));
        }
        let mut batch = Self {
            timestamp_s: reader.float()?.unwrap_or_default(),
            ..Self::default()
        };
        let events = reader
            .array()?
            .ok_or(DecodeError::Shape("the events are no list"))?;
        for _ in 0..events {
            match event::read(&mut reader)? {
                Some(event) => batch.events.push(event),
                None => batch.unknown_events += 1,
            }
        }
        if items > 2 {
            batch.rank = reader.integer()?.and_then(|rank| u32::try_from(rank).ok());
        }
        for _ in 3..items {
            reader.skip()?;
        }
        Ok(batch)
    }
}

/// A message as it came, its payload unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames<'a> {
    pub topic: &'a [u8],
    pub sequence: u64,
    pub payload: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Tells the frames of a message apart. Replays of older engines leave the topic out, and put an empty frame
    /// first: the last two frames are what counts.
    ///
    /// # Errors
    /// Fewer than two frames, or a sequence that is not 8 bytes.
    pub fn of(frames: &[&'a [u8]]) -> Result<Self, DecodeError> {
        let [before @ .., sequence, payload] = frames else {
            return Err(DecodeError::Frames(frames.len()));
        };
        let bytes: [u8; 8] = (*sequence)
            .try_into()
            .map_err(|_| DecodeError::Sequence(sequence.len()))?;
        Ok(Self {
            topic: before.last().copied().unwrap_or_default(),
            sequence: u64::from_be_bytes(bytes),
            payload,
        })
    }

    /// Whether this only says that a replay has ended.
    pub fn is_end_of_replay(&self) -> bool {
        self.sequence == END_OF_REPLAY
    }
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        Self::Pack(fault.offset)
    }
}

#[cfg(test)]
mod tests;
