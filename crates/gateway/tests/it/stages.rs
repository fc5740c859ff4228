//! The same documents before engines: who is told what, and what waits.

use std::net::SocketAddr;
use std::time::Duration;

use gateway::GatewayConfig;
use pool::Clock;

use crate::support::{Act, FakeEngine, Running, Seen, config, documented, json, ok, send};

const PREFILL_DECODE: &str =
    include_str!("../../../scheduler/tests/documents/llm_d/prefill_decode.yaml");

const PREFILLER: &str = "x-prefiller-host-port";

fn long() -> String {
    format!(r#"{{"model":"m","prompt":"{}"}}"#, "four".repeat(2000))
}

async fn before(document: &str, endpoints: &[(SocketAddr, &str)]) -> Running {
    let route = documented(document, endpoints, &Clock::start());
    Running::start(config(), vec![route]).await
}

#[tokio::test]
async fn an_engine_is_told_who_prefills() {
    let engine = FakeEngine::start(|_: &Seen| json(200, "{}")).await;
    let prefill: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let roles = [(engine.address, "decode"), (prefill, "prefill")];
    let running = before(PREFILL_DECODE, &roles).await;
    let spoofed = "content-type: application/json\r\nx-prefiller-host-port: 6.6.6.6:6\r\n";
    for (body, expected) in [
        (long(), Some("127.0.0.1:9")),
        (r#"{"model":"m","prompt":"short"}"#.to_owned(), None),
    ] {
        let answer = running
            .send("POST", "/v1/completions", spoofed, body.as_bytes())
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = engine.requests().pop().unwrap();
        assert_eq!(seen.header(PREFILLER), expected);
    }
    let explained = send(
        running.admin,
        "POST",
        "/admin/explain?path=/v1/completions",
        "content-type: application/json\r\n",
        format!(r#"{{"model":"m","prompt":"{}"}}"#, "else".repeat(2000)).as_bytes(),
    )
    .await
    .json();
    let stage = &explained["stages"][0];
    assert_eq!(stage["stage"], "prefill");
    assert_eq!(stage["endpoint"], "127.0.0.1:9");
    let words = explained["words"].as_str().unwrap();
    assert!(
        words.contains("; prefill at 127.0.0.1:9 (prefix-based-pd-decider: "),
        "{words}"
    );
}

#[tokio::test]
async fn the_next_decoder_is_told_the_same() {
    let dead = FakeEngine::start(|_: &Seen| vec![Act::Close]).await;
    let failing = FakeEngine::start(|_: &Seen| json(500, "{}")).await;
    let prefill: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let pair = [
        (dead.address, "decode"),
        (failing.address, "decode"),
        (prefill, "prefill"),
    ];
    let route = documented(PREFILL_DECODE, &pair, &Clock::start());
    let fleet = std::sync::Arc::clone(&route.fleet);
    let running = Running::start(config(), vec![route]).await;
    let answer = running.post("/v1/completions", &long()).await;
    assert_eq!(answer.status, 500);
    for engine in [&dead, &failing] {
        let seen = engine.requests();
        assert!(!seen.is_empty());
        assert!(
            seen.iter()
                .all(|seen| seen.header(PREFILLER) == Some("127.0.0.1:9"))
        );
    }
    let report = fleet.report(Duration::ZERO);
    let active: u64 = report.endpoints.iter().map(|e| e.active_requests).sum();
    assert_eq!(active, 0, "both attempts gave back both parts");
}

#[tokio::test]
async fn a_client_waits_for_room_and_others_go_first() {
    let document = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- {type: queue-scorer}
- {type: concurrency-detector, parameters: {maxConcurrency: 1}}
flowControl: {saturationDetector: {pluginRef: concurrency-detector}}";
    let engine = FakeEngine::start(|_: &Seen| {
        let mut acts = vec![Act::Wait];
        acts.extend(ok());
        acts
    })
    .await;
    let config = GatewayConfig {
        objectives: [("vip".to_owned(), 5)].into(),
        ..config()
    };
    let route = documented(document, &[(engine.address, "")], &Clock::start());
    let running = Running::start(config, vec![route]).await;
    let address = running.address;
    let ask = |text: &'static str, headers: &'static str| {
        tokio::spawn(async move {
            let headers = format!("content-type: application/json\r\n{headers}");
            let body = format!(r#"{{"model":"m","prompt":"{text}"}}"#);
            send(
                address,
                "POST",
                "/v1/completions",
                &headers,
                body.as_bytes(),
            )
            .await
        })
    };
    let admin = running.admin;
    let waiting = async |count: usize| loop {
        let page = send(admin, "GET", "/metrics", "", b"").await;
        let waits = page
            .text()
            .lines()
            .filter(|line| line.starts_with("llm_d_epp_flow_control_queue_size{"));
        if waits.count() == count {
            return;
        }
    };
    let first = ask("first", "");
    while engine.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = ask("second", "");
    waiting(1).await;
    let third = ask("third", "x-gateway-inference-objective: vip\r\n");
    waiting(2).await;
    for (done, at) in [(first, 1), (third, 2), (second, 3)] {
        assert_eq!(engine.requests().len(), at);
        engine.go_on.notify_one();
        assert_eq!(done.await.unwrap().status, 200);
        if at < 3 {
            while engine.requests().len() == at {
                tokio::task::yield_now().await;
            }
        }
    }
    let order: Vec<String> = engine
        .requests()
        .iter()
        .map(|seen| String::from_utf8_lossy(&seen.body).into_owned())
        .collect();
    assert!(
        order[1].contains("third") && order[2].contains("second"),
        "{order:?}"
    );
}
