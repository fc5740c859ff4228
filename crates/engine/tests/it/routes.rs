use serde_json::{Value, json};

use crate::support::{chat, post, request, rig};

#[tokio::test(start_paused = true)]
async fn information_routes_have_vllms_shapes() {
    let rig = rig("--served-model-name base other --lora-modules tuned=/x");
    for path in ["/health", "/ping"] {
        let answer = rig.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    }
    assert_eq!(rig.post("/ping", "").await.status, 200);
    let version = rig.get("/version").await;
    assert_eq!(
        (
            version.json()["version"].as_str(),
            version.json()["simulated"].as_bool()
        ),
        (Some("0.32.0"), Some(true))
    );
    assert_eq!(version.headers["x-prefixgate-simulated"], "tpu-v6e-4");
    assert_eq!(rig.get("/load").await.json(), json!({"server_load": 0}));
    assert_eq!(rig.get("/kv_event_sources").await.json(), json!({}));
    let models = rig.get("/v1/models").await.json();
    let ids: Vec<_> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|card| (&card["id"], &card["parent"]))
        .collect();
    assert_eq!(
        json!(ids),
        json!([["base", null], ["other", null], ["tuned", "base"]])
    );
    assert_eq!(models["data"][0]["max_model_len"], 32768);
}

#[tokio::test(start_paused = true)]
async fn a_completion_takes_every_form_of_prompt() {
    let rig = rig("--enable-prompt-tokens-details");
    for (prompt, choices, tokens) in [
        (json!("one two three"), 1, 3),
        (json!(["one two", "three"]), 2, 3),
        (json!([5, 6, 7, 8]), 1, 4),
        (json!([[5, 6], [7, 8, 9]]), 2, 5),
    ] {
        let answer = rig
            .post(
                "/v1/completions",
                json!({"prompt": prompt, "max_tokens": 3, "n": 2}),
            )
            .await
            .json();
        let indexes: Vec<_> = answer["choices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|choice| choice["index"].as_u64().unwrap())
            .collect();
        assert_eq!(indexes, (0..2 * choices).collect::<Vec<u64>>());
        assert_eq!(answer["usage"]["prompt_tokens"], tokens);
        assert_eq!(answer["usage"]["completion_tokens"], 6 * choices);
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
    }
    let default = rig
        .post(
            "/v1/completions",
            json!({"prompt": "x", "unknown": {"a": []}, "model": ""}),
        )
        .await
        .json();
    assert_eq!(default["usage"]["completion_tokens"], 16);
    assert!(
        default["system_fingerprint"]
            .as_str()
            .unwrap()
            .contains("simulated")
    );
    assert_eq!(default["object"], "text_completion");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_prompt_is_cached_but_for_its_last_block() {
    let rig = rig("--enable-prompt-tokens-details --block-size 32");
    for (tokens, cached) in [(320, 288), (321, 320), (33, 32), (32, 0), (31, 0)] {
        let prompt: Vec<u32> = (0..tokens).map(|id| 1000 + tokens + id).collect();
        let ask = json!({"prompt": prompt, "max_tokens": 1});
        assert_eq!(
            rig.post("/v1/completions", &ask).await.json()["usage"]["prompt_tokens_details"]["cached_tokens"],
            0
        );
        let again = rig.post("/v1/completions", &ask).await.json();
        assert_eq!(
            again["usage"]["prompt_tokens_details"]["cached_tokens"],
            cached
        );
        let salted = json!({"prompt": prompt, "max_tokens": 1, "cache_salt": "s"});
        assert_eq!(
            rig.post("/v1/completions", salted).await.json()["usage"]["prompt_tokens_details"]["cached_tokens"],
            0
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_answer_ends_by_itself_and_says_what_it_cost() {
    let rig = rig("--enable-prompt-tokens-details");
    let ask = json!({"messages": [{"role": "user", "content": "word ".repeat(100)}]});
    let answer = rig.post("/v1/chat/completions", &ask).await.json();
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["choices"][0]["stop_reason"], Value::Null);
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    let details = &answer["usage"]["prompt_tokens_details"];
    assert_eq!(
        (&details["cached_tokens"], &details["created_cache_tokens"]),
        (&json!(0), &json!(96)),
        "{answer}"
    );
    let again = rig.post("/v1/chat/completions", &ask).await.json();
    assert_eq!(again["choices"], answer["choices"]);
    assert_eq!(again["usage"]["prompt_tokens_details"]["cached_tokens"], 96);
    let plain = crate::support::rig("")
        .post("/v1/chat/completions", &ask)
        .await
        .json();
    assert_eq!(plain["usage"]["prompt_tokens_details"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn stops_limits_and_echo_are_honoured() {
    let rig = rig("");
    let ask = |extra: Value| {
        let mut body = json!({"prompt": "abc", "max_tokens": 40});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        body
    };
    let text = |answer: &Value| answer["choices"][0]["text"].as_str().unwrap().to_owned();
    let free = rig.post("/v1/completions", ask(json!({}))).await.json();
    let third = text(&free).split(' ').nth(3).unwrap().to_owned();
    let stopped = rig
        .post("/v1/completions", ask(json!({"stop": [third, "never"]})))
        .await
        .json();
    assert_eq!(
        (
            &stopped["choices"][0]["finish_reason"],
            &stopped["choices"][0]["stop_reason"]
        ),
        (&json!("stop"), &json!(third))
    );
    assert!(text(&free).starts_with(&text(&stopped)) && !text(&stopped).contains(&third));
    assert_eq!(stopped["usage"]["completion_tokens"], 3);
    let late = rig
        .post(
            "/v1/completions",
            ask(json!({"stop": third, "min_tokens": 40})),
        )
        .await
        .json();
    assert_eq!(late["choices"][0]["finish_reason"], "length");
    let echo = rig
        .post(
            "/v1/completions",
            ask(json!({"echo": true, "max_tokens": 0})),
        )
        .await
        .json();
    assert_eq!(
        (text(&echo).as_str(), &echo["usage"]["completion_tokens"]),
        ("abc", &json!(1))
    );
    let longer =
        chat(json!({"max_tokens": 9, "max_completion_tokens": 4, "return_token_ids": true}));
    let longer = rig.post("/v1/chat/completions", longer).await.json();
    assert_eq!(longer["usage"]["completion_tokens"], 4);
    assert_eq!(
        longer["choices"][0]["token_ids"].as_array().unwrap().len(),
        4
    );
    let mirrored = crate::support::rig("--text echo")
        .post("/v1/completions", ask(json!({"prompt": "say it again"})))
        .await
        .json();
    assert_eq!(
        (
            text(&mirrored).as_str(),
            &mirrored["choices"][0]["finish_reason"]
        ),
        ("say it again", &json!("stop"))
    );
}

#[tokio::test(start_paused = true)]
async fn tokens_and_prompts_can_be_asked_for() {
    let rig = rig("--enable-scale-out");
    let tokens = rig
        .post(
            "/tokenize",
            json!({"prompt": "abc def", "return_token_strs": true}),
        )
        .await
        .json();
    assert_eq!(
        (&tokens["count"], &tokens["token_strs"]),
        (&json!(2), &json!(["abc", " def"]))
    );
    let text = rig
        .post("/detokenize", json!({"tokens": tokens["tokens"]}))
        .await
        .json();
    assert_eq!(text, json!({"prompt": "abc def"}));
    let chat_tokens = rig
        .post(
            "/tokenize",
            json!({"messages": [{"role": "user", "content": "x"}]}),
        )
        .await
        .json();
    let rendered = rig
        .post(
            "/v1/chat/completions/render",
            chat(json!({"messages": [{"role": "user", "content": "x"}]})),
        )
        .await
        .json();
    assert_eq!(rendered["token_ids"], chat_tokens["tokens"]);
    let rendered = rig
        .post("/v1/completions/render", json!({"prompt": ["a", "b"]}))
        .await
        .json();
    assert_eq!(rendered.as_array().unwrap().len(), 2);
    assert_eq!(rig.metric("vllm:prompt_tokens_total").await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn request_ids_name_answers_and_can_be_followed() {
    let rig = rig("--enable-request-id-headers");
    let headers = [
        ("content-type", "application/json"),
        ("x-request-id", "abc-1"),
    ];
    let answer = rig
        .send(request(
            "POST",
            "/v1/completions",
            &headers,
            json!({"prompt": "x"}),
        ))
        .await
        .unwrap();
    assert_eq!(answer.json()["id"], "cmpl-abc-1");
    assert_eq!(answer.headers["x-request-id"], "abc-1");
    let other = rig
        .send(post(
            "/v1/chat/completions",
            chat(json!({"request_id": "r2"})),
        ))
        .await
        .unwrap();
    assert_eq!(other.json()["id"], "chatcmpl-r2");
    assert!(!other.headers["x-request-id"].is_empty());
    let seen = rig.get("/admin/requests").await.json();
    assert_eq!(
        (
            &seen["requests"][0]["x_request_id"],
            &seen["requests"][0]["state"]
        ),
        (&json!("abc-1"), &json!("finished"))
    );
}

#[tokio::test(start_paused = true)]
async fn adapters_are_models_with_a_cache_of_their_own() {
    let rig = rig("--lora-modules tuned=/x --enable-prompt-tokens-details");
    let ask = |model: &str| json!({"model": model, "prompt": "word ".repeat(64), "max_tokens": 1});
    for (model, name, cached) in [
        ("tuned", "tuned", 0),
        ("", "Qwen/Qwen2.5-3B-Instruct", 0),
        ("tuned", "tuned", 64),
    ] {
        let answer = rig.post("/v1/completions", ask(model)).await.json();
        assert_eq!(
            (
                &answer["model"],
                &answer["usage"]["prompt_tokens_details"]["cached_tokens"]
            ),
            (&json!(name), &json!(cached))
        );
    }
}
