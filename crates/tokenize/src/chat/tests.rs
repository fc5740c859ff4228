use serde_json::json;

use super::*;

#[track_caller]
fn check(template: &str, messages: Value, expected: &str) {
    let template = ChatTemplate::new(template.to_owned(), None)
        .unwrap()
        .with_tokens("<s>", "</s>");
    let options = ChatOptions {
        now_unix_s: 1_750_000_000,
        ..ChatOptions::default()
    };
    let seen = template.render(&messages, None, &options);
    assert_eq!(
        seen.map_err(|error| error.to_string())
            .unwrap_or_else(|error| error),
        expected
    );
}

#[test]
fn python_idioms_work() {
    let hi = || json!([{"role": "user", "content": " Hi & <b> "}]);
    check("{{ messages[0]['content'].strip() }}", hi(), "Hi & <b>");
    check(
        "{{ bos_token }}{{ messages[-1].role.upper() }}{{ eos_token }}",
        hi(),
        "<s>USER</s>",
    );
    check(
        "{{ messages[0] | tojson }}",
        hi(),
        r#"{"role": "user", "content": " Hi & <b> "}"#,
    );
    check(
        "{{ raise_exception('no ' ~ messages[0].role) }}",
        hi(),
        "no user",
    );
    check("{{ strftime_now('%Y-%m-%d') }}", hi(), "2025-06-15");
    check(
        "{% for m in messages %}{% if loop.index0 > 3 %}{% break %}{% endif %}x{% endfor %}",
        hi(),
        "x",
    );
    check(
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
        hi(),
        "1",
    );
}

#[test]
fn contents_are_joined_unless_the_template_walks_through_them() {
    let parts = json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]);
    check("{{ messages[0].content }}", parts.clone(), "a\nb");
    check(
        "{% for message in messages %}{% for part in message.content %}[{{ part.text }}]{% endfor %}{% endfor %}",
        parts,
        "[a][b]",
    );
    let image =
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
    check(
        "x",
        image,
        "messages: 0: this model takes text only; at most 0 images, videos or audio files may be provided",
    );
    check(
        "x",
        json!([{"content": "a"}]),
        "messages: 0: role must be a string",
    );
    check("x", json!("a"), "messages: must be a list");
}

fn chatml(
    messages: Value,
    tools: Option<Value>,
    options: ChatOptions<'_>,
) -> Result<String, String> {
    ChatTemplate::chatml()
        .render(&messages, tools.as_ref(), &options)
        .map_err(|error| error.to_string())
}

#[test]
fn chatml_grows_by_appending() {
    let turn = |role, content| json!({"role": role, "content": content});
    let first = chatml(
        json!([turn("system", "S"), turn("user", "U")]),
        None,
        ChatOptions::default(),
    )
    .unwrap();
    assert_eq!(
        first,
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    );
    let all = json!([
        turn("system", "S"),
        turn("user", "U"),
        turn("assistant", "A"),
        turn("user", "V")
    ]);
    assert!(
        chatml(all, None, ChatOptions::default())
            .unwrap()
            .starts_with(&first)
    );
}

#[test]
fn chatml_shows_tools_calls_and_their_answers() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let messages = json!([
        {"role": "system", "content": "S"},
        {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{\"x\":1}"}}]},
        {"role": "tool", "tool_call_id": "7", "content": "one"},
    ]);
    let text = chatml(messages, Some(tools), ChatOptions::default()).unwrap();
    for part in [
        "<|im_start|>system\nS\n\n# Tools",
        r#"{"type": "function", "function": {"name": "f"}}"#,
        "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call><|im_end|>",
        "<|im_start|>tool\n<tool_response id=\"7\">\none\n</tool_response><|im_end|>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(text.matches("<|im_start|>system").count(), 1);
}

#[test]
fn the_last_message_can_be_continued() {
    let options = ChatOptions {
        add_generation_prompt: false,
        continue_final_message: true,
        ..ChatOptions::default()
    };
    let messages =
        json!([{"role": "user", "content": "U"}, {"role": "assistant", "content": "So far "}]);
    let text = chatml(messages.clone(), None, options).unwrap();
    assert!(text.ends_with("<|im_start|>assistant\nSo far"), "{text}");
    let both = ChatOptions {
        continue_final_message: true,
        ..ChatOptions::default()
    };
    assert!(
        chatml(messages, None, both)
            .unwrap_err()
            .contains("Cannot set both")
    );
}

#[test]
fn kwargs_reach_the_template() {
    let template = ChatTemplate::new(
        "{{ enable_thinking }} {{ add_generation_prompt }}".to_owned(),
        None,
    )
    .unwrap();
    let kwargs = json!({"enable_thinking": false});
    let options = ChatOptions {
        kwargs: kwargs.as_object(),
        ..ChatOptions::default()
    };
    assert_eq!(
        template.render(&json!([]), None, &options).unwrap(),
        "False True"
    );
}
