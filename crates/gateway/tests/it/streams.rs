//! What is passed through of a response, and how does it end?

use gateway::GatewayConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    Act, Answer, FakeEngine, Running, SSE_HEAD, answer, chunk, config, done, event, send, write,
};

const GOOD: &str = r#"{"model":"m","prompt":"hi","stream":true}"#;

/// Sends a request, lets the engine go on once `text` of its answer has arrived, and reads to the end.
async fn once_arrived(running: &Running, engine: &FakeEngine, text: &str) -> Answer {
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let wire = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{GOOD}",
        GOOD.len()
    );
    socket.write_all(wire.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains(text) {
        assert_ne!(socket.read_buf(&mut got).await.unwrap(), 0);
    }
    engine.go_on.notify_one();
    socket.read_to_end(&mut got).await.unwrap();
    answer(&got)
}

#[tokio::test]
async fn events_pass_as_they_come() {
    let engine = FakeEngine::start(|_| {
        vec![
            write(SSE_HEAD),
            event("a"),
            Act::Wait,
            event("b"),
            Act::Wait,
            done(),
        ]
    })
    .await;
    let running = Running::before(&[&engine]).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let wire = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{GOOD}",
        GOOD.len()
    );
    socket.write_all(wire.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    for text in ["\"text\":\"a\"", "\"text\":\"b\""] {
        while !String::from_utf8_lossy(&got).contains(text) {
            assert_ne!(socket.read_buf(&mut got).await.unwrap(), 0);
        }
        engine.go_on.notify_one();
    }
    socket.read_to_end(&mut got).await.unwrap();
    let answer = answer(&got);
    assert!(answer.whole);
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_broken_stream_ends_with_an_error_event() {
    let torn: fn() -> Vec<Act> = || {
        vec![
            write(SSE_HEAD),
            event("a"),
            Act::Wait,
            Act::Write(chunk("data: {\"cho")),
            Act::Close,
        ]
    };
    let whole: fn() -> Vec<Act> = || vec![write(SSE_HEAD), event("a"), Act::Wait, Act::Close];
    let reset: fn() -> Vec<Act> = || vec![write(SSE_HEAD), event("a"), Act::Wait, Act::Reset];
    let garbage: fn() -> Vec<Act> = || {
        vec![
            write(SSE_HEAD),
            event("a"),
            Act::Wait,
            write("zz\r\n"),
            Act::Close,
        ]
    };
    for script in [torn, whole, reset, garbage] {
        let engine = FakeEngine::start(move |_| script()).await;
        let running = Running::before(&[&engine]).await;
        let answer = once_arrived(&running, &engine, "\"text\":\"a\"").await;
        assert_eq!(answer.status, 200);
        assert!(answer.whole, "{answer:?}");
        let events: Vec<_> = answer.text().split("\n\n").collect();
        assert_eq!(events.len(), 4, "{events:?}");
        let error = events[1].strip_prefix("data: ").unwrap();
        let error: serde_json::Value = serde_json::from_str(error).unwrap();
        assert_eq!(error["error"]["code"], 502, "{error}");
        assert_eq!((events[2], events[3]), ("data: [DONE]", ""));
        let state = send(running.admin, "GET", "/admin/state", "", b"")
            .await
            .json();
        assert_eq!(state["pools"][0]["endpoints"][0]["failures"], 1);
        assert_eq!(state["pools"][0]["endpoints"][0]["active_requests"], 0);
    }
}

#[tokio::test]
async fn a_break_after_the_last_word_is_none() {
    let engine = FakeEngine::start(|_| {
        vec![
            write(SSE_HEAD),
            event("a"),
            Act::Write(chunk("data: [DONE]\n\n")),
            Act::Close,
        ]
    })
    .await;
    let running = Running::before(&[&engine]).await;
    let answer = running.post("/v1/completions", GOOD).await;
    assert!(answer.whole);
    assert_eq!(answer.text().matches("data: ").count(), 2);
}

#[tokio::test]
async fn other_bodies_break_visibly() {
    let cases: &[fn() -> Vec<Act>] = &[
        || {
            vec![
                write(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"a\":",
                ),
                Act::Wait,
                Act::Close,
            ]
        },
        || {
            vec![
                write(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n",
                ),
                Act::Wait,
                Act::Close,
            ]
        },
    ];
    for script in cases {
        let script = *script;
        let engine = FakeEngine::start(move |_| script()).await;
        let running = Running::before(&[&engine]).await;
        let answer = once_arrived(&running, &engine, "{\"a\":").await;
        assert_eq!((answer.status, answer.whole), (200, false), "{answer:?}");
        assert_eq!(answer.text(), "{\"a\":");
    }
}

#[tokio::test]
async fn silence_ends_a_stream() {
    let engine = FakeEngine::start(|_| vec![write(SSE_HEAD), event("a"), Act::Hang]).await;
    let running = Running::configured(
        GatewayConfig {
            idle_timeout_ms: 50,
            ..config()
        },
        &[&engine],
    )
    .await;
    let answer = running.post("/v1/completions", GOOD).await;
    assert!(answer.whole);
    assert!(answer.text().contains("\"code\":504"));
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    engine.abandoned_notify.notified().await;
}

#[tokio::test]
async fn large_answers_are_whole() {
    let text = "0123456789abcdef".repeat(100_000);
    let body = format!("{{\"text\":\"{text}\"}}");
    let expected = body.clone();
    let engine = FakeEngine::start(move |_| crate::support::json(200, &body)).await;
    let running = Running::before(&[&engine]).await;
    for _ in 0..2 {
        let answer = running.post("/v1/completions", GOOD).await;
        assert!(answer.whole);
        assert_eq!(answer.text(), expected);
    }
}

#[tokio::test]
async fn usage_is_read_along() {
    let usage = r#""usage":{"prompt_tokens":40,"completion_tokens":2,"total_tokens":42,"prompt_tokens_details":{"cached_tokens":32}}"#;
    let last = format!("data: {{\"choices\":[],{usage}}}\n\n");
    let json = format!("{{\"choices\":[],{usage}}}");
    let engine = FakeEngine::start(move |seen| {
        match String::from_utf8_lossy(&seen.body).contains("stream") {
            true => {
                // Cut within the event, so that it comes in two pieces.
                let (a, b) = last.split_at(40);
                vec![
                    write(SSE_HEAD),
                    event("a"),
                    Act::Write(chunk(a)),
                    Act::Write(chunk(b)),
                    done(),
                ]
            }
            false => crate::support::json(200, &json),
        }
    })
    .await;
    let running = Running::before(&[&engine]).await;
    for (round, body) in [GOOD, r#"{"model":"m","prompt":"hi"}"#]
        .into_iter()
        .enumerate()
    {
        let answer = running.post("/v1/completions", body).await;
        assert!(answer.whole);
        let state = send(running.admin, "GET", "/admin/state", "", b"")
            .await
            .json();
        let prediction = &state["pools"][0]["endpoints"][0]["prediction"];
        assert_eq!(prediction["reported_requests"], round + 1, "{prediction}");
        assert_eq!(prediction["actual_tokens"], 32 * (round + 1));
    }
    let page = send(running.admin, "GET", "/metrics", "", b"").await;
    let page = page.text();
    for line in [
        "prefixgate_prompt_tokens_total{pool=\"default\"} 80",
        "prefixgate_generation_tokens_total{pool=\"default\"} 4",
        "prefixgate_requests_total{pool=\"default\",route=\"completions\",status=\"200\"} 2",
    ] {
        assert!(page.contains(line), "{line} in\n{page}");
    }
}
