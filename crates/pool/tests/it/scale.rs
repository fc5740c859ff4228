//! Do many endpoints start, come and go without leaving a task behind?

use pool::endpoint_from_url;

use crate::support::{Engine, config, start, wait_until};

const MANY: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_endpoints_are_watched_and_let_go() {
    let engine = Engine::start().await;
    // One server under many names: the base path makes each an endpoint of its own.
    let specs: Vec<_> = (0..MANY)
        .map(|at| endpoint_from_url(&format!("{}/{at}", engine.url())).unwrap())
        .collect();
    let running = start(&config(&[engine.url()])).await;
    wait_until("ready", || running.is_ready(&engine)).await;
    let mut few = running.tasks();
    running.feeds.update_endpoints(specs);
    wait_until("all asked", || {
        let view = running.fleet.view();
        let failed = view
            .endpoints
            .iter()
            .filter(|one| one.health.reason().is_some());
        failed.count() == MANY
    })
    .await;
    running.feeds.update_endpoints(Vec::new());
    few -= 1;
    wait_until("let go", || running.tasks() <= few).await;
    running.stop().await;
}
