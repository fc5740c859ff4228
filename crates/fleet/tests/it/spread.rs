//! Where requests go.

use std::collections::BTreeMap;
use std::sync::Barrier;

use crate::support::*;

fn counts(names: impl IntoIterator<Item = String>) -> Vec<usize> {
    let mut by_name = BTreeMap::<String, usize>::new();
    for name in names {
        *by_name.entry(name).or_default() += 1;
    }
    by_name.into_values().collect()
}

#[test]
fn distinct_prompts_in_sequence_spread_evenly() {
    let fleet = ready_fleet(&["a:1", "b:1"]);
    let seen = (0..8).map(|i| send(&fleet, &text(&format!("prompt {i}"), 500), at(100 * i)));
    assert_eq!(counts(seen), [4, 4]);
}

#[test]
fn distinct_prompts_at_once_spread_evenly() {
    let fleet = ready_fleet(&["a:1", "b:1", "c:1"]);
    let picks: Vec<_> = (0..30)
        .map(|i| pick(&fleet, &text(&format!("prompt {i}"), 500), at(0)))
        .collect();
    assert_eq!(
        counts(picks.iter().map(|pick| name(&fleet, pick.reservation.slot))),
        [10, 10, 10]
    );
    for pick in picks {
        complete(&fleet, pick, None, at(10));
    }
}

#[test]
fn equal_prefixes_stick() {
    let fleet = ready_fleet(&["a:1", "b:1", "c:1"]);
    let prefix = text("system", 2_000);
    let seen: Vec<_> = (0..10)
        .map(|i| send(&fleet, &format!("{prefix} question {i}"), at(1_000 * i)))
        .collect();
    assert!(seen.iter().all(|name| *name == seen[0]), "{seen:?}");
}

#[test]
fn half_shared_prompts_at_once_reach_every_endpoint() {
    let fleet = ready_fleet(&["a:1", "b:1", "c:1"]);
    let prefix = text("system", 500);
    let prompt = |i: usize| format!("{prefix}{}", text(&format!("question {i}"), 500));
    let picks: Vec<_> = (0..30).map(|i| pick(&fleet, &prompt(i), at(0))).collect();
    let seen = counts(picks.iter().map(|pick| name(&fleet, pick.reservation.slot)));
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.iter().max() <= Some(&15), "{seen:?}");
    for pick in picks {
        complete(&fleet, pick, None, at(10));
    }
}

#[test]
fn a_hot_prefix_spills_and_then_lives_on_both() {
    let fleet = ready_fleet(&["a:1", "b:1"]);
    let prefix = text("hot", 1_000);
    let prompt = |i: usize| format!("{prefix}{}", text(&format!("question {i}"), 400));
    let first = send(&fleet, &prompt(0), at(0));
    let burst: Vec<_> = (1..9)
        .map(|i| pick(&fleet, &prompt(i), at(1_000)))
        .collect();
    let seen: Vec<_> = burst
        .iter()
        .map(|pick| name(&fleet, pick.reservation.slot))
        .collect();
    assert_eq!(seen[0], first);
    assert_eq!(counts(seen.iter().cloned()).len(), 2, "{seen:?}");
    for pick in burst {
        complete(&fleet, pick, None, at(1_100));
    }
    let again: Vec<_> = (20..28)
        .map(|i| pick(&fleet, &prompt(i), at(5_000)))
        .collect();
    let cached = again
        .iter()
        .map(|pick| pick.reservation.predicted_cached_tokens)
        .min();
    assert!(cached >= Some(900), "the prefix lives on both: {cached:?}");
    for pick in again {
        complete(&fleet, pick, None, at(5_100));
    }
}

/// Load is reserved in the pick itself: many threads never see the same gap.
#[test]
fn threads_on_two_slots_spread_by_at_most_one() {
    const THREADS: usize = 16;
    let fleet = ready_fleet(&["a:1", "b:1"]);
    let barrier = Barrier::new(THREADS);
    let picks: Vec<_> = std::thread::scope(|scope| {
        let spawn = |i: usize| {
            let (fleet, barrier) = (&fleet, &barrier);
            scope.spawn(move || {
                let prompt = text(&format!("thread {i}"), 300);
                barrier.wait();
                pick(fleet, &prompt, at(0))
            })
        };
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let seen = counts(picks.iter().map(|pick| name(&fleet, pick.reservation.slot)));
    assert_eq!(seen, [THREADS / 2, THREADS / 2]);
    for pick in picks {
        complete(&fleet, pick, None, at(10));
    }
}
