//! Is an endpoint in rotation when, and only when, it answers?

use fleet::Health;

use crate::support::{Engine, Page, Running, config, models, ok, start, wait_until};

fn reason(running: &Running, name: &str) -> String {
    let health = running.health(name);
    let reason = health.as_ref().and_then(Health::reason);
    reason.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_healthy_endpoint_becomes_ready_with_its_models() {
    let engine = Engine::start().await;
    engine.answer("/v1/models", models(&["base", "adapter"]));
    let running = start(&config(&[engine.url()])).await;
    assert_eq!(running.names(), [engine.address.to_string()]);
    wait_until("ready", || running.is_ready(&engine)).await;
    assert_eq!(running.models(), ["adapter", "base"]);
    running.stop().await;
}

#[tokio::test]
async fn only_a_200_is_healthy_and_the_reason_is_told() {
    for (page, expected) in [
        (Page::Answer(503, String::new()), "/health answered 503"),
        (Page::Answer(204, String::new()), "/health answered 204"),
        (Page::Silence, "no answer within 500 ms"),
    ] {
        let engine = Engine::start().await;
        engine.answer("/health", page);
        let running = start(&config(&[engine.url()])).await;
        let name = engine.address.to_string();
        wait_until(expected, || reason(&running, &name).contains(expected)).await;
        assert!(!running.is_ready(&engine));
        engine.answer("/health", ok(""));
        wait_until("ready", || running.is_ready(&engine)).await;
    }
}

#[tokio::test]
async fn a_killed_endpoint_leaves_and_comes_back_by_itself() {
    let engine = Engine::start().await;
    let running = start(&config(&[engine.url()])).await;
    wait_until("ready", || running.is_ready(&engine)).await;
    assert_eq!(running.models(), ["m"]);

    let address = engine.kill().await;
    let name = address.to_string();
    wait_until("refused", || {
        reason(&running, &name).contains("connection refused")
    })
    .await;

    let engine = Engine::start_at(address, None).await;
    engine.answer("/v1/models", models(&["other"]));
    wait_until("ready again", || running.is_ready(&engine)).await;
    // Its list is read before it can be picked.
    assert_eq!(running.models(), ["other"]);
}

#[tokio::test]
async fn an_endpoint_that_came_up_after_us_is_found() {
    let address = Engine::start().await.kill().await;
    let running = start(&config(&[format!("http://{address}")])).await;
    let name = address.to_string();
    wait_until("refused", || !reason(&running, &name).is_empty()).await;
    let engine = Engine::start_at(address, None).await;
    wait_until("ready", || running.is_ready(&engine)).await;
}

#[tokio::test]
async fn a_probe_can_be_asked_for() {
    let engine = Engine::start().await;
    let mut config = config(&[engine.url()]);
    config.health.interval_ms = 3_600_000;
    let running = start(&config).await;
    wait_until("ready", || running.is_ready(&engine)).await;
    engine.answer("/health", Page::Answer(500, String::new()));
    let slot = running.fleet.view().endpoints[0].slot;
    let asked = engine.asked("/health");
    running.feeds.probe_now(slot);
    // The first failure shortens the wait to the next check, which takes it out.
    wait_until("unready", || !running.is_ready(&engine)).await;
    assert!(engine.asked("/health") >= asked + 2);
}

#[tokio::test]
async fn one_that_was_taken_out_is_checked_at_once() {
    let engine = Engine::start().await;
    let mut config = config(&[engine.url()]);
    config.health.interval_ms = 3_600_000;
    let running = start(&config).await;
    wait_until("ready", || running.is_ready(&engine)).await;
    let slot = running.fleet.view().endpoints[0].slot;
    for _ in 0..2 {
        let result = Err("seen from elsewhere".to_owned());
        let event = fleet::Event::Probe { slot, result };
        running.fleet.apply(event, running.clock.now());
    }
    assert!(!running.is_ready(&engine));
    wait_until("ready again", || running.is_ready(&engine)).await;
}
