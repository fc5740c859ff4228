//! When do two prompts share a canonical stream, and when only its beginning?

use engine_api::openai::{Route, parse, streams};
use proptest::prelude::*;
use serde_json::{Value, json};

fn all(route: Route, body: &str) -> Vec<Vec<u8>> {
    let view = parse(route, body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
    let mut all = vec![Vec::new(); view.prompt.count()];
    streams(&view.prompt, |number, bytes| {
        all[number].extend_from_slice(bytes)
    });
    all
}

fn chat(body: &Value) -> Vec<u8> {
    all(Route::Chat, &body.to_string()).remove(0)
}

fn messages(messages: &[Value]) -> Vec<u8> {
    chat(&json!({"messages": messages}))
}

#[test]
fn completions_are_their_own_bytes() {
    assert_eq!(
        all(Route::Completions, r#"{"prompt":"a\u00e9"}"#),
        [b"a\xc3\xa9"]
    );
    assert_eq!(
        all(Route::Completions, r#"{"prompt":["a","b"]}"#),
        [b"a", b"b"]
    );
    assert_eq!(
        all(Route::Completions, r#"{"prompt":[1,256]}"#),
        [b"\x01\0\0\0\0\x01\0\0"]
    );
    assert_eq!(
        all(Route::Completions, r#"{"prompt":[[1],[]]}"#),
        [&b"\x01\0\0\0"[..], b""]
    );
    let many: Vec<u32> = (0..1000).collect();
    let expected: Vec<u8> = many.iter().flat_map(|id| id.to_le_bytes()).collect();
    assert_eq!(
        all(Route::Completions, &json!({"prompt": many}).to_string()),
        [expected]
    );
}

#[test]
fn histories_that_differ_in_one_thing_differ() {
    let user = |content: Value| json!({"role": "user", "content": content});
    let histories = [
        json!({"messages": []}),
        json!({"messages": [{}]}),
        json!({"messages": [user(json!("ab"))]}),
        json!({"messages": [user(json!("a")), user(json!("b"))]}),
        json!({"messages": [user(json!(["a", "b"]))]}),
        json!({"messages": [{"role": "assistant", "content": "ab"}]}),
        json!({"messages": [{"role": "user", "name": "n", "content": "ab"}]}),
        json!({"messages": [{"role": "user", "tool_call_id": "n", "content": "ab"}]}),
        json!({"messages": [{"role": "user", "tool_calls": "n", "content": "ab"}]}),
        json!({"messages": [{"role": "user", "refusal": "n", "content": "ab"}]}),
        json!({"messages": [{"role": "a", "tool_calls": [{"function": {"arguments": "{\"x\":1}"}}]}]}),
        json!({"messages": [{"role": "a", "tool_calls": [{"function": {"arguments": "{\"x\":2}"}}]}]}),
        json!({"messages": [user(json!([{"type": "image_url", "image_url": {"url": "http://a"}}]))]}),
        json!({"messages": [user(json!([{"type": "image_url", "image_url": {"url": "http://b"}}]))]}),
        json!({"messages": [user(json!("ab"))], "tools": []}),
        json!({"messages": [user(json!("ab"))], "tools": [[]]}),
        json!({"messages": [user(json!("ab"))], "documents": []}),
        json!({"messages": [user(json!("ab"))], "chat_template": "t"}),
        json!({"messages": [user(json!("ab"))], "chat_template_kwargs": {"a": 1}}),
        json!({"messages": [user(json!("ab"))], "chat_template_kwargs": {"a": [1, 2]}}),
        json!({"messages": [user(json!("ab"))], "chat_template_kwargs": {"a": 12}}),
        json!({"messages": [user(json!("ab"))], "chat_template_kwargs": {"a": "12"}}),
        json!({"messages": [user(json!("ab"))], "chat_template_kwargs": {"a": {"b": 1}}}),
    ];
    for (one, a) in histories.iter().enumerate() {
        for b in &histories[..one] {
            assert_ne!(chat(a), chat(b), "{a} {b}");
        }
    }
}

#[test]
fn what_no_engine_renders_does_not_show() {
    let text = json!([{"role": "user", "content": "ab"}]);
    let parts = json!([{"content": [{"type": "text", "text": "ab", "cache_control": {"type": "ephemeral"}}],
        "role": "user", "refusal": null}]);
    let item = json!([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "ab"}]}]);
    let expected = chat(&json!({"messages": text}));
    assert_eq!(
        expected,
        chat(&json!({"messages": parts, "temperature": 1, "add_generation_prompt": true}))
    );
    assert_eq!(
        all(Route::Responses, &json!({"input": item}).to_string())[0],
        expected
    );
    assert_eq!(all(Route::Responses, r#"{"input":"ab"}"#)[0], expected);
    let result = |hint: &str| {
        let part = format!(r#"{{"type":"tool_result"{hint},"content":[{{"cache_control":1}}]}}"#);
        all(
            Route::Messages,
            &format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#),
        )
    };
    assert_eq!(result(""), result(r#", "cache_control" : {"a":[1]}"#));
}

#[test]
fn spelling_does_not_show() {
    let plain = r#"{"messages":[{"role":"user","content":"é\n","x":{"k":[1,"é"]}}],"tools":[{"a":"/"}],"system":"s"}"#;
    let spelt = "{ \"system\" : \"\\u0073\",\t\"tools\":[ {\"\\u0061\" :\"\\/\"}\n], \"messages\": [ {\"role\":\"us\\u0065r\",\
        \"content\":\"\\u00e9\\u000a\", \"x\": {\"k\" : [ 1 , \"\\u00e9\" ] }} ] }";
    assert_eq!(all(Route::Messages, plain), all(Route::Messages, spelt));
}

#[test]
fn messages_that_begin_alike_begin_alike_here() {
    let shared = "long shared document ".repeat(50);
    let one = messages(&[json!({"role": "user", "content": format!("{shared}one")})]);
    let two = messages(&[json!({"role": "user", "content": format!("{shared}and another")})]);
    let common = one.iter().zip(&two).take_while(|(a, b)| a == b).count();
    assert!(common >= shared.len(), "{common}");
}

#[test]
fn embedded_media_counts_the_same_whatever_its_size() {
    let stream = |data: &str| {
        let url = format!("data:image/png;base64,{data}");
        messages(&[json!({"content": [{"type": "image_url", "image_url": {"url": url}}]})])
    };
    let (small, large) = (stream(&"A".repeat(300)), stream(&"A".repeat(300_000)));
    assert_eq!(small.len(), large.len());
    assert_ne!(small, large);
    let source = |data: &str| {
        messages(&[
            json!({"content": [{"type": "image", "source": {"type": "base64", "data": data}}]}),
        ])
    };
    assert_eq!(
        source(&"A".repeat(300)).len(),
        source(&"B".repeat(9000)).len()
    );
    assert_ne!(source(&"A".repeat(300)), source(&"B".repeat(9000)));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]{0,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_message() -> impl Strategy<Value = Value> {
    let text = || "[ab\u{0}é]{0,3}";
    let part = prop_oneof![
        text().prop_map(|text| json!({"type": "text", "text": text})),
        any_json().prop_map(|value| json!({"type": "other", "value": value})),
    ];
    let content = prop_oneof![
        Just(Value::Null),
        text().prop_map(Value::from),
        // One text part is the same history as a plain string.
        prop::collection::vec(part, 0..4)
            .prop_filter("one text", |parts| parts.len() != 1
                || parts[0].get("text").is_none())
            .prop_map(Value::from),
    ];
    let optional = || prop::option::of(text());
    (
        text(),
        content,
        optional(),
        optional(),
        prop::option::of(any_json()),
        prop::option::of(any_json()),
    )
        .prop_map(|(role, content, name, tool_call_id, tool_calls, other)| {
            let mut message = json!({"role": role});
            let mut set = |key: &str, value: Value| {
                if !value.is_null() {
                    message[key] = value;
                }
            };
            set("content", content);
            set("name", name.into());
            set("tool_call_id", tool_call_id.into());
            set("tool_calls", tool_calls.into());
            set("reasoning", other.into());
            message
        })
}

fn any_chat() -> impl Strategy<Value = Value> {
    let tools = prop::option::of(prop::collection::vec(any_json(), 0..3));
    let documents = prop::option::of(prop::collection::vec(any_json(), 0..3));
    (prop::collection::vec(any_message(), 0..4), tools, documents).prop_map(
        |(messages, tools, documents)| {
            let mut body = json!({"messages": messages});
            if let Some(tools) = tools {
                body["tools"] = tools.into();
            }
            if let Some(documents) = documents {
                body["documents"] = documents.into();
            }
            body
        },
    )
}

/// The same value with every character of its strings escaped and white space in between.
fn spelt_out(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let units: String = text
                .encode_utf16()
                .map(|unit| format!("\\u{unit:04X}"))
                .collect();
            format!(" \"{units}\" ")
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(spelt_out).collect();
            format!("[\n{}\t]", items.join(" ,"))
        }
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| {
                format!(
                    "{}:\r{}",
                    spelt_out(&Value::from(key.as_str())),
                    spelt_out(value)
                )
            };
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{ {} }}", members.join(","))
        }
        scalar => scalar.to_string(),
    }
}

proptest! {
    #[test]
    fn appending_a_message_only_appends_bytes(body in any_chat(), message in any_message()) {
        let before = chat(&body);
        let mut longer = body;
        longer["messages"].as_array_mut().expect("a list").push(message);
        let after = chat(&longer);
        prop_assert!(after.len() > before.len());
        prop_assert!(after.starts_with(&before));
    }

    #[test]
    fn two_histories_never_share_a_stream(one in any_chat(), two in any_chat()) {
        prop_assert_eq!(chat(&one) == chat(&two), one == two);
    }

    #[test]
    fn no_history_is_the_beginning_of_another_but_by_messages(one in any_chat(), two in any_chat()) {
        let (a, b) = (chat(&one), chat(&two));
        if b.starts_with(&a) && !a.is_empty() {
            let (one, two) = (one["messages"].as_array().expect("a list"), two["messages"].as_array().expect("a list"));
            prop_assert_eq!(one.as_slice(), &two[..one.len()]);
        }
    }

    #[test]
    fn escapes_and_white_space_never_show(body in any_chat()) {
        prop_assert_eq!(all(Route::Chat, &spelt_out(&body)).remove(0), chat(&body));
    }

    #[test]
    fn a_longer_text_extends_a_shorter_one(head in ".{0,40}", tail in ".{0,40}") {
        let stream = |text: String| all(Route::Completions, &json!({"prompt": text}).to_string()).remove(0);
        let longer = stream(head.clone() + &tail);
        prop_assert!(longer.starts_with(&stream(head)));
    }
}
