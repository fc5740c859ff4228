//! Does the index answer as a naive one would that keeps plain sets and scans them?

mod naive;

use kv_index::{ApproximateIndex, IndexConfig, Matches, Placement, Slot};
use naive::{Naive, chain_of};
use proptest::prelude::*;

const SLOTS: u16 = 3;
const DEFAULT_CAPACITY: u32 = 12;

#[derive(Clone, Debug)]
enum Step {
    Place(Slot, Vec<u8>),
    Confirm(prop::sample::Index),
    Forget(prop::sample::Index),
    Cut(Slot, Vec<u8>, u32),
    Capacity(Slot, u32),
    Clear(Slot),
    Apply,
}

fn slot() -> impl Strategy<Value = Slot> {
    // Mostly one generation, sometimes the one after or before.
    (
        0..SLOTS,
        prop_oneof![8 => Just(1_u16), 1 => Just(2), 1 => Just(0)],
    )
        .prop_map(|(i, g)| Slot::new(i, g))
}

fn symbols() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0_u8..2, 0..8)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (slot(), symbols()).prop_map(|(slot, symbols)| Step::Place(slot, symbols)),
        8 => any::<prop::sample::Index>().prop_map(Step::Confirm),
        2 => any::<prop::sample::Index>().prop_map(Step::Forget),
        2 => (slot(), symbols(), 0_u32..6).prop_map(|(slot, symbols, keep)| Step::Cut(slot, symbols, keep)),
        1 => (slot(), 0_u32..16).prop_map(|(slot, blocks)| Step::Capacity(slot, blocks)),
        1 => slot().prop_map(Step::Clear),
        4 => Just(Step::Apply),
    ]
}

struct Pair {
    /// Blocks that one symbol stands for.
    scale: usize,
    index: ApproximateIndex,
    naive: Naive,
    open: Vec<(Placement, usize)>,
    matches: Matches,
}

impl Pair {
    fn new(scale: usize) -> Self {
        let default_capacity = DEFAULT_CAPACITY * scale as u32;
        let config = IndexConfig {
            max_bytes: 1 << 24,
            default_capacity_blocks: default_capacity,
            queue_ops: 1 << 12,
        };
        Self {
            scale,
            index: ApproximateIndex::new(config),
            naive: Naive::new(default_capacity),
            open: Vec::new(),
            matches: Matches::default(),
        }
    }

    fn take(&mut self, which: prop::sample::Index) -> Option<(Placement, usize)> {
        (!self.open.is_empty()).then(|| self.open.swap_remove(which.index(self.open.len())))
    }

    fn stretched(&self, symbols: &[u8]) -> Vec<u8> {
        let each = symbols.iter();
        each.flat_map(|symbol| std::iter::repeat_n(*symbol, self.scale))
            .collect()
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Place(slot, symbols) => {
                let symbols = self.stretched(&symbols);
                let placement = self.index.place(slot, &chain_of(&symbols));
                self.open
                    .push((placement, self.naive.place(slot, &symbols)));
            }
            Step::Confirm(which) => {
                if let Some((placement, id)) = self.take(which) {
                    self.index.confirm(placement);
                    self.naive.confirm(id);
                }
            }
            Step::Forget(which) => {
                if let Some((placement, id)) = self.take(which) {
                    self.index.forget(placement);
                    self.naive.forget(id);
                }
            }
            Step::Cut(slot, symbols, keep) => {
                let (symbols, keep) = (self.stretched(&symbols), keep * self.scale as u32);
                self.index.cut(slot, &chain_of(&symbols), keep);
                self.naive.cut(slot, &symbols, keep as usize);
            }
            Step::Capacity(slot, blocks) => {
                let blocks = blocks * self.scale as u32;
                self.index.set_capacity(slot, blocks);
                self.naive.set_capacity(slot, blocks);
            }
            Step::Clear(slot) => {
                self.index.clear(slot);
                self.naive.clear(slot);
            }
            Step::Apply => {
                self.index.apply_pending(usize::MAX);
                self.naive.apply();
                let stats = self.index.stats();
                assert_eq!(stats.held_blocks, self.naive.held_blocks());
                assert_eq!((stats.pending_ops, stats.dropped_ops), (0, 0));
            }
        }
    }

    /// Every slot, generation and prompt up to seven blocks: by lookup, and asked for alone.
    fn compare(&mut self) {
        for code in 0..1_u32 << 7 {
            let symbols: Vec<u8> = (0..7).map(|at| (code >> at) as u8 & 1).collect();
            let symbols = self.stretched(&symbols);
            let chain = chain_of(&symbols);
            self.matches.reset(0);
            self.index.lookup(&chain, &mut self.matches);
            for slot in (0..SLOTS)
                .flat_map(|index| (0..3).map(move |generation| Slot::new(index, generation)))
            {
                let expected = self.naive.run(slot, &symbols);
                assert_eq!(self.matches.blocks(slot), expected, "{slot:?} {symbols:?}");
                assert_eq!(
                    self.index.matched_prefix_of(slot, &chain),
                    expected,
                    "{slot:?} {symbols:?}"
                );
            }
        }
    }
}

fn check(scale: usize, steps: Vec<Step>, compare_every: usize) {
    let mut pair = Pair::new(scale);
    for (at, step) in steps.into_iter().enumerate() {
        pair.run(step);
        if at % compare_every == 0 {
            pair.compare();
        }
    }
    pair.compare();
    pair.run(Step::Apply);
    pair.compare();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn answers_as_the_naive_one(steps in proptest::collection::vec(step(), 1..150)) {
        check(1, steps, 10);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Prompts so long that not every depth is remembered; 53 is no divisor of any stride.
    #[test]
    fn answers_as_the_naive_one_where_marks_are_sparse(steps in proptest::collection::vec(step(), 1..60)) {
        check(53, steps, 20);
    }
}
