//! Which pool does a request belong to?

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::Fleet;

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
    /// Keys that clients must show; empty for no check.
    pub client_keys: Vec<ClientKey>,
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
            client_keys: Vec::new(),
        }
    }
}
