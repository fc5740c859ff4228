//! What does an endpoint answer to a GET?
//!
//! A small HTTP/1 client for one endpoint: keep-alive, a limit on time and on size, and errors short enough to be
//! shown as the reason why an endpoint is out of rotation.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

/// Largest answer read; a busy engine's metrics page is about 100 KB.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Connections kept open per endpoint: one each for health, scrape and models.
const MAX_IDLE_CONNECTIONS: usize = 3;

const AGENT: &str = concat!("prefixgate/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer, in words for an operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    #[error("connection refused")]
    Refused,
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("connection broke: {0}")]
    Broken(String),
    #[error("answer not read: {0}")]
    Body(String),
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Where to connect and what to say there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    host: String,
    port: u16,
    /// What the endpoint's URL has before each path.
    base: String,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    authorization: Option<HeaderValue>,
}

impl Target {
    /// Reads an [`fleet::EndpointSpec`]'s URL; the error is a reason in words.
    pub(crate) fn new(
        url: &str,
        authorization: Option<HeaderValue>,
        tls: impl FnOnce() -> Result<Arc<rustls::ClientConfig>, String>,
        server_name: Option<&str>,
    ) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("`{url}` is not a URL: {error}"))?;
        let bracketed = url.host_str().ok_or("its URL has no host")?;
        let host = bracketed.trim_matches(['[', ']']).to_owned();
        let tls = if url.scheme() == "https" {
            let name = ServerName::try_from(server_name.unwrap_or(&host).to_owned())
                .map_err(|error| format!("`{host}` cannot be verified: {error}"))?;
            Some((tls()?, name))
        } else {
            None
        };
        Ok(Self {
            port: url.port_or_known_default().ok_or("its URL has no port")?,
            base: url.path().trim_end_matches('/').to_owned(),
            host,
            tls,
            authorization,
        })
    }

    /// The same host on another port.
    pub(crate) fn on_port(&self, port: u16) -> Self {
        Self {
            port,
            ..self.clone()
        }
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// GETs of one endpoint; its connections end with it or with `stop`.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Client {
    pub(crate) fn new(target: Target, stop: CancellationToken, tracker: TaskTracker) -> Self {
        Self {
            target,
            idle: Mutex::default(),
            stop,
            tracker,
        }
    }

    /// Status and body of `path`, all of it within `limit`.
    pub(crate) async fn get(&self, path: &str, limit: Duration) -> Result<Answer, GetError> {
        tokio::time::timeout(limit, self.get_unlimited(path))
            .await
            .unwrap_or(Err(GetError::Timeout(limit)))
    }

    async fn get_unlimited(&self, path: &str) -> Result<Answer, GetError> {
        // A kept connection may have been closed by the engine meanwhile; that says nothing about its health.
        if let Some(sender) = self.take_idle().await
            && let Ok(answer) = self.exchange(sender, path).await
        {
            return Ok(answer);
        }
        let sender = self.connect().await?;
        self.exchange(sender, path).await
    }

    async fn take_idle(&self) -> Option<SendRequest<Empty<Bytes>>> {
        loop {
            let mut sender = self.idle.lock().pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    async fn exchange(
        &self,
        mut sender: SendRequest<Empty<Bytes>>,
        path: &str,
    ) -> Result<Answer, GetError> {
        let request = self.request(path)?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| GetError::Broken(innermost(&error)))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES)
            .collect()
            .await
            .map_err(|error| GetError::Body(innermost(&*error)))?
            .to_bytes();
        let mut idle = self.idle.lock();
        if !sender.is_closed() && idle.len() < MAX_IDLE_CONNECTIONS {
            idle.push(sender);
        }
        Ok(Answer { status, body })
    }

    fn request(&self, path: &str) -> Result<http::Request<Empty<Bytes>>, GetError> {
        let mut request = http::Request::get(format!("{}{path}", self.target.base))
            .header(HOST, self.target.authority())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "*/*");
        if let Some(value) = &self.target.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        request
            .body(Empty::new())
            .map_err(|error| GetError::Connect(error.to_string()))
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, GetError> {
        let target = &self.target;
        let stream = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::ConnectionRefused => GetError::Refused,
                _ => GetError::Connect(error.to_string()),
            })?;
        // Only costs latency when it fails.
        let _ = stream.set_nodelay(true);
        match &target.tls {
            None => self.handshake(TokioIo::new(stream)).await,
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                let stream = connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(|error| GetError::Tls(error.to_string()))?;
                self.handshake(TokioIo::new(stream)).await
            }
        }
    }

    async fn handshake<T>(&self, io: T) -> Result<SendRequest<Empty<Bytes>>, GetError>
    where
        T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(io)
            .await
            .map_err(|error| GetError::Connect(innermost(&error)))?;
        let stop = self.stop.clone();
        // Its error is also the error of the request that was on it.
        self.tracker
            .spawn(async move { stop.run_until_cancelled(connection).await });
        Ok(sender)
    }
}

/// The cause at the bottom: what hyper wraps says more than hyper's own words.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// `Authorization` for an API key; an error where it holds bytes that no header may.
pub(crate) fn bearer(key: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}"))?;
    value.set_sensitive(true);
    Ok(value)
}
