//! What do the changes of one step look like on the wire?
//!
//! One MessagePack array `[unix seconds, [event, …], data-parallel rank]`. An event is a map with a `type`, as vLLM
//! writes it since maps came in, or the positional array that it wrote before and that older readers know.

use super::msgpack::MsgPack;
use crate::model::{BlockHash, CacheEvent, HashAlgo};

/// The only tier there is; vLLM calls it so on every accelerator.
const MEDIUM: &str = "GPU";
/// One kind of layer, one group of blocks.
const GROUP: u64 = 0;
const SPEC_KIND: &str = "full_attention";

/// Shape of one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// Maps with named fields, as vLLM does now.
    #[default]
    Map,
    /// Positional arrays, as vLLM did before.
    Array,
}

/// Shape of one block hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashForm {
    /// The low 64 bits of the digest, read big-endian.
    #[default]
    Int,
    /// The whole digest.
    Bytes,
}

impl std::str::FromStr for HashForm {
    type Err = String;

    /// `int` or `bytes`; also what `VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES` holds, 1 or 0.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "int" | "1" => Ok(Self::Int),
            "bytes" | "0" => Ok(Self::Bytes),
            _ => Err("expected int (or 1) or bytes (or 0)".to_owned()),
        }
    }
}

/// Everything about an engine that its events say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) encoding: Encoding,
    pub(crate) hashes: HashForm,
    pub(crate) algo: HashAlgo,
    pub(crate) block_size_tokens: usize,
    pub(crate) rank: u32,
}

/// Writes one batch.
pub(super) fn encode(form: &Form, unix_s: f64, events: &[CacheEvent]) -> Vec<u8> {
    let mut pack = MsgPack::with_capacity(capacity(events));
    pack.array(3);
    pack.float(unix_s);
    pack.array(events.len());
    for event in events {
        match event {
            CacheEvent::Stored { .. } => stored(form, &mut pack, event),
            CacheEvent::Removed { hash } => removed(form, &mut pack, hash),
            CacheEvent::Cleared => cleared(form, &mut pack),
        }
    }
    pack.unsigned(u64::from(form.rank));
    pack.into_bytes()
}

/// About enough that writing does not grow the buffer.
fn capacity(events: &[CacheEvent]) -> usize {
    let one = |event: &CacheEvent| match event {
        CacheEvent::Stored {
            hashes, token_ids, ..
        } => 256 + hashes.len() * 40 + token_ids.len() * 5,
        CacheEvent::Removed { .. } | CacheEvent::Cleared => 96,
    };
    32 + events.iter().map(one).sum::<usize>()
}

/// Head of an event of `fields` fields, its type not counted; returns how its fields are named.
fn head(form: &Form, pack: &mut MsgPack, kind: &str, fields: usize) {
    match form.encoding {
        Encoding::Map => {
            pack.map(fields + 1);
            pack.text("type");
        }
        Encoding::Array => pack.array(fields + 1),
    }
    pack.text(kind);
}

fn name(form: &Form, pack: &mut MsgPack, name: &str) {
    if form.encoding == Encoding::Map {
        pack.text(name);
    }
}

fn stored(form: &Form, pack: &mut MsgPack, event: &CacheEvent) {
    let CacheEvent::Stored {
        hashes,
        parent,
        token_ids,
        lora,
        cache_salt,
    } = event
    else {
        return;
    };
    head(form, pack, "BlockStored", 10);
    name(form, pack, "block_hashes");
    pack.array(hashes.len());
    hashes.iter().for_each(|one| hash(form, pack, one));
    name(form, pack, "parent_block_hash");
    match parent {
        Some(parent) => hash(form, pack, parent),
        None => pack.nil(),
    }
    name(form, pack, "token_ids");
    pack.array(token_ids.len());
    token_ids.iter().for_each(|&id| pack.unsigned(id.into()));
    name(form, pack, "block_size");
    pack.unsigned(form.block_size_tokens as u64);
    name(form, pack, "lora_id");
    match lora {
        Some(lora) => pack.unsigned(lora.id.into()),
        None => pack.nil(),
    }
    name(form, pack, "medium");
    pack.text(MEDIUM);
    name(form, pack, "lora_name");
    let lora = lora.as_ref().map(|lora| &*lora.name);
    optional(pack, lora);
    name(form, pack, "extra_keys");
    pack.array(hashes.len());
    for index in 0..hashes.len() {
        extra_keys(pack, lora, cache_salt.as_deref().filter(|_| index == 0));
    }
    name(form, pack, "group_idx");
    pack.unsigned(GROUP);
    name(form, pack, "kv_cache_spec_kind");
    pack.text(SPEC_KIND);
}

/// What kept one block apart, without the tags that are hashed.
fn extra_keys(pack: &mut MsgPack, lora: Option<&str>, salt: Option<&str>) {
    let keys = [lora, salt].into_iter().flatten();
    match keys.clone().count() {
        0 => pack.nil(),
        count => {
            pack.array(count);
            keys.for_each(|key| pack.text(key));
        }
    }
}

fn removed(form: &Form, pack: &mut MsgPack, gone: &BlockHash) {
    head(form, pack, "BlockRemoved", 3);
    name(form, pack, "block_hashes");
    pack.array(1);
    hash(form, pack, gone);
    name(form, pack, "medium");
    pack.text(MEDIUM);
    name(form, pack, "group_idx");
    pack.unsigned(GROUP);
}

fn cleared(form: &Form, pack: &mut MsgPack) {
    head(form, pack, "AllBlocksCleared", 0);
}

fn hash(form: &Form, pack: &mut MsgPack, hash: &BlockHash) {
    match form.hashes {
        HashForm::Int => pack.unsigned(hash.wire_int(form.algo)),
        HashForm::Bytes => pack.binary(&hash.as_bytes()[..form.algo.digest_bytes()]),
    }
}

fn optional(pack: &mut MsgPack, text: Option<&str>) {
    match text {
        Some(text) => pack.text(text),
        None => pack.nil(),
    }
}
