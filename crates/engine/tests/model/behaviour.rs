use std::time::Duration;

use engine::backend::{
    Backend, BackendError, FillerVocabulary, Profile, SimulatedBackend, SimulatedOptions, Step,
};
use engine::model::{
    BatchConfig, BatchModel, ConfigError, Event, FinishReason, Generation, Rejected, Request,
    RequestId, Text,
};

/// One second a step, whatever is in it; samples 7, fails in the steps named.
struct Fixed {
    failing: Vec<u64>,
}

impl Backend for Fixed {
    fn run(&mut self, step: &Step<'_>, sampled: &mut Vec<u32>) -> Result<Duration, BackendError> {
        if self.failing.contains(&step.number) {
            return Err(BackendError {
                reason: "as asked".to_owned(),
            });
        }
        sampled.extend(
            step.sequences
                .iter()
                .filter(|sequence| sequence.samples)
                .map(|_| 7),
        );
        Ok(Duration::from_secs(1))
    }
}

fn config() -> BatchConfig {
    BatchConfig {
        num_gpu_blocks: 33,
        max_num_seqs: 2,
        max_num_batched_tokens: 64,
        max_model_len_tokens: 256,
        ..BatchConfig::for_profile(&Profile::named("h100").unwrap())
    }
}

fn fixed(config: BatchConfig) -> BatchModel {
    BatchModel::new(
        config,
        Box::new(Fixed {
            failing: Vec::new(),
        }),
    )
    .unwrap()
}

fn request(prompt_tokens: u32, max_tokens: usize) -> Request {
    Request::new((0..prompt_tokens).collect::<Vec<_>>(), max_tokens)
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn finished(events: &[Event]) -> Vec<(RequestId, FinishReason, Duration)> {
    let over = events.iter().filter_map(|event| match event {
        Event::Finished { id, reason, at, .. } => Some((*id, *reason, *at)),
        _ => None,
    });
    over.collect()
}

fn run(engine: &mut BatchModel) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(at) = engine.next_wake() {
        engine.advance(at, &mut events);
    }
    events
}

#[test]
fn tokens_come_out_at_the_end_of_their_step_and_times_add_up() {
    let mut engine = fixed(config());
    let id = engine.submit(secs(5), request(100, 2)).unwrap();
    assert_eq!(engine.next_wake(), Some(secs(5)));
    let mut events = Vec::new();
    engine.advance(secs(5), &mut events);
    assert_eq!(
        events,
        [Event::Scheduled {
            id,
            at: secs(5),
            cached_tokens: 0
        }]
    );
    assert_eq!(
        engine.snapshot().counters.prefix_cache_queries_tokens,
        0,
        "counters move at the end of a step"
    );
    assert_eq!(engine.next_wake(), Some(secs(6)));
    events.extend(run(&mut engine));
    // 64 and 36 prompt tokens, then one more token.
    assert_eq!(finished(&events), [(id, FinishReason::Length, secs(8))]);
    let Some(Event::Finished { timings, .. }) = events
        .iter()
        .find(|event| matches!(event, Event::Finished { .. }))
    else {
        panic!("finished")
    };
    assert_eq!(
        (timings.queue(), timings.prefill(), timings.decode()),
        (secs(0), secs(2), secs(1))
    );
    assert_eq!(
        (timings.ttft(), timings.e2e(), timings.inference()),
        (secs(2), secs(3), secs(3))
    );
    assert_eq!(timings.time_per_output_token(), Some(secs(1)));
    let counters = engine.snapshot().counters;
    assert_eq!(
        (counters.prompt_tokens, counters.generation_tokens),
        (100, 2)
    );
    assert_eq!(counters.finished_by(FinishReason::Length), 1);
}

#[test]
fn a_request_joins_the_step_after_its_arrival() {
    let mut engine = fixed(config());
    let mut events = Vec::new();
    engine.submit(secs(0), request(10, 3)).unwrap();
    engine.advance(secs(0), &mut events);
    let late = engine
        .submit(Duration::from_millis(1500), request(10, 1))
        .unwrap();
    engine.advance(secs(10), &mut events);
    assert!(events.contains(&Event::Scheduled {
        id: late,
        at: secs(2),
        cached_tokens: 0
    }));
}

#[test]
fn what_can_never_run_and_what_finds_the_queue_full_is_rejected() {
    let limits = BatchConfig {
        max_num_queued_reqs: Some(2),
        max_num_queued_tokens: Some(100),
        ..config()
    };
    let mut engine = fixed(limits);
    for (request, expected) in [
        (request(0, 1), Rejected::EmptyPrompt),
        (request(1, 0), Rejected::NoTokensAsked),
        (
            request(256, 1),
            Rejected::PromptTooLong {
                prompt_tokens: 256,
                max_model_len_tokens: 256,
            },
        ),
        (
            request(101, 1),
            Rejected::TooManyQueuedTokens { limit: 100 },
        ),
    ] {
        assert_eq!(engine.submit(secs(0), request), Err(expected));
    }
    engine.submit(secs(0), request(10, 1)).unwrap();
    engine.submit(secs(0), request(10, 1)).unwrap();
    let third = engine.submit(secs(0), request(10, 1));
    assert_eq!(third, Err(Rejected::TooManyQueuedRequests { limit: 2 }));
    let counters = engine.snapshot().counters;
    assert_eq!(
        (
            counters.rejected_queued_reqs,
            counters.rejected_queued_tokens
        ),
        (1, 1)
    );
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let error = |config: BatchConfig| config.validate().unwrap_err();
    let zero = BatchConfig {
        max_num_seqs: 0,
        ..config()
    };
    assert_eq!(
        error(zero),
        ConfigError::Zero {
            name: "max-num-seqs"
        }
    );
    let small = BatchConfig {
        num_gpu_blocks: 16,
        ..config()
    };
    let text = error(small).to_string();
    assert!(
        text.contains("needs 17 KV blocks") && text.contains("--num-gpu-blocks-override"),
        "{text}"
    );
    let enough = BatchConfig {
        num_gpu_blocks: 17,
        ..config()
    };
    assert_eq!(enough.validate(), Ok(()));
}

#[test]
fn the_model_length_ends_a_request() {
    let mut engine = fixed(config());
    let id = engine.submit(secs(0), request(250, 1000)).unwrap();
    let events = run(&mut engine);
    let tokens = events
        .iter()
        .filter(|event| matches!(event, Event::Token { .. }))
        .count();
    assert_eq!(tokens, 6);
    assert_eq!(finished(&events)[0].0, id);
    assert_eq!(finished(&events)[0].1, FinishReason::Length);
}

#[test]
fn an_aborted_request_gives_its_blocks_back_and_is_not_counted() {
    let mut engine = fixed(config());
    let mut events = Vec::new();
    let running = engine.submit(secs(0), request(64, 50)).unwrap();
    engine.advance(secs(0), &mut events);
    let waiting = engine.submit(secs(0), request(64, 50)).unwrap();
    assert!(engine.snapshot().kv_cache_usage > 0.0);
    assert!(engine.abort(running) && engine.abort(waiting));
    assert!(!engine.abort(running));
    let now = engine.snapshot();
    assert_eq!((now.running, now.waiting, now.kv_cache_usage), (0, 0, 0.0));
    engine.advance(secs(9), &mut events);
    assert_eq!(finished(&events), []);
    assert_eq!(engine.snapshot().counters.finished, [0; 4]);
}

#[test]
fn preemptions_are_counted_when_the_request_next_yields_a_token() {
    // Two requests of 112 tokens on 16 usable blocks of 16: seven blocks each, and two left.
    let limits = BatchConfig {
        num_gpu_blocks: 17,
        max_num_batched_tokens: 256,
        ..config()
    };
    let mut engine = fixed(limits);
    engine.submit(secs(0), request(112, 40)).unwrap();
    let other = Request::new((1000..1112).collect::<Vec<u32>>(), 40);
    let second = engine.submit(secs(0), other).unwrap();
    let mut events = Vec::new();
    let mut preempted_at = None;
    let mut counted_at = None;
    while let Some(at) = engine.next_wake() {
        engine.advance(at, &mut events);
        if events.contains(&Event::Preempted { id: second, at }) {
            preempted_at.get_or_insert(at);
        }
        if engine.snapshot().counters.preemptions > 0 {
            counted_at.get_or_insert(at);
        }
    }
    let (preempted_at, counted_at) = (preempted_at.unwrap(), counted_at.unwrap());
    assert!(counted_at > preempted_at);
    let next_token = events.iter().find_map(|event| match event {
        Event::Token { id, at, .. } if *id == second && *at > preempted_at => Some(*at),
        _ => None,
    });
    assert_eq!(next_token, Some(counted_at));
    assert_eq!(
        engine.snapshot().counters.prefix_cache_queries_tokens,
        224,
        "the second look is not counted"
    );
    let scheduled = events
        .iter()
        .filter(|event| matches!(event, Event::Scheduled { .. }))
        .count();
    assert_eq!(scheduled, 2);
}

#[test]
fn a_paused_engine_lets_requests_hang_until_it_is_resumed() {
    let mut engine = fixed(config());
    engine.pause();
    let id = engine.submit(secs(0), request(10, 1)).unwrap();
    let mut events = Vec::new();
    engine.advance(secs(100), &mut events);
    assert_eq!((events.len(), engine.next_wake()), (0, None));
    engine.resume(secs(100));
    assert_eq!(
        finished(&run(&mut engine)),
        [(id, FinishReason::Length, secs(101))]
    );
}

#[test]
fn a_failed_step_ends_its_requests_and_nothing_else() {
    let mut engine = BatchModel::new(config(), Box::new(Fixed { failing: vec![1] })).unwrap();
    let first = engine.submit(secs(0), request(10, 5)).unwrap();
    let second = engine.submit(secs(2), request(10, 1)).unwrap();
    let events = run(&mut engine);
    assert_eq!(
        finished(&events),
        [
            (first, FinishReason::Error, secs(1)),
            (second, FinishReason::Length, secs(3))
        ]
    );
    assert_eq!(engine.snapshot().kv_cache_usage, 0.0);
}

/// What a simulated engine writes, and why it stops.
fn text(
    generation: Generation,
    prompt: &[u32],
    max_tokens: usize,
    seed: u64,
) -> (Vec<u32>, FinishReason) {
    let profile = Profile::named("h100").unwrap();
    let vocabulary = FillerVocabulary::new(vec![50, 51, 52, 53]);
    let options = SimulatedOptions {
        seed,
        vocabulary,
        ..Default::default()
    };
    let mut engine =
        BatchModel::new(config(), Box::new(SimulatedBackend::new(profile, options))).unwrap();
    engine
        .submit(
            secs(0),
            Request {
                generation,
                ..Request::new(prompt, max_tokens)
            },
        )
        .unwrap();
    let events = run(&mut engine);
    let tokens = events.iter().filter_map(|event| match event {
        Event::Token { token, .. } => Some(*token),
        _ => None,
    });
    (tokens.collect(), finished(&events)[0].1)
}

#[test]
fn echo_repeats_the_prompt_and_stops() {
    let echo = |stop: &[u32]| Generation {
        text: Text::Echo,
        stop_token_ids: stop.into(),
        ..Default::default()
    };
    assert_eq!(
        text(echo(&[9]), &[1, 2, 3], 10, 0),
        (vec![1, 2, 3, 9], FinishReason::Stop)
    );
    assert_eq!(
        text(echo(&[9]), &[1, 2, 3], 2, 0),
        (vec![1, 2], FinishReason::Length)
    );
    assert_eq!(
        text(echo(&[]), &[1, 2], 5, 0),
        (vec![1, 2, 1, 2, 1], FinishReason::Length)
    );
}

#[test]
fn filler_is_the_same_for_the_same_seed_and_prompt_and_ends_as_told() {
    let filler = Generation::default;
    let (first, reason) = text(filler(), &[1, 2, 3], 40, 1);
    assert_eq!(reason, FinishReason::Length);
    assert!(first.iter().all(|token| (50..54).contains(token)) && first.len() == 40);
    assert_eq!(text(filler(), &[1, 2, 3], 40, 1).0, first);
    assert_ne!(
        text(filler(), &[1, 2, 3], 40, 2).0,
        first,
        "another engine seed"
    );
    assert_ne!(text(filler(), &[1, 2, 4], 40, 1).0, first, "another prompt");
    let seeded = Generation {
        seed: Some(5),
        ..filler()
    };
    assert_ne!(text(seeded, &[1, 2, 3], 40, 1).0, first, "a request seed");
    let ending = |min_tokens| Generation {
        natural_tokens: Some(3),
        stop_token_ids: [9].into(),
        min_tokens,
        ..filler()
    };
    let (tokens, reason) = text(ending(0), &[1, 2, 3], 40, 1);
    assert_eq!(
        (&tokens[..3], tokens[3], tokens.len(), reason),
        (&first[..3], 9, 4, FinishReason::Stop)
    );
    assert_eq!(
        text(ending(10), &[1, 2, 3], 40, 1).0.len(),
        11,
        "min_tokens before the stop token"
    );
}
