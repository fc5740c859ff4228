//! Which texts are JSON, and where exactly do the others go wrong?

use std::fmt::Write;

use engine_api::openai::{BodyError, Prompt, Route, parse};

fn message(body: impl AsRef<[u8]>) -> String {
    parse(Route::Completions, body.as_ref())
        .expect_err("must be refused")
        .to_string()
}

fn text(literal: &str) -> String {
    let body = format!("{{\"prompt\":{literal}}}");
    match parse(Route::Completions, body.as_bytes()).map(|view| view.prompt) {
        Ok(Prompt::Text(text)) => text.into_owned(),
        other => panic!("{body}: {:?}", other.err()),
    }
}

#[test]
fn errors_say_where_and_never_quote() {
    let check = |body: &str, expected: &str| {
        let seen = message(body);
        assert_eq!(
            seen.trim_start_matches("the request body is not valid JSON: "),
            expected,
            "{body}"
        );
    };
    check("{", "unexpected end at line 1 column 2");
    check(
        "{\"prompt\":\"abc",
        "unterminated string at line 1 column 15",
    );
    check("{\"prompt\":[1,2", "unexpected end at line 1 column 15");
    check("{\n \"a\": é}", "expected a value at line 2 column 7");
    check("{\"é\": x}", "expected a value at line 1 column 7");
    check(
        "{\"a\":1,}",
        "expected a key in double quotes at line 1 column 8",
    );
    check("{\"a\":[1,]}", "expected a value at line 1 column 9");
    check("{\"a\" 1}", "expected `:` at line 1 column 6");
    check(
        "{\"a\":1 \"b\":2}",
        "expected `,` or `}` at line 1 column 8",
    );
    check("{\"a\":[1}", "expected `,` or `]` at line 1 column 8");
    check("{\"a\":01}", "not a number at line 1 column 8");
    check("{\"a\":-}", "not a number at line 1 column 7");
    check("{\"a\":1.}", "expected a digit at line 1 column 8");
    check("{\"a\":1e+}", "expected a digit at line 1 column 9");
    check(
        "{\"a\":\"\\x\"}",
        "unknown escape in a string at line 1 column 8",
    );
    check(
        "{\"a\":\"\\u12g4\"}",
        "expected four hexadecimal digits at line 1 column 9",
    );
    check(
        "{\"a\":\"\n\"}",
        "control character in a string at line 1 column 7",
    );
    check("{\"a\":nul}", "expected a value at line 1 column 6");
    check(
        "{} x",
        "expected nothing after the value at line 1 column 4",
    );
    check(
        "{}{}",
        "expected nothing after the value at line 1 column 3",
    );
    check("not json", "expected a value at line 1 column 1");
    check(
        "{'a':1}",
        "expected a key in double quotes at line 1 column 2",
    );
}

#[test]
fn empty_and_broken_bytes() {
    assert!(message("").contains("empty"));
    assert!(message(" \r\n").contains("empty"));
    let check = |body: &[u8], offset: usize| {
        let error = parse(Route::Chat, body).expect_err("not UTF-8");
        assert!(
            matches!(error, BodyError::Utf8 { offset: at } if at == offset),
            "{error}"
        );
    };
    check(b"\xff{}", 0);
    check(b"{\"a\":\"\xc3\"}", 6);
    check("{\"a\":\"é\"}".as_bytes().split_at(7).0, 6);
    check(
        &[&b"{\"prompt\":\""[..], &[b'x'; 1000], b"\xed\xa0\x80\"}"].concat(),
        1011,
    );
}

#[test]
fn every_truncation_is_refused() {
    let body = r#"{"prompt":["a\u00e9b",{"x":[1,-2.5e3,true,null]}],"stream":false,"k":"v\\"}"#;
    for end in 0..body.len() {
        assert!(
            parse(Route::Embeddings, &body.as_bytes()[..end]).is_err(),
            "{}",
            &body[..end]
        );
    }
    assert!(parse(Route::Embeddings, body.as_bytes()).is_ok());
}

#[test]
fn escapes_are_decoded_and_lone_surrogates_do_no_harm() {
    assert_eq!(
        text(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#),
        "\"\\/\u{8}\u{c}\n\r\té😀"
    );
    assert_eq!(text(r#""\ud800""#), "\u{fffd}");
    assert_eq!(text(r#""a\udc00b""#), "a\u{fffd}b");
    assert_eq!(text(r#""\ud800\ud83d\ude00""#), "\u{fffd}😀");
    assert_eq!(text(r#""\ud800\u0041""#), "\u{fffd}A");
    assert_eq!(text(r#""\ud800\n""#), "\u{fffd}\n");
    assert_eq!(text(r#""\u0000""#), "\0");
}

#[test]
fn as_lenient_as_python() {
    for body in [
        "\u{feff}{}",
        r#"{"temperature":NaN,"a":-Infinity,"b":[Infinity]}"#,
        r#"{"seed":123456789012345678901234567890,"x":-0.0E-0}"#,
        r#"{"":{"":""}}"#,
    ] {
        parse(Route::Embeddings, body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
    }
}

#[test]
fn deep_nesting_is_refused_and_overflows_nothing() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth))
    };
    for (open, close) in [("[", "]"), ("{\"k\":", "}")] {
        assert!(parse(Route::Embeddings, nested(open, close, 512).as_bytes()).is_ok());
        for depth in [513, 1_000_000] {
            let body = nested(open, close, depth);
            let error = parse(Route::Embeddings, body.as_bytes());
            assert!(matches!(error, Err(BodyError::TooDeep { limit: 512 })));
        }
    }
    for field in [
        "messages",
        "tools",
        "stream_options",
        "chat_template_kwargs",
        "model",
    ] {
        let mut body = format!("{{\"{field}\":");
        let _ = write!(body, "{}", "[".repeat(100_000));
        assert!(parse(Route::Chat, body.as_bytes()).is_err());
    }
}
