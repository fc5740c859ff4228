use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Line, NAME, World, deployment, service};

async fn second_of_two() -> (World, std::sync::Arc<Line>, std::sync::Arc<Line>) {
    let world = World::furnished().await;
    let first = world.controller("first");
    while world.leader() != "first" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let second = world.controller("second");
    world.apply(NAME, |_| ());
    world.until(&deployment(NAME), Value::is_object).await;
    (world, first, second)
}

async fn led_by(world: &World, identity: &str) -> Duration {
    let start = tokio::time::Instant::now();
    while world.leader() != identity {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "{identity} never led"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    start.elapsed()
}

/// Nobody wrote but the one who held the lease at that moment.
fn only_the_holder_wrote(lines: &[&Line]) {
    for line in lines {
        for write in line.take_writes() {
            let who = write.what.split(' ').next().unwrap().to_owned();
            assert_eq!(who, write.holder, "{}", write.what);
        }
    }
}

async fn replicas(world: &World, wanted: u64) {
    let patch = json!({"spec": {"replicas": wanted}});
    world.api().merge(&service(NAME), &patch).unwrap();
    world
        .until(&deployment(NAME), |found| {
            found["spec"]["replicas"] == wanted
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_ends_gives_the_lease_back() {
    let (world, first, second) = second_of_two().await;
    first.stop.cancel();
    assert!(led_by(&world, "second").await < Duration::from_secs(5));
    replicas(&world, 4).await;
    only_the_holder_wrote(&[&first, &second]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_is_followed_and_does_not_write_when_it_is_back() {
    let (world, first, second) = second_of_two().await;
    first.cut.store(true, Relaxed);
    let after = led_by(&world, "second").await;
    assert!((10..25).contains(&after.as_secs()), "{after:?}");
    replicas(&world, 5).await;
    first.cut.store(false, Relaxed);
    replicas(&world, 2).await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    only_the_holder_wrote(&[&first, &second]);
}

/// Answers that come late do not make a renewal look younger than it is.
#[tokio::test(start_paused = true)]
async fn slow_answers_make_no_second_writer() {
    for slow_ms in [1_000, 3_000, 4_900, 6_000, 9_000] {
        let (world, first, second) = second_of_two().await;
        *first.slow.lock() = Duration::from_millis(slow_ms);
        for round in 0..20 {
            let patch = json!({"spec": {"replicas": round}});
            world.api().merge(&service(NAME), &patch).unwrap();
            tokio::time::sleep(Duration::from_millis(3_700)).await;
        }
        only_the_holder_wrote(&[&first, &second]);
        world.stop.cancel();
    }
}

/// Somebody takes the lease by hand: the one who had it stops within its next renewal.
#[tokio::test(start_paused = true)]
async fn a_lease_taken_away_ends_the_term() {
    let (world, first, second) = second_of_two().await;
    world.give_lease_to("someone");
    let taken = tokio::time::Instant::now();
    for round in 0..5 {
        let patch = json!({"spec": {"replicas": 10 + round}});
        world.api().merge(&service(NAME), &patch).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let late: Vec<_> = first
        .take_writes()
        .into_iter()
        .filter(|write| write.at > taken + Duration::from_millis(2_500))
        .collect();
    assert!(late.is_empty(), "{late:?}");
    assert!(second.take_writes().is_empty());
    // Whoever it was does not renew: one of the two leads again.
    world
        .until(&deployment(NAME), |found| found["spec"]["replicas"] == 14)
        .await;
    assert_ne!(world.leader(), "someone");
}
