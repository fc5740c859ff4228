//! The client's name for a model, back in its answer.

use std::net::SocketAddr;

use gateway::PoolRoute;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    Act, FakeEngine, Running, SSE_HEAD, answer, chunk, config, fleet, json, response, write,
};

const ASKED: &str = r#"{"model":"nice","prompt":"hi"}"#;

/// A gateway whose clients say `nice` where the engine at `address` says `m`.
async fn renaming(address: SocketAddr) -> Running {
    let fleet = fleet("p", &[address], Some(&["m"]));
    let route = PoolRoute {
        model_rewrite: [("nice".to_owned(), "m".to_owned())].into(),
        ..PoolRoute::new("p", fleet)
    };
    Running::start(config(), vec![route]).await
}

const ANSWER: &str = r#"{"id":"c", "model": "m","choices":[{"text":"\"model\": \"m\"","model":"m"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}"#;

fn renamed(text: &str) -> String {
    text.replacen("\"model\": \"m\"", "\"model\": \"nice\"", 1)
}

#[tokio::test]
async fn a_whole_answer() {
    let announced: fn() -> Vec<Act> = || json(200, ANSWER);
    let in_pieces: fn() -> Vec<Act> = || {
        let whole = response(200, "application/json; charset=utf-8", ANSWER);
        whole
            .chunks(1)
            .map(|byte| Act::Write(byte.to_vec()))
            .collect()
    };
    let chunked: fn() -> Vec<Act> = || {
        let mut acts = vec![write(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        )];
        acts.extend(
            ANSWER
                .as_bytes()
                .chunks(7)
                .map(|piece| Act::Write(chunk(std::str::from_utf8(piece).unwrap()))),
        );
        acts.push(write("0\r\n\r\n"));
        acts
    };
    for (name, script) in [
        ("announced", announced),
        ("byte by byte", in_pieces),
        ("chunked", chunked),
    ] {
        let engine = FakeEngine::start(move |_| script()).await;
        let running = renaming(engine.address).await;
        for _ in 0..2 {
            let answer = running.post("/v1/completions", ASKED).await;
            assert_eq!(answer.text(), renamed(ANSWER), "{name}");
            assert!(answer.whole, "{name}: {answer:?}");
            // In chunks it may be at hand whole, or not.
            let has_length = answer.header("content-length").is_some();
            assert!(has_length || name == "chunked", "{name}");
        }
        let seen = engine.requests();
        assert_eq!(seen[0].body, ASKED.replace("nice", "m").as_bytes());
        assert!(
            seen.iter().all(|seen| seen.connection == 0),
            "{name}: kept alive"
        );
        // Who uses the engine's own name gets the engine's own bytes.
        let own = running
            .post("/v1/completions", r#"{"model":"m","prompt":"hi"}"#)
            .await;
        assert_eq!(own.text(), ANSWER, "{name}");
    }
}

#[tokio::test]
async fn an_answer_too_long_to_hold_has_no_length() {
    let long = format!(r#"{{"text":"{}","model": "m"}}"#, "x".repeat(3 << 20));
    let expected = renamed(&long);
    let engine = FakeEngine::start(move |_| json(200, &long)).await;
    let running = renaming(engine.address).await;
    let answer = running.post("/v1/completions", ASKED).await;
    assert!(answer.whole);
    assert_eq!(answer.header("content-length"), None);
    assert!(answer.text() == expected);
}

#[tokio::test]
async fn each_event_of_a_stream_however_it_is_split() {
    let event = "data: {\"id\":\"c\",\"model\": \"m\",\"choices\":[{\"text\":\"model\"}]}\n\n";
    let stream = format!("{}data: [DONE]\n\n", event.repeat(3));
    let expected = stream.replace("\"model\": \"m\"", "\"model\": \"nice\"");
    for step in [1, 2, 13, stream.len()] {
        let stream = stream.clone();
        let engine = FakeEngine::start(move |_| {
            let mut acts = vec![write(SSE_HEAD)];
            let pieces = stream.as_bytes().chunks(step);
            acts.extend(pieces.map(|piece| Act::Write(chunk(std::str::from_utf8(piece).unwrap()))));
            acts.push(write("0\r\n\r\n"));
            acts
        })
        .await;
        let running = renaming(engine.address).await;
        let answer = running.post("/v1/completions", ASKED).await;
        assert_eq!(answer.text(), expected, "by {step}");
        assert!(answer.whole);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_passed_on() {
    let cases = [
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
        "content-type: text/plain\r\n",
    ];
    for headers in cases {
        let engine = FakeEngine::start(move |_| {
            let length = ANSWER.len();
            vec![write(&format!(
                "HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n{ANSWER}"
            ))]
        })
        .await;
        let running = renaming(engine.address).await;
        let answer = running.post("/v1/completions", ASKED).await;
        assert_eq!((answer.text(), answer.whole), (ANSWER, true), "{headers}");
        assert_eq!(
            answer.header("content-length"),
            Some(ANSWER.len().to_string().as_str())
        );
    }
}

#[tokio::test]
async fn a_kept_client_connection_goes_on_after_it() {
    let engine = FakeEngine::start(|_| json(200, ANSWER)).await;
    let running = renaming(engine.address).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let wire = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ASKED}",
        ASKED.len()
    );
    for _ in 0..3 {
        socket.write_all(wire.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while !(got.windows(4).any(|window| window == b"\r\n\r\n") && answer(&got).whole) {
            assert_ne!(socket.read_buf(&mut got).await.unwrap(), 0);
        }
        assert_eq!(answer(&got).text(), renamed(ANSWER));
    }
}
