//! Whose word matches rest on: the engine's events, or our own routing history.

use std::time::Duration;

use engine_api::usage::Usage;
use fleet::{End, Event, Failure, Fleet, KvMode, Outcome, Request};
use kv_index::Slot;
use kv_index::exact::{
    Applied, BatchOutcome, EngineHash, KvBatch, KvBlockEvent, Tier, TokenChain, TokenPrompt,
};

use crate::support::*;

const TOKENS: u32 = 321;

fn prompt() -> Vec<u32> {
    (0..TOKENS).collect()
}

/// The engine at `slot` says that it stored the first `blocks` blocks of the prompt.
fn stored(fleet: &Fleet, slot: Slot, blocks: usize, tier: Tier, now: Duration) -> Applied {
    let names: Vec<_> = (0..blocks as u64).map(EngineHash).collect();
    let event = KvBlockEvent::Stored {
        block_hashes: &names,
        parent: None,
        token_ids: &prompt()[..blocks * 16],
        block_size_tokens: 16,
        lora: None,
        extra_keys: &[],
        tier,
    };
    let batch = KvBatch {
        sequence: None,
        replay: false,
        events: &[event],
        age: Some(at(4)),
    };
    fleet.apply_kv(slot, &batch, now)
}

fn set_mode(fleet: &Fleet, slot: Slot, mode: KvMode) {
    fleet.apply(Event::KvMode { slot, mode }, at(1));
}

fn tokenized(fleet: &Fleet) -> [TokenChain; 1] {
    [fleet.exact().chain(&TokenPrompt {
        token_ids: &prompt(),
        ..TokenPrompt::default()
    })]
}

/// Predicted cached tokens at each endpoint by name, nothing reserved.
fn predicted(fleet: &Fleet, names: &[&str]) -> Vec<u32> {
    let (chains, token_chains) = ([chain(&text("p", 321))], tokenized(fleet));
    let one = |name: &&str| {
        let others: Vec<_> = names.iter().filter(|other| *other != name).collect();
        let exclude: Vec<_> = others.iter().map(|other| slot(fleet, other)).collect();
        let request = Request {
            model: MODEL,
            chains: &chains,
            token_chains: &token_chains,
            exclude: &exclude,
            ..Request::default()
        };
        let explained = fleet
            .explain(&request, at(100), &mut rng())
            .expect("in range");
        assert_eq!(
            (explained.prompt_tokens, explained.tokenized),
            (TOKENS, true)
        );
        let mode = fleet.kv_mode(slot(fleet, name)).expect("is there");
        assert_eq!(explained.kv_modes, [(slot(fleet, name), mode)]);
        explained.predicted_cached_tokens
    };
    names.iter().map(one).collect()
}

#[test]
fn each_endpoint_is_matched_by_its_own_mode() {
    let names = ["a:1", "b:1", "c:1"];
    let fleet = ready_fleet(&names);
    let [a, b, _] = names.map(|name| slot(&fleet, name));
    // Routing history says that whoever took the prompt holds all of it.
    let taken = send(&fleet, &text("p", 321), at(0));
    set_mode(&fleet, a, KvMode::Exact);
    set_mode(&fleet, b, KvMode::Exact);
    stored(&fleet, a, 5, Tier::Gpu, at(10));
    stored(&fleet, b, 20, Tier::Gpu, at(10));
    let by_history = |name: &str| if taken == name { 320 } else { 0 };
    assert_eq!(predicted(&fleet, &names), [80, 320, by_history("c:1")]);
    // Exact matching is given up for the one that cannot be relied on, and for no other.
    set_mode(
        &fleet,
        b,
        KvMode::stale("gap", "messages 7 to 9 are missing"),
    );
    assert_eq!(
        predicted(&fleet, &names),
        [80, by_history("b:1"), by_history("c:1")]
    );
    // What it told before is kept for its return, unless it is dropped.
    set_mode(&fleet, b, KvMode::Exact);
    assert_eq!(predicted(&fleet, &names)[..2], [80, 320]);
    fleet.clear_kv(b);
    assert_eq!(predicted(&fleet, &names)[..2], [80, 0]);
}

#[test]
fn without_tokens_history_stands_in() {
    let fleet = ready_fleet(&["a:1"]);
    let a = slot(&fleet, "a:1");
    set_mode(&fleet, a, KvMode::Exact);
    send(&fleet, &text("p", 321), at(0));
    let chains = [chain(&text("p", 321))];
    let request = Request {
        model: MODEL,
        chains: &chains,
        ..Request::default()
    };
    let explained = fleet.explain(&request, at(10), &mut rng()).unwrap();
    assert_eq!(
        (explained.predicted_cached_tokens, explained.tokenized),
        (320, false)
    );
}

#[test]
fn the_next_prompt_sees_what_was_just_sent() {
    let fleet = ready_fleet(&["a:1"]);
    let a = slot(&fleet, "a:1");
    set_mode(&fleet, a, KvMode::Exact);
    let token_chains = tokenized(&fleet);
    let request = Request {
        model: MODEL,
        token_chains: &token_chains,
        stream: true,
        ..Request::default()
    };
    let mut first = fleet.pick(&request, at(0), &mut rng()).unwrap();
    assert!(first.reservation.exact);
    assert_eq!(first.reservation.predicted_cached_tokens, 0);
    let second = fleet.pick(&request, at(1), &mut rng()).unwrap();
    assert_eq!(second.reservation.predicted_cached_tokens, 320);
    let refused = Outcome {
        end: End::FailedBeforeFirstByte(Failure::Protocol),
        usage: None,
    };
    fleet.finish(second.reservation, refused, at(2));
    assert_eq!(
        predicted(&fleet, &["a:1"]),
        [320],
        "the first is still on its way"
    );
    // Its events never come: some time after its first byte it is believed in no more.
    fleet.first_byte(&mut first.reservation, at(10));
    fleet.tick(at(1_900));
    assert_eq!(predicted(&fleet, &["a:1"]), [320]);
    fleet.tick(at(2_100));
    assert_eq!(predicted(&fleet, &["a:1"]), [0]);
    let done = Outcome {
        end: End::Complete { status: 200 },
        usage: Some(Usage {
            prompt_tokens: 321,
            completion_tokens: 1,
            cached_tokens: Some(0),
        }),
    };
    fleet.finish(first.reservation, done, at(2_200));
    let report = fleet.report(at(2_200));
    let prediction = &report.endpoints[0].prediction;
    assert_eq!(
        (prediction.exact_requests, prediction.exact_equal_requests),
        (1, 1)
    );
}

#[test]
fn the_report_says_what_the_events_came_to() {
    let fleet = ready_fleet(&["a:1"]);
    let a = slot(&fleet, "a:1");
    assert_eq!(fleet.report(at(0)).endpoints[0].kv.mode, "approximate");
    set_mode(&fleet, a, KvMode::Exact);
    stored(&fleet, a, 5, Tier::Gpu, at(10));
    stored(&fleet, a, 7, Tier::Cpu, at(12));
    let report = fleet.report(at(30));
    let kv = &report.endpoints[0].kv;
    assert_eq!(
        (kv.mode.as_str(), kv.gpu_blocks, kv.cpu_blocks),
        ("exact", 5, 7)
    );
    assert_eq!(
        (kv.last_event_age_ms, kv.lag_ms, kv.batches),
        (Some(18), Some(4.0), 2)
    );
    assert_eq!(
        (report.exact_held_blocks, report.exact_distinct_blocks),
        (12, 7)
    );
    // From the host's memory it is a hit too.
    assert_eq!(predicted(&fleet, &["a:1"]), [112]);
    set_mode(&fleet, a, KvMode::stale("silent", "no event in 5 s"));
    let kv = &fleet.report(at(40)).endpoints[0].kv;
    assert_eq!(
        (kv.mode.as_str(), kv.reason.as_deref()),
        ("stale", Some("no event in 5 s"))
    );
    assert_eq!(kv.gpu_blocks, 5);
    set_mode(&fleet, a, KvMode::Approximate);
    assert_eq!(fleet.report(at(50)).endpoints[0].kv.gpu_blocks, 0);
}

#[test]
fn a_new_process_and_a_new_endpoint_hold_nothing() {
    let fleet = ready_fleet(&["a:1"]);
    let a = slot(&fleet, "a:1");
    set_mode(&fleet, a, KvMode::Exact);
    stored(&fleet, a, 20, Tier::Gpu, at(10));
    assert_eq!(predicted(&fleet, &["a:1"]), [320]);
    fleet.apply(Event::Restarted { slot: a }, at(60_000));
    assert_eq!(predicted(&fleet, &["a:1"]), [0]);
    stored(&fleet, a, 20, Tier::Gpu, at(61_000));
    fleet.apply(resync(&[]), at(61_500));
    assert_eq!(
        stored(&fleet, a, 20, Tier::Gpu, at(62_000)).outcome,
        BatchOutcome::NoSlot
    );
    assert_eq!(fleet.report(at(63_000)).exact_held_blocks, 0);
}
