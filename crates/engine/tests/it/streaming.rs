use serde_json::{Value, json};

use crate::support::{Answer, chat, rig};

async fn stream(flags: &str, path: &str, mut body: Value) -> Answer {
    body["stream"] = json!(true);
    rig(flags).post(path, body).await
}

#[tokio::test(start_paused = true)]
async fn a_chat_stream_is_role_contents_usage_and_done() {
    let ask = chat(json!({"stream_options": {"include_usage": true}}));
    let answer = stream(
        "--enable-prompt-tokens-details",
        "/v1/chat/completions",
        ask,
    )
    .await;
    assert_eq!(
        answer.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    assert!(!answer.headers.contains_key("content-length"));
    let events = answer.events();
    assert_eq!(events.len(), 8, "{}", answer.body);
    assert_eq!(
        events[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(events[0]["object"], "chat.completion.chunk");
    for event in &events[1..6] {
        assert!(
            !event["choices"][0]["delta"]["content"]
                .as_str()
                .unwrap()
                .is_empty()
        );
        assert!(event.get("usage").is_none());
    }
    let last: Vec<_> = events
        .iter()
        .map(|event| event["choices"][0]["finish_reason"].as_str())
        .collect();
    assert_eq!(
        last,
        [None, None, None, None, None, Some("length"), None, None]
    );
    assert!(
        events[6]["system_fingerprint"]
            .as_str()
            .unwrap()
            .contains("simulated")
    );
    assert!(events[5].get("system_fingerprint").is_none());
    assert_eq!(events[6]["choices"], json!([]));
    assert_eq!(events[6]["usage"]["completion_tokens"], 5);
    assert_eq!(
        events[6]["usage"]["prompt_tokens_details"]["cached_tokens"],
        0
    );
    assert_eq!(events[7], "[DONE]");
}

#[tokio::test(start_paused = true)]
async fn a_completion_stream_has_text_and_no_role() {
    let answer = stream(
        "",
        "/v1/completions",
        json!({"prompt": ["a", "b"], "max_tokens": 3, "echo": true}),
    )
    .await;
    let events = answer.events();
    let of = |index: u64| -> String {
        let texts = events
            .iter()
            .filter(|event| event["choices"][0]["index"] == index);
        texts
            .map(|event| event["choices"][0]["text"].as_str().unwrap())
            .collect()
    };
    assert!(of(0).starts_with("a ") && of(1).starts_with("b "));
    assert_eq!(events.len(), 7);
    assert!(events.iter().all(|event| event.get("usage").is_none()));
}

#[tokio::test(start_paused = true)]
async fn usage_in_every_event_where_asked_for_or_forced() {
    for (flags, options) in [
        (
            "",
            json!({"include_usage": true, "continuous_usage_stats": true}),
        ),
        ("--enable-force-include-usage", json!({})),
    ] {
        let answer = stream(
            flags,
            "/v1/chat/completions",
            chat(json!({"stream_options": options})),
        )
        .await;
        let counts: Vec<_> = answer
            .events()
            .iter()
            .map(|event| event["usage"]["completion_tokens"].as_u64())
            .collect();
        assert_eq!(
            counts,
            [
                Some(0),
                Some(1),
                Some(2),
                Some(3),
                Some(4),
                Some(5),
                Some(5),
                None
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_string_ends_a_stream_where_it_ends_a_whole_answer() {
    let ask = json!({"prompt": "abc", "max_tokens": 30});
    let whole = rig("").post("/v1/completions", &ask).await.json();
    let text = whole["choices"][0]["text"].as_str().unwrap().to_owned();
    let stop = &text[text.len() / 2..text.len() / 2 + 7];
    let answer = stream(
        "",
        "/v1/completions",
        json!({"prompt": "abc", "max_tokens": 30, "stop": stop}),
    )
    .await;
    let events = answer.events();
    let streamed: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(streamed, text[..text.find(stop).unwrap()]);
    assert_eq!(events[events.len() - 2]["choices"][0]["stop_reason"], stop);
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_comments_where_asked_for() {
    let rig = rig("--sse-keep-alive-interval 1 --fault sleep:for_ms=2500");
    let answer = rig
        .post(
            "/v1/completions",
            json!({"prompt": "a", "max_tokens": 1, "stream": true}),
        )
        .await;
    assert_eq!(answer.body.matches(": keep-alive\n\n").count(), 2);
    assert!(
        answer.body.starts_with(": keep-alive\n\n") && answer.body.ends_with("data: [DONE]\n\n")
    );
}
