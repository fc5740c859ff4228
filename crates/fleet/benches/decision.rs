//! What does one decision cost: hash, look-up, score, pick, reserve, release, with reasons?
//!
//! Fresh prompt every iteration, 60 % of it held by one to all endpoints, five million blocks resident, two
//! writers active. Hash and look-up are shown apart, the hash beside one plain pass over the same bytes.

#![allow(unsafe_code, reason = "a counting allocator has no safe form")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench is a test"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use engine_api::metrics::EngineMetrics;
use fleet::{Change, End, EndpointSpec, Event, Fleet, FleetConfig, Outcome, Request};
use kv_index::{Chain, ChainHasher, HashSeed, Namespace};
use rand::{Rng as _, RngCore, SeedableRng};
use scheduler::{Profile, Rng};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system allocator unchanged; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is being torn down has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RESIDENT_BLOCKS: usize = 5_000_000;
const BYTES_PER_TOKEN: usize = 4;
const MODEL: &str = "m";

/// A fleet under test: endpoints, resident blocks, and prefixes held by one to all of them.
struct Bed {
    fleet: Arc<Fleet>,
    held: Vec<Vec<u8>>,
    prompt_bytes: usize,
    rng: Rng,
    stop: Arc<AtomicBool>,
    writers: Vec<std::thread::JoinHandle<()>>,
}

fn chain(bytes: &[u8]) -> Chain {
    let mut hasher = ChainHasher::new(
        HashSeed(7),
        Namespace {
            model: MODEL,
            lora: None,
            cache_salt: None,
        },
    );
    hasher.update(bytes);
    hasher.finish()
}

fn random_bytes(rng: &mut Rng, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    rng.fill_bytes(&mut buffer);
    buffer
}

impl Bed {
    fn new(endpoints: usize, prompt_tokens: usize) -> Self {
        let config = FleetConfig {
            seed: HashSeed(7),
            require_probe: false,
            index_max_bytes: 2 << 30,
            ..FleetConfig::default()
        };
        let fleet = Arc::new(Fleet::new(config, Profile::default_profile()));
        let mut rng = Rng::seed_from_u64(1);
        let specs = (0..endpoints).map(spec).collect();
        fleet.apply(
            Event::Change(Change::Resync {
                source: Arc::from("bench"),
                endpoints: specs,
            }),
            Duration::ZERO,
        );
        for endpoint in fleet.view().endpoints.iter() {
            let metrics = EngineMetrics {
                block_size_tokens: Some(16),
                num_blocks: Some(4_000_000),
                ..EngineMetrics::default()
            };
            let mark = fleet.scrape_begin(endpoint.slot);
            fleet.apply(
                Event::Scrape {
                    slot: endpoint.slot,
                    mark,
                    result: Ok(metrics),
                },
                Duration::ZERO,
            );
        }
        let prompt_bytes = prompt_tokens * BYTES_PER_TOKEN;
        let held = hold(&fleet, endpoints, prompt_bytes, &mut rng);
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..2)
            .map(|seed| writer(Arc::clone(&fleet), seed, Arc::clone(&stop)))
            .collect();
        Self {
            fleet,
            held,
            prompt_bytes,
            rng,
            stop,
            writers,
        }
    }

    /// A prompt never seen before, 60 % of which some endpoints hold.
    fn prompt(&mut self) -> Vec<u8> {
        let held = &self.held[self.rng.random_range(0..self.held.len())];
        let mut prompt = Vec::with_capacity(self.prompt_bytes);
        prompt.extend_from_slice(held);
        prompt.extend(random_bytes(&mut self.rng, self.prompt_bytes - held.len()));
        prompt
    }

    /// Everything between a body in memory and an endpoint, and the load given back.
    fn decide(&mut self, prompt: &[u8], now: Duration) {
        let chains = [chain(prompt)];
        let request = Request {
            model: MODEL,
            chains: &chains,
            stream: true,
            ..Request::default()
        };
        let pick = self.fleet.pick(&request, now, &mut self.rng).unwrap();
        black_box(&pick.decision);
        // Gone before its first byte: the placement is taken back, so the resident set stays what it is.
        self.fleet.finish(
            pick.reservation,
            Outcome {
                end: End::ClientGone,
                usage: None,
            },
            now,
        );
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            writer.join().unwrap();
        }
    }
}

fn spec(i: usize) -> EndpointSpec {
    let address: Arc<str> = Arc::from(format!("10.0.{}.{}:8000", i / 250, i % 250));
    EndpointSpec {
        name: Arc::clone(&address),
        url: Arc::from(format!("http://{address}")),
        address,
        rank: None,
        labels: BTreeMap::new(),
    }
}

fn place(fleet: &Fleet, endpoint: usize, chain: &Chain) {
    let chains = [chain.clone()];
    let request = Request {
        model: MODEL,
        chains: &chains,
        ..Request::default()
    };
    let slot = fleet.view().endpoints[endpoint].slot;
    let mut reservation = fleet.reserve(&request, slot, Duration::ZERO).unwrap();
    fleet.first_byte(&mut reservation, Duration::ZERO);
    fleet.finish(
        reservation,
        Outcome {
            end: End::Complete { status: 200 },
            usage: None,
        },
        Duration::ZERO,
    );
}

/// Fills the index to five million blocks: shared prefixes on one to all endpoints first, then blocks of no use.
fn hold(fleet: &Fleet, endpoints: usize, prompt_bytes: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
    let held_bytes = prompt_bytes * 6 / 10;
    let held: Vec<_> = (0..32).map(|_| random_bytes(rng, held_bytes)).collect();
    for (i, prefix) in held.iter().enumerate() {
        let chain = chain(prefix);
        // 1, 2, 4, … up to all: shares differ as they do in life.
        let holders = (1usize << (i % 11)).min(endpoints);
        let first = rng.random_range(0..endpoints);
        for holder in 0..holders {
            place(fleet, (first + holder) % endpoints, &chain);
        }
    }
    while fleet.write_index(65_536) > 0 {}
    while (fleet.report(Duration::ZERO).index_blocks as usize) < RESIDENT_BLOCKS {
        for _ in 0..64 {
            let filler = random_bytes(rng, 64 * 1_024);
            place(fleet, rng.random_range(0..endpoints), &chain(&filler));
        }
        while fleet.write_index(65_536) > 0 {}
    }
    held
}

/// Places and confirms prompts of 2k tokens until told to stop, a thousand a second.
fn writer(fleet: Arc<Fleet>, seed: u64, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut rng = Rng::seed_from_u64(100 + seed);
        let endpoints = fleet.view().endpoints.len();
        while !stop.load(Ordering::Relaxed) {
            place(
                &fleet,
                rng.random_range(0..endpoints),
                &chain(&random_bytes(&mut rng, 8_192)),
            );
            std::thread::park_timeout(Duration::from_millis(1));
        }
    })
}

/// Median of single runs, and allocations of one: what a request sees, not what a tight loop averages to.
fn report(name: &str, bed: &mut Bed) {
    let mut whole = Vec::new();
    let mut hash = Vec::new();
    let mut plain = Vec::new();
    let mut allocations = 0;
    for i in 0..2_000u64 {
        let prompt = bed.prompt();
        let start = Instant::now();
        black_box(xxhash_rust::xxh3::xxh3_64(black_box(&prompt)));
        plain.push(start.elapsed());
        let start = Instant::now();
        black_box(chain(black_box(&prompt)));
        hash.push(start.elapsed());
        let before = ALLOCATIONS.get();
        let start = Instant::now();
        bed.decide(&prompt, Duration::from_millis(i));
        whole.push(start.elapsed());
        allocations = ALLOCATIONS.get() - before;
    }
    let us = |mut times: Vec<Duration>, at: f64| {
        times.sort_unstable();
        times[((times.len() - 1) as f64 * at) as usize].as_secs_f64() * 1e6
    };
    println!(
        "{name}: decision p50 {:.1} us, p99 {:.1} us; hash alone p50 {:.1} us; plain xxh3 pass p50 {:.1} us; {allocations} allocations",
        us(whole.clone(), 0.5),
        us(whole, 0.99),
        us(hash, 0.5),
        us(plain, 0.5),
    );
}

fn decisions(criterion: &mut Criterion) {
    for (endpoints, tokens) in [(3, 2_048), (3, 131_072), (1_000, 2_048)] {
        let name = format!("{endpoints} endpoints, {tokens} tokens");
        let mut bed = Bed::new(endpoints, tokens);
        report(&name, &mut bed);
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(20)
            .measurement_time(Duration::from_secs(3));
        group.bench_function("decision", |bencher| {
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for i in 0..iterations {
                    let prompt = bed.prompt();
                    let start = Instant::now();
                    bed.decide(&prompt, Duration::from_millis(i));
                    spent += start.elapsed();
                }
                spent
            });
        });
        group.finish();
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
