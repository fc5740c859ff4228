//! How does a prompt become block hashes?
//!
//! The stream is cut into blocks of [`BLOCK_BYTES`]. Each block is mixed on its own as xxh3 mixes inputs of
//! that length, with a secret of this process and namespace (blocks do not wait for each other, so they run as
//! fast as the CPU can issue them), then folded into the hash of everything before it by xxh3's final step,
//! which is a bijection. Equal hash at a depth therefore means equal blocks up to there, in the same namespace,
//! but for an accident of about one in 2^64. Hashes are kept at a chain's marks (see `marks.rs`) and its end.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::marks::{FINE_BLOCKS, covered_blocks, marks_within};

/// Bytes of prompt stream in one canonical block: 16 tokens at 4 bytes each.
///
/// Inside the index every endpoint's cache is counted in these; an endpoint's own block size is a view,
/// applied by whoever turns matched blocks into tokens.
pub const BLOCK_BYTES: usize = 64;

/// Hash of a block and everything before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BlockHash(pub u64);

/// Key of every hash of this process, so that a client cannot aim collisions; `--seed` fixes it.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed(pub u64);

/// What must be equal before two prompts may share blocks at all.
///
/// An absent field and an empty one are different namespaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Namespace<'a> {
    /// Name of the model as the engine knows it.
    pub model: &'a str,
    /// LoRA adapter, if any.
    pub lora: Option<&'a str>,
    /// The request's cache salt, if any.
    pub cache_salt: Option<&'a str>,
}

impl Namespace<'_> {
    /// One number for the whole namespace; every field is length-framed so that no two can alias.
    fn key(&self, seed: HashSeed) -> u64 {
        let mut framed = Vec::with_capacity(128);
        for field in [Some(self.model), self.lora, self.cache_salt] {
            framed.push(u8::from(field.is_some()));
            let text = field.unwrap_or_default();
            framed.extend_from_slice(&(text.len() as u64).to_le_bytes());
            framed.extend_from_slice(text.as_bytes());
        }
        xxh3_64_with_seed(&framed, seed.0)
    }
}

/// The hashes of one prompt at its marks, first one first; the trailing partial block has none.
///
/// Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Chained hashes: equal entries at one position mean equal prefixes up to and with it. The last is that of
    /// all whole blocks, whether or not there is a mark.
    pub(crate) marks: Arc<[BlockHash]>,
    /// Length of the hashed stream, bytes, partial block included.
    stream_bytes: u64,
}

impl Chain {
    /// A prompt of `stream_bytes` bytes of which nobody will ask who holds it: no hashes, matches nothing.
    pub fn unhashed(stream_bytes: u64) -> Self {
        Self {
            marks: Arc::default(),
            stream_bytes,
        }
    }

    /// Number of whole blocks.
    pub fn len(&self) -> usize {
        (self.stream_bytes / BLOCK_BYTES as u64) as usize
    }

    /// Whether the prompt was too short to fill a block, or was not hashed.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The hashes at its marks, first one first, and at the end of its last whole block.
    pub fn hashes(&self) -> &[BlockHash] {
        &self.marks
    }

    /// Length of the hashed stream, bytes, partial block included.
    pub fn stream_bytes(&self) -> u64 {
        self.stream_bytes
    }

    /// Leading blocks that `self` and `other` are known to have in common, to the last mark; a few comparisons,
    /// not one per block.
    pub fn common_blocks(&self, other: &Chain) -> usize {
        self.covered(common_run(&self.marks, &other.marks, 0))
    }

    /// A chain with a mark at every block.
    pub(crate) fn of_blocks(blocks: Vec<BlockHash>) -> Self {
        Self {
            stream_bytes: (blocks.len() * BLOCK_BYTES) as u64,
            marks: blocks.into(),
        }
    }

    /// The prompt as far as the last mark within `blocks` blocks.
    pub fn truncated(&self, blocks: usize) -> Self {
        if blocks >= self.len() {
            return self.clone();
        }
        let marks = self.marks_within(blocks);
        Self {
            marks: Arc::from(&self.marks[..marks]),
            stream_bytes: (covered_blocks(marks) * BLOCK_BYTES) as u64,
        }
    }

    /// Blocks that the first `marks` entries stand for.
    pub(crate) fn covered(&self, marks: usize) -> usize {
        match marks == self.marks.len() && marks > 0 {
            true => self.len(),
            false => covered_blocks(marks),
        }
    }

    /// Entries at `blocks` or before.
    pub(crate) fn marks_within(&self, blocks: usize) -> usize {
        match blocks >= self.len() {
            true => self.marks.len(),
            false => marks_within(blocks),
        }
    }
}

/// Length of the common run of two chains that are known to agree on their first `known` entries.
///
/// Chained hashes agree up to some point and nowhere after, so a binary search finds it.
pub(crate) fn common_run(a: &[BlockHash], b: &[BlockHash], known: usize) -> usize {
    let (mut low, mut high) = (known, a.len().min(b.len()));
    while low < high {
        let middle = high - (high - low) / 2;
        if a[middle - 1] == b[middle - 1] {
            low = middle
        } else {
            high = middle - 1
        }
    }
    low
}

/// Hashes a prompt stream in pieces; piece borders do not change the result.
pub struct ChainHasher {
    secret: Secret,
    parent: u64,
    marks: Vec<BlockHash>,
    /// Blocks hashed so far.
    blocks: usize,
    /// Depth of the next mark.
    next_mark: usize,
    /// Bytes of a block that no piece has completed yet; only these are ever copied.
    carry: [u8; BLOCK_BYTES],
    carried: usize,
    stream_bytes: u64,
}

impl ChainHasher {
    /// A hasher for one prompt.
    pub fn new(seed: HashSeed, namespace: Namespace<'_>) -> Self {
        Self::with_capacity_bytes(seed, namespace, 0)
    }

    /// As [`new`](Self::new), with room for a stream of `bytes` bytes.
    pub fn with_capacity_bytes(seed: HashSeed, namespace: Namespace<'_>, bytes: usize) -> Self {
        let key = namespace.key(seed);
        Self {
            secret: std::array::from_fn(|word| xxh3_64_with_seed(&word.to_le_bytes(), key)),
            parent: fold(key, !key),
            marks: Vec::with_capacity(marks_within(bytes / BLOCK_BYTES) + 1),
            blocks: 0,
            next_mark: 1,
            carry: [0; BLOCK_BYTES],
            carried: 0,
            stream_bytes: 0,
        }
    }

    /// Appends a piece of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.stream_bytes += bytes.len() as u64;
        let bytes = self.fill_carry(bytes);
        let (whole, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        self.absorb(whole);
        if !rest.is_empty() {
            self.carry[..rest.len()].copy_from_slice(rest);
            self.carried = rest.len();
        }
    }

    /// The hashes of all whole blocks seen.
    pub fn finish(mut self) -> Chain {
        if covered_blocks(self.marks.len()) < self.blocks {
            self.marks.push(BlockHash(self.parent));
        }
        Chain {
            marks: Arc::from(self.marks),
            stream_bytes: self.stream_bytes,
        }
    }

    /// Takes in whole blocks.
    fn absorb(&mut self, mut whole: &[[u8; BLOCK_BYTES]]) {
        let (secret, mut parent) = (self.secret, self.parent);
        let fine = FINE_BLOCKS.saturating_sub(self.blocks).min(whole.len());
        self.marks.extend(whole[..fine].iter().map(|block| {
            parent = fold(parent, mix(block, &secret));
            BlockHash(parent)
        }));
        self.blocks += fine;
        if fine > 0 {
            self.next_mark = covered_blocks(self.marks.len() + 1);
        }
        whole = &whole[fine..];
        while !whole.is_empty() {
            let (now, later) = whole.split_at((self.next_mark - self.blocks).min(whole.len()));
            for block in now {
                parent = fold(parent, mix(block, &secret));
            }
            self.blocks += now.len();
            if self.blocks == self.next_mark {
                self.marks.push(BlockHash(parent));
                self.next_mark = covered_blocks(self.marks.len() + 1);
            }
            whole = later;
        }
        self.parent = parent;
    }

    /// Completes a carried block from the front of `bytes`, as far as they reach; returns what is left.
    fn fill_carry<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if self.carried == 0 {
            return bytes;
        }
        let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.carried));
        self.carry[self.carried..self.carried + head.len()].copy_from_slice(head);
        self.carried += head.len();
        if self.carried == BLOCK_BYTES {
            let block = self.carry;
            self.absorb(&[block]);
            self.carried = 0;
        }
        rest
    }
}

/// One secret word for each word of a block.
type Secret = [u64; BLOCK_BYTES / 8];

/// A block's own hash, still to be folded: the sum of four keyed 64 x 64 -> 128-bit products' halves.
#[inline(always)]
fn mix(block: &[u8; BLOCK_BYTES], secret: &Secret) -> u64 {
    let word = |at: usize| u64::from_le_bytes(block.as_chunks().0[at]) ^ secret[at];
    let pair = |at: usize| {
        let product = u128::from(word(at)) * u128::from(word(at + 1));
        product as u64 ^ (product >> 64) as u64
    };
    pair(0)
        .wrapping_add(pair(2))
        .wrapping_add(pair(4))
        .wrapping_add(pair(6))
}

/// Folds a block's own hash into that of its parent; for either fixed, a bijection of the other.
///
/// This is the only step of a block that waits for the one before, so it is kept to a handful of cycles.
#[inline(always)]
pub(crate) fn fold(parent: u64, block: u64) -> u64 {
    let mut mixed = parent.rotate_left(23) ^ block;
    mixed = (mixed ^ (mixed >> 37)).wrapping_mul(0x9FB2_1C65_1E98_DF25);
    mixed ^ (mixed >> 32)
}
