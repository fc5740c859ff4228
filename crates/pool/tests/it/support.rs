//! Which endpoints and feeds do the tests run against?

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet::{EndpointReport, Fleet, FleetConfig, Health};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use pool::{Clock, Feeds, PoolConfig, PoolError};
use scheduler::Profile;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Polls until `condition` holds; panics with `what` after ten seconds.
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let polled = async {
        while !condition() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(PATIENCE, polled).await.is_err() {
        panic!("never came true: {what}");
    }
}

/// One answer of an engine double.
#[derive(Clone)]
pub(crate) enum Page {
    Answer(u16, String),
    /// Takes the request and never answers.
    Silence,
}

pub(crate) fn ok(body: &str) -> Page {
    Page::Answer(200, body.to_owned())
}

pub(crate) fn models(ids: &[&str]) -> Page {
    let cards: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"id":"{id}","object":"model","parent":null,"max_model_len":4096}}"#))
        .collect();
    ok(&format!(
        r#"{{"object":"list","data":[{}]}}"#,
        cards.join(",")
    ))
}

pub(crate) fn metrics(running: u32, waiting: u32) -> Page {
    ok(&format!(
        "# TYPE vllm:num_requests_running gauge\n\
         vllm:num_requests_running{{engine=\"0\",model_name=\"m\"}} {running}.0\n\
         # TYPE vllm:num_requests_waiting gauge\n\
         vllm:num_requests_waiting{{engine=\"0\",model_name=\"m\"}} {waiting}.0\n\
         # TYPE vllm:kv_cache_usage_perc gauge\n\
         vllm:kv_cache_usage_perc{{engine=\"0\",model_name=\"m\"}} 0.25\n\
         vllm:cache_config_info{{block_size=\"32\",engine=\"0\",num_gpu_blocks=\"1024\"}} 1.0\n"
    ))
}

/// What an engine double answers by path, and what it was asked.
#[derive(Default)]
pub(crate) struct Pages {
    answers: HashMap<String, Page>,
    asked: HashMap<String, usize>,
    open: HashMap<String, usize>,
    pub(crate) most_open: HashMap<String, usize>,
    pub(crate) authorization: Option<String>,
}

/// An engine double on a port of its own; its listener and connections end with it.
pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    pub(crate) pages: Arc<Mutex<Pages>>,
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Engine {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), None).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let engine = Self {
            address: listener.local_addr().unwrap(),
            pages: Arc::default(),
            stop: CancellationToken::new(),
            tracker: TaskTracker::new(),
        };
        engine.answer("/health", ok(""));
        engine.answer("/v1/models", models(&["m"]));
        engine.answer("/metrics", metrics(0, 0));
        let (pages, stop, tracker) = (
            Arc::clone(&engine.pages),
            engine.stop.clone(),
            engine.tracker.clone(),
        );
        engine.tracker.spawn(async move {
            while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (pages, stop, tls) = (Arc::clone(&pages), stop.clone(), tls.clone());
                tracker.spawn(async move {
                    stop.run_until_cancelled(async {
                        match tls {
                            None => serve(stream, pages).await,
                            Some(tls) => {
                                if let Ok(stream) = tls.accept(stream).await {
                                    serve(stream, pages).await;
                                }
                            }
                        }
                    })
                    .await;
                });
            }
        });
        engine
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn answer(&self, path: &str, page: Page) {
        self.pages.lock().answers.insert(path.to_owned(), page);
    }

    pub(crate) fn asked(&self, path: &str) -> usize {
        self.pages.lock().asked.get(path).copied().unwrap_or(0)
    }

    /// Ends it as a killed process would end.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.address
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve<S>(stream: S, pages: Arc<Mutex<Pages>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| answer(request, Arc::clone(&pages)));
    // A broken connection is the other side's business.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Counts a request as open while it lives.
struct Open(Arc<Mutex<Pages>>, String);

impl Open {
    fn new(pages: Arc<Mutex<Pages>>, path: &str) -> Self {
        {
            let mut pages = pages.lock();
            *pages.asked.entry(path.to_owned()).or_default() += 1;
            let open = pages.open.entry(path.to_owned()).or_default();
            *open += 1;
            let open = *open;
            let most = pages.most_open.entry(path.to_owned()).or_default();
            *most = open.max(*most);
        }
        Self(pages, path.to_owned())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        *self.0.lock().open.entry(self.1.clone()).or_default() -= 1;
    }
}

async fn answer(
    request: Request<Incoming>,
    pages: Arc<Mutex<Pages>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let _open = Open::new(Arc::clone(&pages), &path);
    let page = {
        let mut pages = pages.lock();
        pages.authorization = request
            .headers()
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        pages.answers.get(&path).cloned()
    };
    let (status, body) = match page {
        Some(Page::Answer(status, body)) => (status, body),
        Some(Page::Silence) => std::future::pending().await,
        None => (404, r#"{"detail":"Not Found"}"#.to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

/// Feeds of one pool that stop at the end of the test.
pub(crate) struct Running {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) feeds: Feeds,
    pub(crate) clock: Clock,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// Short intervals; everything else as by default.
pub(crate) fn config(endpoints: &[String]) -> PoolConfig {
    let mut config = PoolConfig {
        endpoints: endpoints.to_vec(),
        ..PoolConfig::default()
    };
    config.health.interval_ms = 50;
    config.health.unready_interval_ms = 20;
    config.health.timeout_ms = 500;
    config.scrape.min_interval_ms = 20;
    config.scrape.max_interval_ms = 100;
    config.scrape.timeout_ms = 200;
    config.models.interval_ms = 50;
    config.models.timeout_ms = 500;
    config
}

pub(crate) async fn start(config: &PoolConfig) -> Running {
    try_start(config, None).await.unwrap()
}

pub(crate) async fn try_start(
    config: &PoolConfig,
    api_key: Option<&str>,
) -> Result<Running, PoolError> {
    let fleet = Arc::new(Fleet::new(
        FleetConfig::default(),
        Profile::default_profile(),
    ));
    let (clock, stop, tracker) = (Clock::start(), CancellationToken::new(), TaskTracker::new());
    let feeds = Feeds::start(
        config,
        Arc::clone(&fleet),
        clock.clone(),
        api_key.map(str::to_owned),
        stop.clone(),
        &tracker,
    )
    .await?;
    Ok(Running {
        fleet,
        feeds,
        clock,
        stop,
        tracker,
    })
}

impl Running {
    pub(crate) fn health(&self, name: &str) -> Option<Health> {
        let view = self.fleet.view();
        view.by_name(name).map(|endpoint| endpoint.health.clone())
    }

    pub(crate) fn is_ready(&self, engine: &Engine) -> bool {
        self.health(&engine.address.to_string())
            .is_some_and(|health| health.is_ready())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let view = self.fleet.view();
        view.endpoints
            .iter()
            .map(|endpoint| endpoint.spec.name.to_string())
            .collect()
    }

    pub(crate) fn models(&self) -> Vec<String> {
        self.fleet.view().models().map(str::to_owned).collect()
    }

    pub(crate) fn report(&self, address: SocketAddr) -> EndpointReport {
        let report = self.fleet.report(self.clock.now());
        let name = address.to_string();
        let found = report.endpoints.into_iter().find(|one| one.name == name);
        found.unwrap()
    }

    /// Tasks that run now.
    pub(crate) fn tasks(&self) -> usize {
        self.tracker.len()
    }

    /// Stops the feeds; comes back when the last task has ended.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(PATIENCE, self.tracker.wait()).await;
        assert!(ended.is_ok(), "{} tasks did not end", self.tracker.len());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
