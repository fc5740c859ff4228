//! What is seen of responses, and when is load given back?

use super::*;

#[tokio::test]
async fn without_feedback_a_data_plane_is_told_to_keep_bodies() {
    let config = PickerConfig {
        feedback: false,
        ..PickerConfig::default()
    };
    let deciding = deciding(&THREE, config).await;
    let mut stream = deciding.open().await;
    stream
        .say(first(
            post("/v1/completions"),
            Mode::Buffered,
            Mode::Buffered,
        ))
        .await;
    let mode = stream.hear().await.unwrap().mode_override.unwrap();
    // Bodies: the request's buffered, the response's not at all; trailers, so that the stream lasts.
    let told = (
        mode.request_body_mode,
        mode.response_body_mode,
        mode.response_trailer_mode,
    );
    assert_eq!(told, (2, 0, 1));
    stream.say(request_body(PROMPT, true)).await;
    stream.hear().await.unwrap();
    stream.say(good("text/event-stream", false)).await;
    stream.hear().await.unwrap();
    assert_eq!(deciding.active(), 1);
    drop(stream);
    deciding.idle().await;
    let report = deciding.fleet.report(Duration::ZERO);
    assert_eq!(report.endpoints.iter().map(|e| e.failures).sum::<u64>(), 0);
}

#[tokio::test]
async fn load_is_held_to_the_end_of_what_can_be_seen() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    // The client leaves before a response.
    let mut stream = deciding.open().await;
    stream.decided(Mode::None).await;
    assert_eq!(deciding.active(), 1);
    drop(stream);
    deciding.idle().await;
    // The body is not shown: the stream's end is the response's.
    let mut stream = deciding.open().await;
    stream.decided(Mode::None).await;
    stream.say(good("application/json", false)).await;
    stream.answer().await;
    assert_eq!(deciding.active(), 1);
    drop(stream);
    deciding.idle().await;
    // The body is shown: its end is the response's, however long the stream lasts.
    let mut stream = deciding.open().await;
    stream.decided(Mode::FullDuplex).await;
    stream.say(good("text/event-stream", false)).await;
    stream.answer().await;
    stream.say(response_body(b"data: {}\n\n", false)).await;
    stream.answer().await;
    assert_eq!(deciding.active(), 1);
    stream.say(response_body(b"data: [DONE]\n\n", true)).await;
    stream.answer().await;
    assert_eq!(deciding.active(), 0);
    // Trailers end it too.
    let mut stream = deciding.open().await;
    stream.decided(Mode::FullDuplex).await;
    stream.say(good("text/event-stream", false)).await;
    stream.answer().await;
    stream
        .say(message(Say::ResponseTrailers(ext::HttpTrailers::default())))
        .await;
    assert!(matches!(stream.answer().await, Heard::ResponseTrailers(_)));
    assert_eq!(deciding.active(), 0);
}

#[tokio::test]
async fn usage_is_read_from_what_passes() {
    let usage = r#""usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":0}}"#;
    let json = format!("{{{usage}}}");
    let events =
        format!("data: {{\"choices\":[]}}\n\ndata: {{\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n");
    for (kind, text) in [
        ("application/json", &json),
        ("text/event-stream; charset=utf-8", &events),
    ] {
        let deciding = deciding(&THREE, PickerConfig::default()).await;
        let mut stream = deciding.open().await;
        stream.decided(Mode::FullDuplex).await;
        stream.say(good(kind, false)).await;
        stream.answer().await;
        let (front, back) = text.as_bytes().split_at(17);
        for (piece, end) in [(front, false), (back, true)] {
            stream.say(response_body(piece, end)).await;
            let Heard::ResponseBody(response) = stream.answer().await else {
                panic!("no body");
            };
            let echoed = streamed(response);
            assert_eq!((echoed.body.as_slice(), echoed.end_of_stream), (piece, end));
        }
        let report = deciding.fleet.report(Duration::ZERO);
        let reported: u64 = report
            .endpoints
            .iter()
            .map(|e| e.prediction.reported_requests)
            .sum();
        assert_eq!(reported, 1, "{kind}");
    }
}

#[tokio::test]
async fn who_served_is_believed() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let mut stream = deciding.open().await;
    let endpoints = stream.decided(Mode::None).await;
    assert_eq!(deciding.active_at(&endpoints[0]), 1);
    let served = Value {
        kind: Some(Kind::StringValue(endpoints[1].clone())),
    };
    let key = "x-gateway-destination-endpoint-served".to_owned();
    let mut answered = good("application/json", false);
    answered.metadata_context = Some(core::Metadata {
        filter_metadata: [(
            "envoy.lb".to_owned(),
            Struct {
                fields: [(key, served)].into(),
            },
        )]
        .into(),
        ..core::Metadata::default()
    });
    stream.say(answered).await;
    stream.answer().await;
    assert_eq!(deciding.active_at(&endpoints[0]), 0);
    assert_eq!(deciding.active_at(&endpoints[1]), 1);
    let report = deciding.fleet.report(Duration::ZERO);
    let failures = |name: &str| {
        report
            .endpoints
            .iter()
            .find(|e| e.name == name)
            .unwrap()
            .failures
    };
    assert_eq!((failures(&endpoints[0]), failures(&endpoints[1])), (1, 0));
    drop(stream);
    deciding.idle().await;
    // The prompt is where it was computed.
    let mut stream = deciding.open().await;
    assert_eq!(stream.decided(Mode::None).await[0], endpoints[1]);
}
