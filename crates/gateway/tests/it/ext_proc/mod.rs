//! Requests decided for a data plane that speaks external processing.

mod around;
mod refusals;
mod requests;
mod responses;
mod serving;

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
    metrics: SocketAddr,
    fleet: Arc<Fleet>,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    _guard: DropGuard,
}

async fn deciding(addresses: &[&str], config: PickerConfig) -> Deciding {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
    let fleet = fleet("default", &addresses, Some(&["m", "target"]));
    let route = PoolRoute::new("default", Arc::clone(&fleet));
    deciding_for(route, GatewayConfig::default(), Clock::start(), config).await
}

async fn deciding_for(
    route: PoolRoute,
    gateway_config: GatewayConfig,
    clock: Clock,
    config: PickerConfig,
) -> Deciding {
    let fleet = Arc::clone(&route.fleet);
    let config = PickerConfig {
        drain_timeout: Duration::ZERO,
        ..config
    };
    let gateway_config = GatewayConfig {
        max_body_bytes: 4 << 20,
        ..gateway_config
    };
    let gateway = Gateway::new(gateway_config, vec![route], clock, 7);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let health = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics_address = metrics.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (picker, health_address) = (listener.local_addr(), health.local_addr());
    tokio::spawn(Arc::clone(&gateway).serve_grpc_health(health, stop.child_token()));
    tokio::spawn(Arc::clone(&gateway).serve_picker_admin(metrics, stop.child_token()));
    let served =
        tokio::spawn(gateway.serve_picker(Picker::new(config), listener, None, stop.clone()));
    Deciding {
        picker: picker.unwrap(),
        health: health_address.unwrap(),
        metrics: metrics_address,
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
