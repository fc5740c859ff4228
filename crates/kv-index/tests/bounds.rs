//! What happens at the bounds: a full queue, forgotten placements, stale generations?

use kv_index::{
    ApproximateIndex, Chain, ChainHasher, HashSeed, IndexConfig, Matches, Namespace, Slot,
};

const A: Slot = Slot::new(0, 0);
const B: Slot = Slot::new(1, 0);

fn index(queue_ops: usize) -> ApproximateIndex {
    ApproximateIndex::new(IndexConfig {
        max_bytes: 1 << 20,
        default_capacity_blocks: 1_000,
        queue_ops,
    })
}

fn chain(name: &str, blocks: usize) -> Chain {
    let mut hasher = ChainHasher::new(
        HashSeed(1),
        Namespace {
            model: name,
            ..Namespace::default()
        },
    );
    hasher.update(&vec![b'x'; blocks * 64]);
    hasher.finish()
}

fn run(index: &ApproximateIndex, slot: Slot, chain: &Chain) -> u32 {
    let mut matches = Matches::default();
    index.lookup(chain, &mut matches);
    matches.blocks(slot)
}

#[test]
fn a_placement_is_seen_before_the_writer_ran() {
    let (index, chain) = (index(8), chain("m", 10));
    let placement = index.place(A, &chain);
    assert_eq!((run(&index, A, &chain), run(&index, B, &chain)), (10, 0));
    index.confirm(placement);
    assert_eq!((run(&index, A, &chain), index.stats().pending_ops), (10, 1));
    assert_eq!(
        (
            index.apply_pending(0),
            index.apply_pending(usize::MAX),
            index.apply_pending(9)
        ),
        (0, 1, 0)
    );
    assert_eq!(
        (run(&index, A, &chain), index.stats().held_blocks),
        (10, 10)
    );
}

#[test]
fn forgetting_one_of_two_keeps_the_other() {
    let (index, chain) = (index(8), chain("m", 10));
    let (first, second) = (index.place(A, &chain), index.place(A, &chain));
    index.forget(first);
    assert_eq!(run(&index, A, &chain), 10);
    index.forget(second.clone());
    assert_eq!(run(&index, A, &chain), 0);
    let third = index.place(A, &chain);
    index.confirm(third.clone());
    index.forget(third);
    index.forget(second);
    assert_eq!(run(&index, A, &chain), 10, "confirmed stays");
}

#[test]
fn a_full_queue_drops_counts_and_leaves_no_phantom() {
    let index = index(2);
    let chains: Vec<Chain> = (0..5).map(|n| chain(&n.to_string(), 10)).collect();
    chains
        .iter()
        .for_each(|chain| index.confirm(index.place(A, chain)));
    let runs = || {
        chains
            .iter()
            .map(|chain| run(&index, A, chain))
            .collect::<Vec<_>>()
    };
    assert_eq!(runs(), [10, 10, 0, 0, 0]);
    assert_eq!(
        (index.stats().dropped_ops, index.stats().pending_ops),
        (3, 2)
    );
    index.apply_pending(usize::MAX);
    assert_eq!(
        (runs(), index.stats().held_blocks),
        (vec![10, 10, 0, 0, 0], 20)
    );
}

#[test]
fn a_cut_makes_room_for_itself() {
    let index = index(1);
    let (first, second) = (chain("1", 10), chain("2", 10));
    index.confirm(index.place(A, &first));
    index.apply_pending(usize::MAX);
    index.confirm(index.place(A, &second));
    index.cut(A, &first, 4);
    index.apply_pending(usize::MAX);
    assert_eq!((run(&index, A, &first), run(&index, A, &second)), (4, 10));
    assert_eq!(index.stats().dropped_ops, 0);
}

#[test]
fn a_clear_is_at_once_and_for_all_that_came_before() {
    let (index, chain) = (index(8), chain("m", 10));
    let before = index.place(A, &chain);
    index.confirm(index.place(A, &chain));
    index.clear(A);
    assert_eq!((run(&index, A, &chain), index.stats().held_blocks), (0, 0));
    index.confirm(before);
    index.apply_pending(usize::MAX);
    assert_eq!((run(&index, A, &chain), index.stats().held_blocks), (0, 0));
    index.confirm(index.place(A, &chain));
    index.apply_pending(usize::MAX);
    assert_eq!(run(&index, A, &chain), 10);
}

#[test]
fn a_newer_generation_takes_the_place_and_an_older_one_cannot() {
    let (index, chain) = (index(8), chain("m", 10));
    let (old, new) = (Slot::new(3, u16::MAX), Slot::new(3, 0));
    index.set_capacity(old, 4);
    index.confirm(index.place(old, &chain));
    index.apply_pending(usize::MAX);
    assert_eq!((run(&index, old, &chain), run(&index, new, &chain)), (4, 0));
    let placement = index.place(new, &chain);
    assert_eq!(
        (run(&index, old, &chain), run(&index, new, &chain)),
        (0, 10)
    );
    index.confirm(index.place(old, &chain));
    index.clear(old);
    index.cut(old, &chain, 0);
    index.set_capacity(old, 1);
    index.confirm(placement);
    index.apply_pending(usize::MAX);
    assert_eq!(
        (run(&index, old, &chain), run(&index, new, &chain)),
        (0, 10)
    );
}

#[test]
fn placements_nobody_ends_are_pushed_out() {
    let index = index(8);
    for n in 0..2_000 {
        index.place(A, &chain(&n.to_string(), 10));
    }
    assert_eq!(run(&index, A, &chain("0", 10)), 0);
    assert_eq!(run(&index, A, &chain("1999", 10)), 10);
    assert!(index.stats().approximate_bytes <= 1 << 20);
}

#[test]
fn only_leading_blocks_match() {
    let index = index(8);
    let stream = |first: u8| {
        let mut hasher = ChainHasher::new(HashSeed(1), Namespace::default());
        hasher.update(&[first; 64]);
        hasher.update(&[b'x'; 640]);
        hasher.finish()
    };
    index.confirm(index.place(A, &stream(b'a')));
    index.apply_pending(usize::MAX);
    assert_eq!(
        (run(&index, A, &stream(b'b')), run(&index, A, &stream(b'a'))),
        (0, 11)
    );
}

#[test]
fn several_prompts_of_a_request_add_up() {
    let (index, chain) = (index(8), chain("m", 10));
    index.confirm(index.place(B, &chain));
    let mut matches = Matches::default();
    matches.reset(2);
    index.lookup(&chain, &mut matches);
    index.lookup(&chain, &mut matches);
    assert_eq!((matches.blocks(A), matches.blocks(B)), (0, 20));
}

#[test]
fn memory_stays_under_its_cap() {
    let index = index(64);
    (0..7).for_each(|slot| index.set_capacity(Slot::new(slot, 0), 1 << 20));
    for n in 0..600_u32 {
        let slot = Slot::new((n % 7) as u16, 0);
        index.confirm(index.place(slot, &chain(&n.to_string(), 100)));
        index.apply_pending(usize::MAX);
        assert!(index.stats().approximate_bytes <= 1 << 20);
    }
    let stats = index.stats();
    assert_eq!(stats.held_blocks + stats.evicted_blocks, 60_000);
    assert!(stats.held_blocks > 15_000, "{stats:?}");
    let youngest = chain("599", 100);
    assert_eq!(run(&index, Slot::new(599 % 7, 0), &youngest), 100);
}
