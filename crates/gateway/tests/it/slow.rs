//! Clients that are slow to say something, or to take something.

use std::time::Duration;

use bytes::Bytes;
use gateway::GatewayConfig;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Act, FakeEngine, Running, SSE_HEAD, answer, config, done, event, ok, write};

const CHAT: &str = "/v1/chat/completions";
const GOOD: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

/// Everything that comes after `wire` was sent, until the gateway closes.
async fn rest(running: &Running, wire: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket.write_all(wire).await.unwrap();
    let mut got = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut got)).await;
    let _ = read.expect("the gateway waits for ever");
    got
}

fn hasty() -> GatewayConfig {
    GatewayConfig {
        header_read_timeout_ms: 50,
        ..config()
    }
}

#[tokio::test]
async fn a_slow_head_is_told() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::configured(hasty(), &[&engine]).await;
    for begun in [
        "G",
        "P",
        "PR",
        "POST /v1/completions HTTP/1.1\r\n",
        "GET /health HTTP/1.1\r\nhost: t\r\nx-slow",
    ] {
        let got = answer(&rest(&running, begun.as_bytes()).await);
        assert_eq!(got.status, 408, "{begun:?}: {got:?}");
        assert!(got.whole && got.error().contains("head"), "{begun:?}");
    }
    // After an answer, silence is no beginning of a request; half a head is.
    let get = "GET /health HTTP/1.1\r\nhost: t\r\n\r\n";
    let idle = rest(&running, get.as_bytes()).await;
    assert!(!String::from_utf8_lossy(&idle).contains("408"), "{idle:?}");
    assert_eq!(answer(&idle).status, 200);
    // Nothing at all is answered by nothing.
    assert!(rest(&running, b"").await.is_empty());
    // A request that takes longer than a head may is not touched.
    let slow = FakeEngine::start(|_| [vec![Act::Wait], ok()].concat()).await;
    let running = Running::configured(hasty(), &[&slow]).await;
    let waiting = running.post(CHAT, GOOD);
    let others = async {
        assert_eq!(answer(&rest(&running, b"GET").await).status, 408);
        slow.go_on.notify_one();
    };
    let (waiting, ()) = tokio::join!(waiting, others);
    assert_eq!(waiting.status, 200);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test]
async fn a_slow_http2_client_is_let_go() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::configured(hasty(), &[&engine]).await;
    for begun in [&PREFACE[..3], &PREFACE[..23]] {
        assert!(rest(&running, begun).await.is_empty());
    }
    // In the middle of the handshake, after it, and within the head of a request.
    let half_head = [PREFACE, SETTINGS, &[0, 0, 20, 1, 4, 0, 0, 0, 1, 0x82, 0x84]].concat();
    for begun in [PREFACE.to_vec(), [PREFACE, SETTINGS].concat(), half_head] {
        let got = rest(&running, &begun).await;
        assert!(!got.starts_with(b"HTTP/1"), "{got:?}");
    }
}

fn impatient() -> GatewayConfig {
    GatewayConfig {
        client_write_timeout_ms: 50,
        ..config()
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let engine = FakeEngine::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
        let mut acts = vec![write(head)];
        acts.extend((0..64).map(|_| Act::Write(vec![b'x'; 1 << 20])));
        acts
    })
    .await;
    let running = Running::configured(impatient(), &[&engine]).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let wire = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    );
    socket.write_all(wire.as_bytes()).await.unwrap();
    engine.abandoned_notify.notified().await;
    while running.gateway.in_flight() != 0 {
        tokio::task::yield_now().await;
    }
}

/// One stream without room ends; another one of the same connection, which is silent for longer than a client may be but
/// has nothing to take meanwhile, does not.
#[tokio::test]
async fn an_http2_stream_that_nobody_takes_is_ended_alone() {
    let engine = FakeEngine::start(|seen| {
        let mut acts = vec![
            write(SSE_HEAD),
            event(&"x".repeat(64)),
            event("more"),
            Act::Wait,
        ];
        acts.extend([event("last"), done()]);
        match seen.path() {
            CHAT => acts,
            _ => [vec![Act::Wait], ok()].concat(),
        }
    })
    .await;
    let running = Running::configured(impatient(), &[&engine]).await;
    let socket = TcpStream::connect(running.address).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(16)
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut send = |path: &str| {
        let request = http::Request::post(format!("http://{}{path}", running.address))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(GOOD)))
            .unwrap();
        client.send_request(request)
    };
    let untaken = send(CHAT).await.unwrap();
    let other = send("/other");
    engine.abandoned_notify.notified().await;
    while running.gateway.in_flight() != 1 {
        tokio::task::yield_now().await;
    }
    engine.go_on.notify_one();
    let other = other.await.unwrap().into_body().collect().await.unwrap();
    assert!(!other.to_bytes().is_empty());
    assert!(
        untaken.into_body().collect().await.is_err(),
        "it is not whole"
    );
    while running.gateway.in_flight() != 0 {
        tokio::task::yield_now().await;
    }
}
