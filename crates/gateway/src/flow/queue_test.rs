//! Does a queue hold what it was given, in the order it promises?

use proptest::prelude::*;
use scheduler::{Band, Detector, Order};

use super::*;

fn settings(fairness: Fairness) -> FlowSettings {
    let band = |priority| Band {
        priority,
        max_requests: 4,
        max_bytes: 100,
        fairness,
        order: Order::Arrival,
    };
    FlowSettings {
        max_requests: Some(6),
        max_bytes: None,
        request_ttl: Duration::from_secs(1),
        no_endpoint_ttl: Duration::from_secs(1),
        bands: Vec::new(),
        default_band: band(0),
        negative_band: band(-1),
        ceiling: 1.0,
        detector: Detector::default(),
    }
}

/// Enters `(priority, flow, at)` in turn, ids from 0, and takes all out.
fn check(fairness: Fairness, entered: &[(i32, &str, u64)], expected: &[u64]) {
    let mut queue = Queue::default();
    for (id, (priority, flow, at)) in entered.iter().enumerate() {
        let key = Key {
            at: Duration::from_secs(*at),
            id: id as u64,
        };
        assert!(queue.push(&settings(fairness), *priority, flow, key, 1, ()));
    }
    let out: Vec<u64> = std::iter::from_fn(|| queue.pop())
        .map(|(id, ())| id)
        .collect();
    assert_eq!(out, expected, "{fairness:?} {entered:?}");
    assert!(queue.is_empty() && queue.bands.is_empty() && queue.places.is_empty());
}

#[test]
fn priority_then_turns_then_keys() {
    let mixed = [(0, "a", 0), (5, "a", 0), (-1, "b", 0), (5, "b", 0)];
    check(Fairness::GlobalStrict, &mixed, &[1, 3, 0, 2]);
    let greedy = [(0, "a", 0), (0, "a", 0), (0, "a", 0), (0, "b", 0)];
    check(Fairness::GlobalStrict, &greedy, &[0, 1, 2, 3]);
    check(Fairness::RoundRobin, &greedy, &[0, 3, 1, 2]);
    let late = [(0, "a", 9), (0, "a", 3), (0, "a", 6)];
    check(Fairness::GlobalStrict, &late, &[1, 2, 0]);
}

#[test]
fn limits_are_of_a_band_and_of_all() {
    let settings = settings(Fairness::GlobalStrict);
    let mut queue = Queue::default();
    let mut id = 0;
    let mut push = |queue: &mut Queue<()>, priority, bytes| {
        id += 1;
        let at = Duration::ZERO;
        queue.push(&settings, priority, "", Key { at, id }, bytes, ())
    };
    for _ in 0..4 {
        assert!(push(&mut queue, 0, 10));
    }
    assert!(!push(&mut queue, 0, 10), "four of a band");
    assert!(!push(&mut queue, 1, 101), "bytes of a band");
    assert!(push(&mut queue, 1, 100));
    assert!(push(&mut queue, 2, 10));
    assert!(!push(&mut queue, 3, 10), "six of all");
    queue.pop();
    assert!(push(&mut queue, 3, 10));
}

proptest! {
    /// Whatever comes, goes and leaves: every one comes out once or was taken out, and the counts are right.
    #[test]
    fn nothing_is_lost_or_doubled(steps in prop::collection::vec((0..4_u8, -1..2_i32, 0..3_u8), 1..60)) {
        let settings = FlowSettings { max_requests: None, ..settings(Fairness::RoundRobin) };
        let (mut queue, mut model, mut next) = (Queue::default(), Vec::new(), 0_u64);
        for (what, priority, flow) in steps {
            match what {
                0 | 1 => {
                    let key = Key { at: Duration::ZERO, id: next };
                    let of_band = model.iter().filter(|(_, p)| *p == priority).count();
                    let entered = queue.push(&settings, priority, ["a", "b", "c"][usize::from(flow)], key, 1, next);
                    prop_assert_eq!(entered, of_band < 4);
                    if entered { model.push((next, priority)); }
                    next += 1;
                }
                2 => match queue.pop() {
                    None => prop_assert!(model.is_empty()),
                    Some((id, value)) => {
                        prop_assert_eq!(id, value);
                        let at = model.iter().position(|(known, _)| *known == id).expect("it waits");
                        let (_, priority) = model.remove(at);
                        prop_assert!(model.iter().all(|(_, other)| *other <= priority));
                    }
                },
                _ => {
                    let id = u64::from(flow) * next / 3;
                    queue.remove(id);
                    model.retain(|(known, _)| *known != id);
                }
            }
            prop_assert_eq!(queue.held.requests, model.len() as u64);
            let told: u64 = queue.held().values().map(|held| held.requests).sum();
            prop_assert_eq!(told, model.len() as u64);
        }
    }
}
