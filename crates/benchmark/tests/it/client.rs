//! What does the client make of streams, whole and broken?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use benchmark::load::{Failure, probe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{DONE, Reply, TOKEN, client, prompted, sample, serve, usage};

#[tokio::test]
async fn tokens_come_from_usage_and_events_may_be_split_anywhere() {
    let whole = format!("{TOKEN}{TOKEN}{}{DONE}", usage(40, 9, 32));
    for at in [1, 5, 20, TOKEN.len() - 1, TOKEN.len(), whole.len() - 3] {
        let sample = sample(Reply::stream(&[&whole[..at], &whole[at..]])).await;
        assert!(sample.is_ok(), "cut at {at}: {:?}", sample.failure);
        assert!(sample.done);
        let usage = sample.usage.unwrap();
        assert_eq!(
            (
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.cached_tokens
            ),
            (40, 9, Some(32))
        );
        assert_eq!(sample.content_events(), 2, "two events carried nine tokens");
        assert!(sample.tpot_ms().is_some());
    }
}

#[tokio::test]
async fn a_role_only_chunk_is_no_first_token() {
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let word = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    let sample = sample(Reply::stream(&[role, word, &usage(5, 1, 0), DONE])).await;
    assert_eq!(sample.content_events(), 1);
    let silent = crate::support::sample(Reply::stream(&[role, DONE])).await;
    assert!(
        matches!(silent.failure, Some(Failure::Empty)),
        "{:?}",
        silent.failure
    );
    assert_eq!(silent.ttft_ms(), None);
}

#[tokio::test]
async fn an_error_event_is_a_failure_although_done_follows() {
    let error = "data: {\"error\": {\"message\": \"engine died\", \"type\": \"InternalServerError\", \"code\": 500}}\n\n";
    let sample = sample(Reply::stream(&[TOKEN, error, DONE])).await;
    assert!(sample.done);
    let said = sample.failure.unwrap();
    assert!(
        matches!(&said, Failure::InBand { message } if message == "engine died"),
        "{said}"
    );
}

#[tokio::test]
async fn missing_usage_and_missing_done_are_noted_not_failed() {
    let sample = sample(Reply::stream(&[TOKEN, TOKEN])).await;
    assert!(sample.is_ok());
    assert!(!sample.done && sample.usage.is_none());
    assert_eq!(
        sample.tpot_ms(),
        None,
        "no tokens counted, no time per token"
    );
}

#[tokio::test]
async fn refusals_cuts_and_wrong_types_say_what_they_are() {
    let refused = Reply::json("{\"error\":{\"message\":\"no such model\"}}").status(404);
    for (reply, expected) in [
        (refused, "status 404: no such model"),
        (
            Reply::json("<html>busy</html>").status(503),
            "status 503: `<html>busy</html>`",
        ),
        (
            Reply::json("{}"),
            "asked for a stream, got application/json",
        ),
        (Reply::stream(&[TOKEN]).cut(), "broke the connection"),
        (Reply::stream(&[]), "without a single token"),
    ] {
        let said = sample(reply).await.failure.unwrap().to_string();
        assert!(said.contains(expected), "{said} should contain {expected}");
    }
}

#[tokio::test]
async fn nobody_there_says_where_and_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let said = client(&url).get("/health").await.unwrap_err().to_string();
    assert!(
        said.contains(&url) && said.contains("refused") && said.contains("port"),
        "{said}"
    );
    let sample = client(&url).stream(&prompted(), Instant::now()).await;
    assert!(matches!(sample.failure, Some(Failure::Client(_))));
}

#[tokio::test]
async fn headers_tell_endpoint_and_simulation() {
    let reply = Reply::stream(&[TOKEN, DONE])
        .header("x-prefixgate-endpoint", "engine-2")
        .header("x-prefixgate-simulated", "1");
    let named = sample(reply).await;
    assert_eq!(named.endpoint.as_deref(), Some("engine-2"));
    assert!(named.simulated);
    let plain = sample(Reply::stream(&[TOKEN, DONE])).await;
    assert!(!plain.simulated && plain.endpoint.is_none());
    let print = "data: {\"choices\":[{\"text\":\"a\"}],\"system_fingerprint\":\"x-simulated\"}\n\n";
    assert!(sample(Reply::stream(&[print, DONE])).await.simulated);
}

#[tokio::test]
async fn connections_are_kept_and_a_closed_one_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    tokio::spawn(async move {
        // Answers twice on each connection, then closes it without a word.
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                for _ in 0..2 {
                    let mut buffer = [0; 4096];
                    if socket.read(&mut buffer).await.unwrap_or(0) == 0 {
                        return;
                    }
                    socket
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .await
                        .unwrap();
                }
            });
        }
    });
    let client = client(&url);
    for _ in 0..6 {
        assert_eq!(&client.get("/x").await.unwrap().body[..], b"ok");
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn readiness_model_and_words_are_probed() {
    let url = serve(|path, body| match path {
        "/ns/name/health" => Reply::json(""),
        "/ns/name/v1/models" => Reply::json(r#"{"data":[{"id":"first"},{"id":"second"}]}"#),
        "/ns/name/v1/completions" => {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            let words = body["prompt"].as_str().unwrap().split(' ').count();
            let tokens = 7 + words * 5 / 4;
            Reply::json(format!(
                r#"{{"usage":{{"prompt_tokens":{tokens},"completion_tokens":1}}}}"#
            ))
        }
        _ => Reply::json("{}").status(404),
    })
    .await;
    let client = client(&format!("{url}/ns/name"));
    probe::wait_ready(&client, std::time::Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(probe::model(&client, None).await.unwrap(), "first");
    assert_eq!(probe::model(&client, Some("mine")).await.unwrap(), "mine");
    assert_eq!(
        probe::tokens_per_word(&client, "first", 3).await.unwrap(),
        1.25
    );
}

#[tokio::test]
async fn a_server_that_is_not_ready_is_named_with_what_was_seen() {
    let url = serve(|_, _| Reply::json("{}").status(503)).await;
    let said = probe::wait_ready(&client(&url), std::time::Duration::ZERO)
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains(&url) && said.contains("503"), "{said}");
}
