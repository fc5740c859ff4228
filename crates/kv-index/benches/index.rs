//! What does a prompt cost before it is scored: its hash, and its lookup in a full and busy index?
//!
//! Every iteration has a fresh prompt. The first 60 % of it is held by one to all endpoints, five million
//! (endpoint, block) pairs are resident, and two threads place, confirm and apply meanwhile.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kv_index::{
    ApproximateIndex, BLOCK_BYTES, Chain, ChainHasher, HashSeed, IndexConfig, Matches, Namespace,
    Slot,
};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const RESIDENT_PAIRS: usize = 5_000_000;
const BYTES_PER_TOKEN: usize = 4;
const NAMESPACE: Namespace<'_> = Namespace {
    model: "bench",
    lora: None,
    cache_salt: None,
};

/// A fleet and a prompt length.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    endpoints: usize,
    tokens: usize,
    /// Whether holders of a prefix hold different depths of it.
    staggered: bool,
}

const CASES: [Case; 5] = [
    Case {
        name: "3 endpoints, 2k tokens",
        endpoints: 3,
        tokens: 2_000,
        staggered: false,
    },
    Case {
        name: "3 endpoints, 128k tokens",
        endpoints: 3,
        tokens: 128_000,
        staggered: false,
    },
    Case {
        name: "3 endpoints, 128k tokens, staggered",
        endpoints: 3,
        tokens: 128_000,
        staggered: true,
    },
    Case {
        name: "1000 endpoints, 2k tokens",
        endpoints: 1_000,
        tokens: 2_000,
        staggered: false,
    },
    Case {
        name: "1000 endpoints, 2k tokens, staggered",
        endpoints: 1_000,
        tokens: 2_000,
        staggered: true,
    },
];

impl Case {
    fn blocks(self) -> usize {
        self.tokens * BYTES_PER_TOKEN / BLOCK_BYTES
    }

    fn held_blocks(self) -> usize {
        self.blocks() * 6 / 10
    }
}

fn chain_of(prefix: &[u8], rest: &[u8]) -> Chain {
    let bytes = prefix.len() + rest.len();
    let mut hasher = ChainHasher::with_capacity_bytes(HashSeed(1), NAMESPACE, bytes);
    hasher.update(prefix);
    hasher.update(rest);
    hasher.finish()
}

/// `blocks` blocks that begin with `prefix` and go on as no other prompt does.
fn random_chain(rng: &mut SmallRng, prefix: &[u8], blocks: usize) -> Chain {
    let mut rest = vec![0; blocks * BLOCK_BYTES - prefix.len()];
    rng.fill_bytes(&mut rest);
    chain_of(prefix, &rest)
}

fn send(index: &ApproximateIndex, slot: usize, chain: &Chain) {
    index.confirm(index.place(Slot::new(slot as u16, 0), chain));
    while index.apply_pending(64) > 0 {}
}

/// An index with `RESIDENT_PAIRS` pairs, and the prefixes that fresh prompts begin with.
fn filled(case: Case) -> (ApproximateIndex, Vec<Vec<u8>>) {
    let index = ApproximateIndex::new(IndexConfig {
        max_bytes: 1 << 30,
        default_capacity_blocks: (RESIDENT_PAIRS / case.endpoints) as u32,
        queue_ops: 4_096,
    });
    let mut rng = SmallRng::seed_from_u64(1);
    for slot in 0..case.endpoints {
        for _ in 0..RESIDENT_PAIRS / case.endpoints / 500 {
            send(&index, slot, &random_chain(&mut rng, &[], 500));
        }
    }
    let mut prefixes = vec![vec![0; case.held_blocks() * BLOCK_BYTES]; 32];
    for prefix in &mut prefixes {
        rng.fill_bytes(prefix);
    }
    for prefix in &prefixes {
        let holders = rng.random_range(1..=case.endpoints);
        let first = rng.random_range(0..case.endpoints);
        for slot in (0..holders).map(|n| (first + n) % case.endpoints) {
            let blocks = if case.staggered {
                rng.random_range(1..=case.held_blocks())
            } else {
                case.held_blocks()
            };
            let chain = chain_of(&prefix[..blocks * BLOCK_BYTES], &[]);
            send(&index, slot, &chain);
        }
    }
    (index, prefixes)
}

/// Places, confirms and applies about a thousand times a second.
fn write(index: &ApproximateIndex, case: Case, seed: u64, stop: &AtomicBool) {
    let mut rng = SmallRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let slot = Slot::new(rng.random_range(0..case.endpoints as u16), 0);
        index.confirm(index.place(slot, &random_chain(&mut rng, &[], 128)));
        index.apply_pending(8);
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    for case in CASES {
        let (index, prefixes) = filled(case);
        let (index, stop) = (&index, &AtomicBool::new(false));
        std::thread::scope(|scope| {
            (0..2).for_each(|seed| drop(scope.spawn(move || write(index, case, seed + 100, stop))));
            let (mut rng, mut matches) = (SmallRng::seed_from_u64(2), Matches::default());
            group.bench_function(case.name, |bencher| {
                bencher.iter_batched_ref(
                    || {
                        let prefix = &prefixes[rng.random_range(0..prefixes.len())];
                        random_chain(&mut rng, prefix, case.blocks())
                    },
                    |chain| {
                        matches.reset(case.endpoints);
                        index.lookup(chain, &mut matches);
                        black_box(matches.blocks(Slot::new(0, 0)))
                    },
                    BatchSize::NumIterations(64),
                );
            });
            stop.store(true, Ordering::Relaxed);
        });
        let stats = index.stats();
        assert!(
            stats.held_blocks > RESIDENT_PAIRS as u64 * 9 / 10,
            "{stats:?}"
        );
    }
    group.finish();
}

fn placements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("place, confirm, apply");
    for case in [CASES[0], CASES[1], CASES[3]] {
        let (index, prefixes) = filled(case);
        let mut rng = SmallRng::seed_from_u64(3);
        let place = |rng: &mut SmallRng| {
            let prefix = &prefixes[rng.random_range(0..prefixes.len())];
            let slot = Slot::new(rng.random_range(0..case.endpoints as u16), 0);
            (slot, random_chain(rng, prefix, case.blocks()))
        };
        group.bench_function(BenchmarkId::new("place and forget", case.name), |bencher| {
            bencher.iter_batched_ref(
                || place(&mut rng),
                |(slot, chain)| index.forget(index.place(*slot, chain)),
                BatchSize::NumIterations(64),
            );
        });
        group.bench_function(BenchmarkId::new("apply", case.name), |bencher| {
            bencher.iter_batched_ref(
                || place(&mut rng),
                |(slot, chain)| send(&index, slot.index(), chain),
                BatchSize::NumIterations(16),
            );
        });
    }
    group.finish();
}

fn hashes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    for tokens in [2_000, 16_000, 128_000] {
        let mut bytes = vec![0; tokens * BYTES_PER_TOKEN];
        SmallRng::seed_from_u64(4).fill_bytes(&mut bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("plain xxh3", tokens), |bencher| {
            bencher.iter(|| xxh3_64_with_seed(black_box(&bytes), 1));
        });
        group.bench_function(BenchmarkId::new("chain", tokens), |bencher| {
            bencher.iter(|| {
                let mut hasher =
                    ChainHasher::with_capacity_bytes(HashSeed(1), NAMESPACE, bytes.len());
                hasher.update(black_box(&bytes));
                hasher.finish()
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! { name = index; config = short(); targets = hashes, lookups, placements }
criterion_main!(index);
