//! Every way to be refused, with status and words.

use gateway::GatewayConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Act, FakeEngine, Running, answer, config, ok, raw};

const CHAT: &str = "/v1/chat/completions";
const GOOD: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

#[tokio::test]
async fn bad_bodies_are_told_apart() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::before(&[&engine]).await;
    let cases: &[(&[u8], &str, u16, &str)] = &[
        (b"", "application/json", 400, "empty"),
        (
            b"{\"model\":\"m\",",
            "application/json",
            400,
            "not valid JSON",
        ),
        (
            b"{\"model\":\"m\",\"messages\":\"\xff\"}",
            "application/json",
            400,
            "UTF-8",
        ),
        (
            b"{\"model\":1,\"messages\":[]}",
            "application/json",
            400,
            "`model` must be a string",
        ),
        (
            b"{\"model\":\"m\"}",
            "application/json",
            400,
            "`messages` is required",
        ),
        (
            b"{\"model\":\"m\",\"messages\":5}",
            "application/json",
            400,
            "`messages` must be",
        ),
        (b"[1]", "application/json", 400, "must be a JSON object"),
        (GOOD.as_bytes(), "text/plain", 415, "application/json"),
        (
            GOOD.as_bytes(),
            "application/x-www-form-urlencoded",
            415,
            "application/json",
        ),
        (
            b"{\"model\":\"x\",\"messages\":[]}",
            "application/json",
            404,
            "known models: m",
        ),
    ];
    for (body, kind, status, words) in cases {
        let headers = format!("content-type: {kind}\r\n");
        let answer = running.send("POST", CHAT, &headers, body).await;
        assert_eq!(
            answer.status,
            *status,
            "{:?}: {answer:?}",
            String::from_utf8_lossy(body)
        );
        let message = answer.error();
        assert!(message.contains(words), "{message}");
        assert!(answer.header("x-request-id").is_some());
    }
    assert!(engine.requests().is_empty());
    for kind in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.x+json",
    ] {
        let headers = format!("content-type: {kind}\r\n");
        assert_eq!(
            running
                .send("POST", CHAT, &headers, GOOD.as_bytes())
                .await
                .status,
            200,
            "{kind}"
        );
    }
    assert_eq!(
        running.send("POST", CHAT, "", GOOD.as_bytes()).await.status,
        200
    );
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::configured(
        GatewayConfig {
            max_body_bytes: 1000,
            ..config()
        },
        &[&engine],
    )
    .await;
    let long = format!(r#"{{"model":"m","prompt":"{}"}}"#, "x".repeat(2000));
    let announced = running.post("/v1/completions", &long).await;
    assert_eq!(announced.status, 413);
    assert!(announced.error().contains("1000 bytes"));
    for path in ["/v1/completions", "/unknown"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        let wire = [
            head.as_bytes(),
            format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len()).as_bytes(),
        ]
        .concat();
        assert_eq!(raw(running.address, &wire).await.status, 413, "{path}");
    }
}

#[tokio::test]
async fn a_slow_client_is_told() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::configured(
        GatewayConfig {
            body_read_timeout_ms: 50,
            header_read_timeout_ms: 50,
            ..config()
        },
        &[&engine],
    )
    .await;
    let wire = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    let slow = raw(running.address, wire.as_bytes()).await;
    assert_eq!(slow.status, 408);
    slow.error();
    let wire = "POST /unknown HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
    assert_eq!(raw(running.address, wire.as_bytes()).await.status, 408);
    // One that says nothing at all is let go.
    raw(running.address, b"").await;
    assert!(engine.requests().is_empty());
}

#[tokio::test]
async fn what_is_too_much_is_shed() {
    let engine = FakeEngine::start(|_| [vec![Act::Wait], ok()].concat()).await;
    let running = Running::configured(
        GatewayConfig {
            max_in_flight: 1,
            ..config()
        },
        &[&engine],
    )
    .await;
    let first = running.post(CHAT, GOOD);
    let second = async {
        while running.gateway.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        let refused = running.post(CHAT, GOOD).await;
        engine.go_on.notify_one();
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 200);
    assert_eq!(
        (second.status, second.header("retry-after")),
        (429, Some("1"))
    );
    second.error();
    engine.go_on.notify_one();
    assert_eq!(running.post(CHAT, GOOD).await.status, 200);
    assert_eq!(running.gateway.in_flight(), 0);
}

#[tokio::test]
async fn too_many_connections_are_told() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::configured(
        GatewayConfig {
            max_connections: 1,
            ..config()
        },
        &[&engine],
    )
    .await;
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first
        .write_all(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n")
        .await
        .unwrap();
    assert_ne!(first.read(&mut [0; 1024]).await.unwrap(), 0);
    let mut second = TcpStream::connect(running.address).await.unwrap();
    let mut got = Vec::new();
    second.read_to_end(&mut got).await.unwrap();
    let refused = answer(&got);
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1"))
    );
    assert!(refused.whole);
    refused.error();
}

#[tokio::test]
async fn time_limits() {
    let engine = FakeEngine::start(|_| vec![Act::Hang]).await;
    let first_byte = GatewayConfig {
        first_byte_timeout_ms: Some(50),
        ..config()
    };
    let running = Running::configured(first_byte, &[&engine]).await;
    let late = running.post(CHAT, GOOD).await;
    assert_eq!(late.status, 504);
    assert!(late.error().contains("in time"));
    let total = GatewayConfig {
        total_timeout_ms: 50,
        ..config()
    };
    let running = Running::configured(total, &[&engine]).await;
    let late = running.post(CHAT, GOOD).await;
    assert_eq!(late.status, 504);
    assert!(late.error().contains("50 ms"));
    engine.abandoned_notify.notified().await;
}
