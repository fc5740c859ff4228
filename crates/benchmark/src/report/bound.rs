//! What hit rate could no routing beat?
//!
//! All replicas' caches as one, and a replacement that knows the future (Belady, 1966, "A study of replacement
//! algorithms": drop what is needed last), blocks that are never asked again not kept at all. Any routing splits the same
//! room into parts and keeps some blocks twice, and any engine evicts without knowing the future, so neither can find
//! more. What running requests hold is left out, which only makes the bound higher.

use std::collections::{BTreeSet, HashMap, HashSet};

/// One run of a prompt: equal keys at the same place after equal runs are equal tokens.
pub type Part = (u64, u32);

/// Blocks of one prompt, in order.
#[derive(Clone, Debug, Default)]
pub struct Prompt {
    blocks: Vec<u64>,
    /// Blocks that may be found: at least one token is always computed.
    findable: usize,
    tokens: u64,
}

impl Prompt {
    /// Cuts `parts` into whole blocks of `block_tokens`.
    pub fn of(parts: &[Part], block_tokens: u32) -> Self {
        let block = u64::from(block_tokens.max(1));
        let (mut blocks, mut chain, mut end) = (Vec::new(), 0x517c_c1b7_2722_0a95_u64, 0_u64);
        for (key, tokens) in parts {
            chain = mix(chain ^ mix(*key));
            end += u64::from(*tokens);
            while (blocks.len() as u64 + 1) * block <= end {
                blocks.push(mix(chain ^ blocks.len() as u64));
            }
        }
        Self {
            findable: (end.saturating_sub(1) / block) as usize,
            blocks,
            tokens: end,
        }
    }
}

/// splitmix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Share of the prompt tokens, of those from `from` on, that one cache without end finds.
pub fn unbounded(prompts: &[Prompt], from: usize, block_tokens: u32) -> f64 {
    let mut seen = HashSet::new();
    rate(prompts, from, block_tokens, |prompt| {
        let leading = prompt
            .blocks
            .iter()
            .take_while(|block| seen.contains(*block))
            .count();
        seen.extend(prompt.blocks.iter().copied());
        leading.min(prompt.findable)
    })
}

/// The same with room for `capacity_blocks` and the best replacement there is.
pub fn bounded(prompts: &[Prompt], from: usize, block_tokens: u32, capacity_blocks: usize) -> f64 {
    let mut next_uses = next_uses(prompts).into_iter();
    let mut resident: HashMap<u64, (usize, usize)> = HashMap::new();
    let mut by_next_use: BTreeSet<(usize, usize, u64)> = BTreeSet::new();
    rate(prompts, from, block_tokens, |prompt| {
        let next = next_uses.next().unwrap_or_default();
        let mut found = 0;
        for (depth, (block, next_use)) in prompt.blocks.iter().zip(next).enumerate() {
            if let Some((use_before, depth_before)) = resident.remove(block) {
                by_next_use.remove(&(use_before, depth_before, *block));
                found += usize::from(depth < prompt.findable);
            }
            if next_use == NEVER {
                continue;
            }
            resident.insert(*block, (next_use, depth));
            by_next_use.insert((next_use, depth, *block));
            if resident.len() > capacity_blocks
                && let Some((_, _, last)) = by_next_use.pop_last()
            {
                resident.remove(&last);
            }
        }
        found
    })
}

const NEVER: usize = usize::MAX;

/// For each block of each prompt, the next prompt that holds it.
fn next_uses(prompts: &[Prompt]) -> Vec<Vec<usize>> {
    let mut next: HashMap<u64, usize> = HashMap::new();
    let mut uses: Vec<Vec<usize>> = (prompts.iter().enumerate().rev())
        .map(|(index, prompt)| {
            let of = |block: &u64| next.insert(*block, index).unwrap_or(NEVER);
            prompt.blocks.iter().map(of).collect()
        })
        .collect();
    uses.reverse();
    uses
}

fn rate(
    prompts: &[Prompt],
    from: usize,
    block_tokens: u32,
    mut found: impl FnMut(&Prompt) -> usize,
) -> f64 {
    let (mut hits, mut asked) = (0_u64, 0_u64);
    for (index, prompt) in prompts.iter().enumerate() {
        let blocks = found(prompt) as u64;
        if index >= from {
            hits += blocks * u64::from(block_tokens.max(1));
            asked += prompt.tokens;
        }
    }
    if asked == 0 {
        0.0
    } else {
        hits as f64 / asked as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prompts of one prefix each (64 tokens) and a question of their own (16), blocks of 16.
    fn prompts(groups: &[u64]) -> Vec<Prompt> {
        let of = |(index, group): (usize, &u64)| {
            Prompt::of(&[(*group, 64), (1_000 + index as u64, 16)], 16)
        };
        groups.iter().enumerate().map(of).collect()
    }

    #[test]
    fn each_prefix_is_computed_once_where_there_is_room() {
        let check = |groups: &[u64], capacity: usize, from: usize, expected: f64| {
            let seen = bounded(&prompts(groups), from, 16, capacity);
            assert!((seen - expected).abs() < 1e-12, "{groups:?}: {seen}");
        };
        check(&[1, 2, 1, 2], 100, 0, 2.0 * 64.0 / (4.0 * 80.0));
        check(&[1, 2, 1, 2], 100, 2, 64.0 / 80.0);
        // Room for one prefix: the one needed first stays.
        check(&[1, 2, 1, 2], 4, 0, 64.0 / 320.0);
        check(&[1, 2, 1, 2], 0, 0, 0.0);
        // Half a prefix more fits: part of it is kept.
        check(&[1, 2, 1, 2], 6, 0, (64.0 + 32.0) / 320.0);
        check(&[], 4, 0, 0.0);
    }

    #[test]
    fn the_bound_is_no_lower_than_least_recently_used() {
        let groups: Vec<u64> = (0..400_u64).map(|index| mix(index) % 12).collect();
        let prompts = prompts(&groups);
        for capacity in [4, 8, 20, 40, 48, 64] {
            let bound = bounded(&prompts, 0, 16, capacity);
            let lru = lru(&prompts, capacity);
            assert!(bound >= lru, "{capacity}: {bound} {lru}");
            assert!(bound <= unbounded(&prompts, 0, 16) + 1e-12);
        }
        assert_eq!(bounded(&prompts, 0, 16, 48), unbounded(&prompts, 0, 16));
    }

    fn lru(prompts: &[Prompt], capacity: usize) -> f64 {
        let mut order: Vec<u64> = Vec::new();
        rate(prompts, 0, 16, |prompt| {
            let found = (prompt.blocks.iter())
                .take_while(|block| order.contains(block))
                .count();
            for block in prompt.blocks.iter().rev() {
                order.retain(|known| known != block);
                order.push(*block);
            }
            let over = order.len().saturating_sub(capacity);
            order.drain(..over);
            found.min(prompt.findable)
        })
    }

    #[test]
    fn a_block_is_known_by_everything_before_it() {
        let a = Prompt::of(&[(1, 20), (2, 20)], 16);
        let b = Prompt::of(&[(1, 20), (3, 20)], 16);
        let c = Prompt::of(&[(9, 20), (2, 20)], 16);
        assert_eq!(a.blocks.len(), 2);
        assert_eq!(a.blocks[0], b.blocks[0]);
        assert_ne!(a.blocks[1], b.blocks[1]);
        assert_ne!(a.blocks[1], c.blocks[1]);
        assert_eq!(Prompt::of(&[(1, 32)], 16).findable, 1);
    }
}
