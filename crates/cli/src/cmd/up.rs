//! `prefixgate up`: the whole system on this machine.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use fleet::{Event, Fleet};
use parking_lot::Mutex;
use pool::Clock;
use tokio_util::task::TaskTracker;

use crate::config::{Config, DEFAULT_ADMIN_LISTEN, DEFAULT_LISTEN, Pool};
use crate::system::System;
use crate::up::banner::Banner;
use crate::up::ports::{self, FIRST_ENGINE_PORT};
use crate::up::signals::{hurried_exit, stop_requested, unless_hurried};
use crate::up::supervise::{EngineCommand, OnDeath, Stop, supervise};

/// Longest wait for the engines of our own to be ready; a real model server may load for minutes.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Longest wait for their events; requests are routed without them too.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(2);

/// Spacing of looks at whether they are.
const READY_POLL: Duration = Duration::from_millis(20);

/// What engines of our own are told: free ports of this machine, found through `/kv_event_sources`.
const KV_EVENTS: &str =
    r#"{"enable_kv_cache_events":true,"endpoint":"tcp://*:0","replay_endpoint":"tcp://*:0"}"#;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many engines to run.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    replicas: u16,

    /// Address of the gateway.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_LISTEN)]
    listen: SocketAddr,

    /// Address of admin API and metrics.
    #[arg(long, value_name = "ADDRESS", default_value = DEFAULT_ADMIN_LISTEN)]
    admin_listen: SocketAddr,

    /// Port of the first engine; the next ones follow. 0 takes any free ones.
    #[arg(long, value_name = "PORT", default_value_t = FIRST_ENGINE_PORT)]
    engine_port: u16,

    /// Accelerator profile that the engines simulate (see docs/engine.md).
    #[arg(long, value_name = "NAME", default_value = "tpu-v6e-4")]
    accelerator: String,

    /// Model name that the engines serve.
    #[arg(long, value_name = "NAME", default_value = "Qwen/Qwen2.5-3B-Instruct", value_parser = NonEmptyStringValueParser::new())]
    model: String,

    /// First part of the path the pool is also reachable under.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "llm-d-inference-scheduling",
        value_parser = path_part
    )]
    namespace: String,

    /// Second part of that path.
    #[arg(long, value_name = "NAME", default_value = "qwen2-3b-pattern3", value_parser = path_part)]
    name: String,

    /// Scheduling preset.
    #[arg(long, value_name = "NAME", default_value = "default")]
    preset: String,

    /// Fixes prompt-hash keys, every chance taken in routing, and the engines' filler text.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Slows (above 1) or quickens (below 1) simulated time.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time_scale: f64,

    /// KV-cache blocks of each engine; the profile's own number when absent.
    #[arg(long, value_name = "N")]
    num_gpu_blocks_override: Option<u32>,

    /// Engines tell which KV-cache blocks they store and drop, and prefixes are routed by that: the default, but with
    /// --engine-command, whose engines may not tell. See docs/operations.md.
    #[arg(long, overrides_with = "no_kv_events")]
    kv_events: bool,

    /// Prefixes are routed by our own history only.
    #[arg(long, overrides_with = "kv_events")]
    no_kv_events: bool,

    /// Further flags for every engine, as one string.
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    engine_args: Option<String>,

    /// Runs real model servers instead: a shell command in which {port} is replaced.
    #[arg(long, value_name = "CMD", value_parser = with_port, conflicts_with_all = ["accelerator", "time_scale", "num_gpu_blocks_override", "engine_args"])]
    engine_command: Option<String>,
}

/// One part of a path: what a URL carries as it is, without a slash.
fn path_part(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err("letters, digits and `-._~` only: it is part of a URL's path".to_owned());
    }
    Ok(text.to_owned())
}

/// Engines that all take the same port would fight for it.
fn with_port(command: &str) -> Result<String, String> {
    if !command.contains("{port}") {
        return Err("it has no `{port}`: every engine must listen on a port of its own".to_owned());
    }
    Ok(command.to_owned())
}

impl Args {
    fn follows_events(&self) -> bool {
        match (self.kv_events, self.no_kv_events) {
            (true, _) => true,
            (_, true) => false,
            _ => self.engine_command.is_none(),
        }
    }

    /// Whether the engines' own flags say how they publish.
    fn publishes_by_itself(&self) -> bool {
        let further = self.engine_args.as_deref().unwrap_or_default();
        further.contains("--kv-events-config")
    }

    /// Whether the engines' tokens are known here; ones with a vocabulary of their own are asked.
    fn built_in_tokens(&self) -> bool {
        let further = self.engine_args.as_deref().unwrap_or_default();
        self.engine_command.is_none() && !further.contains("--tokenizer")
    }
}

#[allow(
    clippy::print_stdout,
    reason = "the banner is the answer of the command"
)]
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let ports = ports::choose(args.engine_port, args.replicas)?;
    if args.engine_command.is_none() {
        // Said once and before anything runs, rather than by each engine, again and again.
        super::engine::check(&own_engine(&args, 1, ports[0]))
            .context("the engines would not start")?;
    }
    let system = System::start(config(&args, &ports)).await?;
    let (engines, stop) = (TaskTracker::new(), Stop::default());
    let pool = &system.pools[0];
    let given_up = GivenUp::default();
    let on_death = forget_cache(
        Arc::clone(&pool.fleet),
        system.clock.clone(),
        Arc::clone(&given_up),
    );
    for (i, port) in ports.iter().enumerate() {
        let command = engine_command(&args, i + 1, *port)?;
        supervise(command, Arc::clone(&on_death), stop.clone(), &engines)?;
    }
    let stopped = tokio::select! {
        ready = all_ready(&pool.fleet, ports.len(), args.engine_command.is_some(), &given_up) => ready.map(|()| false),
        () = stop_requested() => Ok(true),
    };
    if let Ok(false) = stopped {
        if args.follows_events() {
            followed(&pool.fleet).await;
        }
        println!("{}", banner(&args, &system, &ports));
        stop_requested().await;
        println!("Stopping: requests in flight end first. Ctrl-C again stops at once.");
    }
    let orderly = wind_down(system, &stop, &engines).await;
    stopped.map(|_| match orderly {
        true => ExitCode::SUCCESS,
        false => hurried_exit(),
    })
}

/// Drains the gateway, then ends the engines; whether there was time for both.
async fn wind_down(system: System, stop: &Stop, engines: &TaskTracker) -> bool {
    let in_order = async {
        system.stop().await;
        stop.orderly.cancel();
        engines.close();
        engines.wait().await;
    };
    let orderly = unless_hurried(in_order).await;
    if !orderly {
        stop.at_once.cancel();
        stop.orderly.cancel();
        engines.close();
        engines.wait().await;
    }
    orderly
}

fn config(args: &Args, ports: &[u16]) -> Config {
    let pool = Pool {
        name: args.name.clone(),
        path: Some(format!("/{}/{}", args.namespace, args.name)),
        endpoints: ports
            .iter()
            .map(|port| format!("http://127.0.0.1:{port}"))
            .collect(),
        kv_events: pool::KvEventsConfig {
            enabled: args.follows_events(),
            ..pool::KvEventsConfig::default()
        },
        tokenizer: gateway::TokenizerConfig {
            builtin: args.built_in_tokens(),
            ..gateway::TokenizerConfig::default()
        },
        ..Pool::default()
    };
    Config {
        listen: args.listen,
        admin_listen: args.admin_listen,
        seed: args.seed,
        gateway: gateway::GatewayConfig {
            response_headers: true,
            ..gateway::GatewayConfig::default()
        },
        scheduling: scheduler::SchedulingConfig {
            preset: Some(args.preset.clone()),
            ..Default::default()
        },
        pools: vec![pool],
        ..Config::default()
    }
}

/// The same binary as engine, or the user's command under our guard.
fn engine_command(args: &Args, number: usize, port: u16) -> anyhow::Result<EngineCommand> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let arguments = match &args.engine_command {
        Some(command) => vec![
            "guard".to_owned(),
            command.replace("{port}", &port.to_string()),
        ],
        None => own_engine(args, number, port),
    };
    Ok(EngineCommand {
        number,
        port,
        program,
        arguments,
        guarded: args.engine_command.is_some(),
    })
}

fn own_engine(args: &Args, number: usize, port: u16) -> Vec<String> {
    let mut words: Vec<String> = [
        "engine",
        "--exit-on-stdin-close",
        "--enable-prompt-tokens-details",
        "--host",
        "127.0.0.1",
        "--shutdown-timeout",
        "30",
    ]
    .map(str::to_owned)
    .into();
    let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
    flag("--port", port.to_string());
    flag("--model", args.model.clone());
    flag("--accelerator", args.accelerator.clone());
    flag("--time-scale", args.time_scale.to_string());
    if args.follows_events() && !args.publishes_by_itself() {
        flag("--kv-events-config", KV_EVENTS.to_owned());
    }
    if let Some(seed) = args.seed {
        flag("--seed", seed.wrapping_add(number as u64).to_string());
    }
    if let Some(blocks) = args.num_gpu_blocks_override {
        flag("--num-gpu-blocks-override", blocks.to_string());
    }
    words.extend(
        args.engine_args
            .iter()
            .flat_map(|flags| flags.split_whitespace().map(str::to_owned)),
    );
    words
}

/// A dead engine's cache is gone: its index entries go before it is started again.
fn forget_cache(fleet: Arc<Fleet>, clock: Clock, given_up: GivenUp) -> OnDeath {
    Arc::new(move |command, last_words| {
        let mut given_up = given_up.lock();
        if given_up.len() < FAILURES_AT_START {
            given_up.extend(last_words);
        }
        drop(given_up);
        let view = fleet.view();
        let suffix = format!(":{}", command.port);
        if let Some(endpoint) = view
            .endpoints
            .iter()
            .find(|endpoint| endpoint.spec.address.ends_with(&suffix))
        {
            fleet.apply(
                Event::Restarted {
                    slot: endpoint.slot,
                },
                clock.now(),
            );
        }
    })
}

/// Last words of engines that ended by themselves with a failure.
type GivenUp = Arc<Mutex<Vec<String>>>;

/// So many failures before all are ready mean that none will be: a wrong flag, a missing program.
const FAILURES_AT_START: usize = 3;

/// Waits until every engine takes requests; a user's own command gets as long as it needs.
async fn all_ready(
    fleet: &Fleet,
    engines: usize,
    patient: bool,
    given_up: &GivenUp,
) -> anyhow::Result<()> {
    let wait = async {
        while fleet.view().ready.len() < engines {
            if let Some(words) = given_up.lock().get(FAILURES_AT_START - 1) {
                anyhow::bail!("the engines do not start; the last one said:\n{words}");
            }
            tokio::time::sleep(READY_POLL).await;
        }
        Ok(())
    };
    if patient {
        return wait.await;
    }
    tokio::time::timeout(READY_WITHIN, wait)
        .await
        .unwrap_or_else(|_| {
            let view = fleet.view();
            let waiting = view
                .endpoints
                .iter()
                .filter(|endpoint| !endpoint.health.is_ready());
            let named: Vec<_> = waiting
                .map(|endpoint| {
                    format!(
                        "{} ({})",
                        endpoint.spec.address,
                        endpoint.health.reason().unwrap_or("not probed")
                    )
                })
                .collect();
            anyhow::bail!(
                "not every engine was ready in {} s: {}",
                READY_WITHIN.as_secs(),
                named.join(", ")
            )
        })
}

/// Waits until every engine's events are followed, but not for long: one that does not tell is shown as such.
async fn followed(fleet: &Fleet) {
    let all_exact = || {
        let view = fleet.view();
        view.endpoints.iter().all(|e| e.kv_mode.is_exact())
    };
    let wait = async {
        while !all_exact() {
            tokio::time::sleep(READY_POLL).await;
        }
    };
    let _ = tokio::time::timeout(FOLLOWED_WITHIN, wait).await;
}

fn banner(args: &Args, system: &System, ports: &[u16]) -> String {
    let path = format!("/{}/{}", args.namespace, args.name);
    Banner {
        listen: system.listen,
        admin_listen: system.admin_listen,
        path: &path,
        model: &args.model,
        engine_ports: ports,
        accelerator: args
            .engine_command
            .is_none()
            .then_some(args.accelerator.as_str()),
        profile: &system.pools[0].fleet.profile().to_string(),
    }
    .text()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: super::Args,
    }

    #[test]
    fn flags_that_cannot_work_are_refused_with_the_reason() {
        let check = |flags: &[&str], expected: &str| {
            let words = std::iter::once("up").chain(flags.iter().copied());
            match Line::try_parse_from(words) {
                Ok(line) => assert_eq!(expected, "", "accepted: {:?}", line.args),
                Err(error) => assert!(error.to_string().contains(expected), "{error}"),
            }
        };
        check(&["--engine-command", "vllm serve --port {port}"], "");
        check(&["--engine-command", "vllm serve"], "no `{port}`");
        check(&["--name", "a/b"], "letters, digits");
        check(&["--namespace", ""], "letters, digits");
        check(&["--model", ""], "a value is required");
        check(&["--replicas", "0"], "1..=64");
    }
}
