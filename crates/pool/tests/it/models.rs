//! Does the fleet know what each endpoint serves?

use crate::support::{Engine, Page, config, models, ok, start, try_start, wait_until};

#[tokio::test]
async fn a_changed_list_is_picked_up() {
    let engine = Engine::start().await;
    let running = start(&config(&[engine.url()])).await;
    wait_until("ready", || running.is_ready(&engine)).await;
    assert_eq!(running.models(), ["m"]);
    engine.answer("/v1/models", models(&["m", "lora"]));
    wait_until("adapter", || running.models() == ["lora", "m"]).await;
    // One bad read changes nothing.
    engine.answer("/v1/models", ok("not json"));
    let asked = engine.asked("/v1/models");
    wait_until("read again", || engine.asked("/v1/models") > asked + 1).await;
    assert_eq!(running.models(), ["lora", "m"]);
    assert!(running.is_ready(&engine));
}

#[tokio::test]
async fn without_a_list_any_model_is_served() {
    for status in [404, 405, 401, 403] {
        let engine = Engine::start().await;
        engine.answer("/v1/models", Page::Answer(status, String::new()));
        let running = start(&config(&[engine.url()])).await;
        wait_until("ready", || running.is_ready(&engine)).await;
        assert_eq!(running.fleet.view().rows_for("whatever"), [0]);
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_keeps_it_out() {
    let engine = Engine::start().await;
    engine.answer("/v1/models", Page::Answer(500, String::new()));
    let running = start(&config(&[engine.url()])).await;
    let name = engine.address.to_string();
    wait_until("reason", || {
        let health = running.health(&name).unwrap();
        health.reason() == Some("/v1/models: answered 500")
    })
    .await;
    engine.answer("/v1/models", models(&["m"]));
    wait_until("ready", || running.is_ready(&engine)).await;
}

#[tokio::test]
async fn the_key_is_shown() {
    let engine = Engine::start().await;
    let running = try_start(&config(&[engine.url()]), Some("s3cret"))
        .await
        .unwrap();
    wait_until("ready", || running.is_ready(&engine)).await;
    let shown = engine.pages.lock().authorization.clone();
    assert_eq!(shown.as_deref(), Some("Bearer s3cret"));
    let bad = try_start(&config(&[engine.url()]), Some("two\nlines")).await;
    let message = bad.err().unwrap().to_string();
    assert!(message.contains("api_key_env") && !message.contains("two"));
}
