//! What does an event or an answer say of usage, errors, output and ids?

use engine_api::sse::{ChunkView, read_chunk};
use engine_api::usage::{Usage, read_body, read_whole};

fn usage(prompt_tokens: u64, completion_tokens: u64, cached_tokens: Option<u64>) -> Usage {
    Usage {
        prompt_tokens,
        completion_tokens,
        cached_tokens,
    }
}

#[test]
fn usage_in_every_spelling() {
    let check = |body: &str, expected: Option<Usage>| {
        assert_eq!(read_body(body.as_bytes()), expected, "{body}");
        assert_eq!(read_chunk(body.as_bytes()).usage, expected, "{body}");
    };
    check(
        r#"{"choices":[],"usage":{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3,
            "prompt_tokens_details":{"cached_tokens":4,"created_cache_tokens":null},"completion_tokens_details":null}}"#,
        Some(usage(9, 3, Some(4))),
    );
    check(
        r#"{"usage":{"prompt_tokens":9,"completion_tokens":3}}"#,
        Some(usage(9, 3, None)),
    );
    check(
        r#"{"usage":{"prompt_tokens":9,"prompt_tokens_details":null}}"#,
        Some(usage(9, 0, None)),
    );
    check(
        r#"{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":null}}}"#,
        Some(usage(9, 0, None)),
    );
    check(
        r#"{"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":0}}}"#,
        Some(usage(9, 0, Some(0))),
    );
    check(
        r#"{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":8},"output_tokens":2}}"#,
        Some(usage(9, 2, Some(8))),
    );
    check(
        r#"{"usage":{"input_tokens":9,"cache_read_input_tokens":5,"output_tokens":2}}"#,
        Some(usage(9, 2, Some(5))),
    );
    check(
        r#"{"type":"message_delta","delta":{"stop_reason":"x"},"usage":{"output_tokens":2}}"#,
        Some(usage(0, 2, None)),
    );
    check(
        r#"{"type":"message_start","message":{"id":"m","content":[],"usage":{"input_tokens":7,"output_tokens":0}}}"#,
        Some(usage(7, 0, None)),
    );
    check(
        r#"{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":1,"output_tokens":2}}}"#,
        Some(usage(1, 2, None)),
    );
    check(r#"{"usage":null}"#, None);
    check(r#"{"usage":{}}"#, None);
    check(r#"{"usage":"no"}"#, None);
    check(r#"{"usage":{"prompt_tokens":"9"}}"#, None);
    check(
        r#"{"choices":[{"text":"\"usage\":{\"prompt_tokens\":9}"}]}"#,
        None,
    );
    check(r#"{"choices":[{"usage":{"prompt_tokens":9}}]}"#, None);
    check(r#"{"usage":{"prompt_tokens":9}"#, None);
}

/// SGLang answers several prompts with a list, one answer each; an event is never a list.
#[test]
fn answers_to_several_prompts_are_added_up() {
    let check = |body: &str, expected: Option<Usage>| {
        assert_eq!(read_body(body.as_bytes()), expected, "{body}");
        assert_eq!(read_chunk(body.as_bytes()).usage, None, "{body}");
    };
    check(
        r#"[{"usage":{"prompt_tokens":9}}]"#,
        Some(usage(9, 0, None)),
    );
    check(
        r#"[{"meta_info":{"prompt_tokens":9,"completion_tokens":2,"cached_tokens":4}},{"meta_info":{"prompt_tokens":5,"completion_tokens":1,"cached_tokens":1}}]"#,
        Some(usage(14, 3, Some(5))),
    );
    check("[]", None);
    check(r#"[1,"usage",null]"#, None);
}

#[test]
fn a_later_event_adds_to_an_earlier() {
    let mut seen = usage(7, 1, Some(3));
    seen.absorb(usage(0, 5, None));
    assert_eq!(seen, usage(7, 5, Some(3)));
}

#[test]
fn errors_are_top_level_members_only() {
    let check = |data: &str, expected: Option<Option<u16>>| {
        assert_eq!(read_chunk(data.as_bytes()).error, expected, "{data}");
    };
    check(
        r#"{"error": {"message": "m", "type": "InternalServerError", "param": null, "code": 500}}"#,
        Some(Some(500)),
    );
    check(r#"{"error":{"code":"rate_limit"}}"#, Some(None));
    check(r#"{"error":{"code":70000}}"#, Some(None));
    check(r#"{"error":"Unauthorized"}"#, Some(None));
    check(
        r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
        Some(None),
    );
    check(r#"{"type":"error","message":"m"}"#, Some(None));
    check(
        r#"{"type":"response.failed","response":{"error":{"code":"x"}}}"#,
        Some(None),
    );
    check(r#"{"error":null,"choices":[]}"#, None);
    check(
        r#"{"choices":[{"delta":{"content":"{\"error\": {\"code\": 500}}"}}]}"#,
        None,
    );
    check(r#"{"choices":[{"error":{"code":500}}]}"#, None);
    check(
        r#"{"type":"response.completed","response":{"error":null}}"#,
        None,
    );
    check("not json", None);
}

#[test]
fn output_is_told_from_ceremony() {
    let check = |data: &str, expected: bool| {
        assert_eq!(read_chunk(data.as_bytes()).has_content, expected, "{data}");
    };
    let delta = |delta: &str, expected| {
        check(
            &format!(r#"{{"choices":[{{"index":0,"delta":{delta},"logprobs":null}}]}}"#),
            expected,
        )
    };
    delta(r#"{"role":"assistant","content":""}"#, false);
    delta(r#"{"content":" "}"#, true);
    delta(r#"{"reasoning_content":"hm"}"#, true);
    delta(r#"{"content":null,"reasoning":"hm"}"#, true);
    delta(
        r#"{"tool_calls":[{"index":0,"function":{"name":"f"}}]}"#,
        true,
    );
    delta(r#"{"tool_calls":[ ]}"#, false);
    delta("{}", false);
    delta("null", false);
    check(r#"{"choices":[{"text":""},{"text":"x"}]}"#, true);
    check(r#"{"choices":[{"text":""}]}"#, false);
    check(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#, false);
    check(r#"{"choices":null}"#, false);
    check(
        r#"{"choices":[{"message":{"role":"assistant","content":"x"}}]}"#,
        true,
    );
    check(
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}"#,
        true,
    );
    check(
        r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}"#,
        true,
    );
    check(
        r#"{"type":"content_block_start","content_block":{"type":"text","text":""}}"#,
        false,
    );
    check(
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
        false,
    );
    check(r#"{"type":"response.output_text.delta","delta":"x"}"#, true);
    check(
        r#"{"type":"response.created","response":{"id":"r","output":[]}}"#,
        false,
    );
}

#[test]
fn responses_name_their_id() {
    let streamed =
        read_chunk(br#"{"type":"response.created","response":{"id":"resp_1","status":"queued"}}"#);
    assert_eq!(streamed.response_id.as_deref(), Some("resp_1"));
    let whole = read_whole(br#"{"id":"resp_2","object":"response","usage":{"input_tokens":1}}"#);
    assert_eq!(whole.response_id.as_deref(), Some("resp_2"));
    let chat = read_whole(br#"{"id":"chatcmpl-1","object":"chat.completion"}"#);
    assert_eq!(chat.response_id, None);
}

#[test]
fn nonsense_reads_as_nothing() {
    for data in [
        &b""[..],
        b"{",
        b"\xff",
        b"[]",
        b"{\"error\":{}} x",
        b"{\"usage\":{\"prompt_tokens\":1}}}",
    ] {
        assert_eq!(read_chunk(data), ChunkView::default());
    }
}
