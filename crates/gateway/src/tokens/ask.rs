//! Which tokens does one engine make of a body?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use engine_api::openai::Route;
use fleet::View;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

use super::Without;
use crate::route::Pool;

/// Largest answer read: a million tokens with their offsets.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How long a path that an engine does not have is not asked for again.
const ABSENT_FOR: Duration = Duration::from_secs(30);

/// What was learned of a pool's engines.
#[derive(Debug, Default)]
pub(super) struct Ask {
    /// Whose turn it is.
    turn: AtomicUsize,
    /// When render paths may be asked for again, microseconds since process start; they answer 403 unless enabled.
    no_render_until_us: AtomicU64,
}

#[derive(Deserialize)]
struct Rendered {
    token_ids: Vec<u32>,
    features: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct TokenList {
    tokens: Vec<u32>,
}

impl Ask {
    /// Tokens of every prompt in `body`, by one endpoint's word.
    pub(super) async fn tokens(
        &self,
        pool: &Pool,
        model: &str,
        route: Route,
        body: &Bytes,
        now: Duration,
    ) -> Result<Vec<Vec<u32>>, Without> {
        let view = pool.fleet().view();
        let url = self.choose(&view, model).ok_or(Without::NoEngine)?;
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        if now_us >= self.no_render_until_us.load(Relaxed) {
            let path = match route {
                Route::Chat => "/v1/chat/completions/render",
                _ => "/v1/completions/render",
            };
            let (status, answer) = post(pool, &url, path, body).await?;
            match status {
                200 => return rendered(route, &answer),
                401 | 403 | 404 | 405 | 501 => {
                    let until = now_us.saturating_add(ABSENT_FOR.as_micros() as u64);
                    self.no_render_until_us.store(until, Relaxed);
                }
                _ => return Err(Without::Refused),
            }
        }
        let (status, answer) = post(pool, &url, "/tokenize", body).await?;
        if status != 200 {
            return Err(match status {
                401 | 403 | 404 | 405 => Without::NoEngine,
                _ => Without::Refused,
            });
        }
        let list: TokenList = serde_json::from_slice(&answer).map_err(|_| Without::NoEngine)?;
        Ok(vec![list.tokens])
    }

    /// One ready endpoint that serves the model, each in its turn.
    fn choose(&self, view: &View, model: &str) -> Option<Arc<str>> {
        let rows = view.rows_for(model);
        let turn = self.turn.fetch_add(1, Relaxed);
        let row = rows.get(turn % rows.len().max(1))?;
        Some(Arc::clone(&view.endpoints[*row as usize].spec.url))
    }
}

/// A chat is one rendered prompt, a completion a list of them.
fn rendered(route: Route, answer: &[u8]) -> Result<Vec<Vec<u32>>, Without> {
    let prompts: Vec<Rendered> = match route {
        Route::Chat => serde_json::from_slice(answer).map(|one| vec![one]),
        _ => serde_json::from_slice(answer),
    }
    .map_err(|_| Without::NoEngine)?;
    let media = |prompt: &Rendered| {
        let features = prompt.features.as_ref();
        features.is_some_and(|features| !features.is_null())
    };
    if prompts.iter().any(media) {
        return Err(Without::Media);
    }
    Ok(prompts.into_iter().map(|prompt| prompt.token_ids).collect())
}

async fn post(pool: &Pool, url: &str, path: &str, body: &Bytes) -> Result<(u16, Bytes), Without> {
    let url = Url::parse(url).map_err(|_| Without::NoEngine)?;
    let host = url.host_str().ok_or(Without::NoEngine)?;
    let bare = host.trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().ok_or(Without::NoEngine)?;
    let base = url.path().trim_end_matches('/');
    let mut request = http::Request::post(format!("{base}{path}"))
        .header(HOST, format!("{host}:{port}"))
        .header(CONTENT_TYPE, "application/json");
    if let Some(key) = &pool.engine_authorization {
        request = request.header(AUTHORIZATION, key);
    }
    let request = request
        .body(Full::new(body.clone()))
        .map_err(|_| Without::NoEngine)?;
    let stream = TcpStream::connect((bare.as_str(), port))
        .await
        .map_err(|_| Without::NoEngine)?;
    // Only costs latency when it fails.
    let _ = stream.set_nodelay(true);
    if url.scheme() != "https" {
        return exchange(stream, request).await;
    }
    let tls = pool.route.tls.clone().ok_or(Without::NoEngine)?;
    let name = rustls::pki_types::ServerName::try_from(bare).map_err(|_| Without::NoEngine)?;
    let stream = tokio_rustls::TlsConnector::from(tls)
        .connect(name, stream)
        .await
        .map_err(|_| Without::NoEngine)?;
    exchange(stream, request).await
}

async fn exchange<T>(io: T, request: http::Request<Full<Bytes>>) -> Result<(u16, Bytes), Without>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let gone = |_| Without::NoEngine;
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(gone)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(gone)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(|_| Without::NoEngine)?;
        Ok((status, body.to_bytes()))
    };
    // Its error is also the error of the request that was on it.
    tokio::select! {
        answer = answer => answer,
        Err(_) = connection => Err(Without::NoEngine),
    }
}
