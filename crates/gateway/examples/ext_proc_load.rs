//! How much does a picker bear, and what does it cost?
//!
//! Speaks Envoy's external processing itself, so that neither a proxy nor an engine is in the way. Two loads: requests
//! at a rate, timed from the last body message written to the destination read; and response traffic, in pieces at a
//! rate, shown to the picker or not. Prints latencies, and CPU seconds of the picker (by its process id) and of itself.
//!
//! ```text
//! ext_proc_load port=9002 pid=PID model=NAME load=requests rate=1000 seconds=10 bytes=220000 [tls=1] [connections=4]
//! ext_proc_load port=9002 pid=PID model=NAME load=pieces   rate=100000 seconds=10 streams=1000 [shown=0]
//! ```
#![allow(clippy::print_stdout, reason = "the answer of the program")]

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::ext_proc::v3 as ext;
use ext::external_processor_client::ExternalProcessorClient;
use ext::processing_request::Request as Say;
use ext::processing_response::Response as Heard;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::body::Body;

type Fault = Box<dyn Error + Send + Sync>;

/// Bytes of a request body in one message.
const PIECE_BYTES: usize = 16_384;
/// Different prompts; each is sent again and again.
const PROMPTS: usize = 32;

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

/// A picker's certificate is its own; whose it is does not matter to a measurement.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

async fn connect(port: u16, tls: bool) -> Result<ExternalProcessorClient<Line>, Fault> {
    let socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .max_concurrent_reset_streams(65_536);
    let sender = if tls {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("localhost")?;
        let secured = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await?;
        let (sender, line) = builder.handshake(TokioIo::new(secured)).await?;
        tokio::spawn(line);
        sender
    } else {
        let (sender, line) = builder.handshake(TokioIo::new(socket)).await?;
        tokio::spawn(line);
        sender
    };
    let origin = http::Uri::from_static("http://localhost");
    Ok(ExternalProcessorClient::with_origin(Line(sender), origin)
        .max_decoding_message_size(64 << 20))
}

fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> ext::HttpHeaders {
    let headers = pairs.iter().map(|(key, value)| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    });
    ext::HttpHeaders {
        headers: Some(HeaderMap {
            headers: headers.collect(),
        }),
        end_of_stream,
        ..ext::HttpHeaders::default()
    }
}

fn message(request: Say, shown: bool) -> ext::ProcessingRequest {
    ext::ProcessingRequest {
        request: Some(request),
        protocol_config: Some(ext::ProtocolConfiguration {
            request_body_mode: 4,
            response_body_mode: if shown { 4 } else { 0 },
            send_body_without_waiting_for_header_response: false,
        }),
        ..ext::ProcessingRequest::default()
    }
}

fn request_headers(shown: bool) -> ext::ProcessingRequest {
    let pairs = [
        (":method", "POST"),
        (":path", "/v1/completions"),
        (":authority", "load"),
        ("content-type", "application/json"),
        ("x-request-id", "load"),
    ];
    message(Say::RequestHeaders(headers(&pairs, false)), shown)
}

fn body(bytes: Vec<u8>, end_of_stream: bool) -> ext::HttpBody {
    ext::HttpBody {
        body: bytes,
        end_of_stream,
        ..ext::HttpBody::default()
    }
}

fn prompts(model: &str, bytes: usize, stream: bool) -> Vec<Vec<u8>> {
    let word = |at: usize| ["alpha ", "beta ", "gamma ", "delta ", "epsilon "][at % 5];
    let one = |number: usize| {
        let head = format!(
            "{{\"model\":\"{model}\",\"stream\":{stream},\"max_tokens\":64,\"prompt\":\"{number} "
        );
        let mut text = head;
        let mut at = number;
        while text.len() + 10 < bytes {
            at = at.wrapping_mul(31).wrapping_add(7);
            text.push_str(word(at));
        }
        text.push_str("\"}");
        text.into_bytes()
    };
    (0..PROMPTS).map(one).collect()
}

/// CPU seconds that a process has used.
fn cpu_seconds(pid: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    // Linux counts these in hundredths whatever the kernel's own tick is.
    Some(ticks / 100.0)
}

struct Settings(BTreeMap<String, String>);

impl Settings {
    fn read() -> Self {
        let words = std::env::args().skip(1);
        let pairs = words.filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        });
        Self(pairs.collect())
    }

    fn number(&self, key: &str, default: u64) -> Result<u64, Fault> {
        match self.0.get(key) {
            Some(text) => Ok(text
                .parse()
                .map_err(|_| format!("{key}={text} is no number"))?),
            None => Ok(default),
        }
    }

    fn text(&self, key: &str, default: &str) -> String {
        self.0.get(key).cloned().unwrap_or(default.to_owned())
    }
}

/// One request: what the picker answers to it, and how long after the last body message.
async fn decide(
    mut client: ExternalProcessorClient<Line>,
    body_bytes: &[u8],
    shown: bool,
) -> Result<
    (
        Duration,
        mpsc::Sender<ext::ProcessingRequest>,
        tonic::Streaming<ext::ProcessingResponse>,
    ),
    Fault,
> {
    let (say, said) = mpsc::channel(8);
    let outgoing = futures_util::stream::unfold(said, |mut said| async move {
        let message = said.recv().await?;
        Some((message, said))
    });
    say.send(request_headers(shown)).await?;
    let pieces = body_bytes.len().div_ceil(PIECE_BYTES);
    let opening = client.process(outgoing);
    let writing = async {
        for (at, piece) in body_bytes.chunks(PIECE_BYTES).enumerate() {
            let last = at + 1 == pieces;
            let piece = Say::RequestBody(body(piece.to_vec(), last));
            say.send(message(piece, shown)).await?;
        }
        Ok::<_, Fault>(Instant::now())
    };
    let (opened, written) = tokio::join!(opening, writing);
    let (mut heard, written) = (opened?.into_inner(), written?);
    let mut spent = None;
    let mut echoed = 0;
    loop {
        let response = heard
            .message()
            .await?
            .ok_or("the picker ended the stream")?;
        match response.response {
            Some(Heard::RequestHeaders(_)) => spent = Some(written.elapsed()),
            Some(Heard::RequestBody(response)) => {
                let mutation = response.response.and_then(|common| common.body_mutation);
                let Some(ext::body_mutation::Mutation::StreamedResponse(piece)) =
                    mutation.and_then(|mutation| mutation.mutation)
                else {
                    return Err("a body that is no piece".into());
                };
                echoed += piece.body.len();
                if piece.end_of_stream {
                    break;
                }
            }
            other => return Err(format!("the picker answered {other:?}").into()),
        }
    }
    if echoed != body_bytes.len() {
        return Err(format!("{echoed} bytes came back of {}", body_bytes.len()).into());
    }
    Ok((spent.ok_or("no destination")?, say, heard))
}

fn quantile(sorted: &[Duration], of: f64) -> f64 {
    let at = ((sorted.len() as f64 * of) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |d| d.as_secs_f64() * 1_000.0)
}

async fn requests(
    settings: &Settings,
    clients: Vec<ExternalProcessorClient<Line>>,
) -> Result<(), Fault> {
    let rate = settings.number("rate", 100)?;
    let seconds = settings.number("seconds", 5)?;
    let bytes = usize::try_from(settings.number("bytes", 16_000)?)?;
    let bodies = Arc::new(prompts(&settings.text("model", "m"), bytes, false));
    let times = Arc::new(Mutex::new(Vec::new()));
    let (open, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let total = rate * seconds;
    let mut late = Duration::ZERO;
    for number in 0..total {
        let due = begun + Duration::from_secs_f64(number as f64 / rate as f64);
        tokio::time::sleep_until(due).await;
        late = late.max(due.elapsed());
        let at = usize::try_from(number)?;
        let client = clients[at % clients.len()].clone();
        let (bodies, times) = (Arc::clone(&bodies), Arc::clone(&times));
        let (open, failed) = (Arc::clone(&open), Arc::clone(&failed));
        open.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            match decide(client, &bodies[at % PROMPTS], false).await {
                Ok((spent, say, mut heard)) => {
                    times.lock().push(spent);
                    let pairs = [(":status", "200"), ("content-type", "application/json")];
                    let start = Say::ResponseHeaders(headers(&pairs, true));
                    // What follows is not measured.
                    let _ = say.send(message(start, false)).await;
                    let _ = heard.message().await;
                }
                Err(error) => {
                    if failed.fetch_add(1, Relaxed) == 0 {
                        println!("first failure: {error}");
                    }
                }
            }
            open.fetch_sub(1, Relaxed);
        });
    }
    while open.load(Relaxed) > 0 && begun.elapsed() < Duration::from_secs(seconds + 30) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let mut times = times.lock().clone();
    times.sort_unstable();
    println!(
        "requests={} failed={} unanswered={} seconds={took:.2} per_second={:.1} largest_start_delay_ms={:.1}",
        times.len(),
        failed.load(Relaxed),
        open.load(Relaxed),
        times.len() as f64 / took,
        late.as_secs_f64() * 1_000.0
    );
    println!(
        "decision_ms p50={:.3} p90={:.3} p99={:.3} max={:.3}",
        quantile(&times, 0.5),
        quantile(&times, 0.9),
        quantile(&times, 0.99),
        quantile(&times, 1.0)
    );
    Ok(())
}

async fn pieces(
    settings: &Settings,
    clients: Vec<ExternalProcessorClient<Line>>,
) -> Result<(), Fault> {
    let rate = settings.number("rate", 10_000)?;
    let seconds = settings.number("seconds", 5)?;
    let streams = usize::try_from(settings.number("streams", 100)?)?;
    let shown = settings.number("shown", 1)? == 1;
    let bodies = prompts(&settings.text("model", "m"), 1_000, true);
    let (sent, came) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let end = Instant::now() + Duration::from_secs(seconds);
    let gap = Duration::from_secs_f64(streams as f64 / rate as f64);
    let mut running = Vec::new();
    for number in 0..streams {
        let client = clients[number % clients.len()].clone();
        let (_, say, mut heard) = decide(client, &bodies[number % PROMPTS], shown).await?;
        let pairs = [(":status", "200"), ("content-type", "text/event-stream")];
        let start = Say::ResponseHeaders(headers(&pairs, false));
        say.send(message(start, shown)).await?;
        let (sent, came) = (Arc::clone(&sent), Arc::clone(&came));
        running.push(tokio::spawn(async move {
            let event = b"data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"m\",\
                \"choices\":[{\"index\":0,\"text\":\" word\",\"logprobs\":null,\"finish_reason\":null}]}\n\n";
            let writing = async {
                let mut due = Instant::now() + gap.mul_f64(number as f64 / streams as f64);
                while due < end {
                    tokio::time::sleep_until(due).await;
                    due += gap;
                    if shown {
                        let piece = Say::ResponseBody(body(event.to_vec(), false));
                        if say.send(message(piece, shown)).await.is_err() {
                            return;
                        }
                    }
                    sent.fetch_add(1, Relaxed);
                }
                drop(say);
            };
            let reading = async {
                while let Ok(Some(response)) = heard.message().await {
                    if matches!(response.response, Some(Heard::ResponseBody(_))) {
                        came.fetch_add(1, Relaxed);
                    }
                }
            };
            tokio::join!(writing, reading);
        }));
    }
    let begun = Instant::now();
    for task in running {
        task.await?;
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "streams={streams} pieces={} came_back={} seconds={took:.2} pieces_per_second={:.0}",
        sent.load(Relaxed),
        came.load(Relaxed),
        sent.load(Relaxed) as f64 / took
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let settings = Settings::read();
    let port = u16::try_from(settings.number("port", 9002)?)?;
    let tls = settings.number("tls", 0)? == 1;
    let pid = settings.text("pid", "");
    let mut clients = Vec::new();
    for _ in 0..settings.number("connections", 4)?.max(1) {
        clients.push(connect(port, tls).await?);
    }
    let before = (cpu_seconds(&pid), cpu_seconds("self"), Instant::now());
    match settings.text("load", "requests").as_str() {
        "requests" => requests(&settings, clients).await?,
        "pieces" => pieces(&settings, clients).await?,
        other => return Err(format!("load={other} is unknown: requests or pieces").into()),
    }
    let wall = before.2.elapsed().as_secs_f64();
    let used = |before: Option<f64>, pid: &str| Some(cpu_seconds(pid)? - before?);
    if let (Some(picker), Some(own)) = (used(before.0, &pid), used(before.1, "self")) {
        println!(
            "cpu_seconds picker={picker:.2} generator={own:.2} wall={wall:.2} picker_cores={:.3} generator_cores={:.3}",
            picker / wall,
            own / wall
        );
    }
    Ok(())
}
