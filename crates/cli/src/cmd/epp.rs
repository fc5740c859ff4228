//! `prefixgate epp`: the endpoint picker for Envoy, Istio and GKE.

mod flags;
mod reload;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use gateway::{Certificates, Gateway, Picker, PickerConfig, TlsSettings};
use pool::Clock;
use scheduler::{Document, SchedulingConfig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use flags::{Args, without_foreign};

use crate::config::{self, Config, DEFAULT_POOL, Pool};
use crate::kubernetes::Only;
use crate::system::{bind, drawn_seed, start_pool};
use crate::up::signals::stop_requested;

/// Default of `--max-endpoints` where the document says nothing: what every data plane understands.
const DEFAULT_MAX_ENDPOINTS: usize = 1;

/// Room beside a body in one message, bytes.
const MESSAGE_ROOM_BYTES: u64 = 1 << 20;

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    for note in flags::notes() {
        tracing::warn!("{note}");
    }
    let config = configuration(&args).await?;
    let endpoints = config.pools.iter().map(|pool| pool.endpoints.len());
    // Streams share the data plane's few connections; what takes handles is the endpoints.
    crate::handles::raise_for(endpoints.sum(), 0);
    let tls = certificates(&args)?;
    let seed = config.seed.unwrap_or_else(drawn_seed);
    let address = |port| SocketAddr::new(args.listen_address, port);
    let data = bind(address(args.grpc_port), "--grpc-port").await?;
    let health = bind(address(args.grpc_health_port), "--grpc-health-port").await?;
    let metrics = bind(address(args.metrics_port), "--metrics-port").await?;
    let (feeders, ending) = (TaskTracker::new(), CancellationToken::new());
    let clock = Clock::start();
    let (mut pools, mut routes) = (Vec::new(), Vec::new());
    for entry in &config.pools {
        let started = start_pool(&config, entry, seed, &clock, &feeders, &ending).await;
        let (running, route) =
            started.with_context(|| format!("pool `{}` cannot start", entry.name))?;
        pools.push(running);
        routes.push((route, entry.scheduling.is_none()));
    }
    let served = routes.iter().map(|(route, _)| route.clone()).collect();
    let gateway = Gateway::new(config.gateway.clone(), served, clock.clone(), seed);
    if let Some(only) = from_cluster(&args, &config) {
        tracing::info!(
            pool = only.pool,
            namespace = only.namespace,
            "endpoints come from the cluster: the pods of this InferencePool"
        );
        if args.config_file.is_some() {
            tracing::warn!(
                "--config-file is read once: a pool of the cluster keeps its scheduling until a new start"
            );
        }
        let host = crate::kubernetes::Host {
            gateway: &gateway,
            config: &config,
            seed,
            clock: &clock,
            tracker: &feeders,
            stop: &ending,
            configured: Vec::new(),
            only: Some(only),
        };
        let discovery = k8s::discovery::DiscoveryConfig {
            namespace: Some(args.pool_namespace.clone()),
            gateway: None,
            objectives: true,
        };
        crate::kubernetes::follow(host, discovery).await?;
    }
    let picker = Picker::new(picker_config(&args, &config));
    let ports = (
        data.local_addr()?,
        health.local_addr()?,
        metrics.local_addr()?,
    );
    feeders.spawn(Arc::clone(&gateway).serve_grpc_health(health, ending.clone()));
    feeders.spawn(Arc::clone(&gateway).serve_picker_admin(metrics, ending.clone()));
    if let Some(tls) = tls.clone().filter(|_| args.enable_cert_reload) {
        feeders.spawn(tls.reload(ending.clone()));
    }
    if let Some(file) = args.config_file.as_ref().filter(|_| !routes.is_empty()) {
        let watched = reload::Watched::new(
            file.clone(),
            seed,
            Arc::clone(&gateway),
            Arc::clone(&picker),
            routes,
            clock.clone(),
        );
        feeders.spawn(watched.run(ending.clone()));
    }
    say_where(&pools, ports, tls.is_some());
    tracing::info!(
        "an answer names up to {} endpoint(s); responses are {}",
        max_endpoints(&args, &config),
        match args.response_feedback {
            true => "read where the data plane shows them",
            false => "asked not to be shown",
        }
    );
    let stop = CancellationToken::new();
    let serving = tokio::spawn(gateway.serve_picker(picker, data, tls, stop.clone()));
    stop_requested().await;
    tracing::info!(
        "stopping: health says so, requests are decided for {:.0?} more; a second signal ends at once",
        args.drain_timeout
    );
    stop.cancel();
    tokio::select! {
        served = serving => served.context("the picker's server broke down")?,
        () = stop_requested() => {}
    }
    ending.cancel();
    feeders.close();
    feeders.wait().await;
    Ok(ExitCode::SUCCESS)
}

/// The cluster's pool, where no endpoints are named otherwise.
fn from_cluster(args: &Args, config: &Config) -> Option<Only> {
    let pool = args.pool_name.clone().filter(|_| config.pools.is_empty())?;
    Some(Only {
        namespace: args.pool_namespace.clone(),
        pool,
    })
}

fn say_where(
    pools: &[crate::system::RunningPool],
    (data, health, metrics): (SocketAddr, SocketAddr, SocketAddr),
    secure: bool,
) {
    let spoken = if secure { "TLS" } else { "plain text" };
    tracing::info!(
        "ext_proc on {data} ({spoken}), gRPC health on {health}, metrics on http://{metrics}/metrics"
    );
    for pool in pools {
        tracing::info!(
            pool = pool.fleet.pool(),
            preset = pool.preset,
            "{}",
            pool.fleet.profile()
        );
    }
}

/// The file's configuration, if any, with the flags laid over it.
async fn configuration(args: &Args) -> anyhow::Result<Config> {
    let mut config = match &args.config {
        Some(path) => config::load(path)?,
        None => Config::default(),
    };
    if let Some(scheduling) = scheduling(args)? {
        config.scheduling = scheduling;
    }
    let named = !args.endpoints.is_empty() || args.endpoint_file.is_some();
    if named {
        let name = args.pool_name.as_deref().unwrap_or(DEFAULT_POOL);
        let mut pool = config
            .pools
            .iter()
            .position(|pool| pool.name == name)
            .map(|at| config.pools.remove(at))
            .unwrap_or_else(|| Pool {
                name: name.to_owned(),
                ..Pool::default()
            });
        pool.endpoints = addresses(&args.endpoints).await?;
        pool.file.clone_from(&args.endpoint_file);
        config.pools.insert(0, pool);
    }
    ensure!(
        !config.pools.is_empty() || args.pool_name.is_some(),
        "there is no pool to pick from: name replicas with --endpoint URL (repeated) or --endpoint-file FILE, a \
         cluster's InferencePool with --pool-name NAME, or pools in a file given with --config"
    );
    for pool in &mut config.pools {
        scrape_flags(args, pool);
    }
    let paths = args.forward_paths.iter().cloned();
    config.gateway.forward_paths.extend(paths);
    config
        .gateway
        .objectives
        .extend(args.objectives.iter().cloned());
    config.seed = args.seed.or(config.seed);
    config::check(&config)?;
    Ok(config)
}

fn scrape_flags(args: &Args, pool: &mut Pool) {
    let scrape = &mut pool.scrape;
    if let Some(interval) = args.refresh_metrics_interval {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        (scrape.min_interval_ms, scrape.max_interval_ms) = (interval_ms, interval_ms);
    }
    if let Some(path) = &args.model_server_metrics_path {
        scrape.path.clone_from(path);
    }
    scrape.port = args.model_server_metrics_port.or(scrape.port);
}

/// What the flags say of scheduling; `None` for nothing.
fn scheduling(args: &Args) -> anyhow::Result<Option<SchedulingConfig>> {
    let document = match (&args.config_file, &args.config_text) {
        (Some(path), _) => Some(reload::read(path).map_err(anyhow::Error::msg)?),
        (None, Some(text)) => Some(Document::parse(text).context("--config-text")?),
        (None, None) => None,
    };
    Ok(match (document, &args.preset) {
        (Some(document), _) => {
            let scheduling = SchedulingConfig::document(document);
            for note in scheduler::compile(&scheduling, 0)?.notes {
                tracing::warn!("{note}");
            }
            Some(scheduling)
        }
        (None, Some(preset)) => Some(SchedulingConfig::preset(preset)),
        (None, None) => None,
    })
}

/// The URLs with addresses in place of names: a data plane is told `ip:port`.
async fn addresses(urls: &[String]) -> anyhow::Result<Vec<String>> {
    let mut resolved = Vec::new();
    for text in urls {
        let mut url = url::Url::parse(text).with_context(|| format!("--endpoint {text}"))?;
        if let Some(url::Host::Domain(host)) = url.host() {
            let port = url.port_or_known_default().unwrap_or(80);
            let found = tokio::net::lookup_host((host, port)).await;
            let mut found: Vec<_> = found
                .with_context(|| format!("--endpoint {text}: the name cannot be resolved"))?
                .collect();
            found.sort_by_key(SocketAddr::is_ipv6);
            let first = found
                .first()
                .with_context(|| format!("--endpoint {text}: the name has no address"))?;
            // The URL has a host already, so another can stand in its place.
            let _ = url.set_ip_host(first.ip());
            tracing::info!("--endpoint {text} is {first}: a data plane is told addresses only");
        }
        resolved.push(url.as_str().trim_end_matches('/').to_owned());
    }
    Ok(resolved)
}

fn certificates(args: &Args) -> anyhow::Result<Option<Certificates>> {
    if !args.secure_serving {
        ensure!(
            args.cert_path.is_none(),
            "--cert-path has no use with --secure-serving=false; remove one of them"
        );
        return Ok(None);
    }
    let settings = TlsSettings {
        folder: args.cert_path.clone(),
        min_version: args.tls_min_version.clone(),
        cipher_suites: args.tls_cipher_suites.clone(),
    };
    Certificates::new(&settings)
        .map(Some)
        .map_err(anyhow::Error::msg)
}

/// Endpoints in one answer: the flag's, else the most that a picker of the document asks for.
fn max_endpoints(args: &Args, config: &Config) -> usize {
    let asked = || {
        let document = config.scheduling.config.as_ref()?;
        // Read from the document as written: a default that was filled in is nobody's wish.
        let written = serde_json::to_value(document).ok()?;
        let plugins = written.get("plugins")?.as_array()?;
        let numbers = plugins.iter().filter_map(|plugin| {
            let number = plugin.pointer("/parameters/maxNumOfEndpoints")?;
            usize::try_from(number.as_u64()?).ok()
        });
        numbers.max()
    };
    args.max_endpoints
        .or_else(asked)
        .unwrap_or(DEFAULT_MAX_ENDPOINTS)
}

fn picker_config(args: &Args, config: &Config) -> PickerConfig {
    let room = config.gateway.max_body_bytes + MESSAGE_ROOM_BYTES;
    let most = args.grpc_max_recv_msg_size.unwrap_or(room);
    PickerConfig {
        feedback: args.response_feedback,
        max_endpoints: Some(max_endpoints(args, config).max(1)),
        emit_scores: args.emit_endpoint_scores,
        subset_hint: !args.disable_endpoint_subset_filter,
        max_message_bytes: usize::try_from(most).unwrap_or(usize::MAX),
        drain_timeout: args.drain_timeout,
        pool: config
            .pools
            .first()
            .map(|pool| pool.name.clone())
            .or_else(|| args.pool_name.clone())
            .unwrap_or_default(),
        namespace: args.pool_namespace.clone(),
        ..PickerConfig::default()
    }
}
