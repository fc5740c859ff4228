//! Requests decided for a data plane that speaks external processing.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::service::ext_proc::v3 as ext;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value, value::Kind};
use ext::body_mutation::Mutation;
use ext::external_processor_client::ExternalProcessorClient;
use ext::processing_request::Request as Say;
use ext::processing_response::Response as Heard;
use fleet::Fleet;
use gateway::{Certificates, Gateway, GatewayConfig, Picker, PickerConfig, PoolRoute, TlsSettings};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pool::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::body::Body;

use crate::support::fleet;

const DESTINATION: &str = "x-gateway-destination-endpoint";

/// One connection as a gRPC client sees it.
#[derive(Clone)]
struct Line(http2::SendRequest<Body>);

impl tower_service::Service<http::Request<Body>> for Line {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A picker before endpoints that nobody needs to reach.
struct Deciding {
    picker: SocketAddr,
    health: SocketAddr,
    fleet: Arc<Fleet>,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    _guard: DropGuard,
}

async fn deciding(addresses: &[&str], config: PickerConfig) -> Deciding {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
    let fleet = fleet("default", &addresses, Some(&["m", "target"]));
    let config = PickerConfig {
        drain_timeout: Duration::ZERO,
        ..config
    };
    let gateway_config = GatewayConfig {
        max_body_bytes: 4 << 20,
        ..GatewayConfig::default()
    };
    let routes = vec![PoolRoute::new("default", Arc::clone(&fleet))];
    let gateway = Gateway::new(gateway_config, routes, Clock::start(), 7);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let health = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stop = CancellationToken::new();
    let (picker, health_address) = (listener.local_addr(), health.local_addr());
    tokio::spawn(Arc::clone(&gateway).serve_grpc_health(health, stop.child_token()));
    let served =
        tokio::spawn(gateway.serve_picker(Picker::new(config), listener, None, stop.clone()));
    Deciding {
        picker: picker.unwrap(),
        health: health_address.unwrap(),
        fleet,
        _guard: stop.clone().drop_guard(),
        stop,
        served,
    }
}

async fn line(address: SocketAddr) -> Line {
    let socket = TcpStream::connect(address).await.unwrap();
    let (sender, line) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(8 << 20)
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(line);
    Line(sender)
}

impl Deciding {
    async fn open(&self) -> Stream {
        let origin = http::Uri::from_static("http://picker");
        let mut client = ExternalProcessorClient::with_origin(line(self.picker).await, origin);
        let (say, said) = mpsc::channel(256);
        let outgoing = futures_util::stream::unfold(said, |mut said| async move {
            let message: ext::ProcessingRequest = said.recv().await?;
            Some((message, said))
        });
        let heard = client.process(outgoing).await.unwrap().into_inner();
        Stream { say, heard }
    }

    fn active(&self) -> u64 {
        let report = self.fleet.report(Duration::ZERO);
        report.endpoints.iter().map(|e| e.active_requests).sum()
    }

    fn active_at(&self, address: &str) -> u64 {
        let report = self.fleet.report(Duration::ZERO);
        let found = report.endpoints.iter().find(|e| e.name == address);
        found.unwrap().active_requests
    }

    /// Waits until nothing is in flight.
    async fn idle(&self) {
        let waiting = async {
            while self.active() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), waiting)
            .await
            .expect("load is given back");
    }
}

struct Stream {
    say: mpsc::Sender<ext::ProcessingRequest>,
    heard: tonic::Streaming<ext::ProcessingResponse>,
}

/// How a data plane sends bodies.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    None = 0,
    Buffered = 2,
    FullDuplex = 4,
}

fn first(headers: ext::HttpHeaders, request: Mode, response: Mode) -> ext::ProcessingRequest {
    ext::ProcessingRequest {
        request: Some(Say::RequestHeaders(headers)),
        protocol_config: Some(ext::ProtocolConfiguration {
            request_body_mode: request as i32,
            response_body_mode: response as i32,
            ..ext::ProtocolConfiguration::default()
        }),
        ..ext::ProcessingRequest::default()
    }
}

fn message(say: Say) -> ext::ProcessingRequest {
    ext::ProcessingRequest {
        request: Some(say),
        ..ext::ProcessingRequest::default()
    }
}

fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> ext::HttpHeaders {
    let headers = pairs.iter().map(|(key, value)| core::HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..core::HeaderValue::default()
    });
    ext::HttpHeaders {
        headers: Some(core::HeaderMap {
            headers: headers.collect(),
        }),
        end_of_stream,
        ..ext::HttpHeaders::default()
    }
}

fn post(path: &str) -> ext::HttpHeaders {
    let pairs = [(":method", "POST"), (":path", path)];
    headers(&pairs, false)
}

fn body(bytes: &[u8], end_of_stream: bool) -> ext::HttpBody {
    ext::HttpBody {
        body: bytes.to_vec(),
        end_of_stream,
        ..ext::HttpBody::default()
    }
}

fn request_body(bytes: &[u8], end: bool) -> ext::ProcessingRequest {
    message(Say::RequestBody(body(bytes, end)))
}

fn response_body(bytes: &[u8], end: bool) -> ext::ProcessingRequest {
    message(Say::ResponseBody(body(bytes, end)))
}

fn response_headers(pairs: &[(&str, &str)], end: bool) -> ext::ProcessingRequest {
    message(Say::ResponseHeaders(headers(pairs, end)))
}

fn good(kind: &str, end: bool) -> ext::ProcessingRequest {
    response_headers(&[(":status", "200"), ("content-type", kind)], end)
}

const PROMPT: &[u8] = br#"{"model":"m","prompt":"a prompt that is long enough for a block of its own and then for some more blocks, because a prefix counts from its first whole block on and not before; the rest is words, words, words, and words, words, words again, until there is enough of it"}"#;

impl Stream {
    async fn say(&self, message: ext::ProcessingRequest) {
        self.say.send(message).await.unwrap();
    }

    async fn hear(&mut self) -> Option<ext::ProcessingResponse> {
        tokio::time::timeout(Duration::from_secs(5), self.heard.message())
            .await
            .expect("an answer in time")
            .unwrap_or(None)
    }

    async fn answer(&mut self) -> Heard {
        let heard = self.hear().await.expect("an answer");
        heard.response.expect("an answer that says something")
    }

    /// A whole request in full duplex, up to its destination.
    async fn decided(&mut self, response: Mode) -> Vec<String> {
        self.say(first(post("/v1/completions"), Mode::FullDuplex, response))
            .await;
        self.say(request_body(PROMPT, true)).await;
        let decided = self.hear().await.unwrap();
        let endpoints = destination(&decided);
        let (echoed, ends) = self.echo().await;
        assert_eq!((echoed.as_slice(), ends), (PROMPT, 1));
        endpoints
    }

    /// The request's body as it comes back, and how many ends it has.
    async fn echo(&mut self) -> (Vec<u8>, usize) {
        let mut echoed = Vec::new();
        loop {
            let Heard::RequestBody(response) = self.answer().await else {
                panic!("something else than a body");
            };
            let piece = streamed(response);
            echoed.extend_from_slice(&piece.body);
            if piece.end_of_stream {
                return (echoed, 1);
            }
        }
    }
}

fn streamed(response: ext::BodyResponse) -> ext::StreamedBodyResponse {
    let mutation = response.response.and_then(|common| common.body_mutation);
    match mutation.and_then(|mutation| mutation.mutation) {
        Some(Mutation::StreamedResponse(piece)) => piece,
        other => panic!("no piece: {other:?}"),
    }
}

/// The destination; header and metadata must agree.
fn destination(response: &ext::ProcessingResponse) -> Vec<String> {
    let common = match response.response.as_ref().unwrap() {
        Heard::RequestHeaders(headers) => headers.response.as_ref().unwrap(),
        Heard::RequestBody(body) => body.response.as_ref().unwrap(),
        other => panic!("no destination: {other:?}"),
    };
    assert!(common.clear_route_cache);
    let mutation = common.header_mutation.as_ref().unwrap();
    let header = set(mutation, DESTINATION).unwrap();
    let metadata = response.dynamic_metadata.as_ref().unwrap();
    let Some(Kind::StructValue(lb)) = &metadata.fields["envoy.lb"].kind else {
        panic!("no envoy.lb");
    };
    assert_eq!(
        lb.fields[DESTINATION].kind,
        Some(Kind::StringValue(header.clone()))
    );
    header.split(',').map(str::to_owned).collect()
}

fn set(mutation: &ext::HeaderMutation, name: &str) -> Option<String> {
    let mut headers = mutation
        .set_headers
        .iter()
        .filter_map(|h| h.header.as_ref());
    let found = headers.find(|header| header.key == name)?;
    Some(String::from_utf8(found.raw_value.clone()).unwrap())
}

fn immediate(heard: Heard) -> (i32, Option<String>, String) {
    let Heard::ImmediateResponse(response) = heard else {
        panic!("no immediate response: {heard:?}");
    };
    let mutation = response.headers.unwrap();
    (
        response.status.unwrap().code,
        set(&mutation, "x-llm-d-request-dropped-reason"),
        String::from_utf8(response.body).unwrap(),
    )
}

const THREE: [&str; 3] = ["127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.2:1001"];

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

#[derive(Clone, PartialEq, prost::Message)]
struct Check {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Checked {
    #[prost(int32, tag = "1")]
    status: i32,
}

async fn health(address: SocketAddr, service: &str) -> i32 {
    let origin = http::Uri::from_static("http://picker");
    let mut client = tonic::client::Grpc::with_origin(line(address).await, origin);
    client.ready().await.unwrap();
    let request = Check {
        service: service.to_owned(),
    };
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = tonic_prost::ProstCodec::<Check, Checked>::default();
    let answer = client
        .unary(tonic::Request::new(request), path, codec)
        .await;
    answer.unwrap().into_inner().status
}

#[tokio::test]
async fn health_by_name() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let names = [
        ("", 1),
        ("liveness", 1),
        ("readiness", 1),
        ("inference-extension", 1),
        ("envoy.service.ext_proc.v3.ExternalProcessor", 1),
        ("else", 3),
    ];
    for address in [deciding.health, deciding.picker] {
        for (name, expected) in names {
            assert_eq!(health(address, name).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_stop_lets_responses_go_on_without_the_picker() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let mut stream = deciding.open().await;
    stream.decided(Mode::FullDuplex).await;
    stream.say(good("text/event-stream", false)).await;
    stream.answer().await;
    deciding.stop.cancel();
    // A clean end: the data plane goes on by itself.
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.heard.message()).await;
    assert!(matches!(ended.unwrap(), Ok(None)));
    deciding.served.await.unwrap();
}

#[test]
fn certificates_are_made_or_read() {
    let made = Certificates::new(&TlsSettings::default());
    assert!(made.is_ok());
    let folder = tempfile::tempdir().unwrap();
    let settings = |min: &str, suites: &[&str], folder: Option<&std::path::Path>| TlsSettings {
        folder: folder.map(Into::into),
        min_version: (!min.is_empty()).then(|| min.to_owned()),
        cipher_suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
    };
    for (settings, words) in [
        (
            settings("VersionTLS13", &["TLS_AES_128_GCM_SHA256"], None),
            None,
        ),
        (settings("VersionTLS11", &[], None), Some("VersionTLS12")),
        (
            settings("", &["TLS_X"], None),
            Some("TLS_AES_256_GCM_SHA384"),
        ),
        (settings("", &[], Some(folder.path())), Some("tls.crt")),
    ] {
        let error = Certificates::new(&settings).err();
        match words {
            None => assert_eq!(error, None),
            Some(words) => assert!(error.as_ref().unwrap().contains(words), "{error:?}"),
        }
    }
}
