//! What does an engine tell of its cache?
//!
//! The borrowed shapes a wire decoder fills; nothing here is copied or kept.

use std::time::Duration;

/// An engine's own name for a block, in 64 bits. Whichever way it was computed: it is only ever compared with other
/// names of the same engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EngineHash(pub u64);

impl EngineHash {
    /// From a digest on the wire: its last eight bytes, big-endian, which is what engines send in the integer form.
    pub fn from_digest(bytes: &[u8]) -> Self {
        let tail = &bytes[bytes.len().saturating_sub(8)..];
        Self(
            tail.iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
        )
    }
}

/// Where an engine keeps a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// The accelerator's memory, or what serves as such.
    Gpu,
    /// The host's memory.
    Cpu,
    /// Anything further away.
    Disk,
}

/// Number of tiers.
pub(crate) const TIERS: usize = 3;

impl Tier {
    /// All of them, nearest first.
    pub const ALL: [Self; TIERS] = [Self::Gpu, Self::Cpu, Self::Disk];

    /// From the `medium` of an event; the accelerator where none is given. `None` for a word that is not known:
    /// such a block cannot be credited with anything.
    pub fn of_medium(medium: Option<&str>) -> Option<Self> {
        let Some(medium) = medium else {
            return Some(Self::Gpu);
        };
        let is = |names: &[&str]| names.iter().any(|name| medium.eq_ignore_ascii_case(name));
        if is(&["", "gpu", "device", "hbm", "tpu"]) {
            Some(Self::Gpu)
        } else if is(&["cpu", "host", "cpu_pinned", "dram"]) {
            Some(Self::Cpu)
        } else if is(&["storage", "disk", "fs", "nvme"]) {
            Some(Self::Disk)
        } else {
            None
        }
    }

    /// Position in per-tier arrays.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One of the things beside its tokens that a block's content depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExtraKey<'a> {
    /// A word: the adapter's name, or the salt.
    Text(&'a str),
    /// A picture or sound that overlaps the block, and where it begins, counted from the block's first token.
    Media { hash: &'a str, offset_tokens: i64 },
    /// Something else that is compared byte by byte.
    Bytes(&'a [u8]),
}

/// One event. Blocks of key groups other than full attention must be left out by the decoder: having such a block
/// does not mean that a prefix can be reused up to it.
#[derive(Clone, Copy, Debug)]
pub enum KvBlockEvent<'a> {
    /// Blocks of one prompt became findable, first one first.
    Stored {
        block_hashes: &'a [EngineHash],
        /// The block before the first; `None` where the first begins a prompt.
        parent: Option<EngineHash>,
        /// `block_size_tokens` for each block.
        token_ids: &'a [u32],
        block_size_tokens: u32,
        /// Adapter name, where the prompt was for one.
        lora: Option<&'a str>,
        /// Empty, or one list for each block.
        extra_keys: &'a [Vec<ExtraKey<'a>>],
        tier: Tier,
    },
    /// Blocks are no longer findable in `tier`.
    Removed {
        block_hashes: &'a [EngineHash],
        tier: Tier,
    },
    /// The engine forgot everything, in all tiers.
    Cleared,
}

/// What one message carries.
#[derive(Clone, Copy, Debug)]
pub struct KvBatch<'a> {
    /// The publisher's count of messages, from 0 at its start; `None` where the wire has none, then nothing can be
    /// told about gaps.
    pub sequence: Option<u64>,
    /// It was asked for again. A live message never comes twice, so one with a sequence that was seen already
    /// means a new process; a replayed one with such a sequence is ignored.
    pub replay: bool,
    pub events: &'a [KvBlockEvent<'a>],
    /// Time since the engine wrote it, where that is known.
    pub age: Option<Duration>,
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BatchOutcome {
    #[default]
    Applied,
    /// A replay of what was applied before; nothing changed.
    AlreadySeen,
    /// A new process spoke: what the slot held was dropped, then the batch was applied.
    Restarted,
    /// Messages in between are missing; nothing was applied. Ask for a replay from `expected`, or clear the slot.
    Gap { expected: u64, found: u64 },
    /// The slot belongs to another generation, or the index has no room for another slot; nothing was applied.
    NoSlot,
}

/// Counts of what one batch did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    pub outcome: BatchOutcome,
    /// Blocks named by store events that were applied, duplicates included.
    pub stored_blocks: u64,
    /// Blocks named by remove events that were known.
    pub removed_blocks: u64,
    /// Blocks left out because the block before them is not known.
    pub orphan_blocks: u64,
    /// Removals of blocks that were not known (their store was left out, or never heard).
    pub unknown_removals: u64,
    /// Events that contradict themselves (tokens and blocks do not go together), or have a block size beyond
    /// what the index takes.
    pub malformed_events: u64,
    /// Blocks left out because the memory cap was reached: from now on less is known of the slot than it holds.
    pub refused_blocks: u64,
}
