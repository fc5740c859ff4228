//! Does membership follow the endpoint file and the static list?

use std::path::Path;

use pool::{PoolConfig, endpoint_from_url};

use crate::support::{Engine, config, start, try_start, wait_until};

fn with_file(path: &Path) -> PoolConfig {
    PoolConfig {
        file: Some(path.to_owned()),
        ..config(&[])
    }
}

#[tokio::test]
async fn the_file_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints.yaml");
    let (one, two) = (Engine::start().await, Engine::start().await);
    std::fs::write(&path, format!("- {}\n", one.url())).unwrap();
    let running = start(&with_file(&path)).await;
    assert_eq!(running.names(), [one.address.to_string()]);
    wait_until("ready", || running.is_ready(&one)).await;

    let named = format!("- {{name: second, url: '{}'}}\n", two.url());
    std::fs::write(&path, named).unwrap();
    wait_until("followed", || running.names() == ["second"]).await;
    wait_until("ready", || {
        running
            .health("second")
            .is_some_and(|health| health.is_ready())
    })
    .await;

    std::fs::write(&path, "[]").unwrap();
    wait_until("emptied", || running.names().is_empty()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_missing_or_wrong_file_is_an_error_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints.json");
    let message = |error: pool::PoolError| error.to_string();
    let missing = try_start(&with_file(&path), None).await.err().map(message);
    assert!(missing.unwrap().contains("endpoints.json"));
    std::fs::write(&path, "[").unwrap();
    let wrong = try_start(&with_file(&path), None).await.err().map(message);
    assert!(wrong.unwrap().contains("line 1"));
}

#[tokio::test]
async fn the_static_list_can_be_replaced() {
    let (one, two) = (Engine::start().await, Engine::start().await);
    let running = start(&config(&[one.url()])).await;
    wait_until("ready", || running.is_ready(&one)).await;
    let spec = endpoint_from_url(&two.url()).unwrap();
    running.feeds.update_endpoints(vec![spec]);
    assert_eq!(running.names(), [two.address.to_string()]);
    wait_until("ready", || running.is_ready(&two)).await;
    // The one that left is left alone.
    let tasks = running.tasks();
    running.feeds.update_endpoints(Vec::new());
    wait_until("ended", || running.tasks() < tasks).await;
    let asked = (one.asked("/health"), one.asked("/metrics"));
    running
        .feeds
        .update_endpoints(vec![endpoint_from_url(&two.url()).unwrap()]);
    wait_until("back", || running.is_ready(&two)).await;
    assert_eq!((one.asked("/health"), one.asked("/metrics")), asked);
}

#[tokio::test]
async fn a_name_is_resolved_to_its_addresses() {
    let engine = Engine::start().await;
    let mut config = config(&[]);
    config.dns = Some(pool::DnsConfig {
        host: "127.0.0.1".to_owned(),
        port: engine.address.port(),
        interval_ms: 50,
        ..pool::DnsConfig::default()
    });
    let running = start(&config).await;
    wait_until("ready", || running.is_ready(&engine)).await;
}
