//! How is a request read, and what is said back?

use super::*;

#[tokio::test]
async fn a_large_body_comes_back_whole_and_ends_once() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let mut stream = deciding.open().await;
    let text = "word ".repeat(300_000);
    let whole = format!(r#"{{"model":"m","prompt":"{text}"}}"#).into_bytes();
    stream
        .say(first(post("/v1/completions"), Mode::FullDuplex, Mode::None))
        .await;
    let pieces: Vec<&[u8]> = whole.chunks(100_000).collect();
    for (at, piece) in pieces.iter().enumerate() {
        stream
            .say(request_body(piece, at + 1 == pieces.len()))
            .await;
    }
    // Some data planes say the end twice.
    stream.say(request_body(b"", true)).await;
    let decided = stream.hear().await.unwrap();
    assert_eq!(destination(&decided).len(), 3);
    let (echoed, _) = stream.echo().await;
    assert!(echoed == whole, "{} of {} bytes", echoed.len(), whole.len());
    stream.say(good("application/json", true)).await;
    assert!(matches!(stream.answer().await, Heard::ResponseHeaders(_)));
    deciding.idle().await;
}

#[tokio::test]
async fn a_buffered_body_is_not_sent_back() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let mut stream = deciding.open().await;
    stream
        .say(first(
            post("/v1/completions"),
            Mode::Buffered,
            Mode::Buffered,
        ))
        .await;
    let go_on = stream.hear().await.unwrap();
    assert!(matches!(go_on.response, Some(Heard::RequestHeaders(_))));
    assert_eq!(go_on.mode_override, None);
    stream.say(request_body(PROMPT, true)).await;
    let decided = stream.hear().await.unwrap();
    assert_eq!(destination(&decided).len(), 3);
    let Some(Heard::RequestBody(response)) = decided.response else {
        panic!("no body response");
    };
    assert_eq!(response.response.unwrap().body_mutation, None);
}

#[tokio::test]
async fn trailers_end_a_request() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let mut stream = deciding.open().await;
    stream
        .say(first(post("/v1/completions"), Mode::FullDuplex, Mode::None))
        .await;
    stream.say(request_body(PROMPT, false)).await;
    stream
        .say(message(Say::RequestTrailers(ext::HttpTrailers::default())))
        .await;
    let decided = stream.hear().await.unwrap();
    destination(&decided);
    let Heard::RequestBody(response) = stream.answer().await else {
        panic!("no body");
    };
    let piece = streamed(response);
    assert_eq!(
        (piece.body.as_slice(), piece.end_of_stream),
        (PROMPT, false)
    );
    assert!(matches!(stream.answer().await, Heard::RequestTrailers(_)));
}

#[tokio::test]
async fn requests_without_a_body_are_routed() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let mut stream = deciding.open().await;
    let get = headers(&[(":method", "GET"), (":path", "/v1/models")], true);
    stream.say(first(get, Mode::FullDuplex, Mode::None)).await;
    let decided = stream.hear().await.unwrap();
    assert_eq!(destination(&decided).len(), 3);
}

#[tokio::test]
async fn a_subset_is_obeyed() {
    let string = |text: &str| Kind::StringValue(text.to_owned());
    let list = |texts: &[&str]| {
        let values = texts.iter().map(|text| Value {
            kind: Some(string(text)),
        });
        Kind::ListValue(ListValue {
            values: values.collect(),
        })
    };
    let cases: [(Kind, &[&str]); 6] = [
        (string("127.0.0.1:1002"), &["127.0.0.1:1002"]),
        (string("127.0.0.1"), &["127.0.0.1:1001", "127.0.0.1:1002"]),
        (list(&["127.0.0.2:1001", "9.9.9.9:1"]), &["127.0.0.2:1001"]),
        (list(&["127.0.0.2"]), &["127.0.0.2:1001"]),
        (list(&["9.9.9.9"]), &[]),
        (list(&[]), &[]),
    ];
    for (hint, expected) in cases {
        let deciding = deciding(&THREE, PickerConfig::default()).await;
        let mut stream = deciding.open().await;
        let key = "x-gateway-destination-endpoint-subset".to_owned();
        let fields = [(
            key,
            Value {
                kind: Some(hint.clone()),
            },
        )];
        let hints = Struct {
            fields: fields.into(),
        };
        let mut begin = first(post("/v1/completions"), Mode::FullDuplex, Mode::None);
        begin.metadata_context = Some(core::Metadata {
            filter_metadata: [("envoy.lb.subset_hint".to_owned(), hints)].into(),
            ..core::Metadata::default()
        });
        stream.say(begin).await;
        stream.say(request_body(PROMPT, true)).await;
        if expected.is_empty() {
            let (status, reason, _) = immediate(stream.answer().await);
            assert_eq!(
                (status, reason.as_deref()),
                (503, Some("rejected-no-endpoints")),
                "{hint:?}"
            );
        } else {
            let mut endpoints = destination(&stream.hear().await.unwrap());
            endpoints.sort();
            assert_eq!(endpoints, expected, "{hint:?}");
        }
    }
}

#[tokio::test]
async fn a_model_can_be_rewritten_by_either_header() {
    for name in ["x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"] {
        let deciding = deciding(&THREE, PickerConfig::default()).await;
        let mut stream = deciding.open().await;
        let pairs = [
            (":method", "POST"),
            (":path", "/v1/completions"),
            (name, "target"),
        ];
        stream
            .say(first(
                headers(&pairs, false),
                Mode::FullDuplex,
                Mode::FullDuplex,
            ))
            .await;
        stream
            .say(request_body(br#"{"model": "m", "prompt":"x"}"#, true))
            .await;
        let decided = stream.hear().await.unwrap();
        destination(&decided);
        let Some(Heard::RequestHeaders(response)) = decided.response else {
            panic!()
        };
        let mutation = response.response.unwrap().header_mutation.unwrap();
        assert!(
            mutation
                .remove_headers
                .iter()
                .any(|removed| removed == name)
        );
        let (sent, _) = stream.echo().await;
        assert_eq!(sent, br#"{"model": "target", "prompt":"x"}"#);
        assert_eq!(
            set(&mutation, "content-length"),
            Some(sent.len().to_string())
        );
        stream.say(good("application/json", false)).await;
        stream.answer().await;
        stream
            .say(response_body(br#"{"model":"target"}"#, true))
            .await;
        let Heard::ResponseBody(response) = stream.answer().await else {
            panic!()
        };
        assert_eq!(streamed(response).body, br#"{"model":"m"}"#);
    }
}
