//! HTTP versions, methods, headers.

use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    Act, FakeEngine, Running, SSE_HEAD, answer, config, done, event, json, ok, raw, stream, write,
};

const GOOD: &str = r#"{"model":"m","prompt":"hi"}"#;

#[tokio::test]
async fn http_1_0_gets_a_body_that_ends_with_the_connection() {
    let engine = FakeEngine::start(|_| stream()).await;
    let running = Running::before(&[&engine]).await;
    let wire = format!(
        "POST /v1/completions HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    );
    let got = raw(running.address, wire.as_bytes()).await;
    assert_eq!(got.status, 200);
    assert!(got.header("transfer-encoding").is_none());
    assert!(got.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn h2c_with_prior_knowledge() {
    let engine = FakeEngine::start(|_| stream()).await;
    let running = Running::before(&[&engine]).await;
    let socket = TcpStream::connect(running.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        let request = http::Request::post(format!("http://{}/v1/completions", running.address))
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from(GOOD)))
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers().contains_key("x-request-id"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.ends_with(b"data: [DONE]\n\n"));
    }
    let seen = engine.requests();
    assert!(
        seen[0]
            .head
            .starts_with("POST /v1/completions HTTP/1.1\r\n")
    );
    assert_eq!(
        seen[0].header("host"),
        Some(engine.address.to_string().as_str())
    );
}

#[tokio::test]
async fn client_connections_are_kept() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::before(&[&engine]).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    for _ in 0..3 {
        let wire = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{GOOD}",
            GOOD.len()
        );
        socket.write_all(wire.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while !(got.windows(4).any(|window| window == b"\r\n\r\n") && answer(&got).whole) {
            assert_ne!(socket.read_buf(&mut got).await.unwrap(), 0);
        }
        assert_eq!(answer(&got).status, 200);
    }
    assert!(
        engine.requests().iter().all(|seen| seen.connection == 0),
        "the engine's connection is kept too"
    );
}

#[tokio::test]
async fn methods() {
    let engine = FakeEngine::start(|seen| match seen.head.split(' ').next().unwrap() {
        "HEAD" => vec![write(
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\nx-engine: yes\r\n\r\n",
        )],
        "OPTIONS" => vec![write("HTTP/1.1 204 No Content\r\nallow: POST\r\n\r\n")],
        _ => ok(),
    })
    .await;
    let running = Running::before(&[&engine]).await;
    let head = running.send("HEAD", "/version", "", b"").await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, Some("99"), 0)
    );
    let options = running.send("OPTIONS", "/v1/completions", "", b"").await;
    assert_eq!(
        (options.status, options.header("allow")),
        (204, Some("POST"))
    );
    assert_eq!(running.send("HEAD", "/health", "", b"").await.status, 200);
    for method in ["PUT", "PATCH", "DELETE"] {
        assert_eq!(
            running.send(method, "/x", "", b"").await.status,
            200,
            "{method}"
        );
    }
    let before = engine.requests().len();
    assert_eq!(running.send("TRACE", "/x", "", b"").await.status, 405);
    assert_eq!(running.send("OPTIONS", "*", "", b"").await.status, 204);
    let upgrade = raw(
        running.address,
        b"GET /v1/realtime HTTP/1.1\r\nhost: t\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nGET /health HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(upgrade.status, 501);
    let connect = raw(
        running.address,
        b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(connect.status, 405);
    assert_eq!(engine.requests().len(), before);
    let h2c = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    let offered = running.send("GET", "/health", h2c, b"").await;
    assert_eq!(offered.status, 200);
}

#[tokio::test]
async fn expect_100_continue() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::before(&[&engine]).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        GOOD.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    socket.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(GOOD.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    socket.read_to_end(&mut got).await.unwrap();
    assert_eq!(answer(&got).status, 200);
    assert_eq!(engine.requests()[0].header("expect"), None);
}

#[tokio::test]
async fn interim_answers_of_an_engine_are_passed_over() {
    let engine = FakeEngine::start(|_| {
        let mut acts = vec![write(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n",
        )];
        acts.extend(ok());
        acts
    })
    .await;
    let running = Running::before(&[&engine]).await;
    assert_eq!(running.post("/v1/completions", GOOD).await.status, 200);
}

#[tokio::test]
async fn request_headers() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::before(&[&engine]).await;
    let headers = "content-type: application/json\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: 1\r\nte: trailers\r\n\
                   x-gateway-destination-endpoint: 1.2.3.4:5\r\nX-Gateway-Inference-Objective: o\r\n\
                   x-llm-d-inference-fairness-id: f\r\nX-data-parallel-rank: 1\r\nx-prefixgate-explain: 1\r\n\
                   x-slo-ttft-ms: 3\r\nx-request-id: my-id\r\nx-custom: kept\r\nauthorization: Bearer c\r\nuser-agent: ua\r\n";
    let answer = running
        .send("POST", "/v1/completions", headers, GOOD.as_bytes())
        .await;
    assert_eq!(answer.header("x-request-id"), Some("my-id"));
    let seen = engine.requests().pop().unwrap();
    for kept in [
        ("x-custom", "kept"),
        ("authorization", "Bearer c"),
        ("user-agent", "ua"),
        ("x-request-id", "my-id"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(seen.header(kept.0), Some(kept.1));
    }
    for gone in [
        "x-hop",
        "keep-alive",
        "te",
        "connection",
        "x-gateway-destination-endpoint",
        "x-gateway-inference-objective",
        "x-llm-d-inference-fairness-id",
        "x-data-parallel-rank",
        "x-prefixgate-explain",
        "x-slo-ttft-ms",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    let generated = running.post("/v1/completions", GOOD).await;
    let id = generated.header("x-request-id").unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(
        engine.requests().pop().unwrap().header("x-request-id"),
        Some(id)
    );
}

#[tokio::test]
async fn response_headers() {
    let engine = FakeEngine::start(|_| {
        vec![write(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-engine: yes\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
             connection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\ncontent-length: 2\r\n\r\n{}",
        )]
    })
    .await;
    let running = Running::before(&[&engine]).await;
    let explain = "content-type: application/json\r\nx-prefixgate-explain: 1\r\n";
    let explained = running
        .send("POST", "/v1/completions", explain, GOOD.as_bytes())
        .await;
    assert_eq!(explained.header("x-engine"), Some("yes"));
    assert_eq!(explained.head.matches("set-cookie").count(), 2);
    assert_eq!(explained.header("x-hop"), None);
    assert_eq!(explained.header("keep-alive"), None);
    assert_eq!(
        explained.header("x-prefixgate-endpoint"),
        Some(engine.address.to_string().as_str())
    );
    assert_eq!(explained.header("x-prefixgate-cached-tokens"), Some("0"));
    let scores = explained.header("x-prefixgate-scores").unwrap();
    assert!(
        scores.starts_with(&format!("{}=", engine.address)),
        "{scores}"
    );
    assert!(scores.contains("prefix-cache-scorer:"), "{scores}");
    assert_eq!(
        running
            .post("/v1/completions", GOOD)
            .await
            .header("x-prefixgate-scores"),
        None
    );

    let silent = gateway::GatewayConfig {
        response_headers: false,
        ..config()
    };
    let running = Running::configured(silent, &[&engine]).await;
    let answer = running
        .send("POST", "/v1/completions", explain, GOOD.as_bytes())
        .await;
    assert!(!answer.head.contains("x-prefixgate"));
}

#[tokio::test]
async fn smuggled_framings_are_not_passed_on() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::before(&[&engine]).await;
    let both = b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\nGET /sleep HTTP/1.1\r\nhost: t\r\n\r\n";
    raw(running.address, both).await;
    assert!(engine.requests().iter().all(|seen| seen.path() == "/x"));
    // The engine's own double framing is read as chunked, and its connection is not used again.
    let engine = FakeEngine::start(|_| {
        vec![write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")]
    })
    .await;
    let running = Running::before(&[&engine]).await;
    for _ in 0..2 {
        assert_eq!(running.post("/v1/completions", GOOD).await.text(), "{}");
    }
    let connections: Vec<_> = engine
        .requests()
        .iter()
        .map(|seen| seen.connection)
        .collect();
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn a_vanished_client_ends_the_engine_s_work() {
    // Before the first byte, and in the middle of a stream.
    let waiting: fn() -> Vec<Act> = || vec![Act::Hang];
    let streaming: fn() -> Vec<Act> = || vec![write(SSE_HEAD), event("a"), Act::Hang];
    for script in [waiting, streaming] {
        let engine = FakeEngine::start(move |_| script()).await;
        let running = Running::before(&[&engine]).await;
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        let wire = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{GOOD}",
            GOOD.len()
        );
        socket.write_all(wire.as_bytes()).await.unwrap();
        while engine.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(socket);
        engine.abandoned_notify.notified().await;
        while running.gateway.in_flight() != 0 {
            tokio::task::yield_now().await;
        }
        let state = crate::support::send(running.admin, "GET", "/admin/state", "", b"")
            .await
            .json();
        let endpoint = &state["pools"][0]["endpoints"][0];
        assert_eq!(
            (&endpoint["active_requests"], &endpoint["failures"]),
            (&0.into(), &0.into()),
            "{endpoint}"
        );
    }
}

#[tokio::test]
async fn draining_lets_requests_end_and_takes_no_new_ones() {
    let engine =
        FakeEngine::start(|_| vec![write(SSE_HEAD), event("a"), Act::Wait, event("b"), done()])
            .await;
    let mut running = Running::before(&[&engine]).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let wire = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    );
    socket.write_all(wire.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    socket.read_buf(&mut got).await.unwrap();
    running.stop.cancel();
    while !running.gateway.is_draining() {
        tokio::task::yield_now().await;
    }
    engine.go_on.notify_one();
    socket.read_to_end(&mut got).await.unwrap();
    assert!(answer(&got).whole);
    assert!(answer(&got).text().ends_with("data: [DONE]\n\n"));
    running.served.take().unwrap().await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn json_without_a_length_passes() {
    let engine = FakeEngine::start(|_| {
        vec![
            write("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":1}"),
            Act::Close,
        ]
    })
    .await;
    let running = Running::before(&[&engine]).await;
    let answer = running.post("/v1/completions", GOOD).await;
    assert_eq!((answer.text(), answer.whole), ("{\"a\":1}", true));
    let engine = FakeEngine::start(|_| json(404, "{}")).await;
    let running = Running::before(&[&engine]).await;
    assert_eq!(running.post("/v1/completions", GOOD).await.status, 404);
}
