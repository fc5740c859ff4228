//! Which value holds when file, environment and flags disagree?

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::parser::ValueSource;

use super::{Config, ConfigError, DEFAULT_POOL, Pool, load};

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File,
    Environment,
    Flag,
}

impl Origin {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }

    fn of(source: Option<ValueSource>) -> Self {
        match source {
            Some(ValueSource::EnvVariable) => Self::Environment,
            Some(ValueSource::CommandLine) => Self::Flag,
            _ => Self::Default,
        }
    }
}

/// What flags and environment may set; the same for every command that reads the configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Overrides {
    /// Configuration file.
    #[arg(short, long, value_name = "FILE", env = "PREFIXGATE_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Address of the data port [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS", env = "PREFIXGATE_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,

    /// Address of admin API and metrics [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS", env = "PREFIXGATE_ADMIN_LISTEN")]
    pub(crate) admin_listen: Option<SocketAddr>,

    /// URL of a replica; repeat for several. They form the pool `default`.
    #[arg(
        long = "endpoint",
        value_name = "URL",
        env = "PREFIXGATE_ENDPOINTS",
        value_delimiter = ','
    )]
    pub(crate) endpoints: Vec<String>,

    /// Scheduling preset: see `prefixgate plugins` and docs/scheduling.md.
    #[arg(long, value_name = "NAME", env = "PREFIXGATE_PRESET")]
    pub(crate) preset: Option<String>,

    /// Fixes prompt-hash keys and every chance taken in routing.
    #[arg(long, value_name = "N", env = "PREFIXGATE_SEED")]
    pub(crate) seed: Option<u64>,
}

/// The effective configuration, and the origin of each top-level key.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) config: Config,
    pub(crate) origins: BTreeMap<&'static str, Origin>,
}

const KEYS: [&str; 7] = [
    "listen",
    "admin_listen",
    "seed",
    "index_max_bytes",
    "gateway",
    "scheduling",
    "pools",
];

/// Lays file, environment and flags over the defaults. `source` tells where clap found an argument.
///
/// # Errors
/// As [`load()`], and where the result makes no sense: a pool without a name or without a source of endpoints, two
/// pools of one name or path, a scheduling document that does not compile.
pub(crate) fn resolve(
    overrides: &Overrides,
    source: impl Fn(&str) -> Option<ValueSource>,
) -> Result<Resolved, ConfigError> {
    let mut origins: BTreeMap<&'static str, Origin> = KEYS.map(|key| (key, Origin::Default)).into();
    let mut config = Config::default();
    if let Some(path) = &overrides.config {
        config = load(path)?;
        let written = std::fs::read_to_string(path).unwrap_or_default();
        for key in KEYS.iter().filter(|key| {
            written
                .lines()
                .any(|line| line.starts_with(&format!("{key}:")))
        }) {
            origins.insert(key, Origin::File);
        }
    }
    let mut note =
        |key: &'static str, argument: &str| origins.insert(key, Origin::of(source(argument)));
    if let Some(listen) = overrides.listen {
        config.listen = listen;
        note("listen", "listen");
    }
    if let Some(listen) = overrides.admin_listen {
        config.admin_listen = listen;
        note("admin_listen", "admin_listen");
    }
    if let Some(seed) = overrides.seed {
        config.seed = Some(seed);
        note("seed", "seed");
    }
    if let Some(preset) = &overrides.preset {
        config.scheduling = scheduler::SchedulingConfig {
            preset: Some(preset.clone()),
            ..Default::default()
        };
        note("scheduling", "preset");
    }
    if !overrides.endpoints.is_empty() {
        let endpoints = overrides.endpoints.clone();
        match config
            .pools
            .iter_mut()
            .find(|pool| pool.name == DEFAULT_POOL)
        {
            Some(pool) => pool.endpoints = endpoints,
            None => config.pools.push(Pool {
                name: DEFAULT_POOL.to_owned(),
                endpoints,
                ..Pool::default()
            }),
        }
        note("pools", "endpoints");
    }
    check(&config)?;
    Ok(Resolved { config, origins })
}

/// Says what makes no sense in `config`.
///
/// # Errors
/// As [`resolve()`].
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let wrong = |place: String, message: String| Err(ConfigError::Value { place, message });
    for (i, pool) in config.pools.iter().enumerate() {
        let place = format!("pools[{i}]");
        if pool.name.is_empty() {
            return wrong(place, "`name` is required".to_owned());
        }
        let place = format!("{place} ({})", pool.name);
        if pool.endpoints.is_empty() && pool.file.is_none() && pool.dns.is_none() {
            return wrong(
                place,
                "one of `endpoints`, `file` and `dns` is required".to_owned(),
            );
        }
        for endpoint in &pool.endpoints {
            if let Err(error) = pool::endpoint_from_url(endpoint) {
                return wrong(format!("{place}.endpoints"), error.to_string());
            }
        }
        if let Some(path) = &pool.path {
            check_path(path).or_else(|message| wrong(format!("{place}.path"), message))?;
        }
        let same = |other: &&Pool| {
            other.name == pool.name || (other.path.is_some() && other.path == pool.path)
        };
        if let Some(other) = config.pools[..i].iter().find(same) {
            return wrong(
                place,
                format!("has the name or path of pool `{}`", other.name),
            );
        }
        if let Some(scheduling) = &pool.scheduling
            && let Err(error) = scheduler::compile(scheduling, 0)
        {
            return wrong(format!("{place}.scheduling"), error.to_string());
        }
    }
    match scheduler::compile(&config.scheduling, 0) {
        Ok(_) => Ok(()),
        Err(error) => wrong("scheduling".to_owned(), error.to_string()),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    let parts: Vec<_> = path.split('/').collect();
    match parts.as_slice() {
        ["", namespace, name] if !namespace.is_empty() && !name.is_empty() => Ok(()),
        _ => Err(format!("`{path}` is not of the form /namespace/name")),
    }
}
