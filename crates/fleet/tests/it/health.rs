//! Who may be picked.

use fleet::{End, Event, Failure, Fleet, Outcome};

use crate::support::*;

fn fail(fleet: &Fleet, failure: Failure, ms: u64) -> String {
    let pick = pick(fleet, &text("x", 100), at(ms));
    let name = name(fleet, pick.reservation.slot);
    let outcome = Outcome {
        end: End::FailedBeforeFirstByte(failure),
        usage: None,
    };
    fleet.finish(pick.reservation, outcome, at(ms));
    name
}

fn health(fleet: &Fleet, name: &str) -> String {
    fleet
        .view()
        .by_name(name)
        .expect("the endpoint is there")
        .health
        .name()
        .to_owned()
}

#[test]
fn a_refused_connection_takes_the_endpoint_out_until_a_probe_succeeds() {
    let fleet = ready_fleet(&["a:1", "b:1"]);
    let gone = fail(&fleet, Failure::ConnectRefused, 0);
    assert_eq!(health(&fleet, &gone), "unready");
    let others = (0..4).map(|i| send(&fleet, &text(&format!("{i}"), 100), at(1 + i)));
    assert!(others.into_iter().all(|name| name != gone));
    fleet.apply(
        Event::Probe {
            slot: slot(&fleet, &gone),
            result: Ok(()),
        },
        at(100),
    );
    assert_eq!(health(&fleet, &gone), "ready");
}

#[test]
fn a_refused_connection_means_that_the_cache_is_gone() {
    let fleet = ready_fleet(&["a:1"]);
    let prompt = text("long", 1_000);
    send(&fleet, &prompt, at(0));
    fail(&fleet, Failure::ConnectRefused, 100);
    fleet.apply(
        Event::Probe {
            slot: slot(&fleet, "a:1"),
            result: Ok(()),
        },
        at(200),
    );
    let pick = pick(&fleet, &prompt, at(300));
    assert_eq!(pick.reservation.predicted_cached_tokens, 0);
    complete(&fleet, pick, None, at(400));
}

#[test]
fn failures_in_a_row_eject_for_a_while_and_longer_each_time() {
    let fleet = ready_fleet(&["a:1", "b:1"]);
    let slot = slot(&fleet, "a:1");
    // Three failures at first; after its time is up one more is enough, until a request goes through.
    for (round, failures, length_ms) in [(0u64, 3, 1_000), (1, 1, 2_000), (2, 1, 4_000)] {
        let start = round * 100_000;
        for _ in 0..failures {
            let request = fleet::Request {
                model: MODEL,
                ..fleet::Request::default()
            };
            let reservation = fleet.reserve(&request, slot, at(start)).expect("ready");
            let outcome = Outcome {
                end: End::FailedBeforeFirstByte(Failure::Status(500)),
                usage: None,
            };
            fleet.finish(reservation, outcome, at(start));
        }
        assert_eq!(health(&fleet, "a:1"), "ejected");
        fleet.apply(
            Event::Probe {
                slot,
                result: Ok(()),
            },
            at(start + 1),
        );
        assert_eq!(
            health(&fleet, "a:1"),
            "ejected",
            "a probe does not excuse failed requests"
        );
        fleet.tick(at(start + length_ms - 1));
        assert_eq!(health(&fleet, "a:1"), "ejected");
        fleet.tick(at(start + length_ms));
        assert_eq!(health(&fleet, "a:1"), "ready");
    }
}

#[test]
fn the_last_ready_endpoint_is_not_ejected() {
    let fleet = ready_fleet(&["a:1"]);
    for i in 0..10 {
        fail(&fleet, Failure::Status(500), i);
    }
    assert_eq!(health(&fleet, "a:1"), "ready");
}

#[test]
fn a_client_that_leaves_says_nothing_about_the_engine() {
    let fleet = ready_fleet(&["a:1", "b:1"]);
    for i in 0..20 {
        let pick = pick(&fleet, &text("x", 100), at(i));
        fleet.finish(
            pick.reservation,
            Outcome {
                end: End::ClientGone,
                usage: None,
            },
            at(i),
        );
    }
    assert_eq!(
        [health(&fleet, "a:1"), health(&fleet, "b:1")],
        ["ready", "ready"]
    );
}

#[test]
fn one_lost_probe_is_not_enough() {
    let fleet = ready_fleet(&["a:1"]);
    let slot = slot(&fleet, "a:1");
    let lost = || Event::Probe {
        slot,
        result: Err("timed out".to_owned()),
    };
    fleet.apply(lost(), at(0));
    assert_eq!(health(&fleet, "a:1"), "ready");
    fleet.apply(lost(), at(1));
    assert_eq!(health(&fleet, "a:1"), "unready");
}
