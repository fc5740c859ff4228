use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine::backend::{Profile, SimulatedBackend, SimulatedOptions};
use engine::model::{
    BatchConfig, BatchModel, BlockHash, CacheEvent, Event, ExtraKeys, HashAlgo, HashChain, Request,
    RequestId,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Load {
    block_size: usize,
    num_gpu_blocks: usize,
    max_num_seqs: usize,
    max_num_batched_tokens: usize,
    caching: bool,
    seed: u64,
    asked: Vec<Asked>,
}

#[derive(Debug, Clone)]
struct Asked {
    after_us: u64,
    /// Prompts of one family begin alike.
    family: u32,
    shared_tokens: usize,
    own_tokens: usize,
    output_tokens: usize,
    /// Given up this long after it was sent.
    abort_after_us: Option<u64>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let abort = prop_oneof![4 => Just(None), 1 => (0..40_000_u64).prop_map(Some)];
    (
        0..4_000_u64,
        0..3_u32,
        0..40_usize,
        1..30_usize,
        1..40_usize,
        abort,
    )
        .prop_map(
            |(after_us, family, shared_tokens, own_tokens, output_tokens, abort_after_us)| Asked {
                after_us,
                family,
                shared_tokens,
                own_tokens,
                output_tokens,
                abort_after_us,
            },
        )
}

fn load() -> impl Strategy<Value = Load> {
    (
        2..9_usize,
        0..40_usize,
        1..9_usize,
        1..80_usize,
        any::<bool>(),
        any::<u64>(),
    )
        .prop_flat_map(|limits| (Just(limits), prop::collection::vec(asked(), 1..24)))
        .prop_map(
            |((block_size, spare, max_num_seqs, max_num_batched_tokens, caching, seed), asked)| {
                Load {
                    block_size,
                    num_gpu_blocks: MAX_LEN.div_ceil(block_size) + 1 + spare,
                    max_num_seqs,
                    max_num_batched_tokens,
                    caching,
                    seed,
                    asked,
                }
            },
        )
}

const MAX_LEN: usize = 110;

impl Load {
    fn engine(&self) -> BatchModel {
        let profile = Profile::named("h100").unwrap();
        let config = BatchConfig {
            block_size_tokens: self.block_size,
            num_gpu_blocks: self.num_gpu_blocks,
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_model_len_tokens: MAX_LEN,
            enable_prefix_caching: self.caching,
            record_cache_events: true,
            ..BatchConfig::for_profile(&profile)
        };
        let options = SimulatedOptions {
            seed: self.seed,
            ..Default::default()
        };
        BatchModel::new(config, Box::new(SimulatedBackend::new(profile, options))).unwrap()
    }

    fn prompt(&self, number: usize) -> Arc<[u32]> {
        let asked = &self.asked[number];
        let shared = (0..asked.shared_tokens).map(|i| asked.family * 1000 + i as u32);
        let own = (0..asked.own_tokens).map(|i| 100_000 + (number * 100 + i) as u32);
        shared.chain(own).collect()
    }
}

/// Runs the load to its end on a virtual clock; checks what must hold at every moment on the way.
fn run(load: &Load) -> (Vec<Event>, Vec<RequestId>) {
    let mut engine = load.engine();
    let mut events = Vec::new();
    let mut aborted = Vec::new();
    let mut now = Duration::ZERO;
    let mut aborts: Vec<(Duration, RequestId)> = Vec::new();
    for (number, asked) in load.asked.iter().enumerate() {
        now += Duration::from_micros(asked.after_us);
        drive(&mut engine, now, &mut aborts, &mut aborted, &mut events);
        let id = engine
            .submit(now, Request::new(load.prompt(number), asked.output_tokens))
            .unwrap();
        aborts.extend(
            asked
                .abort_after_us
                .map(|after| (now + Duration::from_micros(after), id)),
        );
    }
    drive(
        &mut engine,
        Duration::from_secs(3600),
        &mut aborts,
        &mut aborted,
        &mut events,
    );
    let end = engine.snapshot();
    assert_eq!(
        (end.running, end.waiting, end.kv_cache_usage),
        (0, 0, 0.0),
        "nothing leaks"
    );
    assert_eq!(engine.next_wake(), None);
    assert!(engine.reset_prefix_cache(), "no block is referred to");
    (events, aborted)
}

/// Wakes the engine whenever it asks, up to `until`, and gives up requests when their time has come.
fn drive(
    engine: &mut BatchModel,
    until: Duration,
    aborts: &mut Vec<(Duration, RequestId)>,
    aborted: &mut Vec<RequestId>,
    events: &mut Vec<Event>,
) {
    loop {
        aborts.sort();
        let abort = aborts.first().copied();
        let wake = engine.next_wake();
        let next = [wake, abort.map(|(at, _)| at)].into_iter().flatten().min();
        let Some(at) = next.filter(|at| *at <= until) else {
            return;
        };
        engine.advance(at, events);
        if let Some((due, id)) = abort
            && due <= at
        {
            aborts.remove(0);
            if engine.abort(id) {
                aborted.push(id);
            }
            assert!(!engine.abort(id), "an aborted request is gone");
        }
        let now = engine.snapshot();
        assert!(now.running <= engine.config().max_num_seqs);
        assert!((0.0..=1.0).contains(&now.kv_cache_usage));
        assert_eq!(now.running + now.waiting, engine.requests().count());
    }
}

proptest! {
    #[test]
    fn everything_finishes_and_nothing_leaks(load in load()) {
        let (events, aborted) = run(&load);
        let mut tokens: HashMap<RequestId, usize> = HashMap::new();
        let mut finished = 0;
        let mut last = Duration::ZERO;
        for event in &events {
            match event {
                Event::Scheduled { id, cached_tokens, .. } => {
                    let prompt = load.prompt(id.0 as usize).len();
                    prop_assert_eq!(cached_tokens % load.block_size, 0);
                    prop_assert!(*cached_tokens <= (prompt - 1) / load.block_size * load.block_size);
                    prop_assert!(load.caching || *cached_tokens == 0);
                }
                Event::Token { id, at, .. } => {
                    prop_assert!(*at >= last);
                    *tokens.entry(*id).or_default() += 1;
                }
                Event::Finished { id, timings, .. } => {
                    finished += 1;
                    prop_assert_eq!(tokens[id], load.asked[id.0 as usize].output_tokens);
                    prop_assert_eq!(timings.output_tokens, tokens[id]);
                    prop_assert!(timings.arrival <= timings.scheduled && timings.scheduled < timings.first_token);
                    prop_assert!(timings.first_token <= timings.finished);
                }
                Event::Step { started, at, scheduled_tokens, .. } => {
                    prop_assert!(*scheduled_tokens <= load.max_num_batched_tokens && *scheduled_tokens > 0);
                    prop_assert!(*started >= last, "steps do not overlap");
                    last = *at;
                }
                _ => {}
            }
        }
        prop_assert_eq!(finished + aborted.len(), load.asked.len());
    }

    #[test]
    fn the_same_calls_give_the_same_events(load in load()) {
        prop_assert_eq!(run(&load).0, run(&load).0);
    }

    /// One late call sees the same steps as many punctual ones.
    #[test]
    fn a_late_caller_loses_nothing(load in load()) {
        let mut punctual = load.engine();
        let mut late = load.engine();
        let mut now = Duration::ZERO;
        for (number, asked) in load.asked.iter().enumerate() {
            now += Duration::from_micros(asked.after_us);
            for engine in [&mut punctual, &mut late] {
                engine.submit(now, Request::new(load.prompt(number), asked.output_tokens)).unwrap();
            }
        }
        let (mut seen, mut seen_late) = (Vec::new(), Vec::new());
        while let Some(at) = punctual.next_wake() {
            punctual.advance(at, &mut seen);
        }
        late.advance(Duration::from_secs(3600), &mut seen_late);
        prop_assert_eq!(seen, seen_late);
    }

    /// Whoever applies the cache events, and nothing else, holds exactly the names that the block pool holds, whenever
    /// one looks: in the middle of a step, after preemptions, evictions, aborts and resets.
    #[test]
    fn cache_events_are_the_pool(load in load().prop_filter("caching on", |load| load.caching), resets in any::<u32>()) {
        let mut engine = load.engine();
        let mut told: HashMap<BlockHash, usize> = HashMap::new();
        let mut events = Vec::new();
        let mut now = Duration::ZERO;
        let mut live: Vec<(Duration, RequestId)> = Vec::new();
        for (number, asked) in load.asked.iter().enumerate() {
            now += Duration::from_micros(asked.after_us);
            loop {
                let wake = engine.next_wake().filter(|at| *at <= now);
                engine.advance(wake.unwrap_or(now), &mut events);
                check_told(&engine, &mut told, &mut events)?;
                if wake.is_none() {
                    break;
                }
            }
            live.retain(|(due, id)| *due > now || !{ engine.abort(*id); true });
            if resets >> (number % 32) & 1 == 1 {
                engine.reset_prefix_cache();
            }
            check_told(&engine, &mut told, &mut events)?;
            let id = engine.submit(now, Request::new(load.prompt(number), asked.output_tokens)).unwrap();
            live.extend(asked.abort_after_us.map(|after| (now + Duration::from_micros(after), id)));
        }
        while let Some(at) = engine.next_wake() {
            engine.advance(at, &mut events);
            check_told(&engine, &mut told, &mut events)?;
        }
        prop_assert!(engine.unpublished().iter().all(|event| *event == CacheEvent::Cleared));
    }

    /// Whoever reads only the cache events knows what the next request will hit.
    #[test]
    fn cache_events_predict_hits(load in load().prop_filter("caching on", |load| load.caching)) {
        let mut engine = load.engine();
        let mut copies: HashMap<BlockHash, usize> = HashMap::new();
        let mut chain = HashChain::new(HashAlgo::Sha256Cbor, &engine.config().hash_seed);
        for (number, asked) in load.asked.iter().enumerate() {
            let prompt = load.prompt(number);
            let mut expected = 0;
            let mut parent = None;
            for block in prompt[..prompt.len() - 1].chunks_exact(load.block_size) {
                let hash = chain.block(parent.as_ref(), block.iter().copied(), &ExtraKeys::default());
                if !copies.contains_key(&hash) {
                    break;
                }
                expected += load.block_size;
                parent = Some(hash);
            }
            engine.submit(Duration::ZERO, Request::new(prompt, asked.output_tokens)).unwrap();
            let mut events = Vec::new();
            while let Some(at) = engine.next_wake() {
                engine.advance(at, &mut events);
            }
            for event in events {
                match event {
                    Event::Scheduled { cached_tokens, .. } => prop_assert_eq!(cached_tokens, expected),
                    Event::Cache { events, .. } => events.iter().for_each(|event| apply(event, &mut copies)),
                    _ => {}
                }
            }
            prop_assert_eq!(copies.values().sum::<usize>(), engine.snapshot().cached_blocks);
        }
    }
}

/// Applies what came out to `told`, and compares it, with what has not come out yet, to the pool.
fn check_told(
    engine: &BatchModel,
    told: &mut HashMap<BlockHash, usize>,
    events: &mut Vec<Event>,
) -> Result<(), TestCaseError> {
    for event in events.drain(..) {
        if let Event::Cache { events, .. } = event {
            events.iter().for_each(|event| apply(event, told));
        }
    }
    let mut expected = told.clone();
    engine
        .unpublished()
        .iter()
        .for_each(|event| apply(event, &mut expected));
    let mut resident: HashMap<BlockHash, usize> = HashMap::new();
    engine
        .resident()
        .for_each(|hash| *resident.entry(hash).or_default() += 1);
    prop_assert_eq!(resident, expected);
    Ok(())
}

fn apply(event: &CacheEvent, copies: &mut HashMap<BlockHash, usize>) {
    match event {
        CacheEvent::Stored { hashes, .. } => hashes
            .iter()
            .for_each(|hash| *copies.entry(*hash).or_default() += 1),
        CacheEvent::Removed { hash } => {
            let count = copies.get_mut(hash).unwrap();
            *count -= 1;
            if *count == 0 {
                copies.remove(hash);
            }
        }
        CacheEvent::Cleared => copies.clear(),
    }
}
