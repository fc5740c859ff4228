//! What is remembered of a request until its end, for the log and the metrics?

use std::sync::Arc;
use std::time::Duration;

use engine_api::openai::{RequestView, Route};
use engine_api::usage::Usage;
use http::{HeaderValue, Method, Response, Uri};
use kv_index::Slot;
use scheduler::{ScoreReason, StageKind};

use crate::admit::Permit;
use crate::gateway::Gateway;
use crate::metrics::{PoolLabels, RequestLabels};
use crate::pick::Picked;
use crate::reply::Reply;
use crate::route::Pool;
use crate::stored::Home;

/// Status of a request whose client left before it got an answer.
const CLIENT_GONE: u16 = 499;

/// Longest model name kept, characters.
const MAX_MODEL_CHARS: usize = 128;

/// One request's facts; logged and counted when dropped, however it ended.
pub(crate) struct Record {
    gateway: Arc<Gateway>,
    started: Duration,
    method: Method,
    uri: Uri,
    pub(crate) request_id: HeaderValue,
    /// Held until the end.
    pub(crate) permit: Option<Permit>,
    /// Name of the pool; empty while not known.
    pub(crate) pool: Arc<str>,
    pub(crate) route: Route,
    pub(crate) model: String,
    pub(crate) endpoint: Option<Arc<str>>,
    /// What spoke for the endpoint.
    pub(crate) scores: Vec<ScoreReason>,
    /// Stages that went elsewhere, and where.
    pub(crate) beside: Vec<(StageKind, Arc<str>)>,
    pub(crate) predicted_cached_tokens: u32,
    pub(crate) attempts: u32,
    pub(crate) status: u16,
    pub(crate) usage: Option<Usage>,
    pub(crate) end: &'static str,
    ttft: Option<Duration>,
}

impl Record {
    pub(crate) fn begin(
        gateway: &Arc<Gateway>,
        method: &Method,
        uri: &Uri,
        request_id: HeaderValue,
    ) -> Box<Self> {
        Box::new(Self {
            started: gateway.clock.now(),
            gateway: Arc::clone(gateway),
            method: method.clone(),
            uri: uri.clone(),
            request_id,
            permit: None,
            pool: gateway.no_pool(),
            route: Route::Other,
            model: String::new(),
            endpoint: None,
            scores: Vec::new(),
            beside: Vec::new(),
            predicted_cached_tokens: 0,
            attempts: 0,
            status: CLIENT_GONE,
            usage: None,
            end: "client gone",
            ttft: None,
        })
    }

    /// What is known once the body was read.
    pub(crate) fn about(&mut self, pool: &Pool, route: Route, view: Option<&RequestView<'_>>) {
        self.pool = Arc::clone(&pool.name);
        self.route = route;
        let model = view
            .and_then(|view| view.model.as_deref())
            .unwrap_or_default();
        self.model = model.chars().take(MAX_MODEL_CHARS).collect();
    }

    /// What is known once an endpoint was picked, `spent` after the body was.
    pub(crate) fn decided(&mut self, picked: &Picked, spent: Duration) {
        let slot = picked.reservation.slot;
        let of_winner = picked
            .decision
            .reasons
            .iter()
            .find(|reason| reason.slot == slot);
        self.scores = of_winner
            .map(|reason| reason.scores.clone())
            .unwrap_or_default();
        for beside in &picked.decision.beside {
            let found = beside
                .reasons
                .iter()
                .find(|it| Some(it.slot) == beside.slot);
            self.beside
                .extend(found.map(|it| (beside.stage, Arc::clone(&it.name))));
        }
        let labels = PoolLabels {
            pool: Arc::clone(&self.pool),
        };
        let decisions = &self.gateway.metrics.decision_seconds;
        decisions
            .get_or_create(&labels)
            .observe(spent.as_secs_f64());
    }

    /// Answered by the gateway itself: the request is over.
    pub(crate) fn answer(mut self: Box<Self>, response: Response<Reply>) -> Response<Reply> {
        self.status = response.status().as_u16();
        self.end = "answered";
        response
    }

    /// Content has reached us for the first time; later calls are nothing.
    pub(crate) fn first_content(&mut self) {
        if self.ttft.is_none() {
            self.ttft = Some(self.gateway.clock.now().saturating_sub(self.started));
        }
    }

    pub(crate) fn wants_response_id(&self) -> bool {
        self.route == Route::Responses
    }

    /// The response `id` is stored at `slot`.
    pub(crate) fn learn_response(&self, id: &str, slot: Slot) {
        if self.wants_response_id() {
            let pool = Arc::clone(&self.pool);
            self.gateway.stored.learn(id, Home { pool, slot });
        }
    }

    fn count(&self, total: Duration) {
        let metrics = &self.gateway.metrics;
        let labels = PoolLabels {
            pool: Arc::clone(&self.pool),
        };
        if let Some(ttft) = self.ttft.filter(|_| (200..300).contains(&self.status)) {
            metrics
                .ttft_seconds
                .get_or_create(&labels)
                .observe(ttft.as_secs_f64());
        }
        metrics
            .request_seconds
            .get_or_create(&labels)
            .observe(total.as_secs_f64());
        if self.attempts > 1 {
            let again = u64::from(self.attempts - 1);
            metrics.retries.get_or_create(&labels).inc_by(again);
        }
        if let Some(usage) = self.usage {
            metrics
                .prompt_tokens
                .get_or_create(&labels)
                .inc_by(usage.prompt_tokens);
            metrics
                .generation_tokens
                .get_or_create(&labels)
                .inc_by(usage.completion_tokens);
        }
        let labels = RequestLabels {
            pool: labels.pool,
            route: route_name(self.route),
            status: self.status,
        };
        metrics.requests.get_or_create(&labels).inc();
    }

    fn log(&self, total: Duration) {
        let usage = self.usage;
        tracing::info!(
            target: "access",
            method = %self.method,
            path = self.uri.path(),
            status = self.status,
            end = self.end,
            pool = &*self.pool,
            model = self.model,
            endpoint = self.endpoint.as_deref().unwrap_or(""),
            scores = %Scores(&self.scores),
            beside = %Beside(&self.beside),
            attempts = self.attempts,
            predicted_cached_tokens = self.predicted_cached_tokens,
            cached_tokens = usage.and_then(|usage| usage.cached_tokens),
            prompt_tokens = usage.map(|usage| usage.prompt_tokens),
            completion_tokens = usage.map(|usage| usage.completion_tokens),
            ttft_ms = self.ttft.map(|ttft| ttft.as_secs_f64() * 1_000.0),
            total_ms = total.as_secs_f64() * 1_000.0,
            request_id = self.request_id.to_str().unwrap_or(""),
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let total = self.gateway.clock.now().saturating_sub(self.started);
        self.count(total);
        // Probes and model lists, answered here and well, would drown the rest.
        let is_quiet = self.attempts == 0 && self.status < 400;
        if self.gateway.config.access_log && !is_quiet {
            self.log(total);
        }
    }
}

/// `prefix-cache-scorer=0.90*3 queue-scorer=0.70*1`
struct Scores<'a>(&'a [ScoreReason]);

impl std::fmt::Display for Scores<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, reason) in self.0.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(
                f,
                "{space}{}={:.2}*{}",
                reason.scorer, reason.score, reason.weight
            )?;
        }
        Ok(())
    }
}

/// `prefill=10.0.0.7:8000`
struct Beside<'a>(&'a [(StageKind, Arc<str>)]);

impl std::fmt::Display for Beside<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (stage, endpoint)) in self.0.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{}={endpoint}", stage.name())?;
        }
        Ok(())
    }
}

/// The `route` label.
fn route_name(route: Route) -> &'static str {
    match route {
        Route::Completions => "completions",
        Route::Chat => "chat",
        Route::Messages => "messages",
        Route::Responses => "responses",
        Route::Generate => "generate",
        Route::Embeddings => "pooling",
        Route::Other => "other",
    }
}
