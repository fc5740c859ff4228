//! How fast, how small, how exact?
//!
//! Percentiles come from single timed calls; the last part repeats the lookups under Criterion.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use index_bench::figures::{Times, core_time, resident_bytes};
use index_bench::naive::Naive;
use index_bench::ours::Ours;
use index_bench::{Index, Prompt, WORKERS, names, trace};

/// Blocks resident in the large test.
const RESIDENT_BLOCKS: usize = 10_000_000;
/// Prompts asked of each kind.
const COLD_PROMPTS: usize = 200;

fn main() {
    let path = std::env::var("TRACE").expect("TRACE names mooncake_conversation.jsonl");
    let prompts = trace::prompts(&path).expect("a readable trace");
    let blocks: usize = prompts.iter().map(Vec::len).sum();
    println!(
        "{} requests, {blocks} blocks asked, {WORKERS} workers",
        prompts.len()
    );
    if std::env::var_os("LOOKUPS").is_some() {
        return under_criterion(&prompts);
    }
    on_trace(|| Ours::new(2 << 30), &prompts);
    #[cfg(feature = "peers")]
    {
        use index_bench::peers::{Radix, Smg};
        on_trace(Smg::default, &prompts);
        on_trace(Radix::default, &prompts);
    }
    drain(|| Ours::new(2 << 30), &prompts);
    #[cfg(feature = "peers")]
    {
        use index_bench::peers::{Radix, Smg};
        drain(Smg::default, &prompts);
        drain(Radix::default, &prompts);
    }
    if std::env::var_os("SHORT").is_some() {
        return;
    }
    resident(Ours::new(2 << 30));
    #[cfg(feature = "peers")]
    resident(index_bench::peers::Smg::default());
    under_criterion(&prompts);
}

/// Each request is looked up, compared with the naive answer, then stored at a worker, as far as it is not there.
fn on_trace<I: Index>(index: impl Fn() -> I, prompts: &[Prompt]) {
    let (mut index, mut naive) = (index(), Naive::default());
    let (mut times, mut wrong) = (Vec::new(), 0);
    for (number, prompt) in prompts.iter().enumerate() {
        let asked = index.asked(prompt);
        let began = Instant::now();
        index.find(&asked);
        times.push(began.elapsed());
        wrong += usize::from(index.found() != naive.find(prompt));
        store(&mut index, &mut naive, number, prompt);
    }
    let times = Times::of(times);
    println!(
        "trace lookup  {:26} p50 {:6.2} us  p90 {:6.2}  p99 {:7.2}  wrong {wrong}  pairs {}",
        I::NAME,
        times.at(0.5),
        times.at(0.9),
        times.at(0.99),
        naive.held(),
    );
}

fn store<I: Index>(index: &mut I, naive: &mut Naive, number: usize, prompt: &[u64]) {
    let (worker, names) = (worker(number), names(prompt));
    let from = naive.leading(worker, &names);
    if from < names.len() {
        index.apply(index.event(worker, prompt, &names, from));
        naive.store(worker, &names[from..]);
    }
}

fn worker(number: usize) -> usize {
    number.wrapping_mul(0x9E37_79B9) >> 7 & (WORKERS - 1)
}

/// All store events of the trace, made beforehand, applied in one go on one thread.
fn drain<I: Index>(new: impl Fn() -> I, prompts: &[Prompt]) {
    let mut rates = Vec::new();
    let mut each = 0.0;
    let mut events_at = Vec::new();
    for _ in 0..3 {
        let before = resident_bytes();
        let mut index = new();
        let mut naive = Naive::default();
        let mut stored = 0;
        let mut events = Vec::new();
        for (number, prompt) in prompts.iter().enumerate() {
            let (worker, names) = (worker(number), names(prompt));
            let from = naive.leading(worker, &names);
            if from < names.len() {
                events.push(index.event(worker, prompt, &names, from));
                naive.store(worker, &names[from..]);
                stored += names.len() - from;
            }
        }
        drop(naive);
        let began = core_time();
        for event in events {
            let one = Instant::now();
            index.apply(event);
            events_at.push(one.elapsed());
        }
        let took = core_time() - began;
        rates.push(stored as f64 / took.as_secs_f64() / 1e6);
        each = resident_bytes().saturating_sub(before) as f64 / stored as f64;
        black_box(&index);
    }
    rates.sort_by(f64::total_cmp);
    let times = Times::of(events_at);
    println!(
        "drain         {:26} {:5.2} million blocks/s of core time (median of 3)  event p50 {:.1} us p99 {:.1} us  RSS {each:.0} B/pair, allocator's leftovers included",
        I::NAME,
        rates[1],
        times.at(0.5),
        times.at(0.99),
    );
}

/// A prompt that shares no block with any other.
fn own_prompt(number: usize, blocks: usize) -> Prompt {
    let base = (number as u64 + 1) << 24;
    (0..blocks as u64).map(|at| base + at).collect()
}

/// Ten million blocks resident; prompts of several lengths held whole by one worker and half by another, asked once
/// each, with other memory walked through in between.
fn resident<I: Index + Bytes>(mut index: I) {
    let lengths = [1024, 2048, 4096, 8192];
    let mut total = 0;
    let mut number = 0;
    let mut tell = |index: &mut I, number: usize, prompt: &[u64], worker: usize| {
        let names = names(prompt);
        index.apply(index.event(worker, prompt, &names, 0));
        total += prompt.len();
        number
    };
    for blocks in lengths {
        for at in 0..COLD_PROMPTS {
            let prompt = own_prompt(number, blocks);
            tell(&mut index, number, &prompt, at % WORKERS);
            // The half of another: only its first half is stored anywhere.
            let half = own_prompt(number + 1, blocks / 2);
            tell(&mut index, number, &half, (at + 1) % WORKERS);
            number += 2;
        }
    }
    let asked_up_to = number;
    while number < asked_up_to + RESIDENT_BLOCKS / 512 {
        let prompt = own_prompt(number, 512);
        tell(&mut index, number, &prompt, number % WORKERS);
        number += 1;
    }
    println!(
        "resident      {:26} {total} pairs{}",
        I::NAME,
        index.bytes_each()
    );
    let mut cold = vec![0_u8; 64 << 20];
    let mut first = 0;
    for blocks in lengths {
        for (kind, expected) in [("whole", blocks), ("half", blocks / 2), ("absent", 0)] {
            let times = (0..COLD_PROMPTS).map(|at| {
                let own = match kind {
                    "whole" => first + 2 * at,
                    "half" => first + 2 * at + 1,
                    _ => number + at,
                };
                let asked = index.asked(&own_prompt(own, blocks));
                cold.iter_mut()
                    .step_by(64)
                    .for_each(|byte| *byte = byte.wrapping_add(1));
                let began = Instant::now();
                index.find(&asked);
                let took = began.elapsed();
                let most = index.found().into_iter().max().unwrap_or(0);
                assert_eq!(most as usize, expected, "{kind} of {blocks}");
                took
            });
            let times = Times::of(times.collect::<Vec<Duration>>());
            println!(
                "cold lookup   {:26} {blocks:5} blocks {kind:6}  p50 {:6.2} us  p99 {:7.2}",
                I::NAME,
                times.at(0.5),
                times.at(0.99),
            );
        }
        first += 2 * COLD_PROMPTS;
    }
    black_box(&cold);
}

/// What an index says of its own memory.
trait Bytes {
    fn bytes_each(&self) -> String {
        String::new()
    }
}

impl Bytes for Ours {
    fn bytes_each(&self) -> String {
        let stats = self.index.stats();
        let each = stats.bytes as f64 / stats.held_blocks as f64;
        format!(", {each:.1} bytes allocated each, {} runs", stats.runs)
    }
}

#[cfg(feature = "peers")]
impl Bytes for index_bench::peers::Smg {}

/// Lookups of the whole trace against an index that holds it, by Criterion's clock.
fn under_criterion(prompts: &[Prompt]) {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(20)
        .configure_from_args();
    let mut index = Ours::new(2 << 30);
    one_by_one(&mut criterion, &mut index, prompts);
    let stats = index.index.stats();
    println!(
        "after trace   {:26} {} pairs, {} blocks, {} runs, {:.1} bytes allocated each",
        Ours::NAME,
        stats.held_blocks,
        stats.distinct_blocks,
        stats.runs,
        stats.bytes as f64 / stats.held_blocks as f64,
    );
    #[cfg(feature = "peers")]
    {
        one_by_one(
            &mut criterion,
            &mut index_bench::peers::Smg::default(),
            prompts,
        );
        one_by_one(
            &mut criterion,
            &mut index_bench::peers::Radix::default(),
            prompts,
        );
    }
    criterion.final_summary();
}

fn one_by_one<I: Index>(criterion: &mut Criterion, index: &mut I, prompts: &[Prompt]) {
    let mut naive = Naive::default();
    for (number, prompt) in prompts.iter().enumerate() {
        store(index, &mut naive, number, prompt);
    }
    drop(naive);
    let asked: Vec<_> = prompts.iter().map(|prompt| index.asked(prompt)).collect();
    let mut next = 0;
    criterion.bench_function(&format!("lookup/{}", I::NAME), |bencher| {
        bencher.iter(|| {
            next = (next + 7) % asked.len();
            index.find(&asked[next]);
        });
    });
}
