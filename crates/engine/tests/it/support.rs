//! An engine with a client on the other end of a pipe.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use clap::Parser;
use engine::{Engine, EngineArgs, Log};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn args(flags: &str) -> EngineArgs {
    Line::parse_from(["engine"].into_iter().chain(flags.split_whitespace())).engine
}

pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
}

/// An answer as far as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// The connection broke before the body's end.
    pub(crate) broken: bool,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    /// The payloads of a stream, `[DONE]` as a string.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let payloads = self
            .body
            .split_terminator("\n\n")
            .filter_map(|event| event.strip_prefix("data: "));
        payloads
            .map(|data| serde_json::from_str(data).unwrap_or_else(|_| Value::from(data)))
            .collect()
    }
}

/// A response whose body is still open.
pub(crate) type Open = http::Response<hyper::body::Incoming>;

pub(crate) fn rig(flags: &str) -> Rig {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let engine = Engine::start(
        args(flags),
        Log::to(move |line| sink.lock().unwrap().push(line)),
    )
    .unwrap();
    Rig { engine, lines }
}

impl Rig {
    /// A new connection to the engine; `buffer` bytes fit into the pipe.
    pub(crate) fn connect(&self, buffer: usize) -> tokio::io::DuplexStream {
        let (client, server) = tokio::io::duplex(buffer);
        let engine = self.engine.clone();
        tokio::spawn(async move {
            engine
                .serve_connection(server, SocketAddr::from(([127, 0, 0, 1], 5555)))
                .await
        });
        client
    }

    pub(crate) async fn open(
        &self,
        request: Request<Full<bytes::Bytes>>,
    ) -> Result<Open, hyper::Error> {
        send(self.connect(64 * 1024), request).await
    }

    pub(crate) async fn send(
        &self,
        request: Request<Full<bytes::Bytes>>,
    ) -> Result<Answer, hyper::Error> {
        Ok(collect(self.open(request).await?).await)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path, &[], "")).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: impl ToString) -> Answer {
        self.send(post(path, body)).await.unwrap()
    }

    /// Arms a fault by its JSON.
    pub(crate) async fn fault(&self, fault: Value) {
        let answer = self.post("/admin/fault", fault).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// The value of one series of `/metrics`, by the beginning of its line.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        value(&self.get("/metrics").await.body, series)
    }
}

#[track_caller]
pub(crate) fn value(page: &str, series: &str) -> f64 {
    let line = page
        .lines()
        .find(|line| line.starts_with(series))
        .unwrap_or_else(|| panic!("no {series}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl ToString,
) -> Request<Full<bytes::Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "engine");
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.body(Full::from(body.to_string())).unwrap()
}

pub(crate) fn post(path: &str, body: impl ToString) -> Request<Full<bytes::Bytes>> {
    request("POST", path, &[("content-type", "application/json")], body)
}

pub(crate) async fn send<IO>(
    io: IO,
    request: Request<Full<bytes::Bytes>>,
) -> Result<Open, hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection);
    sender.send_request(request).await
}

pub(crate) async fn collect(open: Open) -> Answer {
    let (parts, mut body) = open.into_parts();
    let (mut bytes, mut broken) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(_) => broken = true,
        }
    }
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(bytes).unwrap(),
        broken,
    }
}

/// Two turns of a short conversation.
pub(crate) fn chat(extra: Value) -> Value {
    let mut body = serde_json::json!({"messages": [{"role": "user", "content": "Say something."}], "max_tokens": 5});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    body
}
