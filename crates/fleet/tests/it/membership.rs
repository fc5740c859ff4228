//! Who is there, and for which model.

use std::sync::Arc;

use fleet::{Change, Event, Fleet, FleetConfig, Request};
use scheduler::{NoEndpoint, Profile};

use crate::support::*;

fn pick_error(fleet: &Fleet, model: &str) -> NoEndpoint {
    let request = Request {
        model,
        ..Request::default()
    };
    fleet
        .pick(&request, at(0), &mut rng())
        .map(|pick| pick.reservation.slot)
        .expect_err("no endpoint")
}

#[test]
fn nobody_is_picked_before_a_probe_and_a_model_list() {
    let fleet = Fleet::new(FleetConfig::default(), Profile::default_profile());
    fleet.apply(resync(&["a:1"]), at(0));
    assert_eq!(
        pick_error(&fleet, MODEL),
        NoEndpoint::NoneReady {
            pool: "default".to_owned()
        }
    );
    let slot = slot(&fleet, "a:1");
    fleet.apply(
        Event::Probe {
            slot,
            result: Ok(()),
        },
        at(1),
    );
    assert_eq!(
        pick_error(&fleet, MODEL),
        NoEndpoint::NoneReady {
            pool: "default".to_owned()
        }
    );
    fleet.apply(Event::Models { slot, cards: None }, at(1));
    assert_eq!(send(&fleet, "hello", at(2)), "a:1");
}

#[test]
fn a_model_that_only_some_serve_is_routed_only_there() {
    let fleet = ready_fleet(&["a:1", "b:1", "c:1"]);
    fleet.apply(
        Event::Models {
            slot: slot(&fleet, "b:1"),
            cards: Some(vec![card(MODEL), card("adapter")]),
        },
        at(0),
    );
    for i in 0..6 {
        let request = Request {
            model: "adapter",
            ..Request::default()
        };
        let picked = fleet
            .pick(&request, at(i), &mut rng())
            .expect("b serves it");
        assert_eq!(name(&fleet, picked.reservation.slot), "b:1");
        complete(&fleet, picked, None, at(i));
    }
    let unknown = NoEndpoint::NoneServesModel {
        pool: "default".to_owned(),
        model: "other".to_owned(),
    };
    assert_eq!(pick_error(&fleet, "other"), unknown);
}

#[test]
fn a_resync_removes_only_what_its_source_had() {
    let fleet = ready_fleet(&["a:1", "b:1"]);
    let dns = Change::Upsert {
        source: Arc::from("dns"),
        endpoint: spec("c:1"),
    };
    fleet.apply(Event::Change(dns), at(1));
    fleet.apply(resync(&["b:1"]), at(2));
    let names: Vec<_> = fleet
        .view()
        .endpoints
        .iter()
        .map(|endpoint| endpoint.spec.name.to_string())
        .collect();
    assert_eq!(names, ["b:1", "c:1"]);
}

#[test]
fn an_endpoint_stays_while_any_source_lists_it() {
    let fleet = ready_fleet(&["a:1", "b:1"]);
    let before = slot(&fleet, "a:1");
    let dns = |endpoints: &[&str]| {
        Event::Change(Change::Resync {
            source: Arc::from("dns"),
            endpoints: endpoints.iter().map(|name| spec(name)).collect(),
        })
    };
    let check = |event: Event, expected: &[&str]| {
        fleet.apply(event, at(1));
        let view = fleet.view();
        let names: Vec<&str> = view
            .endpoints
            .iter()
            .map(|endpoint| &*endpoint.spec.name)
            .collect();
        assert_eq!(names, expected);
    };
    check(dns(&["a:1", "c:1"]), &["a:1", "b:1", "c:1"]);
    check(dns(&["c:1"]), &["a:1", "b:1", "c:1"]);
    check(dns(&["a:1"]), &["a:1", "b:1"]);
    check(resync(&["b:1"]), &["a:1", "b:1"]);
    assert_eq!(slot(&fleet, "a:1"), before, "never left, so the same slot");
    check(dns(&[]), &["b:1"]);
}

#[test]
fn a_slot_used_again_is_another_slot() {
    let fleet = ready_fleet(&["a:1"]);
    let old = slot(&fleet, "a:1");
    send(&fleet, &text("x", 1_000), at(0));
    fleet.apply(resync(&[]), at(1));
    fleet.apply(resync(&["b:1"]), at(2));
    make_ready(&fleet, "b:1");
    let new = slot(&fleet, "b:1");
    assert_eq!((old.index(), old == new), (new.index(), false));
    assert!(fleet.view().get(old).is_none());
    let pick = pick(&fleet, &text("x", 1_000), at(3));
    assert_eq!(pick.reservation.predicted_cached_tokens, 0);
    complete(&fleet, pick, None, at(4));
}

#[test]
fn a_draining_endpoint_gets_nothing_new() {
    let fleet = ready_fleet(&["a:1", "b:1"]);
    let drain = |draining| {
        Event::Change(Change::Drain {
            name: Arc::from("a:1"),
            draining,
        })
    };
    fleet.apply(drain(true), at(0));
    assert!((0..4).all(|i| send(&fleet, &text(&i.to_string(), 100), at(i)) == "b:1"));
    fleet.apply(drain(false), at(10));
    assert!((0..4).any(|i| send(&fleet, &text(&format!("y{i}"), 100), at(20 + i)) == "a:1"));
}

#[test]
fn tried_endpoints_are_not_picked_again() {
    let fleet = ready_fleet(&["a:1", "b:1"]);
    let tried = [slot(&fleet, "a:1")];
    let request = Request {
        model: MODEL,
        exclude: &tried,
        ..Request::default()
    };
    let picked = fleet.pick(&request, at(0), &mut rng()).expect("b is left");
    assert_eq!(name(&fleet, picked.reservation.slot), "b:1");
    complete(&fleet, picked, None, at(1));
    let tried = [slot(&fleet, "a:1"), slot(&fleet, "b:1")];
    let request = Request {
        model: MODEL,
        exclude: &tried,
        ..Request::default()
    };
    assert_eq!(
        fleet
            .pick(&request, at(2), &mut rng())
            .expect_err("none left"),
        NoEndpoint::Exhausted
    );
}
