use std::collections::HashMap;
use std::time::Duration;

use engine::backend::{Profile, SimulatedBackend, SimulatedOptions};
use engine::model::{
    BatchConfig, BatchModel, BlockHash, CacheEvent, Event, Lora, Request, RequestId,
};
use serde::Deserialize;

/// One engine from start to end. Requests of a round are submitted at one instant; a round begins when the one before is
/// over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    #[allow(dead_code, reason = "for the reader")]
    source: String,
    config: Limits,
    rounds: Vec<Round>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    block_size: usize,
    num_gpu_blocks: usize,
    max_num_seqs: usize,
    max_num_batched_tokens: usize,
    max_model_len: usize,
    #[serde(default)]
    no_prefix_caching: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Round {
    /// Drop the prefix cache first.
    #[serde(default)]
    reset: bool,
    requests: Vec<Asked>,
    /// Tokens computed in each of the first steps.
    steps: Option<Vec<usize>>,
    /// What each batch of cache events holds.
    batches: Option<Vec<Vec<Change>>>,
    /// Preemptions in this round.
    preemptions: Option<u64>,
    /// Movement of the prefix-cache counters: queries and hits.
    counters: Option<(u64, u64)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    prompt: Vec<Piece>,
    max_tokens: usize,
    salt: Option<String>,
    lora: Option<String>,
    #[serde(default)]
    skip_cache_read: bool,
    cached: usize,
    /// This many of it.
    #[serde(default = "one")]
    times: usize,
}

fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum Piece {
    /// Consecutive token ids.
    Run { start: u32, len: u32 },
    /// Consecutive token ids, last first.
    Backwards { start: u32, len_backwards: u32 },
    /// The output of the n-th request of the vector.
    Output { output_of: u64 },
}

#[derive(Deserialize, Debug, PartialEq, Clone)]
#[serde(rename_all = "snake_case")]
enum Change {
    /// Blocks stored in one event, and whether they follow the block stored last in this round (else: nothing).
    Stored {
        blocks: usize,
        follows_last: bool,
    },
    /// Blocks removed, one event each, in a row.
    Removed(usize),
    Cleared,
}

macro_rules! vectors {
    ($($test:ident)*) => {$(
        #[test]
        fn $test() {
            let text = include_str!(concat!("../vectors/", stringify!($test), ".json"));
            let vectors: Vec<Vector> = serde_json::from_str(text).unwrap();
            vectors.iter().for_each(check);
        }
    )*};
}

vectors! { reuse isolation scheduling events }

fn check(vector: &Vector) {
    let mut engine = engine(&vector.config);
    let mut outputs = HashMap::new();
    let mut now = Duration::ZERO;
    for (number, round) in vector.rounds.iter().enumerate() {
        let place = format!("{}, round {number}", vector.name);
        let before = engine.snapshot().counters;
        if round.reset {
            assert!(
                engine.reset_prefix_cache(),
                "{place}: idle engines can be reset"
            );
        }
        let mut cached = HashMap::new();
        for asked in round
            .requests
            .iter()
            .flat_map(|asked| std::iter::repeat_n(asked, asked.times))
        {
            let id = engine.submit(now, request(asked, &outputs)).unwrap();
            cached.insert(id, asked.cached);
        }
        let events = run(&mut engine);
        now = end(&events);
        outputs.extend(tokens(&events));
        check_round(&place, round, &events, &cached);
        let after = engine.snapshot();
        let counters = after.counters;
        let moved = (
            counters.prefix_cache_queries_tokens - before.prefix_cache_queries_tokens,
            counters.prefix_cache_hits_tokens - before.prefix_cache_hits_tokens,
        );
        assert_eq!(moved, round.counters.unwrap_or(moved), "{place}: counters");
        let preemptions = counters.preemptions - before.preemptions;
        assert_eq!(
            preemptions,
            round.preemptions.unwrap_or(0),
            "{place}: preemptions"
        );
        assert_eq!(
            (after.running, after.waiting, after.kv_cache_usage),
            (0, 0, 0.0),
            "{place}: idle reads zero"
        );
    }
}

fn check_round(place: &str, round: &Round, events: &[Event], cached: &HashMap<RequestId, usize>) {
    let mut finished = 0;
    for event in events {
        match event {
            Event::Scheduled {
                id, cached_tokens, ..
            } => {
                assert_eq!(
                    *cached_tokens, cached[id],
                    "{place}: cached tokens of request {id}"
                );
            }
            Event::Finished { timings, .. } => {
                finished += 1;
                assert!(timings.output_tokens > 0, "{place}");
            }
            _ => {}
        }
    }
    assert_eq!(finished, cached.len(), "{place}: all succeed");
    if let Some(expected) = &round.steps {
        let steps: Vec<usize> = events
            .iter()
            .filter_map(scheduled_tokens)
            .take(expected.len())
            .collect();
        assert_eq!(steps, *expected, "{place}: tokens per step");
    }
    if let Some(expected) = &round.batches {
        assert_eq!(batches(events), *expected, "{place}: cache events");
    }
}

fn scheduled_tokens(event: &Event) -> Option<usize> {
    match event {
        Event::Step {
            scheduled_tokens, ..
        } => Some(*scheduled_tokens),
        _ => None,
    }
}

/// The cache events in the vectors' short form.
fn batches(events: &[Event]) -> Vec<Vec<Change>> {
    let mut last: Option<BlockHash> = None;
    let mut batches = Vec::new();
    for event in events {
        let Event::Cache { events, .. } = event else {
            continue;
        };
        let mut batch: Vec<Change> = Vec::new();
        for event in events {
            match (event, batch.last_mut()) {
                (CacheEvent::Removed { .. }, Some(Change::Removed(count))) => *count += 1,
                (CacheEvent::Removed { .. }, _) => batch.push(Change::Removed(1)),
                (CacheEvent::Cleared, _) => batch.push(Change::Cleared),
                (CacheEvent::Stored { hashes, parent, .. }, _) => {
                    assert!(
                        parent.is_none() || *parent == last,
                        "a chain goes on where it stopped"
                    );
                    batch.push(Change::Stored {
                        blocks: hashes.len(),
                        follows_last: parent.is_some(),
                    });
                    last = hashes.last().copied();
                }
            }
        }
        batches.push(batch);
    }
    batches
}

fn engine(limits: &Limits) -> BatchModel {
    let profile = Profile::named("h100").unwrap();
    let config = BatchConfig {
        block_size_tokens: limits.block_size,
        num_gpu_blocks: limits.num_gpu_blocks,
        max_num_seqs: limits.max_num_seqs,
        max_num_batched_tokens: limits.max_num_batched_tokens,
        max_model_len_tokens: limits.max_model_len,
        enable_prefix_caching: !limits.no_prefix_caching,
        record_cache_events: true,
        ..BatchConfig::for_profile(&profile)
    };
    let backend = SimulatedBackend::new(profile, SimulatedOptions::default());
    BatchModel::new(config, Box::new(backend)).unwrap()
}

fn request(asked: &Asked, outputs: &HashMap<RequestId, Vec<u32>>) -> Request {
    let mut prompt = Vec::new();
    for piece in &asked.prompt {
        match piece {
            Piece::Run { start, len } => prompt.extend(*start..start + len),
            Piece::Backwards {
                start,
                len_backwards,
            } => prompt.extend((*start..start + len_backwards).rev()),
            Piece::Output { output_of } => prompt.extend(&outputs[&RequestId(*output_of)]),
        }
    }
    let lora = asked.lora.as_deref().map(|name| Lora {
        name: name.into(),
        path: format!("/adapters/{name}").into(),
        id: 1,
    });
    let cache_salt = asked.salt.as_deref().map(Into::into);
    let skip_cache_read = asked.skip_cache_read;
    Request {
        cache_salt,
        lora,
        skip_cache_read,
        ..Request::new(prompt, asked.max_tokens)
    }
}

fn run(engine: &mut BatchModel) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(at) = engine.next_wake() {
        engine.advance(at, &mut events);
    }
    events
}

fn end(events: &[Event]) -> Duration {
    let ends = events.iter().filter_map(|event| match event {
        Event::Step { at, .. } => Some(*at),
        _ => None,
    });
    ends.max().unwrap_or_default()
}

fn tokens(events: &[Event]) -> HashMap<RequestId, Vec<u32>> {
    let mut outputs: HashMap<RequestId, Vec<u32>> = HashMap::new();
    for event in events {
        if let Event::Token { id, token, .. } = event {
            outputs.entry(*id).or_default().push(*token);
        }
    }
    outputs
}
