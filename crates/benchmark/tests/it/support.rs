//! A tiny server on port 0 whose answers a test writes down.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benchmark::load::{Client, ClientOptions, Sample, Target};
use benchmark::workload::Prompted;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Sent as one chunk each; `None` cuts the connection.
    pub(crate) pieces: Vec<Option<String>>,
}

impl Reply {
    pub(crate) fn json(body: impl ToString) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "application/json".into())],
            pieces: vec![Some(body.to_string())],
        }
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// A stream in these pieces.
    pub(crate) fn stream(pieces: &[&str]) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "text/event-stream; charset=utf-8".into())],
            pieces: pieces
                .iter()
                .map(|piece| Some((*piece).to_owned()))
                .collect(),
        }
    }

    pub(crate) fn cut(mut self) -> Self {
        self.pieces.push(None);
        self
    }
}

pub(crate) const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"text\":\" a\"}]}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

/// The usage event of a stream.
pub(crate) fn usage(prompt: u64, completion: u64, cached: u64) -> String {
    format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\
         \"total_tokens\":{},\"prompt_tokens_details\":{{\"cached_tokens\":{cached}}}}}}}\n\n",
        prompt + completion
    )
}

/// Serves `answer(path, body)` for ever; the address.
pub(crate) async fn serve<F>(answer: F) -> String
where
    F: Fn(&str, &[u8]) -> Reply + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            let answer = answer.clone();
            let service = service_fn(move |request| respond(answer.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service);
            tokio::spawn(connection);
        }
    });
    url
}

type Pieces = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>>;

async fn respond<F>(
    answer: Arc<F>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Pieces>, Infallible>
where
    F: Fn(&str, &[u8]) -> Reply,
{
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let reply = answer(&path, &body);
    let frames = stream::iter(reply.pieces).then(|piece| async move {
        tokio::task::yield_now().await;
        piece
            .map(|text| Frame::data(Bytes::from(text)))
            .ok_or_else(|| std::io::Error::other("cut on purpose"))
    });
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    Ok(response.body(StreamBody::new(frames.boxed())).unwrap())
}

pub(crate) fn client(url: &str) -> Arc<Client> {
    let options = ClientOptions {
        timeout: Duration::from_secs(10),
        ..ClientOptions::default()
    };
    Arc::new(Client::new(Target::parse(url).unwrap(), options).unwrap())
}

/// One streamed request to a server that always answers `reply`.
pub(crate) async fn sample(reply: Reply) -> Sample {
    let url = serve(move |_, _| reply.clone()).await;
    client(&url).stream(&prompted(), Instant::now()).await
}

pub(crate) fn prompted() -> Prompted {
    Prompted {
        path: "/v1/completions",
        body: Bytes::from_static(b"{\"prompt\":\"x\"}"),
        group: 0,
    }
}
