//! What is the name of a block's content?
//!
//! The digest of (name of the block before, its tokens, extra keys), so equal names mean equal prompts from the first
//! token on. Only full blocks have one. Extra keys keep apart what equal tokens do not make equal: the adapter, on every
//! block, and the cache salt, on the first one (the chain carries it on).

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Lora;
use super::cbor::Cbor;

/// Name of a full block and of everything before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash([u8; 32]);

impl BlockHash {
    /// The digest; with a 16-byte algorithm, the second half is zero.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Where it goes in a hash table: a digest is uniform, so eight bytes of it will do.
    pub(super) fn table_key(&self) -> u64 {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        u64::from_le_bytes(head)
    }

    /// The integer that stands for it on the wire: the low 64 bits of the digest, read big-endian.
    #[must_use]
    pub fn wire_int(&self, algo: HashAlgo) -> u64 {
        let end = algo.digest_bytes();
        self.0[end - 8..end]
            .iter()
            .fold(0, |int, &byte| (int << 8) | u64::from(byte))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How a block's content becomes a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashAlgo {
    /// SHA-256 of canonical CBOR, bit for bit what vLLM computes under this name.
    #[default]
    Sha256Cbor,
    /// XXH3 (128 bits) of the same CBOR with 16-byte parents; cheap, for long replays. Unlike vLLM's, its first
    /// parent is not random, so a run can be repeated.
    XxhashCbor,
}

/// How block contents are named unless told otherwise.
pub const DEFAULT_HASH_ALGO: HashAlgo = HashAlgo::Sha256Cbor;

impl std::str::FromStr for HashAlgo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sha256_cbor" => Ok(Self::Sha256Cbor),
            "xxhash_cbor" => Ok(Self::XxhashCbor),
            "sha256" | "xxhash" => Err(format!(
                "{text} names blocks by a pickled Python object; use {text}_cbor, which hashes CBOR"
            )),
            _ => Err("expected sha256_cbor or xxhash_cbor".to_owned()),
        }
    }
}

impl HashAlgo {
    /// The word of `--prefix-caching-hash-algo`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256Cbor => "sha256_cbor",
            Self::XxhashCbor => "xxhash_cbor",
        }
    }

    /// Length of a digest.
    #[must_use]
    pub fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256Cbor => 32,
            Self::XxhashCbor => 16,
        }
    }

    fn digest(self, bytes: &[u8]) -> BlockHash {
        match self {
            Self::Sha256Cbor => BlockHash(Sha256::digest(bytes).into()),
            Self::XxhashCbor => {
                let mut digest = [0; 32];
                digest[..16].copy_from_slice(&xxhash_rust::xxh3::xxh3_128(bytes).to_be_bytes());
                BlockHash(digest)
            }
        }
    }
}

/// What keeps the blocks of one request apart from others of equal tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraKeys {
    /// On every block.
    pub lora: Option<Lora>,
    /// On the first block.
    pub cache_salt: Option<Arc<str>>,
}

/// Hashes blocks; one per engine.
#[derive(Debug)]
pub struct HashChain {
    algo: HashAlgo,
    none_hash: BlockHash,
    scratch: Cbor,
}

impl HashChain {
    /// Chains that begin with the digest of `seed`.
    #[must_use]
    pub fn new(algo: HashAlgo, seed: &str) -> Self {
        let mut scratch = Cbor::default();
        scratch.text(seed);
        let none_hash = algo.digest(scratch.as_bytes());
        Self {
            algo,
            none_hash,
            scratch,
        }
    }

    /// Parent of every first block.
    #[must_use]
    pub fn none_hash(&self) -> BlockHash {
        self.none_hash
    }

    /// Name of the block of these tokens after `parent`; `None` for the first block of a prompt.
    #[must_use]
    pub fn block(
        &mut self,
        parent: Option<&BlockHash>,
        tokens: impl ExactSizeIterator<Item = u32>,
        extra: &ExtraKeys,
    ) -> BlockHash {
        let cbor = &mut self.scratch;
        cbor.clear();
        cbor.array(3);
        cbor.bytes(&parent.unwrap_or(&self.none_hash).0[..self.algo.digest_bytes()]);
        cbor.array_of_unsigned(tokens);
        write_extra(cbor, extra, parent.is_none());
        self.algo.digest(cbor.as_bytes())
    }
}

fn write_extra(cbor: &mut Cbor, extra: &ExtraKeys, first_block: bool) {
    let salt = extra.cache_salt.as_deref().filter(|_| first_block);
    let keys = usize::from(extra.lora.is_some()) + usize::from(salt.is_some());
    if keys == 0 {
        return cbor.null();
    }
    cbor.array(keys);
    if let Some(lora) = &extra.lora {
        write_key(cbor, &["lora", &lora.name, &lora.path]);
    }
    if let Some(salt) = salt {
        write_key(cbor, &["cache_salt", salt]);
    }
}

fn write_key(cbor: &mut Cbor, parts: &[&str]) {
    cbor.array(parts.len());
    parts.iter().for_each(|part| cbor.text(part));
}
