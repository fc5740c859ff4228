//! `bench shared-prefix`: how much of the shared prefixes do the engines find again, and at what latency?

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use serde::Serialize;

use super::Connection;
use super::connection::EngineAddresses;
use super::progress::Bar;
use crate::engines::{self, Gain};
use crate::load::arrivals::{self, Arrivals};
use crate::load::driver::{self, Run};
use crate::load::{Client, probe};
use crate::report::{self, Scenario, Table, text};
use crate::workload::Workload;
use crate::workload::shared_prefix::{PromptForm, Shape, SharedPrefix};

/// Groups of prompts with a common prefix.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub engines: EngineAddresses,
    #[command(flatten)]
    pub prompts: Prompts,
    /// Number of prefixes.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    pub groups: u32,
    #[arg(long, default_value_t = 1536)]
    pub prefix_tokens: u32,
    #[arg(long, default_value_t = 256)]
    pub question_tokens: u32,
    #[arg(long, default_value_t = 1024)]
    pub requests: usize,
    /// Requests sent before with another seed, so that engines are warm and caches hold something else.
    #[arg(long, default_value_t = 64)]
    pub warmup_requests: usize,
    /// Open loop: requests per second, whatever the answers do.
    #[arg(long, conflicts_with = "concurrency")]
    pub rate: Option<f64>,
    /// Closed loop: requests in flight [default without --rate: 32].
    #[arg(long)]
    pub concurrency: Option<usize>,
    /// Open loop: shape of the gamma-distributed gaps; 1 is Poisson, less is burstier, `inf` is constant.
    #[arg(long, default_value_t = 1.0)]
    pub burstiness: f64,
    /// Open loop: most requests in flight.
    #[arg(long, default_value_t = 2048)]
    pub max_in_flight: usize,
    /// A name for this arm of a comparison, carried into the report.
    #[arg(long, default_value = "shared-prefix")]
    pub label: String,
    #[arg(long)]
    pub json: bool,
}

/// How generated prompts are written.
#[derive(Clone, Debug, clap::Args)]
pub struct Prompts {
    /// Output tokens per request.
    #[arg(long, default_value_t = 50)]
    pub output_tokens: u32,
    /// Ask for exactly that many (vLLM's `ignore_eos`).
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub ignore_eos: bool,
    /// Send prompts as token ids: exact lengths, no tokenizer in the way.
    #[arg(long)]
    pub token_ids: bool,
    /// With --token-ids: ids stay below this.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(2..))]
    pub vocabulary: u32,
    /// Fixes prompts and arrivals [default: a fresh one, printed].
    #[arg(long)]
    pub seed: Option<u64>,
}

impl Prompts {
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(crate::workload::text::fresh_seed)
    }

    pub(crate) async fn form(
        &self,
        client: &Client,
        model: &str,
        seed: u64,
    ) -> anyhow::Result<PromptForm> {
        if self.token_ids {
            return Ok(PromptForm::TokenIds {
                vocabulary: self.vocabulary,
            });
        }
        let tokens_per_word = probe::tokens_per_word(client, model, seed ^ 0x77).await?;
        Ok(PromptForm::Words { tokens_per_word })
    }
}

/// The result of one arm.
#[derive(Debug, Serialize)]
pub struct Report {
    pub label: String,
    pub url: String,
    pub model: String,
    pub simulated: bool,
    pub shape: Shape,
    pub warmup_requests: usize,
    pub block_size_tokens: Option<u32>,
    /// One unbounded cache, each prefix computed once.
    pub ideal_hit_rate: f64,
    /// By the engines' own counters; `None` without their addresses.
    pub engine_hit_rate: Option<f64>,
    /// By the `cached_tokens` of the answers.
    pub reported_hit_rate: Option<f64>,
    pub engines: Vec<Gain>,
    /// Busiest endpoint's requests over the mean.
    pub max_over_mean: Option<f64>,
    pub scenario: Scenario,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let report = measure(&args).await?;
    if args.json {
        report::emit_json(&report)?;
    } else {
        report::emit(&text(&report))?;
    }
    Ok(if report.scenario.successful > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Warm-up, then the measured load between two readings of the engines' counters.
pub async fn measure(args: &Args) -> anyhow::Result<Report> {
    ensure!(
        args.rate.is_none_or(|rate| rate > 0.0),
        "--rate must be above 0"
    );
    ensure!(args.burstiness > 0.0, "--burstiness must be above 0");
    let (client, model) = args.connection.ready().await?;
    let engines = args.engines.connect().await?;
    let seed = args.prompts.seed();
    let form = args.prompts.form(&client, &model, seed).await?;
    let workload = |requests, seed| {
        let shape = Shape {
            groups: args.groups,
            prefix_tokens: args.prefix_tokens,
            question_tokens: args.question_tokens,
            output_tokens: args.prompts.output_tokens,
            requests,
            seed,
        };
        (
            shape,
            Arc::new(SharedPrefix::new(
                shape,
                form,
                &model,
                args.prompts.ignore_eos,
            )),
        )
    };
    let (_, warmup) = workload(args.warmup_requests, seed ^ 0x5eed_0fff);
    load(&client, warmup, args, "warm-up", seed).await;
    let (shape, measured) = workload(args.requests, seed);
    let before = engines.read().await?;
    let run = load(&client, measured.clone(), args, &args.label, seed).await;
    let after = engines.read().await?;
    let gains = engines::gains(&before, &after);
    let mut scenario = Scenario::of(&args.label, &run);
    (scenario.rate_per_s, scenario.concurrency) = (args.rate, args.closed());
    let block_size_tokens = engines::block_size_tokens(&after);
    Ok(Report {
        label: args.label.clone(),
        url: client.target().to_string(),
        model,
        simulated: scenario.simulated,
        shape,
        warmup_requests: args.warmup_requests,
        block_size_tokens,
        ideal_hit_rate: measured.ideal_hit_rate(block_size_tokens.unwrap_or(16)),
        engine_hit_rate: engines::hit_rate(&gains),
        reported_hit_rate: scenario.reported_hit_rate(),
        max_over_mean: max_over_mean(&scenario, &gains),
        engines: gains,
        scenario,
    })
}

impl Args {
    fn closed(&self) -> Option<usize> {
        self.rate.is_none().then(|| self.concurrency.unwrap_or(32))
    }
}

async fn load(
    client: &Arc<Client>,
    workload: Arc<SharedPrefix>,
    args: &Args,
    name: &str,
    seed: u64,
) -> Run {
    let bar = Bar::new(name, workload.len());
    let progress = bar.progress();
    let workload: Arc<dyn Workload> = workload;
    let Some(rate) = args.rate else {
        return driver::closed(client, &workload, args.closed().unwrap_or(32), &progress).await;
    };
    let shape = match args.burstiness {
        shape if shape.is_infinite() => Arrivals::Constant,
        1.0 => Arrivals::Poisson,
        shape => Arrivals::Gamma { shape },
    };
    let times = arrivals::schedule(shape, rate, workload.len(), seed);
    driver::open(client, &workload, &times, args.max_in_flight, &progress).await
}

/// Requests of the busiest endpoint over the mean: by the answers' headers, else by the engines' counters.
/// Endpoints that served nothing count where the engines' addresses are known.
pub(crate) fn max_over_mean(scenario: &Scenario, gains: &[Gain]) -> Option<f64> {
    let named: Vec<f64> = scenario
        .endpoints
        .values()
        .map(|count| *count as f64)
        .collect();
    let counted: Vec<f64> = gains
        .iter()
        .filter_map(|gain| gain.finished_requests)
        .collect();
    let loads = if named.is_empty() { &counted } else { &named };
    let replicas = loads.len().max(gains.len());
    let total: f64 = loads.iter().sum();
    let busiest = loads.iter().copied().fold(0.0, f64::max);
    (total > 0.0).then(|| busiest * replicas as f64 / total)
}

fn text(report: &Report) -> String {
    let shape = &report.shape;
    let mut out = format!(
        "shared-prefix on {} ({})\n{} groups, prefix {} + question {} tokens, output {}, seed {}, warm-up {} with another seed\n",
        report.url,
        report.model,
        shape.groups,
        shape.prefix_tokens,
        shape.question_tokens,
        shape.output_tokens,
        shape.seed,
        report.warmup_requests,
    );
    if report.simulated {
        out.push_str(&format!("{}\n", text::SIMULATED));
    }
    out.push('\n');
    out.push_str(&text::scenario(&report.scenario));
    let measured = if report.engines.is_empty() {
        "n/a (give --engines or --admin)".to_owned()
    } else {
        text::percent(report.engine_hit_rate)
    };
    out.push_str(&format!(
        "\nprefix hit rate at the engines {measured}, reported in answers {}, ideal {}\n",
        text::percent(report.reported_hit_rate),
        text::percent(Some(report.ideal_hit_rate)),
    ));
    if let Some(ratio) = report.max_over_mean {
        out.push_str(&format!("busiest endpoint over the mean: {ratio:.2}\n"));
    }
    if !report.engines.is_empty() {
        out.push('\n');
        out.push_str(&engine_table(&report.engines));
    }
    out
}

fn engine_table(gains: &[Gain]) -> String {
    let mut table = Table::new(&[
        "engine",
        "requests",
        "looked up",
        "found",
        "hit rate",
        "preemptions",
    ]);
    let count =
        |value: Option<f64>| value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.0}"));
    for gain in gains {
        table.row(vec![
            gain.url.clone(),
            count(gain.finished_requests),
            count(gain.queried_tokens),
            count(gain.hit_tokens),
            text::percent(engines::hit_rate(std::slice::from_ref(gain))),
            count(gain.preemptions),
        ]);
    }
    table.render()
}
