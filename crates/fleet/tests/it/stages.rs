//! What becomes of load, prefix and learning when a request's stages run at different endpoints?

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use engine_api::metrics::EngineMetrics;
use fleet::{Change, EndpointSpec, Event, Fleet, FleetConfig, Part, Pick, Request};
use scheduler::{Detector, Document, SchedulingConfig, StageKind, compile};

use crate::support::{
    MODEL, at, cache, chain, complete, make_ready, name, pick, rng, scrape, slot, spec, text,
};

const DOCUMENT: &str = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: prefill-filter}
- {type: decode-filter}
- {type: prefix-cache-scorer}
- {type: active-request-scorer}
- {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 256}}
- {type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}
schedulingProfiles:
- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: prefix-cache-scorer}]}
- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: prefix-cache-scorer}, {pluginRef: active-request-scorer}]}
";

/// `p…` prefill, `d…` decode, everything else does both.
fn staged(names: &[&str]) -> Fleet {
    let document = Document::parse(DOCUMENT).expect("a document");
    let compiled = compile(&SchedulingConfig::document(document), 7).expect("it compiles");
    let config = FleetConfig {
        wiring: compiled.wiring,
        ..FleetConfig::default()
    };
    let fleet = Fleet::new(config, compiled.profile);
    let endpoints = names.iter().map(|name| {
        let role = match name.as_bytes()[0] {
            b'p' => "prefill",
            b'd' => "decode",
            _ => "both",
        };
        EndpointSpec {
            labels: [("llm-d.ai/role".to_owned(), role.to_owned())].into(),
            ..spec(name)
        }
    });
    let change = Change::Resync {
        source: Arc::from("static"),
        endpoints: endpoints.collect(),
    };
    fleet.apply(Event::Change(change), at(0));
    for name in names {
        make_ready(&fleet, name);
    }
    fleet
}

fn active(fleet: &Fleet, name: &str) -> (u64, u64) {
    let report = fleet.report(at(0));
    let found = report.endpoints.iter().find(|e| e.name == name);
    let found = found.expect("the endpoint is there");
    (found.active_requests, found.active_tokens)
}

fn places(fleet: &Fleet, pick: &Pick) -> (String, Vec<String>) {
    let beside = pick.beside.iter().map(|it| name(fleet, it.slot));
    (name(fleet, pick.reservation.slot), beside.collect())
}

#[test]
fn load_is_where_the_work_is_and_ends_when_it_does() {
    let fleet = staged(&["p1", "d1"]);
    let mut picked = pick(&fleet, &text("a", 1000), at(0));
    assert_eq!(places(&fleet, &picked), ("d1".into(), vec!["p1".into()]));
    assert_eq!(picked.reservation.part, Part::Decode);
    assert_eq!(picked.beside[0].part, Part::Stage(StageKind::Prefill));
    assert_eq!(active(&fleet, "p1"), (1, 1000));
    assert_eq!(active(&fleet, "d1"), (1, 0));
    // The first byte: the prefill is over, the answer is not.
    for stage in std::mem::take(&mut picked.beside) {
        fleet.finish_stage(stage, true, at(100));
    }
    assert_eq!(active(&fleet, "p1"), (0, 0));
    assert_eq!(active(&fleet, "d1"), (1, 0));
    complete(&fleet, picked, None, at(200));
    assert_eq!(active(&fleet, "d1"), (0, 0));
    while fleet.write_index(64) > 0 {}
    // Both hold the prompt now: it is not split again, and each is known to hold it.
    let again = pick(&fleet, &text("a", 1000), at(300));
    assert_eq!(places(&fleet, &again), ("d1".into(), vec![]));
    assert_eq!(again.reservation.part, Part::Whole);
    assert!(
        again.decision.beside[0]
            .words
            .contains("are not cached, less than 256")
    );
    assert!(again.reservation.predicted_cached_tokens > 900);
    let chains = [chain(&text("a", 1000))];
    let request = Request {
        model: MODEL,
        chains: &chains,
        ..Request::default()
    };
    let there = fleet
        .reserve(&request, slot(&fleet, "p1"), at(300))
        .unwrap();
    assert!(there.predicted_cached_tokens > 900);
}

#[test]
fn a_request_that_came_to_nothing_leaves_nothing() {
    let fleet = staged(&["p1", "p2", "d1"]);
    let mut picked = pick(&fleet, &text("b", 1000), at(0));
    for stage in std::mem::take(&mut picked.beside) {
        fleet.finish_stage(stage, false, at(10));
    }
    let gone = fleet::Outcome {
        end: fleet::End::ClientGone,
        usage: None,
    };
    fleet.finish(picked.reservation, gone, at(10));
    while fleet.write_index(64) > 0 {}
    for name in ["p1", "p2", "d1"] {
        assert_eq!(active(&fleet, name), (0, 0), "{name}");
    }
    let again = pick(&fleet, &text("b", 1000), at(20));
    assert_eq!(again.beside.len(), 1, "nobody holds it");
    let report = fleet.report(at(20));
    assert_eq!(report.endpoints.iter().map(|e| e.failures).sum::<u64>(), 0);
}

#[test]
fn one_endpoint_for_everything_is_not_asked_twice() {
    let fleet = staged(&["both"]);
    let picked = pick(&fleet, &text("c", 1000), at(0));
    assert_eq!(places(&fleet, &picked), ("both".into(), vec![]));
    assert_eq!(
        picked.decision.beside[0].words,
        "only the endpoint that decodes can prefill"
    );
    assert_eq!(active(&fleet, "both"), (1, 1000));
}

#[test]
fn explaining_reserves_nothing() {
    let fleet = staged(&["p1", "d1"]);
    let chains = [chain(&text("d", 1000))];
    let request = Request {
        model: MODEL,
        chains: &chains,
        ..Request::default()
    };
    let explained = fleet.explain(&request, at(0), &mut rng()).unwrap();
    let beside = &explained.decision.beside[0];
    assert_eq!(beside.slot, Some(slot(&fleet, "p1")));
    assert_eq!(beside.reasons.len(), 2, "of every candidate");
    assert_eq!((active(&fleet, "p1").0, active(&fleet, "d1").0), (0, 0));
}

#[test]
fn saturation_is_that_of_the_fuller_role() {
    let fleet = staged(&["p1", "d1", "d2"]);
    let detector = Detector::Concurrency {
        max_requests: Some(2.0),
        max_tokens: None,
        headroom: 0.0,
    };
    let seen = |fleet: &Fleet| fleet.saturation(&detector, at(0));
    assert_eq!(seen(&fleet), (0.0, 3));
    let _held = pick(&fleet, &text("e", 1000), at(0));
    // One of two at the only one that prefills, one of four at the two that decode.
    assert_eq!(seen(&fleet), (0.5, 3));
    assert_eq!(seen(&staged(&[])), (1.0, 0));
}

#[test]
fn figures_that_are_old_or_full_saturate() {
    let fleet = staged(&["d1"]);
    let slot = slot(&fleet, "d1");
    let detector = Detector::default();
    let seen = |now| fleet.saturation(&detector, at(now)).0;
    let waiting = |waiting, now| {
        let metrics = EngineMetrics {
            waiting: Some(waiting),
            running: Some(3),
            ..cache()
        };
        scrape(&fleet, slot, metrics, at(now));
    };
    waiting(5, 10);
    assert_eq!(seen(10), 1.0);
    waiting(0, 20);
    assert_eq!(seen(20), 0.0);
    assert_eq!(seen(60_000), 0.0, "nothing of ours is there");
    let held = pick(&fleet, &text("f", 100), at(30));
    assert!(seen(40) < 1.0);
    assert_eq!(seen(60_000), 1.0, "old figures of an endpoint with work");
    complete(&fleet, held, None, at(60_000));
}

#[test]
fn relief_is_told() {
    let fleet = staged(&["d1"]);
    let told = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&told);
    fleet.on_relief(Box::new(move || {
        count.fetch_add(1, Relaxed);
    }));
    let seen = || told.swap(0, Relaxed);
    let held = pick(&fleet, &text("g", 100), at(0));
    assert_eq!(seen(), 0);
    complete(&fleet, held, None, at(10));
    assert!(seen() > 0, "an end");
    scrape(&fleet, slot(&fleet, "d1"), cache(), at(20));
    assert_eq!(seen(), 1, "a scrape");
    let drain = Change::Drain {
        name: Arc::from("d1"),
        draining: true,
    };
    fleet.apply(Event::Change(drain), at(30));
    assert_eq!(seen(), 1, "a change");
}
