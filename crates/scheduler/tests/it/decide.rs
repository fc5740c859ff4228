//! Decisions of the default profile.

use scheduler::Profile;

use crate::bench_rows::{ask, idle, rng};

fn totals(candidates: &scheduler::Candidates) -> Vec<f32> {
    let mut ask = ask();
    ask.explain = true;
    let decision = Profile::default_profile()
        .run(&ask, candidates, &mut rng(1))
        .unwrap();
    decision
        .reasons
        .iter()
        .map(|r| (r.total * 100.0).round() / 100.0)
        .collect()
}

#[test]
fn raw_state_of_the_documented_example_gives_its_totals() {
    let mut candidates = idle(3);
    candidates.queue_requests = vec![2.0, 0.0, 1.0];
    candidates.kv_usage = vec![0.4, 0.2, 0.5];
    candidates.matched_blocks = vec![9.0, 1.0, 0.0];
    candidates.matched_tokens = vec![900.0, 100.0, 0.0];
    assert_eq!(totals(&candidates), [3.3, 2.1, 1.0]);
}

#[test]
fn equal_endpoints_take_turns() {
    let profile = Profile::default_profile();
    let mut rng = rng(7);
    let mut candidates = idle(2);
    let mut taken = [0, 0];
    for turn in 1..=8 {
        let winner = profile
            .run(&ask(), &candidates, &mut rng)
            .unwrap()
            .preferences[0]
            .index();
        candidates.last_pick[winner] = turn;
        taken[winner] += 1;
    }
    assert_eq!(taken, [4, 4]);
}
