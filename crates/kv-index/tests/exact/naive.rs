//! An index that keeps, for each slot, a map from engines' names to whole prefixes, and walks it.

use std::collections::HashMap;

use kv_index::exact::{EngineHash, KvBlockEvent, Tier};
use proptest::prelude::prop;

/// `scale` tokens for each symbol.
pub(crate) fn prompt(symbols: &[u8], scale: usize) -> Vec<u32> {
    let each = symbols.iter();
    each.flat_map(|symbol| (0..scale).map(move |at| u32::from(*symbol) * 1000 + at as u32))
        .collect()
}

/// An event that owns what it says.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Stored {
        names: Vec<EngineHash>,
        parent: Option<EngineHash>,
        tokens: Vec<u32>,
        size: u32,
        tier: Tier,
        lora: bool,
    },
    Removed {
        names: Vec<EngineHash>,
        tier: Tier,
    },
    Cleared,
}

impl Told {
    /// Blocks `from..to` (in tokens of the prompt), or none when there are none.
    pub(crate) fn store(
        tokens: &[u32],
        size: u32,
        from_token: usize,
        to_token: usize,
        tier: Tier,
        lora: bool,
        renamed: bool,
    ) -> Option<Self> {
        let names = Self::names(tokens, size, lora, renamed);
        let size_tokens = size as usize;
        let to = (to_token / size_tokens).min(names.len());
        let from = from_token / size_tokens;
        (from < to).then(|| Self::Stored {
            names: names[from..to].to_vec(),
            parent: from.checked_sub(1).map(|before| names[before]),
            tokens: tokens[from * size_tokens..to * size_tokens].to_vec(),
            size,
            tier,
            lora,
        })
    }

    /// An engine's names for all whole blocks of a prompt.
    pub(crate) fn names(tokens: &[u32], size: u32, lora: bool, renamed: bool) -> Vec<EngineHash> {
        let mut hash = 0xCBF2_9CE4_8422_2325_u64 ^ u64::from(lora) ^ u64::from(renamed) << 9;
        let blocks = tokens.chunks_exact(size as usize);
        blocks
            .map(|block| {
                for token in block {
                    hash = (hash ^ u64::from(*token)).wrapping_mul(0x100_0000_01B3);
                    hash ^= hash >> 29;
                }
                EngineHash(hash)
            })
            .collect()
    }

    /// The same with one of its blocks named so.
    pub(crate) fn misnamed(mut self, name: EngineHash) -> Self {
        if let Self::Stored { names, .. } = &mut self {
            let middle = names.len() / 2;
            names[middle] = name;
        }
        self
    }

    pub(crate) fn all_named(mut self, name: EngineHash) -> Self {
        if let Self::Stored { names, .. } = &mut self {
            names.fill(name);
        }
        self
    }

    pub(crate) fn event(&self) -> KvBlockEvent<'_> {
        match self {
            Self::Stored {
                names,
                parent,
                tokens,
                size,
                tier,
                lora,
            } => KvBlockEvent::Stored {
                block_hashes: names,
                parent: *parent,
                token_ids: tokens,
                block_size_tokens: *size,
                lora: lora.then_some("adapter"),
                extra_keys: &[],
                tier: *tier,
            },
            Self::Removed { names, tier } => KvBlockEvent::Removed {
                block_hashes: names,
                tier: *tier,
            },
            Self::Cleared => KvBlockEvent::Cleared,
        }
    }
}

/// What a block is: all tokens up to its end by number of its prefix, its size, the adapter.
type Content = u32;

#[derive(Default)]
pub(crate) struct Naive {
    slots: HashMap<u16, HashMap<EngineHash, (Content, [u32; 3])>>,
    /// A number for every prefix there ever was: parent, tokens, size and adapter.
    contents: HashMap<(Option<Content>, Vec<u32>, u32, bool), Content>,
    /// All names a slot ever used.
    used: HashMap<u16, Vec<EngineHash>>,
}

impl Naive {
    /// Blocks stored, removed, orphaned, and removals of unknown ones.
    pub(crate) fn apply(&mut self, slot: u16, told: &[Told]) -> (u64, u64, u64, u64) {
        let mut counts = (0, 0, 0, 0);
        for told in told {
            let held = self.slots.entry(slot).or_default();
            match told {
                Told::Cleared => held.clear(),
                Told::Removed { names, tier } => {
                    for name in names {
                        match held.get_mut(name) {
                            Some((_, stores)) if stores[tier.index()] > 0 => {
                                stores[tier.index()] -= 1;
                                counts.1 += 1;
                                if *stores == [0; 3] {
                                    held.remove(name);
                                }
                            }
                            _ => counts.3 += 1,
                        }
                    }
                }
                Told::Stored {
                    names,
                    parent,
                    tokens,
                    size,
                    tier,
                    lora,
                } => {
                    let mut before = None;
                    if let Some(parent) = parent {
                        let Some((content, _)) = held.get(parent) else {
                            counts.2 += names.len() as u64;
                            continue;
                        };
                        before = Some(*content);
                    }
                    for (name, block) in names.iter().zip(tokens.chunks(*size as usize)) {
                        let next = self.contents.len() as Content;
                        let key = (before, block.to_vec(), *size, *lora);
                        let content = *self.contents.entry(key).or_insert(next);
                        let entry = held.entry(*name).or_insert((content, [0; 3]));
                        if entry.0 != content {
                            *entry = (content, [0; 3]);
                        }
                        entry.1[tier.index()] += 1;
                        self.used.entry(slot).or_default().push(*name);
                        before = Some(content);
                        counts.0 += 1;
                    }
                }
            }
        }
        counts
    }

    pub(crate) fn clear(&mut self, slot: u16) {
        self.slots.remove(&slot);
    }

    pub(crate) fn some_name(&self, slot: u16, which: &prop::sample::Index) -> EngineHash {
        match self.used.get(&slot) {
            Some(names) => names[which.index(names.len())],
            None => EngineHash(1),
        }
    }

    /// (tier, block) pairs held.
    pub(crate) fn held(&self, slot: u16) -> u64 {
        let mut held: Vec<_> = self.contents_by_tier(slot);
        held.sort_unstable();
        held.dedup();
        held.len() as u64
    }

    fn contents_by_tier(&self, slot: u16) -> Vec<(Content, usize)> {
        let names = self.slots.get(&slot).into_iter().flat_map(HashMap::values);
        names
            .flat_map(|(content, stores)| {
                let tiers = (0..3).filter(|tier| stores[*tier] > 0);
                tiers.map(|tier| (*content, tier))
            })
            .collect()
    }

    /// Leading tokens of a prompt that an engine would reuse, by the nearest tier that has them.
    pub(crate) fn leading(&self, slot: u16, tokens: &[u32], size: u32, lora: bool) -> [u32; 3] {
        let mut nearest: HashMap<Content, usize> = HashMap::new();
        for (content, tier) in self.contents_by_tier(slot) {
            let known = nearest.entry(content).or_insert(tier);
            *known = tier.min(*known);
        }
        let (mut found, mut before) = ([0; 3], None);
        let usable = tokens.len().saturating_sub(1) / size as usize;
        for block in tokens.chunks_exact(size as usize).take(usable) {
            let key = (before, block.to_vec(), size, lora);
            let Some(content) = self.contents.get(&key) else {
                break;
            };
            let Some(tier) = nearest.get(content) else {
                break;
            };
            found[*tier] += size;
            before = Some(*content);
        }
        found
    }
}
