//! How is one request sent and its whole answer read?

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::connect::{Connections, Lease, Sender};
use super::error::{ClientError, root_cause};
use super::sample::Sample;
use super::stream;
use super::target::Target;
use crate::workload::Prompted;

/// Largest whole (non-streamed) answer held in memory.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// From send to the last byte.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// Sent as `Authorization: Bearer …` where present.
    pub api_key: Option<String>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(5),
            connect_timeout: Duration::from_secs(5),
            api_key: None,
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// From send to the last byte.
    pub elapsed: Duration,
}

impl Answer {
    /// The body as JSON, else a sentence that quotes its beginning.
    pub fn json(&self) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("not JSON ({error}): {}", excerpt(&self.body)))
    }

    /// A header's text, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A keep-alive client of one target. Cheap to share behind an `Arc`.
pub struct Client {
    target: Target,
    connections: Connections,
    options: ClientOptions,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// Fails for https on a machine without root certificates, or an API key that no header can hold.
    pub fn new(target: Target, options: ClientOptions) -> Result<Self, ClientError> {
        let connections = Connections::new(target.clone(), options.connect_timeout)?;
        let authorization = options
            .api_key
            .as_deref()
            .map(bearer)
            .transpose()
            .map_err(|why| ClientError::Request {
                url: target.to_string(),
                why: format!("API key: {why}"),
            })?;
        Ok(Self {
            target,
            connections,
            options,
            authorization,
        })
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// `GET prefix + path`, read whole.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.whole(Method::GET, path, Bytes::new()).await
    }

    /// `POST prefix + path` with a JSON body, read whole.
    pub async fn post(&self, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        self.whole(Method::POST, path, body).await
    }

    /// Sends a streaming request that was meant to leave at `intended`, and takes its times.
    pub async fn stream(&self, prompted: &Prompted, intended: Instant) -> Sample {
        let mut sample = Sample::begin(prompted, intended, Instant::now());
        let limit = self.options.timeout;
        let read = stream::read(self, prompted, &mut sample);
        if tokio::time::timeout(limit, read).await.is_err() {
            sample.fail(
                ClientError::Timeout {
                    url: self.url(prompted.path),
                    after: limit,
                }
                .into(),
            );
        }
        sample.finish(Instant::now());
        sample
    }

    async fn whole(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, ClientError> {
        let after = self.options.timeout;
        tokio::time::timeout(after, self.exchange(method, path, body))
            .await
            .map_err(|_| ClientError::Timeout {
                url: self.url(path),
                after,
            })?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let begun = Instant::now();
        let (response, sender) = self.send(method, path, body).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| ClientError::Broken {
                url: self.url(path),
                why: root_cause(error.as_ref()),
            })?;
        self.connections.put(sender);
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
            elapsed: begun.elapsed(),
        })
    }

    /// Sends and waits for the response head. A kept-alive connection that turns out closed before any
    /// response byte is replaced by a fresh one, once.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, Sender), ClientError> {
        let Lease { mut sender, reused } = self.connections.take().await?;
        let request = self.request(method.clone(), path, body.clone())?;
        let error = match sender.send_request(request).await {
            Ok(response) => return Ok((response, sender)),
            Err(error) => error,
        };
        let stale =
            reused && (error.is_canceled() || error.is_incomplete_message() || is_reset(&error));
        if !stale {
            return Err(ClientError::Broken {
                url: self.url(path),
                why: root_cause(&error),
            });
        }
        let mut sender = self.connections.fresh().await?.sender;
        let request = self.request(method, path, body)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| ClientError::Broken {
                url: self.url(path),
                why: root_cause(&error),
            })?;
        Ok((response, sender))
    }

    pub(crate) fn put(&self, sender: Sender) {
        self.connections.put(sender);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.target)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut builder = Request::builder()
            .method(method.clone())
            .uri(self.target.path(path))
            .header(HOST, self.target.authority())
            .header(ACCEPT, "*/*");
        if method == Method::POST {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        if let Some(value) = &self.authorization {
            builder = builder.header(AUTHORIZATION, value);
        }
        builder
            .body(Full::new(body))
            .map_err(|error| ClientError::Request {
                url: self.url(path),
                why: error.to_string(),
            })
    }
}

fn bearer(key: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {key}"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_reset(error: &hyper::Error) -> bool {
    use std::error::Error as _;
    error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|error| {
            matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset
                    | std::io::ErrorKind::BrokenPipe
                    | std::io::ErrorKind::ConnectionAborted
            )
        })
}

/// The first 200 characters of a body, on one line.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    if line.trim().is_empty() {
        "an empty body".to_owned()
    } else {
        format!("`{}`", line.trim())
    }
}
