//! What goes nowhere, and what is said then?

use super::*;

#[tokio::test]
async fn what_goes_nowhere() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let large = vec![b' '; (4 << 20) + 1];
    let cases: [(&str, &[u8], i32, &str); 6] = [
        ("/v1/completions", b"{\"model\": ", 400, ""),
        (
            "/v1/completions",
            b"{\"prompt\":\"x\"}",
            400,
            "model not found in request body",
        ),
        ("/v1/chat/completions", b"[]", 400, ""),
        (
            "/v1/completions",
            b"{\"model\":\"no\",\"prompt\":\"x\"}",
            404,
            "known models: m, target",
        ),
        ("/sleep", b"{}", 403, "forward_paths"),
        ("/v1/completions", &large, 413, ""),
    ];
    for (path, bytes, status, words) in cases {
        let mut stream = deciding.open().await;
        stream
            .say(first(post(path), Mode::FullDuplex, Mode::None))
            .await;
        stream.say(request_body(bytes, true)).await;
        let (seen, reason, text) = immediate(stream.answer().await);
        assert_eq!((seen, reason), (status, None), "{path} {text}");
        assert!(text.contains("\"error\"") && text.contains(words), "{text}");
        assert!(stream.hear().await.is_none(), "the stream ends");
    }
    assert_eq!(deciding.active(), 0);
}

#[tokio::test]
async fn without_endpoints_the_reason_is_told() {
    let deciding = deciding(&[], PickerConfig::default()).await;
    for end_at_headers in [true, false] {
        let mut stream = deciding.open().await;
        let mut begin = post("/v1/completions");
        begin.end_of_stream = false;
        if end_at_headers {
            begin = headers(&[(":method", "GET"), (":path", "/x")], true);
        }
        stream.say(first(begin, Mode::FullDuplex, Mode::None)).await;
        if !end_at_headers {
            stream.say(request_body(PROMPT, true)).await;
        }
        let (status, reason, _) = immediate(stream.answer().await);
        assert_eq!(
            (status, reason.as_deref()),
            (503, Some("rejected-no-endpoints"))
        );
    }
}

#[tokio::test]
async fn one_failed_stream_touches_no_other() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let origin = http::Uri::from_static("http://picker");
    let line = line(deciding.picker).await;
    let mut good_stream = deciding.open().await;
    good_stream.decided(Mode::FullDuplex).await;
    // Nonsense out of order, on a connection that others use too.
    let mut client = ExternalProcessorClient::with_origin(line, origin);
    let nonsense = [
        response_body(b"x", true),
        message(Say::ResponseTrailers(ext::HttpTrailers::default())),
        request_body(b"x", true),
        ext::ProcessingRequest::default(),
    ];
    let mut heard = client
        .process(futures_util::stream::iter(nonsense))
        .await
        .unwrap()
        .into_inner();
    let mut answers = 0;
    while let Ok(Some(_)) = heard.message().await {
        answers += 1;
    }
    assert_eq!(answers, 3);
    good_stream.say(good("application/json", true)).await;
    assert!(matches!(
        good_stream.answer().await,
        Heard::ResponseHeaders(_)
    ));
    deciding.idle().await;
}
