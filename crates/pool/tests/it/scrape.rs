//! Does the fleet know each endpoint's load, and how old that knowledge is?

use crate::support::{Engine, Page, config, metrics, ok, start, wait_until};

#[tokio::test]
async fn load_and_block_size_reach_the_fleet() {
    let engine = Engine::start().await;
    engine.answer("/metrics", metrics(3, 2));
    let running = start(&config(&[engine.url()])).await;
    wait_until("scraped", || {
        running.report(engine.address).running == Some(3.0)
    })
    .await;
    let report = running.report(engine.address);
    assert_eq!(report.waiting, Some(2.0));
    assert_eq!(report.kv_usage, Some(0.25));
    assert_eq!(report.block_size_tokens, Some(32));
    assert_eq!(report.num_blocks, Some(1024));
    engine.answer("/metrics", metrics(0, 0));
    wait_until("idle", || {
        running.report(engine.address).running == Some(0.0)
    })
    .await;
}

#[tokio::test]
async fn a_failed_scrape_is_told_and_keeps_the_figures() {
    for (page, expected) in [
        (Page::Answer(500, String::new()), "/metrics answered 500"),
        (Page::Silence, "no answer within 200 ms"),
        (ok("some_other_metric 1\n"), "no metric of a known engine"),
    ] {
        let engine = Engine::start().await;
        engine.answer("/metrics", metrics(1, 0));
        let running = start(&config(&[engine.url()])).await;
        wait_until("scraped", || {
            running.report(engine.address).running == Some(1.0)
        })
        .await;
        engine.answer("/metrics", page);
        wait_until(expected, || {
            let error = running.report(engine.address).scrape_error;
            error.is_some_and(|error| error.contains(expected))
        })
        .await;
        let report = running.report(engine.address);
        assert_eq!(report.running, Some(1.0));
        assert!(report.scrape_age_ms.is_some());
        assert!(running.is_ready(&engine), "a scrape says nothing of health");
        let most_open = engine.pages.lock().most_open["/metrics"];
        assert_eq!(most_open, 1, "one scrape at a time");
    }
}

#[tokio::test]
async fn a_silent_endpoint_does_not_hold_up_another() {
    let (silent, live) = (Engine::start().await, Engine::start().await);
    silent.answer("/metrics", Page::Silence);
    let mut config = config(&[silent.url(), live.url()]);
    config.scrape.timeout_ms = 60_000;
    let _running = start(&config).await;
    wait_until("asked", || silent.asked("/metrics") == 1).await;
    let before = live.asked("/metrics");
    wait_until("scraped", || live.asked("/metrics") > before + 5).await;
    assert_eq!(silent.asked("/metrics"), 1);
}

#[tokio::test]
async fn an_idle_endpoint_is_scraped_seldom_and_a_busy_one_often() {
    let (idle, busy) = (Engine::start().await, Engine::start().await);
    busy.answer("/metrics", metrics(1, 0));
    let mut config = config(&[idle.url(), busy.url()]);
    config.scrape.max_interval_ms = 3_600_000;
    let running = start(&config).await;
    // 20 ms doubled eleven times is past any test's end; the busy one keeps its pace.
    wait_until("busy scraped", || busy.asked("/metrics") > 30).await;
    assert!(idle.asked("/metrics") < 12, "{}", idle.asked("/metrics"));
    // A pick there ends the long wait.
    let before = idle.asked("/metrics");
    let _picks = pick_all(&running);
    wait_until("scraped after a pick", || idle.asked("/metrics") > before).await;
}

/// One pick on each endpoint.
fn pick_all(running: &crate::support::Running) -> Vec<fleet::Pick> {
    use rand::SeedableRng;
    let mut rng = scheduler::Rng::seed_from_u64(1);
    let view = running.fleet.view();
    let mut picks: Vec<fleet::Pick> = Vec::new();
    for _ in view.endpoints.iter() {
        let tried: Vec<_> = picks
            .iter()
            .map(|pick| pick.decision.preferences[0])
            .collect();
        let request = fleet::Request {
            model: "m",
            prompt_tokens: Some(10),
            exclude: &tried,
            ..fleet::Request::default()
        };
        let pick = running.fleet.pick(&request, running.clock.now(), &mut rng);
        picks.push(pick.unwrap());
    }
    picks
}

#[tokio::test]
async fn the_page_may_be_on_another_port() {
    let (engine, page) = (Engine::start().await, Engine::start().await);
    page.answer("/metrics", metrics(7, 0));
    let mut config = config(&[engine.url()]);
    config.scrape.port = Some(page.address.port());
    let running = start(&config).await;
    wait_until("scraped", || {
        running.report(engine.address).running == Some(7.0)
    })
    .await;
    assert_eq!(engine.asked("/metrics"), 0);
}

#[tokio::test]
async fn ranks_of_one_address_are_endpoints_of_their_own() {
    let engine = Engine::start().await;
    engine.answer(
        "/metrics",
        ok("vllm:num_requests_running{engine=\"0\"} 4.0\nvllm:num_requests_running{engine=\"1\"} 9.0\n"),
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ranks.json");
    let url = engine.url();
    let list = format!(r#"[{{"url":"{url}","rank":0}},{{"url":"{url}","rank":1}}]"#);
    std::fs::write(&path, list).unwrap();
    let mut config = config(&[]);
    config.file = Some(path);
    let running = start(&config).await;
    wait_until("each its own load", || {
        let report = running.fleet.report(running.clock.now());
        let load: Vec<_> = report.endpoints.iter().map(|one| one.running).collect();
        load == [Some(4.0), Some(9.0)]
    })
    .await;
}
