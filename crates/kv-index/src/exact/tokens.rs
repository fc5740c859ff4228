//! How do token ids become block hashes that no engine needs to share?
//!
//! A block is its token ids and, where it has any, the keys beside them, mixed under a secret of this process and
//! folded into the hash of everything before it. Block size and adapter go into the hash before the first block, so
//! blocks of different sizes or adapters never meet. Equal hash means equal prefix, but for an accident of about
//! one in 2^64; engines' own names for their blocks play no part in it.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ExtraKey;
use crate::chain::fold;
use crate::{BlockHash, Chain, HashSeed};

/// Words of secret; a block longer than that is mixed in pieces.
const PIECE_WORDS: usize = 32;
/// Tokens in a piece, two to a word.
const PIECE_TOKENS: usize = 2 * PIECE_WORDS;

/// A picture or sound within a prompt.
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    /// The engine's hash of its content.
    pub hash: &'a str,
    /// Its first placeholder token.
    pub offset_tokens: u32,
    /// Its placeholder tokens.
    pub len_tokens: u32,
}

/// A prompt as the engine will see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenPrompt<'a> {
    pub token_ids: &'a [u32],
    /// Adapter name, where the request is for one.
    pub lora: Option<&'a str>,
    pub cache_salt: Option<&'a str>,
    /// In order of their offsets.
    pub media: &'a [Media<'a>],
}

/// A prompt's block hashes, once for each block size that some endpoint has. Cloning copies pointers.
#[derive(Clone, Debug, Default)]
pub struct TokenChain {
    pub(crate) tokens: u32,
    pub(crate) sized: Arc<[SizedChain]>,
}

/// The hashes for one block size.
#[derive(Clone, Debug)]
pub(crate) struct SizedChain {
    pub(crate) block_size_tokens: u32,
    /// Every block a mark; its stream is counted as if blocks were of the canonical size.
    pub(crate) chain: Chain,
}

impl TokenChain {
    /// Length of the prompt, tokens, those after the last whole block included.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Whether there is no whole block of any size.
    pub fn is_empty(&self) -> bool {
        self.sized.iter().all(|sized| sized.chain.is_empty())
    }

    /// The hashes of all whole blocks of that size, first one first; empty for a size it was not made for.
    pub fn blocks(&self, block_size_tokens: u32) -> &[BlockHash] {
        let mut sized = self.sized.iter();
        sized
            .find(|sized| sized.block_size_tokens == block_size_tokens)
            .map_or(&[], |sized| &sized.chain.marks)
    }
}

/// Makes hashes of token blocks under one secret.
#[derive(Clone, Debug)]
pub struct TokenHasher {
    seed: u64,
    secret: [u64; PIECE_WORDS],
}

impl TokenHasher {
    /// Hashes made under different seeds have nothing in common.
    pub fn new(seed: HashSeed) -> Self {
        Self {
            seed: seed.0,
            secret: std::array::from_fn(|word| {
                xxh3_64_with_seed(&(word as u64).to_le_bytes(), !seed.0)
            }),
        }
    }

    /// The chains of a prompt for each of `block_sizes_tokens`.
    pub fn chain(&self, prompt: &TokenPrompt<'_>, block_sizes_tokens: &[u32]) -> TokenChain {
        let sizes = block_sizes_tokens.iter();
        TokenChain {
            tokens: u32::try_from(prompt.token_ids.len()).unwrap_or(u32::MAX),
            sized: sizes
                .map(|&block_size_tokens| SizedChain {
                    block_size_tokens,
                    chain: Chain::of_blocks(self.sized(prompt, block_size_tokens.max(1))),
                })
                .collect(),
        }
    }

    fn sized(&self, prompt: &TokenPrompt<'_>, block_size_tokens: u32) -> Vec<BlockHash> {
        let mut parent = self.root(block_size_tokens, prompt.lora);
        let size = block_size_tokens as usize;
        let blocks = prompt.token_ids.chunks_exact(size).enumerate();
        let plain = prompt.media.is_empty() && prompt.cache_salt.is_none();
        blocks
            .map(|(at, tokens)| {
                let extra = match plain || (at > 0 && prompt.media.is_empty()) {
                    true => 0,
                    false => self.extra(prompt.lora, &extra_keys(prompt, at * size, size)),
                };
                parent = self.block(parent, tokens, extra);
                BlockHash(parent)
            })
            .collect()
    }

    /// What stands before the first block of a prompt.
    pub(crate) fn root(&self, block_size_tokens: u32, lora: Option<&str>) -> u64 {
        let mut framed = Vec::with_capacity(64);
        framed.extend_from_slice(&block_size_tokens.to_le_bytes());
        framed.push(u8::from(lora.is_some()));
        framed.extend_from_slice(lora.unwrap_or_default().as_bytes());
        xxh3_64_with_seed(&framed, self.seed)
    }

    /// One word for the keys of a block; 0 for none. The adapter is in the root, so a leading word that names it is
    /// left out.
    pub(crate) fn extra(&self, lora: Option<&str>, keys: &[ExtraKey<'_>]) -> u64 {
        let keys = match (keys, lora) {
            ([ExtraKey::Text(text), rest @ ..], Some(lora)) if *text == lora => rest,
            _ => keys,
        };
        if keys.is_empty() {
            return 0;
        }
        let mut framed = Vec::with_capacity(128);
        for key in keys {
            let (tag, bytes, offset_tokens) = match key {
                ExtraKey::Text(text) => (0_u8, text.as_bytes(), 0),
                ExtraKey::Media {
                    hash,
                    offset_tokens,
                } => (1, hash.as_bytes(), *offset_tokens),
                ExtraKey::Bytes(bytes) => (2, *bytes, 0),
            };
            framed.push(tag);
            framed.extend_from_slice(&offset_tokens.to_le_bytes());
            framed.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            framed.extend_from_slice(bytes);
        }
        xxh3_64_with_seed(&framed, self.seed).max(1)
    }

    /// Hash of a block after `parent`.
    #[inline]
    pub(crate) fn block(&self, parent: u64, tokens: &[u32], extra: u64) -> u64 {
        let mut hash = parent;
        for piece in tokens.chunks(PIECE_TOKENS) {
            hash = fold(hash, self.mix(piece));
        }
        match extra {
            0 => hash,
            extra => fold(!hash, extra),
        }
    }

    /// Sum of keyed 64 x 64 -> 128-bit products over pairs of words, two tokens to a word; as `chain.rs` mixes bytes.
    #[inline]
    fn mix(&self, piece: &[u32]) -> u64 {
        let word = |tokens: &[u32], at: usize| {
            let low = tokens.first().map_or(0, |token| u64::from(*token));
            let high = tokens.get(1).map_or(0, |token| u64::from(*token));
            (low | high << 32) ^ self.secret[at]
        };
        let mut sum = piece.len() as u64;
        for (at, four) in piece.chunks(4).enumerate() {
            let first = word(four, 2 * at);
            let second = word(four.get(2..).unwrap_or_default(), 2 * at + 1);
            let product = u128::from(first) * u128::from(second);
            sum = sum.wrapping_add(product as u64 ^ (product >> 64) as u64);
        }
        sum
    }
}

/// The keys of the block that begins at token `start`, in the order in which engines list them.
fn extra_keys<'a>(prompt: &TokenPrompt<'a>, start: usize, len: usize) -> Vec<ExtraKey<'a>> {
    let overlapping = prompt.media.iter().filter(|media| {
        let (from, count) = (media.offset_tokens as usize, media.len_tokens as usize);
        from < start + len && from + count > start
    });
    let mut keys: Vec<_> = overlapping
        .map(|media| ExtraKey::Media {
            hash: media.hash,
            offset_tokens: i64::from(media.offset_tokens) - start as i64,
        })
        .collect();
    if start == 0 {
        keys.extend(prompt.cache_salt.map(ExtraKey::Text));
    }
    keys
}
