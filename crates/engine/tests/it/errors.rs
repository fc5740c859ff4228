use serde_json::{Value, json};

use crate::support::{chat, post, request, rig};

/// Status, type and param of an error, and a part of its message.
#[track_caller]
fn check(seen: &crate::support::Answer, status: u16, kind: &str, param: Option<&str>, part: &str) {
    let error = &seen.json()["error"];
    assert_eq!(seen.status, status, "{}", seen.body);
    assert_eq!(
        (&error["code"], &error["type"], &error["param"]),
        (&json!(status), &json!(kind), &json!(param)),
        "{}",
        seen.body
    );
    assert!(
        error["message"].as_str().unwrap().contains(part),
        "{}",
        seen.body
    );
}

#[tokio::test(start_paused = true)]
async fn bodies_that_cannot_be_read() {
    let rig = rig("");
    for body in [
        "",
        "{",
        "[1]",
        "null",
        "\u{1}",
        r#"{"prompt":7}"#,
        r#"{"prompt":"a","n":"x"}"#,
        r#"{"prompt":{}}"#,
    ] {
        check(
            &rig.post("/v1/completions", body).await,
            400,
            "Bad Request",
            None,
            "",
        );
    }
    for body in [
        "{}",
        r#"{"messages":5}"#,
        r#"{"messages":[{"content":"x"}]}"#,
        r#"{"messages":[7]}"#,
    ] {
        check(
            &rig.post("/v1/chat/completions", body).await,
            400,
            "Bad Request",
            None,
            "essages",
        );
    }
    let deep = format!("{{\"messages\":{}", "[".repeat(100_000));
    check(
        &rig.post("/v1/chat/completions", deep).await,
        400,
        "Bad Request",
        None,
        "recursion",
    );
    let plain = request(
        "POST",
        "/v1/completions",
        &[("content-type", "text/plain")],
        r#"{"prompt":"a"}"#,
    );
    check(
        &rig.send(plain).await.unwrap(),
        400,
        "Bad Request",
        None,
        "application/json",
    );
    let mut bytes = post("/v1/completions", "");
    *bytes.body_mut() = http_body_util::Full::from(b"{\"prompt\":\"\xff\"}".to_vec());
    check(
        &rig.send(bytes).await.unwrap(),
        400,
        "Bad Request",
        None,
        "",
    );
    let mut large = post("/v1/completions", "");
    *large.body_mut() = http_body_util::Full::from(vec![b' '; 64 * 1024 * 1024 + 1]);
    if let Ok(answer) = rig.send(large).await {
        check(&answer, 413, "Bad Request", None, "larger");
    }
}

#[tokio::test(start_paused = true)]
async fn values_that_make_no_sense() {
    let rig = rig("--max-model-len 64");
    let cases = [
        (
            json!({"stream_options": {"include_usage": true}}),
            Some("stream_options"),
            "stream=True",
        ),
        (json!({"n": 0}), None, "n must be"),
        (json!({"n": 2, "temperature": 0}), None, "greedy"),
        (json!({"max_tokens": 0}), Some("max_tokens"), "at least 1"),
        (json!({"max_tokens": -5}), Some("max_tokens"), "at least 1"),
        (
            json!({"max_tokens": 65}),
            Some("max_tokens"),
            "model's length, 64",
        ),
        (
            json!({"min_tokens": 9, "max_tokens": 5}),
            None,
            "min_tokens",
        ),
        (
            json!({"temperature": -1}),
            Some("temperature"),
            "non-negative",
        ),
        (json!({"top_p": 2}), Some("top_p"), "top_p"),
        (json!({"stop": ["a", ""]}), None, "empty"),
        (
            json!({"prompt": "word ".repeat(65)}),
            Some("input_tokens"),
            "maximum context length is 64",
        ),
        (json!({"prompt": []}), None, "at least one"),
        (json!({"prompt": ""}), Some("prompt"), "empty"),
        (json!({"prompt": null}), Some("prompt"), "required"),
        (json!({"logprobs": 21}), Some("logprobs"), "most is 20"),
        (
            json!({"n": 16_384, "prompt": ["a", "b", "c", "d", "e"]}),
            None,
            "sequences",
        ),
        (json!({"prompt": [200_000]}), None, "out of vocabulary"),
        (json!({"cache_salt": ""}), Some("cache_salt"), "1 to 128"),
        (json!({"cache_salt": "a/b"}), Some("cache_salt"), "none of"),
        (
            json!({"cache_salt": "x".repeat(129)}),
            Some("cache_salt"),
            "128",
        ),
    ];
    for (extra, param, part) in cases {
        let mut body = json!({"prompt": "a"});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        check(
            &rig.post("/v1/completions", body).await,
            400,
            "BadRequestError",
            param,
            part,
        );
    }
    let template = chat(json!({"chat_template": "x"}));
    check(
        &rig.post("/v1/chat/completions", template).await,
        400,
        "BadRequestError",
        None,
        "template",
    );
    let both = chat(json!({"add_generation_prompt": true, "continue_final_message": true}));
    check(
        &rig.post("/v1/chat/completions", both).await,
        400,
        "BadRequestError",
        None,
        "cannot both be true",
    );
}

#[tokio::test(start_paused = true)]
async fn models_paths_methods_and_keys() {
    let rig = rig("--api-key k1 k2 --served-model-name m");
    let with = |key: &str, body: Value| {
        request(
            "POST",
            "/v1/completions",
            &[("content-type", "application/json"), ("authorization", key)],
            body,
        )
    };
    for key in ["Bearer k1", "bearer k2"] {
        assert_eq!(
            rig.send(with(key, json!({"prompt": "a", "model": "m"})))
                .await
                .unwrap()
                .status,
            200
        );
    }
    for key in ["Bearer k3", "k1", "Basic k1", ""] {
        let answer = rig.send(with(key, json!({}))).await.unwrap();
        assert_eq!(
            (answer.status, answer.json()),
            (401, json!({"error": "Unauthorized"}))
        );
    }
    let unknown = rig
        .send(with("Bearer k1", json!({"prompt": "a", "model": "zz"})))
        .await
        .unwrap();
    check(
        &unknown,
        404,
        "NotFoundError",
        Some("model"),
        "Served here: m.",
    );
    assert_eq!(rig.get("/health").await.status, 200);
    let lost = rig.get("/nowhere").await;
    assert_eq!(
        (lost.status, lost.json()),
        (404, json!({"detail": "Not Found"}))
    );
    let wrong = rig.post("/health", "{}").await;
    assert_eq!(
        (wrong.status, wrong.json()),
        (405, json!({"detail": "Method Not Allowed"}))
    );
    let embeddings = crate::support::rig("")
        .post("/v1/embeddings", json!({"input": "a"}))
        .await;
    assert_eq!(embeddings.status, 404);
    let closed = crate::support::rig("")
        .post("/v1/completions/render", json!({"prompt": "a"}))
        .await;
    check(
        &closed,
        403,
        "PermissionDeniedError",
        None,
        "--enable-scale-out",
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_503() {
    let rig = rig("--max-num-seqs 1 --max-num-queued-reqs 1");
    let ask = || rig.post("/v1/completions", json!({"prompt": "a", "max_tokens": 500}));
    let (first, second, third) = tokio::join!(ask(), ask(), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        ask().await
    });
    assert_eq!((first.status, second.status), (200, 200));
    check(&third, 503, "Service Unavailable", None, "waiting");
    assert_eq!(rig.metric("vllm:admission_rejections_total").await, 1.0);
}
