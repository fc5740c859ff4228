//! Is what every lane holds closed under prefixes, within capacity and within memory, whatever happens?

use proptest::prelude::*;

use crate::lanes::LaneId;
use crate::writer::{Op, Shared};
use crate::{Chain, ChainHasher, HashSeed, IndexConfig, Namespace, Slot};

fn chain_of(symbols: &[u8]) -> Chain {
    let mut hasher = ChainHasher::new(HashSeed(1), Namespace::default());
    symbols
        .iter()
        .for_each(|symbol| hasher.update(&[*symbol; 64]));
    hasher.finish()
}

fn shared(max_bytes: usize, capacity_blocks: u32, lanes: u16) -> (Shared, Vec<LaneId>) {
    let shared = Shared::new(IndexConfig {
        max_bytes,
        default_capacity_blocks: capacity_blocks,
        queue_ops: 1 << 12,
    });
    let open = |index| {
        shared
            .lanes
            .write()
            .open(Slot::new(index, 0), capacity_blocks)
            .unwrap()
    };
    let lanes = (0..lanes).map(open).collect();
    (shared, lanes)
}

fn hold(shared: &Shared, lane: LaneId, chain: &Chain) {
    assert!(
        shared
            .push(Op::Hold {
                lane,
                chain: chain.clone(),
                ticket: 0
            })
            .is_ok()
    );
}

fn cut(shared: &Shared, lane: LaneId, chain: &Chain, depth: usize) {
    if let Some(first_gone) = chain.marks.get(depth).copied() {
        assert!(
            shared
                .push(Op::Cut {
                    lane,
                    first_gone,
                    depth
                })
                .is_ok()
        );
    }
}

/// Blocks of `chain` that `lane` holds; fails if one is held whose parent is not.
fn closed_run(shared: &Shared, lane: LaneId, chain: &Chain) -> usize {
    let held: Vec<bool> = chain
        .marks
        .iter()
        .map(|b| shared.store.stamp(*b, lane.index).is_some())
        .collect();
    assert!(held.is_sorted_by(|a, b| a >= b), "held {held:?} of a chain");
    held.iter().filter(|held| **held).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn held_sets_stay_closed(
        steps in proptest::collection::vec(
            (0_u8..12, 0_usize..3, proptest::collection::vec(0_u8..2, 1..12), 0_usize..12),
            1..200,
        ),
        capacity in 1_u32..40,
        tight in any::<bool>(),
    ) {
        let max_bytes = if tight { 4096 } else { 1 << 20 };
        let (shared, lanes) = shared(max_bytes, capacity, 3);
        let mut seen = Vec::new();
        for (action, lane, symbols, number) in steps {
            let chain = chain_of(&symbols);
            match action {
                0 => cut(&shared, lanes[lane], &chain, number),
                1 => {
                    shared.lanes.write().set_capacity(Slot::new(lane as u16, 0), number as u32 * 3);
                    shared.set_chores();
                }
                _ => hold(&shared, lanes[lane], &chain),
            }
            seen.push(chain);
            shared.apply_pending(usize::MAX);
            for id in &lanes {
                seen.iter().for_each(|chain| {
                    closed_run(&shared, *id, chain);
                });
            }
            for lane in &shared.lanes.read().lanes {
                let held = lane.held_blocks.load(std::sync::atomic::Ordering::Relaxed);
                prop_assert!(held <= lane.capacity_blocks);
            }
            let bytes = shared.store.bytes() + shared.log_bytes.load(std::sync::atomic::Ordering::Relaxed);
            prop_assert!(bytes <= max_bytes / 4 * 3, "{bytes} bytes of {max_bytes}");
        }
        // A clear, and the sweep behind it, gives every byte back.
        (0..3).for_each(|index| shared.lanes.write().clear(Slot::new(index, 0)));
        shared.set_chores();
        shared.apply_pending(usize::MAX);
        prop_assert_eq!(shared.log_bytes.load(std::sync::atomic::Ordering::Relaxed), 0);
        prop_assert!(shared.store.bytes() < 8 * 1024);
    }
}

#[test]
fn cutting_a_parent_takes_the_branches_below_it() {
    let (shared, lanes) = shared(1 << 20, 100, 2);
    let (left, right, short) = (
        chain_of(&[1, 2, 3, 3]),
        chain_of(&[1, 2, 4, 4]),
        chain_of(&[1, 5]),
    );
    for chain in [&left, &right, &short] {
        lanes.iter().for_each(|lane| hold(&shared, *lane, chain));
    }
    cut(&shared, lanes[0], &left, 1);
    shared.apply_pending(usize::MAX);
    let runs = |lane| [&left, &right, &short].map(|chain| closed_run(&shared, lane, chain));
    assert_eq!((runs(lanes[0]), runs(lanes[1])), ([1, 1, 2], [4, 4, 2]));
}

#[test]
fn a_full_memory_takes_from_whom_used_it_longest_ago() {
    let (shared, lanes) = shared(64 * 1024, 1 << 20, 2);
    let long = |symbol: u8| chain_of(&[&[symbol][..], &[0; 127]].concat());
    for symbol in 0..16_u8 {
        hold(&shared, lanes[usize::from(symbol > 5)], &long(symbol));
        shared.apply_pending(usize::MAX);
    }
    assert_eq!(closed_run(&shared, lanes[0], &long(0)), 0);
    assert_eq!(closed_run(&shared, lanes[1], &long(15)), 128);
    let held: usize = (0..16)
        .map(|s| {
            lanes
                .iter()
                .map(|l| closed_run(&shared, *l, &long(s)))
                .sum::<usize>()
        })
        .sum();
    assert!((64 * 1024 * 3 / 4 / held) <= 42, "{held} blocks held");
}

#[test]
fn a_block_of_a_long_prompt_costs_a_few_bytes() {
    let (shared, lanes) = shared(1 << 30, 1 << 30, 3);
    for conversation in 0..60_u8 {
        let symbols: Vec<u8> = (0..1_000)
            .map(|at| if at < 100 { 0 } else { conversation })
            .collect();
        for turn in [400, 700, 1_000] {
            hold(
                &shared,
                lanes[usize::from(conversation) % 3],
                &chain_of(&symbols[..turn]),
            );
        }
        shared.apply_pending(usize::MAX);
    }
    let held: u32 = shared
        .lanes
        .read()
        .lanes
        .iter()
        .map(|l| l.held_blocks.load(std::sync::atomic::Ordering::Relaxed))
        .sum();
    let bytes = shared.store.bytes() + shared.log_bytes.load(std::sync::atomic::Ordering::Relaxed);
    assert!(
        bytes <= held as usize * 16,
        "{} bytes a block",
        bytes as f64 / f64::from(held)
    );
}
