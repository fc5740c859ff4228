//! What does one event say, in either of its two forms?

use super::pack::Reader;
use super::{CacheKind, DecodeError, EngineHash, ExtraKey, KvEvent, Medium, Removed, Stored};

/// Kinds of event, as engines tag them.
#[derive(Clone, Copy)]
enum Kind {
    Stored,
    Removed,
    Cleared,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "BlockStored" => Self::Stored,
            "BlockRemoved" => Self::Removed,
            "AllBlocksCleared" => Self::Cleared,
            _ => return None,
        })
    }

    /// Names of the positional form, after the tag.
    fn positions(self) -> &'static [&'static str] {
        match self {
            Self::Stored => &[
                "block_hashes",
                "parent_block_hash",
                "token_ids",
                "block_size",
                "lora_id",
                "medium",
                "lora_name",
                "extra_keys",
                "group_idx",
                "kv_cache_spec_kind",
            ],
            Self::Removed => &["block_hashes", "medium", "group_idx"],
            Self::Cleared => &[],
        }
    }
}

/// What was said so far; one shape for every kind.
#[derive(Default)]
struct Fields {
    hashes: Option<Vec<EngineHash>>,
    tokens: Option<Vec<u32>>,
    block_size_tokens: Option<u32>,
    rest: Stored,
}

/// Reads the next event; `None` for one of an unknown kind.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<KvEvent>, DecodeError> {
    match reader.map()? {
        Some(pairs) => map(reader, pairs),
        None => positional(reader),
    }
}

fn map(reader: &mut Reader<'_>, pairs: u32) -> Result<Option<KvEvent>, DecodeError> {
    // The tag comes first from every engine known; it may come anywhere.
    let mut ahead = reader.clone();
    let mut kind = None;
    for _ in 0..pairs {
        if ahead.text()? == Some("type") {
            kind = ahead.text()?.and_then(Kind::named);
            break;
        }
        ahead.skip()?;
    }
    let mut fields = Fields::default();
    for _ in 0..pairs {
        match (reader.text()?, kind) {
            (Some(key), Some(_)) => fields.take(reader, key)?,
            _ => reader.skip()?,
        }
    }
    kind.map(|kind| fields.into_event(kind)).transpose()
}

fn positional(reader: &mut Reader<'_>) -> Result<Option<KvEvent>, DecodeError> {
    let items = reader
        .array()?
        .ok_or(DecodeError::Shape("an event is neither a map nor a list"))?;
    if items == 0 {
        return Err(DecodeError::Shape("an event is an empty list"));
    }
    let kind = reader.text()?.and_then(Kind::named);
    let names = kind.map_or(&[] as &[_], Kind::positions);
    let mut fields = Fields::default();
    for position in 0..items as usize - 1 {
        match names.get(position) {
            Some(name) => fields.take(reader, name)?,
            None => reader.skip()?,
        }
    }
    kind.map(|kind| fields.into_event(kind)).transpose()
}

impl Fields {
    /// Takes the value of `key`; an optional one of a kind that is not expected is as good as absent.
    fn take(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), DecodeError> {
        let rest = &mut self.rest;
        match key {
            "block_hashes" => self.hashes = hashes(reader)?,
            "parent_block_hash" => {
                rest.parent = if reader.nil() {
                    None
                } else {
                    let hash = reader.hash()?;
                    // Taken for the beginning of a prompt, it would be held against the wrong one.
                    let hash = hash.ok_or(DecodeError::Shape("a parent that is no hash"))?;
                    Some(EngineHash(hash))
                }
            }
            "token_ids" => {
                let mut tokens = Vec::new();
                self.tokens = reader.token_ids(&mut tokens)?.then_some(tokens);
            }
            "block_size" => {
                self.block_size_tokens = reader.integer()?.and_then(|size| u32::try_from(size).ok())
            }
            "lora_id" => rest.lora_id = reader.integer()?,
            "lora_name" => rest.lora_name = reader.text()?.map(str::to_owned),
            "medium" => rest.medium = medium(reader.text()?),
            "extra_keys" => rest.extra_keys = extra_keys(reader)?,
            "group_idx" => {
                rest.group = reader
                    .integer()?
                    .and_then(|group| u32::try_from(group).ok())
                    .unwrap_or_default();
            }
            "kv_cache_spec_kind" => rest.kind = cache_kind(reader.text()?),
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn into_event(self, kind: Kind) -> Result<KvEvent, DecodeError> {
        let hashes = || {
            self.hashes
                .ok_or(DecodeError::Shape("an event without block hashes"))
        };
        Ok(match kind {
            Kind::Cleared => KvEvent::Cleared,
            Kind::Removed => KvEvent::Removed(Removed {
                block_hashes: hashes()?,
                medium: self.rest.medium,
                group: self.rest.group,
            }),
            Kind::Stored => {
                let stored = Stored {
                    block_hashes: hashes()?,
                    token_ids: (self.tokens)
                        .ok_or(DecodeError::Shape("stored blocks without token ids"))?,
                    block_size_tokens: (self.block_size_tokens)
                        .ok_or(DecodeError::Shape("stored blocks without a block size"))?,
                    ..self.rest
                };
                check_filled(&stored)?;
                KvEvent::Stored(stored)
            }
        })
    }
}

/// Only full blocks are ever published.
fn check_filled(stored: &Stored) -> Result<(), DecodeError> {
    let blocks = stored.block_hashes.len();
    let filled = blocks.checked_mul(stored.block_size_tokens as usize);
    if stored.block_size_tokens == 0 || filled != Some(stored.token_ids.len()) {
        return Err(DecodeError::Unfilled {
            tokens: stored.token_ids.len(),
            blocks,
            block_size_tokens: stored.block_size_tokens,
        });
    }
    Ok(())
}

/// `None` where any of them is no hash.
fn hashes(reader: &mut Reader<'_>) -> Result<Option<Vec<EngineHash>>, DecodeError> {
    let Some(count) = reader.array()? else {
        return Ok(None);
    };
    let mut hashes = Some(Vec::new());
    for _ in 0..count {
        match (reader.hash()?, &mut hashes) {
            (Some(hash), Some(hashes)) => hashes.push(EngineHash(hash)),
            _ => hashes = None,
        }
    }
    Ok(hashes)
}

/// Tier names of vLLM and of what plugs into it; SGLang's are lower case.
fn medium(name: Option<&str>) -> Medium {
    let Some(name) = name else {
        return Medium::Gpu;
    };
    match name.to_ascii_uppercase().as_str() {
        "GPU" | "DEVICE" | "HBM" => Medium::Gpu,
        "CPU" | "CPU_PINNED" | "HOST" => Medium::Cpu,
        "STORAGE" | "DISK" | "FS" => Medium::Disk,
        _ => Medium::Other,
    }
}

fn cache_kind(name: Option<&str>) -> CacheKind {
    match name {
        None
        | Some("full_attention" | "mla" | "mla_attention" | "sink_full" | "sink_full_attention") => {
            CacheKind::Full
        }
        Some(_) => CacheKind::Partial,
    }
}

/// Per block: nothing, or a list of texts and of pairs of hash and offset.
fn extra_keys(reader: &mut Reader<'_>) -> Result<Vec<Vec<ExtraKey>>, DecodeError> {
    let Some(blocks) = reader.array()? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    let mut empty = 0;
    for _ in 0..blocks {
        let keys = block_keys(reader)?;
        if keys.is_empty() {
            empty += 1;
            continue;
        }
        // Only what comes before a key is filled up: a long list of nothing costs nothing.
        all.extend(std::iter::repeat_n(Vec::new(), std::mem::take(&mut empty)));
        all.push(keys);
    }
    Ok(all)
}

fn block_keys(reader: &mut Reader<'_>) -> Result<Vec<ExtraKey>, DecodeError> {
    let mut keys = Vec::new();
    if reader.nil() {
        return Ok(keys);
    }
    let Some(count) = reader.array()? else {
        return Ok(keys);
    };
    for _ in 0..count {
        keys.push(extra_key(reader)?);
    }
    Ok(keys)
}

/// A key that is neither text nor a pair is still one: blocks that differ in it must differ here.
fn extra_key(reader: &mut Reader<'_>) -> Result<ExtraKey, DecodeError> {
    let mut ahead = reader.clone();
    let Some(count) = ahead.array()? else {
        let text = reader.clone().text()?;
        let key = match text {
            Some(text) => text.to_owned(),
            None => reader.raw_of_next()?,
        };
        if text.is_some() {
            reader.skip()?;
        }
        return Ok(ExtraKey::Text(key));
    };
    let (mut hash, mut offset_tokens) = (None, 0);
    for position in 0..count {
        match position {
            0 => hash = ahead.clone().text()?.map(str::to_owned),
            1 => {
                offset_tokens = ahead.integer()?.unwrap_or_default();
                continue;
            }
            _ => {}
        }
        ahead.skip()?;
    }
    let raw = reader.raw_of_next()?;
    Ok(match hash {
        Some(hash) => ExtraKey::Media {
            hash,
            offset_tokens,
        },
        None => ExtraKey::Text(raw),
    })
}
