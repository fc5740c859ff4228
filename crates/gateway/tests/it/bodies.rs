//! What is sent on is what came in.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{FakeEngine, Running, ok};

/// A JSON value with odd spacing and odd escapes.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-0.0e+10".to_owned()),
        Just("12345678901234567890123".to_owned()),
        "\"([a-z \u{e9}\u{4e2d}]|\\\\u00e9|\\\\n|\\\\/|\\\\\"){0,8}\"",
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let space = "[ \n\t\r]{0,2}";
        prop_oneof![
            prop::collection::vec((inner.clone(), space), 0..4).prop_map(|items| format!(
                "[{}]",
                items
                    .iter()
                    .map(|(item, space)| format!("{space}{item}{space}"))
                    .collect::<Vec<_>>()
                    .join(",")
            )),
            prop::collection::vec(("[a-z]{1,4}", inner, space), 0..4).prop_map(|items| format!(
                "{{{}}}",
                items
                    .iter()
                    .map(|(key, item, space)| format!("{space}\"{key}_\"{space}:{item}{space}"))
                    .collect::<Vec<_>>()
                    .join(",")
            )),
        ]
    })
}

fn body() -> impl Strategy<Value = String> {
    (value(), value(), "[ \n\t]{0,3}", "[a-z]{0,200}").prop_map(|(before, after, space, text)| {
        format!("{space}{{{space}\"x\":{before},\"prompt\"{space}:{space}\"{text}\",\"model\":{space}\"m\",\"y\":{after}{space}}}{space}")
    })
}

#[test]
fn bodies_are_sent_byte_for_byte() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (engine, running) = runtime.block_on(async {
        let engine = FakeEngine::start(|_| ok()).await;
        let running = Running::before(&[&engine]).await;
        (engine, running)
    });
    proptest!(ProptestConfig::with_cases(128), |(body in body())| {
        let answer = runtime.block_on(running.post("/v1/completions", &body));
        prop_assert_eq!(answer.status, 200, "{}", body);
        let sent = engine.seen.lock().unwrap().pop().unwrap();
        prop_assert_eq!(sent.body, body.into_bytes());
    });
    drop((engine, running));
}

#[tokio::test]
async fn large_and_chunked_bodies() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::before(&[&engine]).await;
    let large = format!(
        r#"{{"prompt":"{}","model":"m"}}"#,
        "lorem ipsum ".repeat(5 << 20 >> 3).get(..5 << 20).unwrap()
    );
    for path in ["/v1/completions", "/some/where"] {
        assert_eq!(running.post(path, &large).await.status, 200, "{path}");
        assert!(
            engine.requests().pop().unwrap().body == large.as_bytes(),
            "{path}"
        );
        let mut wire = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n").into_bytes();
        for piece in large.as_bytes().chunks(70_001) {
            wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(
            crate::support::raw(running.address, &wire).await.status,
            200,
            "{path}"
        );
        assert!(
            engine.requests().pop().unwrap().body == large.as_bytes(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn encoded_bodies_pass_unread() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::before(&[&engine]).await;
    let headers = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    let answer = running
        .send("POST", "/v1/completions", headers, b"\x1f\x8b\x00not json")
        .await;
    assert_eq!(answer.status, 200);
    let seen = engine.requests().pop().unwrap();
    assert_eq!(seen.body, b"\x1f\x8b\x00not json");
    assert_eq!(seen.header("content-encoding"), Some("gzip"));
    let form = "content-type: multipart/form-data; boundary=x\r\n";
    assert_eq!(
        running
            .send("POST", "/v1/audio/transcriptions", form, b"--x--")
            .await
            .status,
        200
    );
    assert_eq!(engine.requests().pop().unwrap().body, b"--x--");
}

#[tokio::test]
async fn an_unread_body_goes_on_before_it_is_all_here() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::before(&[&engine]).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    socket
        .write_all(b"POST /up HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n")
        .await
        .unwrap();
    socket.write_all(b"4\r\ndefg\r\n0\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    socket.read_to_end(&mut got).await.unwrap();
    assert_eq!(crate::support::answer(&got).status, 200);
    let seen = engine.requests().pop().unwrap();
    assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
    assert_eq!(seen.body, b"abcdefg");
}
