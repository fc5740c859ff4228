//! What happens when an engine fails before a byte of its answer was passed on?

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use gateway::{GatewayConfig, PoolRoute};
use tokio::net::TcpListener;

use crate::support::{
    Act, FakeEngine, Running, SSE_HEAD, Seen, chunk, config, event, fleet, json, ok, send, stream,
    write,
};

const GOOD: &str = r#"{"model":"m","prompt":"hi"}"#;

type Acts = fn() -> Vec<Act>;

const CHUNKED_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

/// The first request that reaches any engine gets `first`, all others `later`.
async fn engines(first: fn() -> Vec<Act>, later: fn() -> Vec<Act>) -> [FakeEngine; 2] {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let script = move |_: &Seen| match count.fetch_add(1, SeqCst) {
        0 => first(),
        _ => later(),
    };
    let script = std::sync::Arc::new(script);
    let again = std::sync::Arc::clone(&script);
    [
        FakeEngine::start(move |seen| script(seen)).await,
        FakeEngine::start(move |seen| again(seen)).await,
    ]
}

fn failing(code: u16) -> Vec<Act> {
    json(code, r#"{"error":{"message":"engine says no"}}"#)
}

#[tokio::test]
async fn failures_before_a_byte_go_to_the_other_endpoint() {
    let cases: &[(&str, Acts)] = &[
        ("500", || failing(500)),
        ("502", || failing(502)),
        ("503", || failing(503)),
        ("504", || failing(504)),
        ("429", || failing(429)),
        ("closed", || vec![Act::Close]),
        ("closed within the head", || {
            vec![write("HTTP/1.1 200 OK\r\ncontent-"), Act::Close]
        }),
        ("closed after the head", || {
            vec![write(SSE_HEAD), Act::Close]
        }),
        ("closed within the first event", || {
            vec![
                write(SSE_HEAD),
                Act::Write(chunk("data: {\"ch")),
                Act::Close,
            ]
        }),
        ("reset within the body", || {
            vec![
                write(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"a\":",
                ),
                Act::Reset,
            ]
        }),
        ("closed within the body", || {
            vec![
                write(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"a\":",
                ),
                Act::Close,
            ]
        }),
        ("reset within a chunked body", || {
            vec![
                write(CHUNKED_HEAD),
                Act::Write(chunk("{\"a\":")),
                Act::Reset,
            ]
        }),
        ("closed within a chunk", || {
            vec![write(CHUNKED_HEAD), write("10\r\n{\"a\":"), Act::Close]
        }),
        ("reset right after the first event", || {
            vec![write(SSE_HEAD), event("a"), Act::Reset]
        }),
        ("closed right after the first event", || {
            vec![write(SSE_HEAD), event("a"), event("b"), Act::Close]
        }),
        ("a chunk that is none after the first event", || {
            vec![write(SSE_HEAD), event("a"), write("zz\r\n")]
        }),
        ("not HTTP", || vec![write("ICY 200 OK\r\n\r\n"), Act::Close]),
        ("error event first", || {
            let error = chunk(
                "data: {\"error\": {\"message\": \"dead\", \"code\": 500}}\n\ndata: [DONE]\n\n",
            );
            vec![write(SSE_HEAD), Act::Write(error), write("0\r\n\r\n")]
        }),
    ];
    for (name, first) in cases {
        let pair = engines(*first, ok).await;
        let running = Running::before(&[&pair[0], &pair[1]]).await;
        let answer = running.post("/v1/completions", GOOD).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert!(answer.text().contains("\"hi\""), "{name}: {answer:?}");
        assert_eq!(
            (pair[0].requests().len(), pair[1].requests().len()),
            (1, 1),
            "{name}"
        );
        let bodies = [
            pair[0].requests()[0].body.clone(),
            pair[1].requests()[0].body.clone(),
        ];
        assert_eq!(bodies[0], bodies[1]);
        let served = answer.header("x-prefixgate-endpoint").unwrap();
        assert!(
            pair.iter()
                .any(|engine| engine.address.to_string() == served)
        );
    }
}

#[tokio::test]
async fn a_client_s_own_errors_pass_at_once() {
    for code in [400, 401, 404, 422] {
        let pair = [
            FakeEngine::start(move |_| failing(code)).await,
            FakeEngine::start(move |_| failing(code)).await,
        ];
        let running = Running::before(&[&pair[0], &pair[1]]).await;
        let answer = running.post("/v1/completions", GOOD).await;
        assert_eq!(
            (answer.status, answer.text()),
            (code, r#"{"error":{"message":"engine says no"}}"#)
        );
        assert_eq!(pair[0].requests().len() + pair[1].requests().len(), 1);
        assert_eq!(failures(&running).await, 0, "{code}");
    }
}

async fn failures(running: &Running) -> u64 {
    let state = send(running.admin, "GET", "/admin/state", "", b"")
        .await
        .json();
    let endpoints = state["pools"][0]["endpoints"].as_array().unwrap();
    for endpoint in endpoints {
        assert_eq!(endpoint["active_requests"], 0, "{endpoint}");
        assert_eq!(endpoint["active_tokens"], 0, "{endpoint}");
    }
    endpoints
        .iter()
        .map(|endpoint| endpoint["failures"].as_u64().unwrap())
        .sum()
}

#[tokio::test]
async fn when_all_fail_the_last_word_is_an_engine_s() {
    let pair = [
        FakeEngine::start(|_| failing(503)).await,
        FakeEngine::start(|_| failing(500)).await,
    ];
    let running = Running::before(&[&pair[0], &pair[1]]).await;
    let answer = running.post("/v1/completions", GOOD).await;
    assert!(matches!(answer.status, 500 | 503));
    assert_eq!(answer.text(), r#"{"error":{"message":"engine says no"}}"#);
    assert_eq!(answer.header("x-engine"), Some("yes"));
    assert_eq!((pair[0].requests().len(), pair[1].requests().len()), (1, 1));
    assert_eq!(failures(&running).await, 2);

    let pair = [
        FakeEngine::start(|_| vec![Act::Close]).await,
        FakeEngine::start(|_| vec![Act::Close]).await,
    ];
    let running = Running::before(&[&pair[0], &pair[1]]).await;
    let answer = running.post("/v1/completions", GOOD).await;
    assert_eq!(answer.status, 502);
    answer.error();
    assert_eq!((pair[0].requests().len(), pair[1].requests().len()), (1, 1));
}

#[tokio::test]
async fn an_error_event_first_is_passed_on_when_all_send_it() {
    let text = "data: {\"error\": {\"message\": \"dead\", \"code\": 500}}\n\n";
    let engine = FakeEngine::start(move |_| {
        vec![
            write(SSE_HEAD),
            Act::Write(chunk(text)),
            Act::Write(chunk("data: [DONE]\n\n")),
            write("0\r\n\r\n"),
        ]
    })
    .await;
    let running = Running::before(&[&engine]).await;
    let answer = running.post("/v1/completions", GOOD).await;
    assert_eq!(answer.text(), format!("{text}data: [DONE]\n\n"));
    assert!(answer.whole);
    assert_eq!(failures(&running).await, 1);
}

#[tokio::test]
async fn a_refused_connection_takes_the_endpoint_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = listener.local_addr().unwrap();
    drop(listener);
    let engine = FakeEngine::start(|_| ok()).await;
    let fleet = fleet("p", &[dead, engine.address], Some(&["m"]));
    let running = Running::start(config(), vec![PoolRoute::new("p", fleet)]).await;
    for _ in 0..4 {
        assert_eq!(running.post("/v1/completions", GOOD).await.status, 200);
    }
    let state = send(running.admin, "GET", "/admin/state", "", b"")
        .await
        .json();
    let endpoints = state["pools"][0]["endpoints"].as_array().unwrap();
    let dead = endpoints
        .iter()
        .find(|endpoint| endpoint["name"] == dead.to_string())
        .unwrap();
    assert!(dead["failures"].as_u64().unwrap() <= 1);
    if dead["failures"] == 1 {
        assert_eq!(
            (&dead["health"], &dead["reason"]),
            (&"unready".into(), &"connection refused".into())
        );
    }

    engine.kill();
    let last = running.post("/v1/completions", GOOD).await;
    assert!(matches!(last.status, 502 | 503), "{last:?}");
    let gone = running.post("/v1/completions", GOOD).await;
    assert_eq!((gone.status, gone.header("retry-after")), (503, Some("1")));
    assert_eq!(running.get("/readyz").await.status, 503);
}

#[tokio::test]
async fn a_reset_on_a_kept_connection_says_nothing() {
    // Answers the first request on each connection and closes on the second, as if its idle limit had come.
    let used = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let engine =
        FakeEngine::start(
            move |seen| match used.lock().unwrap().insert(seen.connection) {
                true => ok(),
                false => vec![Act::Close],
            },
        )
        .await;
    let running = Running::before(&[&engine]).await;
    for _ in 0..6 {
        assert_eq!(running.post("/v1/completions", GOOD).await.status, 200);
    }
    assert_eq!(failures(&running).await, 0);
    let streamed = vec![b'x'; 2 << 20];
    for _ in 0..2 {
        // A body that passes through as it comes cannot be sent again once begun; it may only succeed or be told.
        let answer = running.send("POST", "/unknown", "", &streamed).await;
        assert!(matches!(answer.status, 200 | 502), "{answer:?}");
    }
}

#[tokio::test]
async fn a_request_waiting_at_a_killed_engine_goes_elsewhere() {
    for waits in [vec![Act::Hang], vec![write(SSE_HEAD), Act::Hang]] {
        let waits = std::sync::Arc::new(waits);
        let again = std::sync::Arc::clone(&waits);
        let first = FakeEngine::start(move |_| waits.to_vec()).await;
        let second = FakeEngine::start(move |_| again.to_vec()).await;
        let spare = FakeEngine::start(|_| stream()).await;
        let fleet = fleet(
            "p",
            &[first.address, second.address, spare.address],
            Some(&["m"]),
        );
        let running = Running::start(config(), vec![PoolRoute::new("p", fleet)]).await;
        let request = running.post("/v1/completions", GOOD);
        let kill = async {
            loop {
                for engine in [&first, &second] {
                    if !engine.requests().is_empty() {
                        engine.kill();
                    }
                }
                if !spare.requests().is_empty() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let (answer, ()) = tokio::join!(request, kill);
        assert_eq!(answer.status, 200);
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
    }
}

#[tokio::test]
async fn attempts_are_bounded() {
    let pair = [
        FakeEngine::start(|_| failing(500)).await,
        FakeEngine::start(|_| failing(500)).await,
    ];
    let running = Running::configured(
        GatewayConfig {
            max_attempts: 1,
            ..config()
        },
        &[&pair[0], &pair[1]],
    )
    .await;
    assert_eq!(running.post("/v1/completions", GOOD).await.status, 500);
    assert_eq!(pair[0].requests().len() + pair[1].requests().len(), 1);
}

#[tokio::test]
async fn in_band_errors_after_content_are_the_engine_s_failure() {
    let engine = FakeEngine::start(|_| {
        let error =
            chunk("data: {\"error\": {\"message\": \"dead\", \"code\": 500}}\n\ndata: [DONE]\n\n");
        vec![
            write(SSE_HEAD),
            event("a"),
            Act::Write(error),
            write("0\r\n\r\n"),
        ]
    })
    .await;
    let running = Running::before(&[&engine]).await;
    let answer = running.post("/v1/completions", GOOD).await;
    assert!(answer.whole);
    assert_eq!(answer.text().matches("[DONE]").count(), 1);
    assert_eq!(failures(&running).await, 1);
}

#[tokio::test]
async fn a_break_before_anything_was_given_away_is_a_clean_error() {
    let cases: &[(&str, Acts)] = &[
        ("reset, known length", || {
            vec![
                write(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"a\":",
                ),
                Act::Reset,
            ]
        }),
        ("reset, chunked", || {
            vec![
                write(CHUNKED_HEAD),
                Act::Write(chunk("{\"a\":")),
                Act::Reset,
            ]
        }),
        ("closed, chunked", || {
            vec![
                write(CHUNKED_HEAD),
                Act::Write(chunk("{\"a\":")),
                Act::Close,
            ]
        }),
        ("reset, stream", || {
            vec![write(SSE_HEAD), event("a"), Act::Reset]
        }),
    ];
    for (name, acts) in cases {
        let acts = *acts;
        let pair = [
            FakeEngine::start(move |_| acts()).await,
            FakeEngine::start(move |_| acts()).await,
        ];
        let running = Running::before(&[&pair[0], &pair[1]]).await;
        let answer = running.post("/v1/completions", GOOD).await;
        assert_eq!(answer.status, 502, "{name}: {answer:?}");
        assert!(answer.error().contains("closed the connection"), "{name}");
        assert_eq!((pair[0].requests().len(), pair[1].requests().len()), (1, 1));
        assert_eq!(failures(&running).await, 2, "{name}");
    }
}

#[tokio::test]
async fn unread_bodies_go_to_a_second_endpoint_while_they_are_kept() {
    let small = GatewayConfig {
        max_replay_bytes: 64 << 10,
        ..config()
    };
    for (bytes, chunked, status) in [
        (10_usize, true, 200),
        (60 << 10, true, 200),
        (60 << 10, false, 200),
        (1 << 20, true, 502),
        (1 << 20, false, 502),
    ] {
        // Reads the whole body, then closes without a word.
        let pair = engines(|| vec![Act::Close], ok).await;
        let running = Running::configured(small.clone(), &[&pair[0], &pair[1]]).await;
        let body: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let mut wire = b"POST /unknown HTTP/1.1\r\nhost: t\r\nconnection: close\r\n".to_vec();
        if chunked {
            wire.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            for piece in body.chunks(5_000) {
                wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                wire.extend_from_slice(piece);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
        } else {
            wire.extend_from_slice(format!("content-length: {bytes}\r\n\r\n").as_bytes());
            wire.extend_from_slice(&body);
        }
        let answer = crate::support::raw(running.address, &wire).await;
        let requests: Vec<_> = pair.iter().flat_map(|engine| engine.requests()).collect();
        assert_eq!(answer.status, status, "{bytes} {chunked}: {answer:?}");
        assert!(
            requests.iter().all(|seen| seen.body == body),
            "{bytes} {chunked}"
        );
        if status == 200 {
            assert_eq!(requests.len(), 2);
        } else {
            assert_eq!(requests.len(), 1);
            let words = answer.error();
            assert!(words.contains("no other was tried"), "{words}");
            assert!(words.contains("65536 bytes"), "{words}");
        }
    }
}
