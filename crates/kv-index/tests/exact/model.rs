//! Does the exact index answer as a naive one would that keeps a map for each slot and walks it?

use std::time::Duration;

use crate::naive::{Naive, Told, prompt};
use kv_index::exact::{
    BatchOutcome, EngineHash, ExactConfig, ExactIndex, ExactMatches, ExactWriter, KvBatch, Tier,
    TokenPrompt, exact_index,
};
use kv_index::{HashSeed, Slot};
use proptest::prelude::*;

const SLOTS: u16 = 4;

/// Slot 3 has larger blocks.
fn block_size(slot: u16) -> u32 {
    match slot {
        3 => 4,
        _ => 2,
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The blocks `from..to` of a prompt, as far as it has them.
    Store {
        slot: u16,
        symbols: Vec<u8>,
        from: usize,
        to: usize,
        tier: Tier,
        lora: bool,
        /// Names of another kind than the engine used before, for the same blocks.
        renamed: bool,
    },
    /// A block that was stored some time, whether or not it is there.
    Remove {
        slot: u16,
        which: prop::sample::Index,
        tier: Tier,
    },
    /// The last of a prompt's blocks first, as engines evict.
    Evict {
        slot: u16,
        symbols: Vec<u8>,
        keep: usize,
    },
    /// A name that stands for one thing is used for another.
    Misname {
        slot: u16,
        which: prop::sample::Index,
        symbols: Vec<u8>,
    },
    Cleared(u16),
    Clear(u16),
    Close(u16),
    Replay(u16),
    Skip(u16),
    Restart(u16),
    Sweep(usize),
}

fn tier() -> impl Strategy<Value = Tier> {
    prop_oneof![8 => Just(Tier::Gpu), 1 => Just(Tier::Cpu), 1 => Just(Tier::Disk)]
}

fn symbols() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0_u8..2, 0..12)
}

fn step() -> impl Strategy<Value = Step> {
    let store = (
        0..SLOTS,
        symbols(),
        0_usize..8,
        0_usize..12,
        tier(),
        any::<bool>(),
        any::<bool>(),
    );
    let store = store.prop_map(
        |(slot, symbols, from, to, tier, lora, renamed)| Step::Store {
            slot,
            symbols,
            // Mostly from the beginning.
            from: from.saturating_sub(4),
            to,
            tier,
            lora: lora && from == 7,
            renamed: renamed && from == 6,
        },
    );
    let remove = (0..SLOTS, any::<prop::sample::Index>(), tier())
        .prop_map(|(slot, which, tier)| Step::Remove { slot, which, tier });
    let evict = (0..SLOTS, symbols(), 0_usize..4).prop_map(|(slot, symbols, keep)| Step::Evict {
        slot,
        symbols,
        keep,
    });
    let misname =
        (0..SLOTS, any::<prop::sample::Index>(), symbols()).prop_map(|(slot, which, symbols)| {
            Step::Misname {
                slot,
                which,
                symbols,
            }
        });
    prop_oneof![
        24 => store,
        16 => remove,
        4 => evict,
        2 => misname,
        1 => (0..SLOTS).prop_map(Step::Cleared),
        1 => (0..SLOTS).prop_map(Step::Clear),
        1 => (0..SLOTS).prop_map(Step::Close),
        2 => (0..SLOTS).prop_map(Step::Replay),
        1 => (0..SLOTS).prop_map(Step::Skip),
        1 => (0..SLOTS).prop_map(Step::Restart),
        2 => (0_usize..4).prop_map(Step::Sweep),
    ]
}

struct Pair {
    /// Tokens that one symbol stands for, and so how long runs get.
    scale: usize,
    index: ExactIndex,
    writer: ExactWriter,
    naive: Naive,
    sequence: [u64; SLOTS as usize],
    last: [Vec<Told>; SLOTS as usize],
    matches: ExactMatches,
}

fn slot(index: u16) -> Slot {
    Slot::new(index, 1)
}

impl Pair {
    fn new(scale: usize) -> Self {
        let (index, writer) = exact_index(ExactConfig {
            max_bytes: 16 << 20,
            seed: HashSeed(7),
            ..ExactConfig::default()
        });
        Self {
            scale,
            index,
            writer,
            naive: Naive::default(),
            sequence: [0; SLOTS as usize],
            last: Default::default(),
            matches: ExactMatches::default(),
        }
    }

    fn tokens(&self, symbols: &[u8]) -> Vec<u32> {
        prompt(symbols, self.scale)
    }

    fn told(&mut self, at: u16, told: Vec<Told>) {
        let events: Vec<_> = told.iter().map(Told::event).collect();
        let batch = KvBatch {
            sequence: Some(self.sequence[usize::from(at)]),
            replay: false,
            events: &events,
            age: None,
        };
        let applied = self.writer.apply(slot(at), &batch, Duration::ZERO);
        assert_eq!(applied.outcome, BatchOutcome::Applied);
        let expected = self.naive.apply(at, &told);
        let counted = (
            applied.stored_blocks,
            applied.removed_blocks,
            applied.orphan_blocks,
            applied.unknown_removals,
        );
        assert_eq!(counted, expected, "{told:?}");
        self.sequence[usize::from(at)] += 1;
        self.last[usize::from(at)] = told;
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Store {
                slot,
                symbols,
                from,
                to,
                tier,
                lora,
                renamed,
            } => {
                let tokens = self.tokens(symbols);
                let size = block_size(*slot);
                let told = Told::store(
                    &tokens,
                    size,
                    *from * self.scale,
                    *to * self.scale,
                    *tier,
                    *lora,
                    *renamed,
                );
                self.told(*slot, told.into_iter().collect());
            }
            Step::Remove { slot, which, tier } => {
                let name = self.naive.some_name(*slot, which);
                self.told(
                    *slot,
                    vec![Told::Removed {
                        names: vec![name],
                        tier: *tier,
                    }],
                );
            }
            Step::Evict {
                slot,
                symbols,
                keep,
            } => {
                let names = Told::names(&self.tokens(symbols), block_size(*slot), false, false);
                let gone = names.into_iter().skip(*keep).rev();
                let told = gone.map(|name| Told::Removed {
                    names: vec![name],
                    tier: Tier::Gpu,
                });
                self.told(*slot, told.collect());
            }
            Step::Misname {
                slot,
                which,
                symbols,
            } => {
                let name = self.naive.some_name(*slot, which);
                let tokens = self.tokens(symbols);
                let told = Told::store(
                    &tokens,
                    block_size(*slot),
                    0,
                    usize::MAX,
                    Tier::Gpu,
                    false,
                    false,
                );
                let told = told.map(|told| told.misnamed(name));
                self.told(*slot, told.into_iter().collect());
            }
            Step::Cleared(slot) => self.told(*slot, vec![Told::Cleared]),
            Step::Clear(at) => {
                self.writer.clear(slot(*at));
                self.naive.clear(*at);
            }
            Step::Close(at) => {
                self.writer.close(slot(*at));
                self.naive.clear(*at);
                self.sequence[usize::from(*at)] = 0;
            }
            Step::Replay(at) => self.replay(*at),
            Step::Skip(at) => self.skip(*at),
            Step::Restart(at) => self.restart(*at),
            Step::Sweep(steps) => {
                self.writer.sweep(*steps);
            }
        }
    }

    /// What was applied before changes nothing when it comes again.
    fn replay(&mut self, at: u16) {
        let known = self
            .index
            .slot_stats(slot(at))
            .and_then(|stats| stats.sequence);
        let Some(sequence) = known else { return };
        let events: Vec<_> = self.last[usize::from(at)].iter().map(Told::event).collect();
        let batch = KvBatch {
            sequence: Some(sequence),
            replay: true,
            events: &events,
            age: None,
        };
        let applied = self.writer.apply(slot(at), &batch, Duration::ZERO);
        assert_eq!(applied.outcome, BatchOutcome::AlreadySeen);
    }

    /// Nothing is applied across a gap.
    fn skip(&mut self, at: u16) {
        let known = self
            .index
            .slot_stats(slot(at))
            .and_then(|stats| stats.sequence);
        let Some(sequence) = known else { return };
        let batch = KvBatch {
            sequence: Some(sequence + 2),
            replay: false,
            events: &[],
            age: None,
        };
        let applied = self.writer.apply(slot(at), &batch, Duration::ZERO);
        let gap = BatchOutcome::Gap {
            expected: sequence + 1,
            found: sequence + 2,
        };
        assert_eq!(applied.outcome, gap);
    }

    /// A live message with a sequence seen before is a new process's.
    fn restart(&mut self, at: u16) {
        let known = self
            .index
            .slot_stats(slot(at))
            .and_then(|stats| stats.sequence);
        if known.is_none() {
            return;
        }
        let batch = KvBatch {
            sequence: Some(0),
            replay: false,
            events: &[],
            age: None,
        };
        let applied = self.writer.apply(slot(at), &batch, Duration::ZERO);
        assert_eq!(applied.outcome, BatchOutcome::Restarted);
        self.naive.clear(at);
        self.sequence[usize::from(at)] = 1;
    }

    fn check(&mut self, symbols: &[u8], lora: bool) {
        let tokens = self.tokens(symbols);
        let chain = self.index.chain(&TokenPrompt {
            token_ids: &tokens,
            lora: lora.then_some("adapter"),
            ..TokenPrompt::default()
        });
        self.matches.reset(usize::from(SLOTS));
        self.index.lookup(&chain, &mut self.matches);
        for at in 0..SLOTS {
            let found = self.matches.tokens(slot(at)).by_tier;
            let expected = self.naive.leading(at, &tokens, block_size(at), lora);
            assert_eq!(found, expected, "slot {at} of {symbols:?}");
        }
    }
}

fn run(scale: usize, steps: &[Step], queries: &[Vec<u8>]) {
    let mut pair = Pair::new(scale);
    for step in steps {
        pair.step(step);
        if let Step::Store { symbols, lora, .. } = step {
            pair.check(symbols, *lora);
        }
    }
    for symbols in queries {
        pair.check(symbols, false);
        pair.check(symbols, true);
    }
    let held: u64 = (0..SLOTS).map(|at| pair.naive.held(at)).sum();
    assert_eq!(pair.index.stats().held_blocks, held);
    for at in 0..SLOTS {
        pair.writer.close(slot(at));
    }
    while pair.writer.sweep(1) > 0 {}
    let stats = pair.index.stats();
    assert_eq!(
        (stats.held_blocks, stats.distinct_blocks, stats.runs),
        (0, 0, 0)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn answers_as_the_naive_one(
        steps in proptest::collection::vec(step(), 1..60),
        queries in proptest::collection::vec(symbols(), 4),
    ) {
        run(4, &steps, &queries);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Chains of several runs each, as a run has 4,096 blocks at most.
    #[test]
    fn answers_as_the_naive_one_for_long_chains(
        steps in proptest::collection::vec(step(), 1..12),
        queries in proptest::collection::vec(symbols(), 2),
    ) {
        run(2_600, &steps, &queries);
    }
}

#[test]
fn names_are_never_trusted() {
    // The same name for every block, its own parent among them.
    let mut pair = Pair::new(4);
    for (number, symbols) in [&[0, 1, 1][..], &[1], &[1, 1], &[0, 0, 1]]
        .iter()
        .enumerate()
    {
        let told = Told::store(
            &pair.tokens(symbols),
            2,
            0,
            usize::MAX,
            Tier::Gpu,
            false,
            false,
        );
        let told = told.map(|told| told.all_named(EngineHash(number as u64 % 2)));
        pair.told(0, told.into_iter().collect());
        pair.check(symbols, false);
        let again = Told::Stored {
            names: vec![EngineHash(0), EngineHash(0)],
            parent: Some(EngineHash(0)),
            tokens: vec![1, 2, 3, 4],
            size: 2,
            tier: Tier::Gpu,
            lora: false,
        };
        pair.told(0, vec![again]);
        pair.check(symbols, false);
    }
}
