//! `bench shared-prefix`: how much of the shared prefixes do the engines find again, and at what latency?

mod show;

use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::Connection;
use super::connection::EngineAddresses;
use super::outputs::Outputs;
use super::progress::Bar;
use crate::engines::{self, Counters, Gain};
use crate::load::driver::Run;
use crate::load::traffic::Traffic;
use crate::load::{Client, probe};
use crate::report::serve_keys::{Asked, ServeKeys};
use crate::report::{Scenario, Slo};
use crate::workload::Workload;
use crate::workload::shared_prefix::{PromptForm, Shape, SharedPrefix};

/// Turns a seed into that of the warm-up.
const WARMUP: u64 = 0x5eed_0fff;
/// vLLM's default, for the ideal where the engines' own is not known.
pub(crate) const DEFAULT_BLOCK_TOKENS: u32 = 16;

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
    /// Questions of one conversation, each after the ones before it; 1 asks every question by itself.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub turns: u32,
    #[command(flatten)]
    pub traffic: Traffic,
    /// Limits of a good request, in ms, such as `ttft:500,tpot:50`; names ttft, tpot, e2el.
    #[arg(long, value_name = "LIMITS")]
    pub goodput: Option<Slo>,
    #[command(flatten)]
    pub outputs: Outputs,
    /// A name for this arm of a comparison, carried into the report.
    #[arg(long, default_value = "shared-prefix")]
    pub label: String,
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
    /// The same figures under the key names of `vllm bench serve`.
    #[serde(flatten)]
    pub serve: ServeKeys,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (report, run) = measured(&args).await?;
    args.outputs
        .deliver("shared-prefix", &report, &show::text(&report), &run)?;
    Ok(if report.scenario.successful > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Warm-up, then the measured load between two readings of the engines' counters.
pub async fn measure(args: &Args) -> anyhow::Result<Report> {
    Ok(measured(args).await?.0)
}

/// The report, and the run it was made of.
async fn measured(args: &Args) -> anyhow::Result<(Report, Run)> {
    args.traffic.check()?;
    let (client, model) = args.connection.ready().await?;
    let engines = args.engines.connect(&model).await?;
    let seed = args.prompts.seed();
    let form = args.prompts.form(&client, &model, seed).await?;
    let workload = |requests, seed| {
        let shape = args.shape(requests, seed);
        Arc::new(SharedPrefix::new(
            shape,
            form,
            &model,
            args.prompts.ignore_eos,
        ))
    };
    let warmup = workload(args.warmup_requests, seed ^ WARMUP);
    load(&client, warmup, args, "warm-up", seed).await;
    let measured = workload(args.requests, seed);
    let before = engines.read().await?;
    let run = load(&client, measured.clone(), args, &args.label, seed).await;
    let after = engines.read().await?;
    let url = client.target().to_string();
    let report = args.report(url, model, &measured, &run, &before, &after);
    Ok((report, run))
}

impl Args {
    fn shape(&self, requests: usize, seed: u64) -> Shape {
        Shape {
            groups: self.groups,
            prefix_tokens: self.prefix_tokens,
            question_tokens: self.question_tokens,
            output_tokens: self.prompts.output_tokens,
            requests,
            turns: self.turns,
            seed,
            run: 0,
        }
    }

    fn report(
        &self,
        url: String,
        model: String,
        workload: &SharedPrefix,
        run: &Run,
        before: &[Counters],
        after: &[Counters],
    ) -> Report {
        let gains = engines::gains(before, after);
        let mut scenario = Scenario::of(&self.label, run);
        (scenario.rate_per_s, scenario.concurrency) = (self.traffic.rate, self.traffic.closed());
        let asked = Asked {
            label: self.label.clone(),
            model: model.clone(),
            rate: self.traffic.rate,
            burstiness: self.traffic.burstiness,
            max_concurrency: self.traffic.closed(),
            slo: self.goodput,
            detailed: self.outputs.save_detailed,
        };
        let serve = ServeKeys::of(&asked, run, &scenario);
        let block_size_tokens = engines::block_size_tokens(after);
        Report {
            label: self.label.clone(),
            url,
            model,
            simulated: scenario.simulated,
            shape: workload.shape(),
            warmup_requests: self.warmup_requests,
            block_size_tokens,
            ideal_hit_rate: workload
                .ideal_hit_rate(block_size_tokens.unwrap_or(DEFAULT_BLOCK_TOKENS)),
            engine_hit_rate: engines::hit_rate(&gains),
            reported_hit_rate: scenario.reported_hit_rate(),
            max_over_mean: max_over_mean(&scenario, &gains),
            engines: gains,
            scenario,
            serve,
        }
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
    args.traffic.drive(client, &workload, seed, &progress).await
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
