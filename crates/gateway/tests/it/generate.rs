//! Engines' own generate routes: what they count is read like any other usage.

use serde_json::Value;

use crate::support::{Act, FakeEngine, Running, SSE_HEAD, chunk, done, json, send, write};

async fn prediction(running: &Running) -> Value {
    let state = send(running.admin, "GET", "/admin/state", "", b"").await;
    state.json()["pools"][0]["endpoints"][0]["prediction"].clone()
}

/// Sends `body` to `path`, where an engine answers with `acts`, and checks what was heard of its counts.
async fn check(path: &str, body: &str, acts: Vec<Act>, prompt: u64, completion: u64, cached: u64) {
    let engine = FakeEngine::start(move |_| acts.clone()).await;
    let running = Running::before(&[&engine]).await;
    let answer = running.post(path, body).await;
    assert!(answer.status == 200 && answer.whole, "{path}: {answer:?}");
    let prediction = prediction(&running).await;
    assert_eq!(prediction["reported_requests"], 1, "{path}: {prediction}");
    assert_eq!(prediction["actual_tokens"], cached, "{path}: {prediction}");
    let page = send(running.admin, "GET", "/metrics", "", b"").await;
    for line in [
        format!("prefixgate_prompt_tokens_total{{pool=\"default\"}} {prompt}"),
        format!("prefixgate_generation_tokens_total{{pool=\"default\"}} {completion}"),
        "prefixgate_requests_total{pool=\"default\",route=\"generate\",status=\"200\"} 1"
            .to_owned(),
    ] {
        assert!(page.text().contains(&line), "{path}: no {line}");
    }
}

fn counted(text: &str, prompt: u64, completion: u64, cached: u64) -> String {
    format!(
        r#"{{"text":"{text}","meta_info":{{"id":"a","finish_reason":{{"type":"length"}},"prompt_tokens":{prompt},"completion_tokens":{completion},"cached_tokens":{cached},"e2e_latency":0.5}}}}"#
    )
}

fn streamed(events: &[String]) -> Vec<Act> {
    let event = |json: &String| Act::Write(chunk(&format!("data: {json}\n\n")));
    let mut acts = vec![write(SSE_HEAD)];
    acts.extend(events.iter().map(event));
    acts.push(done());
    acts
}

#[tokio::test]
async fn what_it_counts_is_heard() {
    let one = counted("hi there", 40, 3, 32);
    let one = || json(200, &one);
    check("/generate", r#"{"text":"a"}"#, one(), 40, 3, 32).await;
    check("/generate", r#"{"input_ids":[1,2]}"#, one(), 40, 3, 32).await;
    // Several prompts, several answers.
    let two = format!("[{}, {}]", counted("x", 40, 3, 32), counted("y", 10, 2, 0));
    check(
        "/generate",
        r#"{"text":["a","b"]}"#,
        json(200, &two),
        50,
        5,
        32,
    )
    .await;
    // Each event counts from the beginning; the last one is the sum.
    let events = [counted("hi", 40, 1, 32), counted("hi there", 40, 3, 32)];
    let body = r#"{"text":"a","stream":true}"#;
    check("/generate", body, streamed(&events), 40, 3, 32).await;
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}}"#;
    let body = r#"{"token_ids":[1,2,3,4],"sampling_params":{"max_tokens":1}}"#;
    check("/inference/v1/generate", body, json(200, usage), 4, 1, 2).await;
}

#[tokio::test]
async fn its_prompts_stick() {
    let answer = counted("x", 400, 1, 0);
    let [a, b] = [(); 2].map(|()| {
        let answer = answer.clone();
        FakeEngine::start(move |_| json(200, &answer))
    });
    let (a, b) = (a.await, b.await);
    let running = Running::before(&[&a, &b]).await;
    let prompt = "the same words again and again ".repeat(60);
    let ids: Vec<u32> = (0..600).collect();
    for body in [
        format!(r#"{{"text":"{prompt}"}}"#),
        format!(r#"{{"input_ids":{ids:?}}}"#),
    ] {
        let before = (a.requests().len(), b.requests().len());
        for _ in 0..4 {
            assert_eq!(running.post("/generate", &body).await.status, 200);
        }
        let (a, b) = (a.requests().len() - before.0, b.requests().len() - before.1);
        assert!(a == 0 || b == 0, "{a} and {b} of the same prompt");
    }
}
