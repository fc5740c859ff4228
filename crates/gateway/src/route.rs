//! Which pool does a request belong to?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet::{Fleet, Health};
use http::HeaderValue;

use crate::error::Refusal;
use crate::flow::Flow;
use crate::inbound::Inbound;
use crate::table::{RouteRule, Table};
use crate::tokens::Tokens;
use scheduler::Parsers;

/// Longest part of an unknown model's name that an error repeats, characters.
const MAX_NAME_CHARS: usize = 128;

/// Most known models that an error names.
const MAX_NAMED_MODELS: usize = 32;

/// One pool as the gateway serves it.
#[derive(Clone)]
pub struct PoolRoute {
    /// Unique; shown in metrics, logs and errors.
    pub name: String,
    /// `/{namespace}/{name}` under which the pool is also reachable; that prefix is removed before forwarding.
    pub path: Option<String>,
    /// Its endpoints and their scheduling.
    pub fleet: Arc<Fleet>,
    /// Takes requests that name no model, and paths outside `/v1`. Without any such pool the first is it.
    pub default: bool,
    /// Whether prompts are hashed; off for a pool without prefix scoring.
    pub prefix_routing: bool,
    /// The preset that its scheduling came from, for display.
    pub preset: String,
    /// Model name of the client -> model name of the engine; the body is rewritten at that one place.
    pub model_rewrite: BTreeMap<String, String>,
    /// Further model names that belong to this pool though no endpoint lists them.
    pub models: Vec<String>,
    /// Written as `cache_salt` into every body that goes to this pool; a client key's own comes first.
    pub cache_salt: Option<String>,
    /// Sent to engines as `Authorization: Bearer …` in place of the client's.
    pub engine_api_key: Option<String>,
    /// Whether the client's `Authorization` is passed on where `engine_api_key` is absent.
    pub pass_client_authorization: bool,
    /// Paths that the scheduling document's parsers claim; everything by default.
    pub parsers: Parsers,
    /// Keys that clients must show; empty for no check.
    pub client_keys: Vec<ClientKey>,
    /// Whether a request that no path brings here may come by its model's name.
    pub by_model: bool,
    /// For `https` endpoints.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The name that their certificates must carry, where that is not their host.
    pub tls_server_name: Option<String>,
    /// Turns prompts into tokens where engines tell what they hold; without it prompts are matched by history.
    pub tokens: Option<Arc<Tokens>>,
    /// Where requests wait while the pool is full; `None` where they never do.
    pub flow: Option<Arc<Flow>>,
}

/// One key a client may show as `Authorization: Bearer …`.
#[derive(Clone)]
pub struct ClientKey {
    pub key: String,
    /// Written as `cache_salt` into this client's bodies, so that it shares no cache with others.
    pub cache_salt: Option<String>,
}

impl PoolRoute {
    /// A pool with nothing configured but its name and endpoints.
    pub fn new(name: impl Into<String>, fleet: Arc<Fleet>) -> Self {
        Self {
            name: name.into(),
            path: None,
            fleet,
            default: false,
            prefix_routing: true,
            preset: String::new(),
            model_rewrite: BTreeMap::new(),
            models: Vec::new(),
            cache_salt: None,
            engine_api_key: None,
            pass_client_authorization: true,
            parsers: Parsers::default(),
            client_keys: Vec::new(),
            by_model: true,
            tls: None,
            tls_server_name: None,
            tokens: None,
            flow: None,
        }
    }
}

/// A pool, with what each request would otherwise build anew.
pub(crate) struct Pool {
    pub(crate) name: Arc<str>,
    pub(crate) route: PoolRoute,
    pub(crate) engine_authorization: Option<HeaderValue>,
}

impl Pool {
    fn new(route: PoolRoute) -> Self {
        let bearer = |key: &String| {
            let mut value = HeaderValue::try_from(format!("Bearer {key}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Self {
            name: Arc::from(route.name.as_str()),
            engine_authorization: route.engine_api_key.as_ref().and_then(bearer),
            route,
        }
    }

    pub(crate) fn fleet(&self) -> &Arc<Fleet> {
        &self.route.fleet
    }

    /// Whether some endpoint, the operator's list or a rewrite knows `model`.
    pub(crate) fn knows(&self, model: &str) -> bool {
        self.route.model_rewrite.contains_key(model)
            || self.route.models.iter().any(|known| known == model)
            || self.fleet().view().by_model.contains_key(model)
    }

    /// Whether some endpoint may serve a model that none lists: its own list was not read yet, or it has none.
    fn may_know(&self) -> bool {
        let view = self.fleet().view();
        let unread = |health: &Health| !matches!(health, Health::Draining);
        view.endpoints.is_empty()
            || view
                .endpoints
                .iter()
                .any(|endpoint| endpoint.models.is_none() && unread(&endpoint.health))
    }

    /// The name under which engines know `model`.
    pub(crate) fn engine_model<'a>(&'a self, model: &'a str) -> &'a str {
        self.route
            .model_rewrite
            .get(model)
            .map_or(model, String::as_str)
    }

    /// Every name a client may use here.
    pub(crate) fn model_names(&self) -> BTreeSet<String> {
        let view = self.fleet().view();
        let configured = self
            .route
            .models
            .iter()
            .chain(self.route.model_rewrite.keys());
        view.models()
            .chain(configured.map(String::as_str))
            .map(str::to_owned)
            .collect()
    }
}

/// All pools.
pub(crate) struct Routes {
    pub(crate) pools: Vec<Arc<Pool>>,
    /// Those of them that are found by a model's name.
    pub(crate) by_model: Vec<Arc<Pool>>,
    default: usize,
    /// Rules that come before everything else; without any, the pools' own paths are all there is.
    pub(crate) table: Option<Table>,
}

/// A model's name as an error repeats it.
pub(crate) fn short_name(model: &str) -> String {
    model.chars().take(MAX_NAME_CHARS).collect()
}

/// Where a path leads.
pub(crate) struct Place {
    /// The pool named by the path.
    pub(crate) pool: Option<Arc<Pool>>,
    /// Bytes of the path that named it.
    pub(crate) prefix_bytes: usize,
}

impl Routes {
    pub(crate) fn new(pools: Vec<PoolRoute>) -> Self {
        let pools: Vec<Arc<Pool>> = pools
            .into_iter()
            .map(|route| Arc::new(Pool::new(route)))
            .collect();
        let by_model: Vec<Arc<Pool>> = pools
            .iter()
            .filter(|pool| pool.route.by_model)
            .cloned()
            .collect();
        Self {
            default: by_model
                .iter()
                .position(|pool| pool.route.default)
                .unwrap_or(0),
            pools,
            by_model,
            table: None,
        }
    }

    pub(crate) fn with_rules(pools: Vec<PoolRoute>, rules: Vec<RouteRule>) -> Self {
        Self {
            table: Some(Table::new(rules)),
            ..Self::new(pools)
        }
    }

    /// Where a request leads; what its rule says is done to it. `chance` draws shares.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where rules are in force and none holds, but for what is found by model or answered here;
    /// [`Refusal::RouteTarget`] where the rule leads nowhere.
    pub(crate) fn enter(
        &self,
        inbound: &mut Inbound,
        chance: impl FnOnce() -> f64,
    ) -> Result<Place, Refusal> {
        let Some(table) = &self.table else {
            return Ok(self.place(inbound.uri.path()));
        };
        let Some(hit) = table.find(inbound) else {
            let path = inbound.uri.path();
            let place = self.place(path);
            let ours = matches!(path, "/health" | "/readyz" | "/metrics" | "*");
            let model = path.starts_with("/v1/") && !self.by_model.is_empty();
            return match place.pool.is_some() || ours || model {
                true => Ok(place),
                false => Err(Refusal::NotFound),
            };
        };
        let name = hit.target(chance()).and_then(|target| target.pool.as_ref());
        let pool = name.and_then(|name| self.by_name(name)).cloned();
        hit.rewrite(inbound);
        Ok(Place {
            pool: Some(pool.ok_or(Refusal::RouteTarget)?),
            prefix_bytes: 0,
        })
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| &*pool.name == name)
    }

    /// The pool under whose prefix `path` lies, if any; whole segments only.
    pub(crate) fn place(&self, path: &str) -> Place {
        let under = |pool: &&Arc<Pool>| {
            let prefix = pool
                .route
                .path
                .as_deref()
                .unwrap_or_default()
                .trim_end_matches('/');
            let rest = path.strip_prefix(prefix).filter(|_| !prefix.is_empty());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let length = |pool: &&Arc<Pool>| {
            let path = pool.route.path.as_deref().unwrap_or_default();
            path.trim_end_matches('/').len()
        };
        let pool = self.pools.iter().filter(under).max_by_key(length);
        Place {
            prefix_bytes: pool.as_ref().map_or(0, length),
            pool: pool.cloned(),
        }
    }

    pub(crate) fn is_default(&self, pool: &Arc<Pool>) -> bool {
        self.by_model
            .get(self.default)
            .is_some_and(|default| Arc::ptr_eq(default, pool))
    }

    /// The pool for a path that names none.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without any pool.
    pub(crate) fn default_pool(&self) -> Result<&Arc<Pool>, Refusal> {
        self.by_model.get(self.default).ok_or(Refusal::NotFound)
    }

    /// The pool that serves `model`; `named` is the one the path named, and then no other is asked.
    ///
    /// # Errors
    /// [`Refusal::UnknownModel`] when every endpoint that could serve it says that it does not.
    pub(crate) fn for_model(
        &self,
        model: &str,
        named: Option<&Arc<Pool>>,
    ) -> Result<Arc<Pool>, Refusal> {
        let default = match named {
            Some(pool) => pool,
            None => self.default_pool()?,
        };
        if model.is_empty() {
            return Ok(Arc::clone(default));
        }
        let asked = self.asked(named);
        let knowing = asked.iter().find(|pool| pool.knows(model));
        let guess = || {
            let default = asked
                .iter()
                .find(|pool| Arc::ptr_eq(pool, default) && pool.may_know());
            default.or_else(|| asked.iter().find(|pool| pool.may_know()))
        };
        let unknown = || Refusal::UnknownModel {
            model: short_name(model),
            known: self.known_models(named),
        };
        knowing.or_else(guess).cloned().ok_or_else(unknown)
    }

    /// The pools that a request may go to by its model's name, those of `named` where a path named one.
    fn asked<'a>(&'a self, named: Option<&'a Arc<Pool>>) -> &'a [Arc<Pool>] {
        match named {
            Some(pool) => std::slice::from_ref(pool),
            None => self.by_model.as_slice(),
        }
    }

    /// Names that a request may come by, as many as an error tells.
    pub(crate) fn known_models(&self, named: Option<&Arc<Pool>>) -> Vec<String> {
        let pools = self.asked(named).iter();
        let known: BTreeSet<String> = pools.flat_map(|pool| pool.model_names()).collect();
        known.into_iter().take(MAX_NAMED_MODELS).collect()
    }

    /// Whether some pool could take a request now.
    pub(crate) fn any_ready(&self) -> bool {
        self.pools
            .iter()
            .any(|pool| pool.fleet().view().has_ready())
    }
}
