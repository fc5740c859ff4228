//! Which figures do a pool's feeds depend on?

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{KvEventsConfig, PoolError, endpoint_from_url};

const DEFAULT_HEALTH_PATH: &str = "/health";
const DEFAULT_HEALTH_INTERVAL_MS: u64 = 1_000;
const DEFAULT_UNREADY_INTERVAL_MS: u64 = 200;
/// An engine with a long batch step answers late; two in a row at this limit are no accident.
const DEFAULT_HEALTH_TIMEOUT_MS: u64 = 3_000;
const DEFAULT_UNREADY_AFTER: u32 = 2;
const DEFAULT_SCRAPE_PATH: &str = "/metrics";
const DEFAULT_SCRAPE_MIN_INTERVAL_MS: u64 = 100;
const DEFAULT_SCRAPE_MAX_INTERVAL_MS: u64 = 2_000;
const DEFAULT_SCRAPE_TIMEOUT_MS: u64 = 2_000;
const DEFAULT_MODELS_PATH: &str = "/v1/models";
const DEFAULT_MODELS_INTERVAL_MS: u64 = 10_000;
const DEFAULT_MODELS_TIMEOUT_MS: u64 = 3_000;
const DEFAULT_DNS_INTERVAL_MS: u64 = 5_000;
const DEFAULT_DNS_PORT: u16 = 8_000;

/// Below this an interval is a busy loop.
const LEAST_INTERVAL_MS: u64 = 10;

/// Where a pool's endpoints come from and how they are watched.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Endpoint URLs, `http://host:port` or `https://host:port`, with an optional base path.
    pub endpoints: Vec<String>,
    /// YAML or JSON file that lists endpoints; re-read when it changes.
    pub file: Option<PathBuf>,
    /// A DNS name of which every address is an endpoint.
    pub dns: Option<DnsConfig>,
    /// Active health checks.
    pub health: HealthConfig,
    /// Reading of the engines' metrics.
    pub scrape: ScrapeConfig,
    /// Reading of the engines' model lists.
    pub models: ModelsConfig,
    /// The engines' own word on what their caches hold.
    pub kv_events: KvEventsConfig,
    /// Name of the environment variable that holds the engines' API key.
    pub api_key_env: Option<String>,
    /// How `https` endpoints are verified.
    pub tls: TlsConfig,
}

/// Protocol towards the endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    /// As written in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A DNS name of which every address is an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DnsConfig {
    /// Name to resolve, such as a headless service.
    pub host: String,
    /// Port of each endpoint.
    pub port: u16,
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Milliseconds between look-ups.
    pub interval_ms: u64,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: DEFAULT_DNS_PORT,
            scheme: Scheme::Http,
            interval_ms: DEFAULT_DNS_INTERVAL_MS,
        }
    }
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthConfig {
    /// Path of which a 200 means healthy.
    pub path: String,
    /// Milliseconds between checks of an endpoint that is ready.
    pub interval_ms: u64,
    /// Milliseconds between checks of one that is not, or whose last check failed.
    pub unready_interval_ms: u64,
    /// Milliseconds after which a check has failed.
    pub timeout_ms: u64,
    /// Failed checks in a row that make an endpoint unready.
    pub unready_after: u32,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            path: DEFAULT_HEALTH_PATH.to_owned(),
            interval_ms: DEFAULT_HEALTH_INTERVAL_MS,
            unready_interval_ms: DEFAULT_UNREADY_INTERVAL_MS,
            timeout_ms: DEFAULT_HEALTH_TIMEOUT_MS,
            unready_after: DEFAULT_UNREADY_AFTER,
        }
    }
}

/// Reading of the engines' metrics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScrapeConfig {
    /// Path of the Prometheus page.
    pub path: String,
    /// Port of the page, where it is not the endpoint's own.
    pub port: Option<u16>,
    /// Milliseconds between scrapes of an endpoint with work.
    pub min_interval_ms: u64,
    /// Milliseconds between scrapes of an idle one.
    pub max_interval_ms: u64,
    /// Milliseconds after which a scrape has failed.
    pub timeout_ms: u64,
    /// Engine whose metric names are read; found out from the page when not given.
    pub dialect: Option<String>,
}

impl Default for ScrapeConfig {
    fn default() -> Self {
        Self {
            path: DEFAULT_SCRAPE_PATH.to_owned(),
            port: None,
            min_interval_ms: DEFAULT_SCRAPE_MIN_INTERVAL_MS,
            max_interval_ms: DEFAULT_SCRAPE_MAX_INTERVAL_MS,
            timeout_ms: DEFAULT_SCRAPE_TIMEOUT_MS,
            dialect: None,
        }
    }
}

/// Reading of the engines' model lists.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// Path of the list.
    pub path: String,
    /// Milliseconds between reads; it is also read whenever an endpoint appears or comes back.
    pub interval_ms: u64,
    /// Milliseconds after which a read has failed.
    pub timeout_ms: u64,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            path: DEFAULT_MODELS_PATH.to_owned(),
            interval_ms: DEFAULT_MODELS_INTERVAL_MS,
            timeout_ms: DEFAULT_MODELS_TIMEOUT_MS,
        }
    }
}

/// How `https` endpoints are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate to present.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub client_key_file: Option<PathBuf>,
    /// Name to verify instead of the URL's host.
    pub server_name: Option<String>,
    /// Accept any certificate. The connection is then encrypted, but to whom is not known.
    pub insecure_skip_verify: bool,
}

impl PoolConfig {
    /// Finds every mistake that can be found without touching the network or a file.
    ///
    /// # Errors
    /// The first one, naming the key.
    pub fn check(&self) -> Result<(), PoolError> {
        for url in &self.endpoints {
            endpoint_from_url(url)?;
        }
        if let Some(dns) = &self.dns {
            if dns.host.is_empty() {
                return Err(setting("dns.host", "must name a host"));
            }
            interval("dns.interval_ms", dns.interval_ms)?;
        }
        path("health.path", &self.health.path)?;
        path("scrape.path", &self.scrape.path)?;
        path("models.path", &self.models.path)?;
        interval("health.interval_ms", self.health.interval_ms)?;
        interval(
            "health.unready_interval_ms",
            self.health.unready_interval_ms,
        )?;
        interval("health.timeout_ms", self.health.timeout_ms)?;
        interval("scrape.min_interval_ms", self.scrape.min_interval_ms)?;
        interval("scrape.timeout_ms", self.scrape.timeout_ms)?;
        interval("models.interval_ms", self.models.interval_ms)?;
        interval("models.timeout_ms", self.models.timeout_ms)?;
        if self.health.unready_after == 0 {
            return Err(setting("health.unready_after", "must be at least 1"));
        }
        if self.scrape.max_interval_ms < self.scrape.min_interval_ms {
            return Err(setting(
                "scrape.max_interval_ms",
                "must not be less than `scrape.min_interval_ms`",
            ));
        }
        self.kv_events.check()?;
        self.scrape.dialect().map(|_| ())
    }
}

impl ScrapeConfig {
    /// The dialect that was asked for by name; `None` to find out.
    pub(crate) fn dialect(
        &self,
    ) -> Result<Option<&'static engine_api::dialect::Dialect>, PoolError> {
        let Some(name) = &self.dialect else {
            return Ok(None);
        };
        let all = engine_api::dialect::ALL;
        match all.iter().find(|dialect| dialect.name == name) {
            Some(dialect) => Ok(Some(dialect)),
            None => {
                let known: Vec<&str> = all.iter().map(|dialect| dialect.name).collect();
                Err(setting(
                    "scrape.dialect",
                    &format!("`{name}` is not known; one of: {}", known.join(", ")),
                ))
            }
        }
    }
}

fn interval(key: &'static str, value_ms: u64) -> Result<(), PoolError> {
    if value_ms < LEAST_INTERVAL_MS {
        return Err(setting(
            key,
            &format!("must be at least {LEAST_INTERVAL_MS} (milliseconds)"),
        ));
    }
    Ok(())
}

fn path(key: &'static str, value: &str) -> Result<(), PoolError> {
    if !value.starts_with('/') || value.parse::<::http::uri::PathAndQuery>().is_err() {
        return Err(setting(key, "must be a URL path that starts with `/`"));
    }
    Ok(())
}

pub(crate) fn setting(key: &'static str, reason: &str) -> PoolError {
    PoolError::Setting {
        key,
        reason: reason.to_owned(),
    }
}

/// Milliseconds as a span of time.
pub(crate) fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}
