//! Which paths are there, and what happens to a request on its way to one and back?

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::body::{Body, Cut};
use super::generate::{Context, Style};
use super::reply::{self, Failure};
use super::shell::{OpenRequest, Shell};
use super::{adapters, admin, generate, info, render, tokens};
use crate::fault::{Fault, Kind, Stage};
use crate::metrics::Served;

/// Largest request body.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Bodies from this size on are read on a thread that may block: tokenizing them takes milliseconds.
const LARGE_BODY_BYTES: usize = 128 * 1024;

pub(crate) const SIMULATED: HeaderName = HeaderName::from_static("x-prefixgate-simulated");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ORCA_FORMAT: &str = "endpoint-load-metrics-format";
const ORCA: HeaderName = HeaderName::from_static("endpoint-load-metrics");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Health,
    Version,
    Load,
    Metrics,
    Models,
    KvEventSources,
    ResetPrefixCache,
    Completions,
    Chat,
    RenderCompletions,
    RenderChat,
    Tokenize,
    Detokenize,
    LoadLora,
    UnloadLora,
    Sleep,
    WakeUp,
    IsSleeping,
    AdminFault,
    AdminRequests,
}

/// The table: path, methods, route.
const ROUTES: &[(&str, &[Method], Route)] = &[
    ("/health", &[Method::GET], Route::Health),
    ("/ping", &[Method::GET, Method::POST], Route::Health),
    ("/version", &[Method::GET], Route::Version),
    ("/load", &[Method::GET], Route::Load),
    ("/metrics", &[Method::GET], Route::Metrics),
    ("/v1/models", &[Method::GET], Route::Models),
    ("/kv_event_sources", &[Method::GET], Route::KvEventSources),
    (
        "/reset_prefix_cache",
        &[Method::POST],
        Route::ResetPrefixCache,
    ),
    ("/v1/completions", &[Method::POST], Route::Completions),
    ("/v1/chat/completions", &[Method::POST], Route::Chat),
    (
        "/v1/completions/render",
        &[Method::POST],
        Route::RenderCompletions,
    ),
    (
        "/v1/chat/completions/render",
        &[Method::POST],
        Route::RenderChat,
    ),
    ("/tokenize", &[Method::POST], Route::Tokenize),
    ("/detokenize", &[Method::POST], Route::Detokenize),
    ("/v1/load_lora_adapter", &[Method::POST], Route::LoadLora),
    (
        "/v1/unload_lora_adapter",
        &[Method::POST],
        Route::UnloadLora,
    ),
    ("/sleep", &[Method::POST], Route::Sleep),
    ("/wake_up", &[Method::POST], Route::WakeUp),
    ("/is_sleeping", &[Method::GET], Route::IsSleeping),
    (
        "/admin/fault",
        &[Method::GET, Method::POST, Method::DELETE],
        Route::AdminFault,
    ),
    ("/admin/requests", &[Method::GET], Route::AdminRequests),
];

impl Route {
    fn generates(self) -> bool {
        matches!(self, Self::Completions | Self::Chat)
    }

    fn is_admin(self) -> bool {
        matches!(self, Self::AdminFault | Self::AdminRequests)
    }

    /// Routes that vLLM does not even register unless told to.
    fn is_open(self, shell: &Shell) -> bool {
        let args = &shell.settings.args;
        match self {
            Self::ResetPrefixCache | Self::Sleep | Self::WakeUp | Self::IsSleeping => {
                args.server_dev_mode
            }
            Self::LoadLora | Self::UnloadLora => args.allow_runtime_lora_updating,
            _ => true,
        }
    }

    /// Left out of the access log and the HTTP metrics: they are polled.
    fn is_quiet(self, path: &str) -> bool {
        matches!(
            self,
            Self::Health | Self::Metrics | Self::Load | Self::Version
        ) || path == "/ping"
    }
}

/// Answers one request. `Err`: the connection is to be closed without a byte.
pub(crate) async fn answer<B>(
    shell: Arc<Shell>,
    peer: SocketAddr,
    request: Request<B>,
) -> Result<Response<Body>, Cut>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let started = shell.clock.now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query = request
        .uri()
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let version = request.version();
    let request_id = request.headers().get(REQUEST_ID).cloned();
    let entry = ROUTES.iter().find(|entry| entry.0 == path);
    let request_bytes = http_body::Body::size_hint(request.body())
        .exact()
        .unwrap_or(0);

    let mut response = reach(&shell, entry, &path, request).await?;

    stamp(&shell, request_id, &mut response);
    if entry.is_none_or(|entry| !entry.2.is_quiet(entry.0)) {
        let status = response.status();
        shell.log.line(format!(
            "INFO:     {peer} - \"{method} {path}{query} {version:?}\" {} {}",
            status.as_u16(),
            status.canonical_reason().unwrap_or("")
        ));
        shell.http.lock().served(Served {
            handler: entry.map_or("none", |entry| entry.0),
            method: method_name(&method),
            status: status.as_u16(),
            took: shell.clock.now().saturating_sub(started),
            request_bytes,
            response_bytes: response.body().known_bytes(),
        });
    }
    Ok(response)
}

/// Through faults, drain, authorization and method to the route, and back through the answer's fault.
async fn reach<B>(
    shell: &Arc<Shell>,
    entry: Option<&'static (&'static str, &'static [Method], Route)>,
    path: &str,
    request: Request<B>,
) -> Result<Response<Body>, Cut>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let generates = entry.is_some_and(|entry| entry.2.generates());
    let admin = entry.is_some_and(|entry| entry.2.is_admin());
    let strike = |stage| {
        if admin {
            None
        } else {
            shell
                .faults
                .strike(stage, path, generates, shell.clock.now())
        }
    };
    if let Some(fault) = strike(Stage::Arrival) {
        return Ok(refused_by(&fault).await);
    }
    let fault = strike(Stage::Answer);
    if let Some(Fault {
        kind: Kind::Cut,
        after: 0,
        ..
    }) = fault
    {
        return Err(Cut);
    }
    let abort_after = fault
        .as_ref()
        .filter(|fault| fault.kind == Kind::Abort)
        .map(|fault| fault.after);
    let response = checked(shell, entry, request, abort_after)
        .await
        .unwrap_or_else(|failure| failure.response());
    let Some(fault) = fault.filter(|fault| fault.kind != Kind::Abort) else {
        return Ok(response);
    };
    if fault.kind == Kind::Error && !response.body().is_stream() {
        return Ok(
            Failure::internal("EngineCore encountered an issue (injected fault).").response(),
        );
    }
    Ok(response.map(|body| body.with(&fault)))
}

async fn refused_by(fault: &Fault) -> Response<Body> {
    match fault.kind {
        Kind::Hang => std::future::pending().await,
        Kind::Drain => Failure::draining().response(),
        Kind::SlowStart => Failure::injected(503).response(),
        _ => Failure::injected(fault.code).response(),
    }
}

async fn checked<B>(
    shell: &Arc<Shell>,
    entry: Option<&'static (&'static str, &'static [Method], Route)>,
    request: Request<B>,
    abort_after: Option<u32>,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if !authorized(shell, request.uri().path(), request.headers()) {
        return Ok(reply::unauthorized());
    }
    let Some(&(path, methods, route)) = entry.filter(|entry| entry.2.is_open(shell)) else {
        return Ok(reply::detail(StatusCode::NOT_FOUND, "Not Found"));
    };
    if !methods.contains(request.method()) {
        return Ok(reply::detail(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method Not Allowed",
        ));
    }
    if route.generates() && shell.draining.load(Ordering::Relaxed) {
        return Err(Failure::draining());
    }
    match route {
        Route::ResetPrefixCache => return Ok(info::reset_prefix_cache(shell).await?),
        Route::Sleep => return admin::sleep(shell, request.uri().query()),
        Route::WakeUp => return Ok(admin::wake_up(shell)),
        _ => {}
    }
    if request.method() == Method::POST && route != Route::Health {
        return post(shell, path, route, request, abort_after).await;
    }
    Ok(match route {
        Route::Version => info::version(shell),
        Route::Load => info::load(shell),
        Route::Metrics => info::metrics(shell),
        Route::Models => info::models(shell),
        Route::KvEventSources => reply::json(StatusCode::OK, &shell.kv_event_sources),
        Route::AdminFault if request.method() == Method::DELETE => admin::clear(shell),
        Route::AdminFault => admin::list(shell),
        Route::IsSleeping => admin::is_sleeping(shell),
        Route::AdminRequests => admin::requests(shell),
        _ => reply::empty(StatusCode::OK),
    })
}

async fn post<B>(
    shell: &Arc<Shell>,
    path: &'static str,
    route: Route,
    request: Request<B>,
    abort_after: Option<u32>,
) -> Result<Response<Body>, Failure>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    if matches!(route, Route::RenderCompletions | Route::RenderChat)
        && !shell.settings.args.enable_scale_out
    {
        return Err(Failure::forbidden(
            "This route is closed; start the server with --enable-scale-out.",
        ));
    }
    if !is_json(&parts.headers) {
        return Err(Failure::malformed(
            "Unsupported Media Type: only 'application/json' is allowed",
        ));
    }
    let body = read(body).await?;
    let open = (route.generates() && shell.settings.args.enable_server_load_tracking)
        .then(|| OpenRequest::new(shell));
    let context = Context {
        shell: Arc::clone(shell),
        headers: parts.headers,
        path,
        abort_after,
    };
    let response = dispatch(route, context, body).await?;
    Ok(match open {
        Some(open) => response.map(|body| holding(body, open)),
        None => response,
    })
}

async fn dispatch(route: Route, context: Context, body: Bytes) -> Result<Response<Body>, Failure> {
    match route {
        Route::Completions => generate::generate(context, Style::Completion, body).await,
        Route::Chat => generate::generate(context, Style::Chat, body).await,
        _ => off_thread(body.len(), move || plain(route, &context, &body)).await,
    }
}

/// The routes that only compute.
fn plain(route: Route, context: &Context, body: &[u8]) -> Result<Response<Body>, Failure> {
    match route {
        Route::RenderCompletions => render::render(context, Style::Completion, body),
        Route::RenderChat => render::render(context, Style::Chat, body),
        Route::Tokenize => tokens::tokenize(&context.shell, body),
        Route::Detokenize => tokens::detokenize(&context.shell, body),
        Route::LoadLora => adapters::load(&context.shell, body),
        Route::UnloadLora => adapters::unload(&context.shell, body),
        Route::AdminFault => admin::arm(&context.shell, body),
        _ => Ok(reply::detail(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method Not Allowed",
        )),
    }
}

/// Runs `work` here when the body is small, else on a thread that may block.
pub(crate) async fn off_thread<T: Send + 'static>(
    body_bytes: usize,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    if body_bytes < LARGE_BODY_BYTES {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::internal("the request could not be read")),
    }
}

async fn read<B>(body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limited = std::pin::pin!(Limited::new(body, MAX_BODY_BYTES));
    match limited.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::too_large(MAX_BODY_BYTES)),
        Err(error) => Err(Failure::malformed(format!(
            "the request body could not be read: {error}"
        ))),
    }
}

/// Keeps `open` for as long as the body lives.
fn holding(body: Body, open: OpenRequest) -> Body {
    match body {
        Body::Chunks(chunks) => Body::Chunks(Box::pin(chunks.map(move |chunk| {
            let _ = &open;
            chunk
        }))),
        whole => whole,
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    value
        .split(';')
        .next()
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

fn authorized(shell: &Shell, path: &str, headers: &HeaderMap) -> bool {
    let keys = &shell.settings.args.api_key;
    let guarded = ["/v1", "/v2", "/inference", "/cohere"]
        .iter()
        .any(|prefix| path.starts_with(prefix));
    if keys.is_empty() || !guarded {
        return true;
    }
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let Some((scheme, token)) = given.split_once(' ') else {
        return false;
    };
    // Compared in full whatever differs, so that time tells nothing about a key.
    let equal = |key: &String| {
        key.len() == token.len()
            && key
                .bytes()
                .zip(token.bytes())
                .fold(0, |differs, (a, b)| differs | (a ^ b))
                == 0
    };
    scheme.eq_ignore_ascii_case("bearer")
        && keys.iter().fold(false, |found, key| found | equal(key))
}

/// Headers that every answer carries, or that were asked for.
fn stamp(shell: &Shell, request_id: Option<HeaderValue>, response: &mut Response<Body>) {
    if let Ok(profile) = HeaderValue::from_str(&shell.settings.profile.name) {
        response.headers_mut().insert(SIMULATED, profile);
    }
    if shell.settings.args.enable_request_id_headers {
        let new = || HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string()).ok();
        if let Some(id) = request_id.or_else(new) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
    }
}

/// Adds the load report that a client asked for to an answer that is not a stream.
pub(crate) fn add_orca(shell: &Shell, asked: &HeaderMap, response: &mut Response<Body>) {
    let format = asked.get(ORCA_FORMAT).and_then(|value| value.to_str().ok());
    let report = format.and_then(|format| info::orca(shell, format));
    if let Some(value) = report.and_then(|report| HeaderValue::from_str(&report).ok()) {
        response.headers_mut().insert(ORCA, value);
    }
}

fn method_name(method: &Method) -> &'static str {
    const KNOWN: [Method; 7] = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
    ];
    const NAMES: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    KNOWN
        .iter()
        .position(|known| known == method)
        .map_or("OTHER", |index| NAMES[index])
}
