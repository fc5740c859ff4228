//! What can be configured, and where does each value come from?
//!
//! One file, `prefixgate.yaml`; precedence default < file < environment < flag. Each room owns its part and its
//! defaults; this module only composes them. Parsing does nothing but parse.

mod load;
mod resolve;
mod schema;

pub(crate) use load::{ConfigError, load};
pub(crate) use resolve::{Overrides, Resolved, check, resolve};
pub(crate) use schema::{markdown, schema};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Default address of the data port.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:8000";

/// Default address of admin, dashboard and metrics: this machine only.
pub(crate) const DEFAULT_ADMIN_LISTEN: &str = "127.0.0.1:9090";

/// Name of the pool made from `--endpoint` flags.
pub(crate) const DEFAULT_POOL: &str = "default";

/// `prefixgate.yaml`, as written.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Address of the data port. Environment: PREFIXGATE_LISTEN; flag: --listen.
    pub(crate) listen: SocketAddr,
    /// Address of admin API and metrics. Environment: PREFIXGATE_ADMIN_LISTEN; flag: --admin-listen.
    pub(crate) admin_listen: SocketAddr,
    /// Fixes prompt-hash keys and every chance taken in routing, for tests; drawn at start when absent.
    /// Environment: PREFIXGATE_SEED; flag: --seed.
    pub(crate) seed: Option<u64>,
    /// Memory cap of all prefix indexes together, bytes.
    pub(crate) index_max_bytes: usize,
    /// The data path: limits, times, what is passed on.
    pub(crate) gateway: gateway::GatewayConfig,
    /// Scheduling of pools that have none of their own.
    pub(crate) scheduling: scheduler::SchedulingConfig,
    /// Pools of interchangeable endpoints. The first is where unknown paths go.
    pub(crate) pools: Vec<Pool>,
}

/// Default of [`Config::index_max_bytes`]: 512 MiB.
const DEFAULT_INDEX_MAX_BYTES: usize = 512 << 20;

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: address(DEFAULT_LISTEN),
            admin_listen: address(DEFAULT_ADMIN_LISTEN),
            seed: None,
            index_max_bytes: DEFAULT_INDEX_MAX_BYTES,
            gateway: gateway::GatewayConfig::default(),
            scheduling: scheduler::SchedulingConfig::default(),
            pools: Vec::new(),
        }
    }
}

fn address(text: &str) -> SocketAddr {
    match text.parse() {
        Ok(address) => address,
        Err(_) => unreachable!("the default addresses are well formed"),
    }
}

/// One pool: where its endpoints come from and what is done to requests on the way.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pool {
    /// Unique name, for messages and metrics.
    pub(crate) name: String,
    /// `/{namespace}/{name}`: requests below it go to this pool with the prefix removed.
    pub(crate) path: Option<String>,
    /// Addresses that never change, as URLs: `http://host:port`.
    pub(crate) endpoints: Vec<String>,
    /// A file that lists endpoints; changes apply without a restart.
    pub(crate) file: Option<PathBuf>,
    /// A DNS name each of whose addresses is an endpoint.
    pub(crate) dns: Option<pool::DnsConfig>,
    /// Active health checks.
    pub(crate) health: pool::HealthConfig,
    /// Scraping of the engines' metrics.
    pub(crate) scrape: pool::ScrapeConfig,
    /// Reading of the engines' model lists.
    pub(crate) models: pool::ModelsConfig,
    /// The engines' own word on what their caches hold.
    pub(crate) kv_events: pool::KvEventsConfig,
    /// Who turns prompts into tokens, where `kv_events` are followed.
    pub(crate) tokenizer: gateway::TokenizerConfig,
    /// How `https` endpoints are trusted.
    pub(crate) tls: pool::TlsConfig,
    /// Scheduling of this pool alone; the common one when absent.
    pub(crate) scheduling: Option<scheduler::SchedulingConfig>,
    /// False routes without regard to prefixes, for a pool of one replica or without prefix caching.
    pub(crate) prefix_routing: Option<bool>,
    /// Environment variable that holds the key for the engines; sent instead of the client's own.
    pub(crate) api_key_env: Option<String>,
    /// Whether the client's own `authorization` header goes to the engine when there is no key of the pool's.
    pub(crate) pass_client_authorization: Option<bool>,
    /// Model names that clients may use, and the names the engines know them by. The body's `model` is rewritten.
    pub(crate) model_rewrite: BTreeMap<String, String>,
}

impl Pool {
    /// The room's own configuration.
    pub(crate) fn feeds(&self) -> pool::PoolConfig {
        pool::PoolConfig {
            endpoints: self.endpoints.clone(),
            file: self.file.clone(),
            dns: self.dns.clone(),
            health: self.health.clone(),
            scrape: self.scrape.clone(),
            models: self.models.clone(),
            kv_events: self.kv_events.clone(),
            api_key_env: self.api_key_env.clone(),
            tls: self.tls.clone(),
        }
    }
}
