//! Which tokens is a prompt, said once and for all endpoints?
//!
//! Tokens are needed only where engines tell what they hold. They come from the body itself, from a tokenizer in this
//! process, or from one engine; each prompt's tokens are remembered. Tokenizing runs on threads of its own, so many at
//! once and so many waiting; whatever goes wrong, the request is routed by history, and it is counted why.

mod ask;
mod config;
mod figures;
mod text;

pub use config::{TokenizerConfig, TokenizerError};
pub(crate) use figures::{TokenFigures, TokenReport};

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use engine_api::openai::{Prompt, RequestView, Route};
use fleet::EndpointView;
use kv_index::exact::{TokenChain, TokenPrompt};
use parking_lot::Mutex;
use tokenize::{KnownTokens, Remembered, Tokenizer};
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::gateway::Gateway;
use crate::route::Pool;

/// Why a request goes without tokens; it is then routed by history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Without {
    /// Engines may not be asked, and there is no tokenizer.
    NoTokenizer,
    /// No engine could be asked, or it has no path for it.
    NoEngine,
    /// The template or the tokenizer refuses it; so will the engine.
    Refused,
    /// It holds pictures or sound.
    Media,
    /// A route that is not tokenized here.
    Route,
    /// Too many wait already.
    Busy,
    /// It took too long.
    Slow,
    /// The body does not say what it should.
    Body,
}

impl Without {
    /// Label of metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoTokenizer => "no_tokenizer",
            Self::NoEngine => "no_engine",
            Self::Refused => "refused",
            Self::Media => "media",
            Self::Route => "route",
            Self::Busy => "busy",
            Self::Slow => "slow",
            Self::Body => "body",
        }
    }
}

/// A pool's tokenizer.
pub struct Tokens {
    config: TokenizerConfig,
    known: Option<Arc<KnownTokens>>,
    /// By body, for what engines said.
    told: Mutex<Remembered>,
    ask: ask::Ask,
    seed: u64,
    threads: Arc<Semaphore>,
    waiting: AtomicUsize,
    pub(crate) figures: TokenFigures,
}

/// Every prompt of one body as tokens, or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompts {
    /// Pool whose tokenizer it was.
    pool: Option<Arc<str>>,
    ids: Vec<Vec<u32>>,
}

impl Tokens {
    /// Loads what `config` names. `hub_cache` is where the hub's cache is; `seed` keys what is remembered.
    ///
    /// # Errors
    /// A setting that makes no sense, or files that cannot be read; the message names them.
    pub fn new(
        config: TokenizerConfig,
        hub_cache: &Path,
        seed: u64,
    ) -> Result<Self, TokenizerError> {
        config.check()?;
        let tokenizer = match (&config.dir, &config.hub) {
            (Some(dir), _) => Some(Tokenizer::from_dir(dir)?),
            (None, Some(model)) => {
                let dir = tokenize::hub::snapshot(hub_cache, model, &config.revision)?;
                Some(Tokenizer::from_dir(&dir)?)
            }
            (None, None) => config.builtin.then(Tokenizer::built_in),
        };
        let known = tokenizer.map(|tokenizer| {
            let known = KnownTokens::new(Arc::new(tokenizer), config.cache_max_bytes, seed);
            Arc::new(known)
        });
        Ok(Self {
            threads: Arc::new(Semaphore::new(config.max_concurrent)),
            waiting: AtomicUsize::new(0),
            told: Mutex::new(Remembered::new(config.cache_max_bytes)),
            ask: ask::Ask::default(),
            figures: TokenFigures::default(),
            known,
            seed,
            config,
        })
    }

    /// Where tokens come from, for display.
    pub(crate) fn source(&self) -> &'static str {
        match (&self.known, self.config.ask_engine) {
            (Some(known), _) if known.tokenizer().is_built_in() => "built-in",
            (Some(_), _) => "files",
            (None, true) => "engine",
            (None, false) => "none",
        }
    }

    /// Memory of what is remembered, bytes, about.
    pub(crate) fn held_bytes(&self) -> usize {
        let known = self.known.as_ref().map_or(0, |known| known.held_bytes());
        known + self.told.lock().held_bytes()
    }

    /// Tokens of every prompt in a body that goes to `path`, made in this thread by the pool's own tokenizer; `None`
    /// where it has none, or makes none of this body.
    pub fn of_body(&self, path: &str, body: &[u8]) -> Option<Vec<Vec<u32>>> {
        let known = self.known.as_ref()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_unix_s = now.map_or(0, |now| now.as_secs() as i64);
        let tokens = text::tokens(known, Route::of(path), body, now_unix_s).ok()?;
        Some(tokens.0)
    }

    async fn ids(
        &self,
        pool: &Pool,
        model: &str,
        route: Route,
        body: &Bytes,
        now: Duration,
    ) -> Result<Vec<Vec<u32>>, Without> {
        if !matches!(route, Route::Chat | Route::Completions) {
            return Err(Without::Route);
        }
        if self.known.is_none() && !self.config.ask_engine {
            return Err(Without::NoTokenizer);
        }
        if self.waiting.fetch_add(1, Relaxed)
            >= self.config.max_waiting + self.config.max_concurrent
        {
            self.waiting.fetch_sub(1, Relaxed);
            return Err(Without::Busy);
        }
        let limit = Duration::from_millis(self.config.timeout_ms);
        let result = tokio::time::timeout(limit, async {
            match &self.known {
                Some(known) => self.here(known, route, body).await,
                None => self.elsewhere(pool, model, route, body, now).await,
            }
        });
        let result = result.await.unwrap_or(Err(Without::Slow));
        self.waiting.fetch_sub(1, Relaxed);
        result
    }

    /// On a thread for work that takes its time.
    async fn here(
        &self,
        known: &Arc<KnownTokens>,
        route: Route,
        body: &Bytes,
    ) -> Result<Vec<Vec<u32>>, Without> {
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let permit = permit.map_err(|_| Without::Busy)?;
        let bytes = body.len();
        let (known, body) = (Arc::clone(known), body.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_unix_s = now.map_or(0, |now| now.as_secs() as i64);
            text::tokens(&known, route, &body, now_unix_s)
        });
        let (ids, new_bytes) = work.await.map_err(|_| Without::Refused)??;
        self.figures.text(bytes, new_bytes);
        Ok(ids)
    }

    async fn elsewhere(
        &self,
        pool: &Pool,
        model: &str,
        route: Route,
        body: &Bytes,
        now: Duration,
    ) -> Result<Vec<Vec<u32>>, Without> {
        let key = xxh3_128_with_seed(body, self.seed);
        if let Some(ids) = self.told.lock().get(key) {
            self.figures.text(body.len(), 0);
            return Ok(vec![ids.to_vec()]);
        }
        let ids = self.ask.tokens(pool, model, route, body, now).await?;
        self.figures.text(body.len(), body.len());
        if let [only] = ids.as_slice() {
            self.told.lock().put(key, only.as_slice().into());
        }
        Ok(ids)
    }
}

/// Whether tokens are of any use to `pool` now.
pub(crate) fn wanted(pool: &Pool) -> bool {
    let exact = |endpoint: &EndpointView| endpoint.kv_mode.is_exact();
    pool.route.tokens.is_some()
        && pool.route.prefix_routing
        && pool.fleet().view().endpoints.iter().any(exact)
}

/// The tokens of a request.
pub(crate) async fn of(
    gateway: &Gateway,
    pool: &Arc<Pool>,
    view: &RequestView<'_>,
    route: Route,
    body: &Bytes,
) -> Prompts {
    let Some(tokens) = &pool.route.tokens else {
        return Prompts::default();
    };
    let begun = tokio::time::Instant::now();
    let ids = match &view.prompt {
        Prompt::Tokens(ids) => Ok(vec![ids.clone()]),
        Prompt::TokenLists(lists) => Ok(lists.clone()),
        Prompt::None => return Prompts::default(),
        _ => {
            let model = pool.engine_model(view.model.as_deref().unwrap_or_default());
            let now = gateway.clock.now();
            tokens.ids(pool, model, route, body, now).await
        }
    };
    let without = ids.as_ref().err().copied();
    tokens.figures.ended(without);
    gateway
        .metrics
        .tokenized(&pool.name, begun.elapsed(), without.map(Without::name));
    match ids {
        Ok(ids) => Prompts {
            pool: Some(Arc::clone(&pool.name)),
            ids,
        },
        Err(without) => {
            tracing::debug!(
                pool = &*pool.name,
                reason = without.name(),
                "routed without tokens"
            );
            Prompts::default()
        }
    }
}

impl Prompts {
    /// Hashed for `pool`'s endpoints; empty where they are another pool's tokens. `lora` is asked for only where there
    /// is something to hash: finding it looks through every endpoint.
    pub(crate) fn chains<'m>(
        &self,
        pool: &Pool,
        lora: impl FnOnce() -> Option<&'m str>,
        salt: Option<&str>,
    ) -> Vec<TokenChain> {
        if self.pool.as_ref() != Some(&pool.name) {
            return Vec::new();
        }
        let (exact, lora) = (pool.fleet().exact(), lora());
        let chain = |ids: &Vec<u32>| {
            exact.chain(&TokenPrompt {
                token_ids: ids,
                lora,
                cache_salt: salt,
                media: &[],
            })
        };
        self.ids.iter().map(chain).collect()
    }
}
