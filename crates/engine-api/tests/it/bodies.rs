//! Which fields does a request body yield, and which bodies are refused with what words?

use engine_api::openai::{BodyError, Content, Part, Prompt, RequestView, Route, parse};

fn read(route: Route, body: &str) -> RequestView<'_> {
    parse(route, body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn refused(route: Route, body: impl AsRef<[u8]>) -> BodyError {
    parse(route, body.as_ref()).expect_err("a body that must be refused")
}

#[test]
fn the_longest_suffix_decides_the_route() {
    let check = |path: &str, expected| assert_eq!(Route::of(path), expected, "{path}");
    check("/v1/completions", Route::Completions);
    check("/v1/chat/completions", Route::Chat);
    check("/ns/pool/v1/chat/completions", Route::Chat);
    check("/v1/chat/completions?x=/v1/completions", Route::Chat);
    check("/v1/messages", Route::Messages);
    check("/v1/responses", Route::Responses);
    check("/v1/embeddings", Route::Embeddings);
    check("/v2/rerank", Route::Embeddings);
    check("/tokenize", Route::Embeddings);
    check("/v1/messages/count_tokens", Route::Embeddings);
    check("/v1/chat/completions/render", Route::Embeddings);
    check("/generate", Route::Generate);
    check("/generate?x", Route::Generate);
    check("/inference/v1/generate", Route::Generate);
    check("/base/inference/v1/generate", Route::Generate);
    check("/v2/models/m/generate", Route::Other);
    check("/v1/responses/resp_1", Route::Other);
    check("/v1/responses/resp_1/cancel", Route::Other);
    check("/v1/mycompletions", Route::Other);
    check("/v1/completions/", Route::Other);
    check("completions", Route::Other);
    check("/metrics", Route::Other);
    check("", Route::Other);
}

#[test]
fn the_fields_of_a_completion() {
    let view = read(
        Route::Completions,
        r#" {"model":"m","prompt":"a\nb","stream":true,"stream_options":{"x":[1],"include_usage":true},
            "max_tokens":16,"cache_salt":"s","logit_bias":{"1":[{}]},"n":2.5e-3,"previous_response_id":7} "#,
    );
    assert_eq!(view.model.as_deref(), Some("m"));
    assert!(view.stream && view.include_usage);
    assert_eq!(view.max_tokens, Some(16));
    assert_eq!(view.cache_salt.as_deref(), Some("s"));
    assert_eq!(view.previous_response_id, None);
    assert!(matches!(view.prompt, Prompt::Text(text) if text == "a\nb"));
}

#[test]
fn each_shape_of_prompt() {
    let check = |prompt: &str, expected: &str| {
        let body = format!("{{\"prompt\":{prompt}}}");
        let view = read(Route::Completions, &body);
        assert_eq!(format!("{:?}", view.prompt), expected, "{prompt}");
    };
    check(r#""""#, r#"Text("")"#);
    check(r#"["a", "b\t"]"#, r#"Texts(["a", "b\t"])"#);
    check("[]", "Texts([])");
    check(
        "[ 1,2 , 4294967295,0, 7.0 ]",
        "Tokens([1, 2, 4294967295, 0, 7])",
    );
    check("[[1],[],[2,3]]", "TokenLists([[1], [], [2, 3]])");
}

#[test]
fn prompts_of_a_wrong_type_are_named() {
    for prompt in [
        "5",
        "true",
        "{}",
        "[1,\"a\"]",
        "[\"a\",1]",
        "[[1],2]",
        "[[1],[\"a\"]]",
        "[[[1]]]",
        "[-1]",
        "[4294967296]",
        "[99999999999999999999]",
        "[1.5]",
        "[1e3]",
        "[true]",
        "[null]",
        "[\"a\",null]",
        "[1,[2]]",
        "[NaN]",
        "[1,NaN]",
    ] {
        let error = refused(Route::Completions, format!("{{\"prompt\":{prompt}}}"));
        assert!(
            matches!(
                error,
                BodyError::Type {
                    field: "prompt",
                    ..
                }
            ),
            "{prompt}: {error:?}"
        );
    }
}

#[test]
fn fields_of_a_wrong_type_are_named() {
    let check = |route, body: &str, expected: &str| match refused(route, body) {
        BodyError::Type { field, .. } => assert_eq!(field, expected, "{body}"),
        other => panic!("{body}: {other:?}"),
    };
    let chat = |body: &str, expected: &str| check(Route::Chat, body, expected);
    check(Route::Embeddings, r#"{"model":5}"#, "model");
    check(Route::Embeddings, r#"{"model":["m"]}"#, "model");
    check(Route::Embeddings, "[1,2]", "body");
    check(Route::Embeddings, "\"text\"", "body");
    chat(r#"{"messages":[],"stream":"perhaps"}"#, "stream");
    chat(r#"{"messages":[],"stream":2}"#, "stream");
    chat(r#"{"messages":[],"stream":[]}"#, "stream");
    chat(r#"{"messages":[],"stream_options":true}"#, "stream_options");
    chat(
        r#"{"messages":[],"stream_options":{"include_usage":"x"}}"#,
        "stream_options.include_usage",
    );
    chat(r#"{"messages":[],"max_tokens":"many"}"#, "max_tokens");
    chat(r#"{"messages":[],"max_tokens":"1.5"}"#, "max_tokens");
    chat(r#"{"messages":[],"max_tokens":{}}"#, "max_tokens");
    chat(r#"{"messages":[],"max_tokens":-1}"#, "max_tokens");
    chat(
        r#"{"messages":[],"max_completion_tokens":1.5}"#,
        "max_completion_tokens",
    );
    chat(r#"{"messages":[],"cache_salt":{}}"#, "cache_salt");
    chat(r#"{"messages":[],"tools":{}}"#, "tools");
    chat(r#"{"messages":[],"chat_template":1}"#, "chat_template");
    chat(
        r#"{"messages":[],"add_generation_prompt":"x"}"#,
        "add_generation_prompt",
    );
    chat(r#"{"messages":"hi"}"#, "messages");
    chat(r#"{"messages":["hi"]}"#, "messages");
    chat(r#"{"messages":[{"role":5}]}"#, "role");
    chat(r#"{"messages":[{"content":5}]}"#, "content");
    chat(r#"{"messages":[{"content":[5]}]}"#, "content");
    chat(
        r#"{"messages":[{"content":[{"type":"text","text":5}]}]}"#,
        "content[].text",
    );
    check(Route::Responses, r#"{"input":5}"#, "input");
    check(
        Route::Responses,
        r#"{"input":"","previous_response_id":5}"#,
        "previous_response_id",
    );
    check(Route::Messages, r#"{"messages":[],"system":5}"#, "system");
}

#[test]
fn what_a_route_is_nothing_without() {
    let check = |route, body: &str, expected: &str| {
        assert!(matches!(refused(route, body), BodyError::Missing { field } if field == expected));
    };
    check(Route::Chat, "{}", "messages");
    check(Route::Chat, r#"{"messages":null}"#, "messages");
    check(Route::Messages, "{}", "messages");
    check(
        Route::Completions,
        r#"{"prompt":null,"prompt_embeds":null}"#,
        "prompt",
    );
    assert!(matches!(
        read(Route::Completions, r#"{"prompt_embeds":"AA=="}"#).prompt,
        Prompt::None
    ));
    assert_eq!(read(Route::Responses, "{}").prompt.count(), 1);
}

/// As pydantic reads them, which engines read bodies with.
#[test]
fn numbers_and_truths_are_read_leniently() {
    let with = |field: &str, value: &str| format!(r#"{{"messages":[],"{field}":{value}}}"#);
    let truths = [
        ("true", true),
        ("1", true),
        ("1.0", true),
        (r#""1""#, true),
        (r#""True""#, true),
        (r#""yes""#, true),
        (r#""on""#, true),
        (r#""t""#, true),
        ("0", false),
        (r#""off""#, false),
        (r#""N""#, false),
        ("false", false),
    ];
    for (value, expected) in truths {
        let body = with("stream", value);
        assert_eq!(read(Route::Chat, &body).stream, expected, "{value}");
    }
    let counts = [
        ("16", 16),
        ("16.0", 16),
        (r#""16""#, 16),
        (r#"" 16.00 ""#, 16),
        ("true", 1),
    ];
    for (value, expected) in counts {
        let body = with("max_tokens", value);
        let read = read(Route::Chat, &body).max_tokens;
        assert_eq!(read, Some(expected), "{value}");
    }
}

#[test]
fn null_is_as_good_as_absent() {
    let view = read(
        Route::Chat,
        r#"{"model":null,"stream":null,"stream_options":null,"max_tokens":null,"cache_salt":null,
            "messages":[{"role":"assistant","content":null,"tool_calls":null,"refusal":null,"name":null}],
            "tools":null,"chat_template":null}"#,
    );
    assert_eq!(view.model, None);
    assert!(!view.stream && !view.include_usage && view.max_tokens.is_none());
    let Prompt::Chat(chat) = view.prompt else {
        panic!("no chat")
    };
    assert!(chat.tools.is_none() && chat.template.is_empty());
    let message = &chat.messages[0];
    assert!(matches!(message.content, Content::None));
    assert!(message.tool_calls.is_none() && message.other.is_empty() && message.name.is_none());
}

#[test]
fn of_a_duplicated_key_the_last_counts() {
    let view = read(
        Route::Chat,
        r#"{"model":5,"messages":7,"model":"a","mod\u0065l":"b","stream":true,"stream":null,
            "max_completion_tokens":9,"max_tokens":4,"chat_template":1,"chat_template":"t",
            "messages":[{"role":"x","role":"user","content":[{}],"content":"c","k":1,"k":2}]}"#,
    );
    assert_eq!(view.model.as_deref(), Some("b"));
    assert!(!view.stream);
    assert_eq!(view.max_tokens, Some(9));
    let Prompt::Chat(chat) = view.prompt else {
        panic!("no chat")
    };
    assert_eq!(chat.template.len(), 1);
    let message = &chat.messages[0];
    assert_eq!(message.role, "user");
    assert!(matches!(&message.content, Content::Text(text) if text == "c"));
    assert_eq!(message.other.len(), 1);
    assert_eq!(message.other[0].1.get(), "2");
}

#[test]
fn parts_are_text_or_stand_as_they_are() {
    let body = r#"{"messages":[{"content":["s",{"text":"a","type":"text"},{"type":"input_text","text":"b"},
        {"type":"image_url","image_url":{"url":"u"}},{"type":"thinking","text":"t"},{"text":"bare"}, {"x": 1 } ]}]}"#;
    let Prompt::Chat(chat) = read(Route::Messages, body).prompt else {
        panic!("no chat")
    };
    let Content::Parts(parts) = &chat.messages[0].content else {
        panic!("no parts")
    };
    let seen: Vec<&str> = parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => &**text,
            Part::Raw(raw) => raw.get(),
        })
        .collect();
    let image = r#"{"type":"image_url","image_url":{"url":"u"}}"#;
    let thinking = r#"{"type":"thinking","text":"t"}"#;
    assert_eq!(
        seen,
        ["s", "a", "b", image, thinking, "bare", "{\"x\": 1 }"]
    );
}

#[test]
fn plain_strings_are_borrowed() {
    let body = r#"{"model":"m","prompt":"plain","cache_salt":"esc\u0061ped"}"#;
    let view = read(Route::Completions, body);
    assert!(matches!(
        view.prompt,
        Prompt::Text(std::borrow::Cow::Borrowed(_))
    ));
    assert!(matches!(view.model, Some(std::borrow::Cow::Borrowed(_))));
    assert_eq!(view.cache_salt.as_deref(), Some("escaped"));
}

#[test]
fn a_view_is_never_many_times_its_body() {
    let messages = format!("{{\"messages\":[{}{{}}]}}", "{},".repeat(262_144));
    let error = refused(Route::Chat, messages);
    assert!(
        matches!(
            error,
            BodyError::Type {
                field: "messages",
                ..
            }
        ),
        "{error}"
    );
    let members: String = (0..65).map(|n| format!("\"k{n}\":1,")).collect();
    let error = refused(
        Route::Chat,
        format!("{{\"messages\":[{{{members}\"role\":\"r\"}}]}}"),
    );
    assert!(
        matches!(
            error,
            BodyError::Type {
                field: "messages",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn other_routes_are_not_looked_into() {
    for body in [&b""[..], b"\xff", b"{", b"{\"model\":5}"] {
        let view = parse(Route::Other, body).expect("anything goes");
        assert!(view.model.is_none() && view.prompt.count() == 0);
    }
}

#[test]
fn the_prompt_of_a_generate_route() {
    let check = |body: &str, prompt: &str, max_tokens: Option<u64>| {
        let view = read(Route::Generate, body);
        assert_eq!(format!("{:?}", view.prompt), prompt, "{body}");
        assert_eq!(view.max_tokens, max_tokens, "{body}");
    };
    let sampling = r#""sampling_params":{"temperature":0.5,"max_new_tokens":32}"#;
    check(
        &format!(r#"{{"text":"a\nb",{sampling},"stream":true}}"#),
        r#"Text("a\nb")"#,
        Some(32),
    );
    check(r#"{"text":["a","b"]}"#, r#"Texts(["a", "b"])"#, None);
    check(
        r#"{"input_ids":[1,2,3],"text":null}"#,
        "Tokens([1, 2, 3])",
        None,
    );
    check(
        r#"{"input_ids":[[1],[2,3]]}"#,
        "TokenLists([[1], [2, 3]])",
        None,
    );
    check(
        r#"{"token_ids":[7,8],"model":"m","sampling_params":{"max_tokens":5}}"#,
        "Tokens([7, 8])",
        Some(5),
    );
    // Another engine's route of this name is not judged.
    check(r#"{"inputs":"a","parameters":{}}"#, r#"Text("a")"#, None);
    check(
        r#"{"text":5,"sampling_params":[{"max_new_tokens":1}]}"#,
        "None",
        None,
    );
    check(
        r#"{"sampling_params":{"max_new_tokens":"x"}}"#,
        "None",
        None,
    );
    assert!(read(Route::Generate, r#"{"text":"a","stream":true}"#).stream);
    assert!(matches!(
        refused(Route::Generate, "{\"text\":"),
        BodyError::Syntax { .. }
    ));
}

#[test]
fn what_keeps_equal_prompts_apart_is_part_of_the_salt() {
    let salt = |members: &str| {
        let body = format!(r#"{{"text":"a"{members}}}"#);
        let view = read(Route::Generate, &body);
        view.cache_salt.map(|salt| salt.into_owned())
    };
    assert_eq!(salt(""), None);
    assert_eq!(
        salt(r#","cache_salt":"s","image_data":null,"extra_key":"""#),
        Some("s".to_owned())
    );
    let image = |name: &str| salt(&format!(r#","image_data":["{name}"]"#));
    assert!(image("x").is_some());
    assert_eq!(image("x"), image("x"));
    assert_ne!(image("x"), image("y"));
    assert_ne!(salt(r#","extra_key":"x""#), salt(r#","extra_key":"y""#));
    assert_ne!(salt(r#","lora_path":"x""#), salt(r#","extra_key":"x""#));
    assert_ne!(image("x"), salt(r#","cache_salt":"s","image_data":["x"]"#));
}
