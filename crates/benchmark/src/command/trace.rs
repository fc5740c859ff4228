//! `bench trace`: how does a system serve what a real service was asked, when it was asked?

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;
use serde_json::json;

use super::Connection;
use super::connection::EngineAddresses;
use super::outputs::Outputs;
use super::progress::Bar;
use super::shared_prefix::{DEFAULT_BLOCK_TOKENS, max_over_mean};
use crate::engines::{self, Gain};
use crate::load::driver;
use crate::report::bound::{self, Prompt};
use crate::report::serve_keys::{Asked, ServeKeys};
use crate::report::{Scenario, Slo, text as report_text};
use crate::workload::jobs::mooncake::{Mooncake, TraceOptions};
use crate::workload::jobs::{Job, Jobs};
use crate::workload::{Body, Prompted, Workload, text};

/// A trace in the Mooncake format, sent by its own clock.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub engines: EngineAddresses,
    /// JSON lines of timestamp (ms), input_length, output_length and hash_ids (one per 512 tokens).
    #[arg(long, value_name = "FILE")]
    pub trace: PathBuf,
    /// Arrivals come this many times as fast.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub speed: f64,
    /// Requests sent at most.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_requests: usize,
    /// Only what arrived in the first seconds, on the trace's own clock.
    #[arg(long, value_name = "S")]
    pub until_s: Option<f64>,
    /// Longer prompts are cut to this.
    #[arg(long, value_name = "N")]
    pub max_prompt_tokens: Option<u32>,
    /// Longer answers are cut to this.
    #[arg(long, value_name = "N")]
    pub max_output_tokens: Option<u32>,
    /// Token ids stay below this.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(2..))]
    pub vocabulary: u32,
    /// Ask for exactly the trace's output lengths (vLLM's `ignore_eos`).
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub ignore_eos: bool,
    /// Most requests in flight.
    #[arg(long, default_value_t = 2048)]
    pub max_in_flight: usize,
    /// Fixes prompts and the spreading of batched arrivals [default: a fresh one, printed].
    #[arg(long)]
    pub seed: Option<u64>,
    /// Limits of a good request, in ms, such as `ttft:500,tpot:50`; names ttft, tpot, e2el.
    #[arg(long, value_name = "LIMITS")]
    pub goodput: Option<Slo>,
    #[arg(long, default_value = "trace")]
    pub label: String,
    #[command(flatten)]
    pub outputs: Outputs,
}

/// The result.
#[derive(Debug, Serialize)]
pub struct Report {
    pub label: String,
    pub url: String,
    pub model: String,
    pub trace: String,
    pub speed: f64,
    pub seed: u64,
    pub simulated: bool,
    /// One cache without end, for these requests.
    pub ideal_hit_rate: f64,
    pub engine_hit_rate: Option<f64>,
    pub reported_hit_rate: Option<f64>,
    pub max_over_mean: Option<f64>,
    pub engines: Vec<Gain>,
    pub scenario: Scenario,
    #[serde(flatten)]
    pub serve: ServeKeys,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (report, run) = measure(&args).await?;
    args.outputs
        .deliver("trace", &report, &summary(&report), &run)?;
    Ok(if report.scenario.successful > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sends the trace; the report, and the run it was made of.
///
/// # Errors
/// The trace makes no sense, the server is not ready, or the engines cannot be read.
pub async fn measure(args: &Args) -> anyhow::Result<(Report, driver::Run)> {
    ensure!(
        args.speed.is_finite() && args.speed > 0.0,
        "--speed must be above 0"
    );
    let seed = args.seed.unwrap_or_else(text::fresh_seed);
    let jobs = read(args, seed)?;
    let (client, model) = args.connection.ready().await?;
    let engines = args.engines.connect(&model).await?;
    let times: Vec<Duration> = jobs.iter().map(|job| job.at).collect();
    let load = Arc::new(TraceLoad {
        jobs,
        model: model.clone(),
        seed,
        vocabulary: args.vocabulary,
        ignore_eos: args.ignore_eos,
    });
    let workload: Arc<dyn Workload> = load.clone();
    let bar = Bar::new(&args.label, workload.len());
    let before = engines.read().await?;
    let run = driver::open(
        &client,
        &workload,
        &times,
        args.max_in_flight,
        &bar.progress(),
    )
    .await;
    let after = engines.read().await?;
    let gains = engines::gains(&before, &after);
    let mut scenario = Scenario::of(&args.label, &run);
    let span_s = times.last().map_or(0.0, Duration::as_secs_f64);
    scenario.rate_per_s = (span_s > 0.0).then(|| times.len() as f64 / span_s);
    let asked = Asked {
        label: args.label.clone(),
        model: model.clone(),
        rate: scenario.rate_per_s,
        burstiness: 1.0,
        max_concurrency: None,
        slo: args.goodput,
        detailed: args.outputs.save_detailed,
    };
    let block = engines::block_size_tokens(&after).unwrap_or(DEFAULT_BLOCK_TOKENS);
    let report = Report {
        label: args.label.clone(),
        url: client.target().to_string(),
        model,
        trace: args.trace.display().to_string(),
        speed: args.speed,
        seed,
        simulated: scenario.simulated,
        ideal_hit_rate: load.ideal_hit_rate(block),
        engine_hit_rate: engines::hit_rate(&gains),
        reported_hit_rate: scenario.reported_hit_rate(),
        max_over_mean: max_over_mean(&scenario, &gains),
        engines: gains,
        serve: ServeKeys::of(&asked, &run, &scenario),
        scenario,
    };
    Ok((report, run))
}

fn read(args: &Args, seed: u64) -> anyhow::Result<Vec<Job>> {
    let options = TraceOptions {
        speed: args.speed,
        max_requests: Some(args.max_requests),
        until: args
            .until_s
            .map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 1e9))),
        max_prompt_tokens: args.max_prompt_tokens,
        seed,
        ..TraceOptions::default()
    };
    let mut trace = Mooncake::open(&args.trace, options)?;
    let mut jobs = Vec::new();
    while let Some(mut job) = trace.next_job()? {
        if let Some(most) = args.max_output_tokens {
            job.output_tokens = job.output_tokens.min(most.max(1));
        }
        jobs.push(job);
    }
    ensure!(
        !jobs.is_empty(),
        "{} holds no request to send",
        args.trace.display()
    );
    // The first one leaves at once.
    let first = jobs[0].at;
    for job in &mut jobs {
        job.at -= first;
    }
    Ok(jobs)
}

/// Requests of a trace; equal pieces become equal token ids.
struct TraceLoad {
    jobs: Vec<Job>,
    model: String,
    seed: u64,
    vocabulary: u32,
    ignore_eos: bool,
}

impl TraceLoad {
    fn ideal_hit_rate(&self, block_tokens: u32) -> f64 {
        let prompt = |job: &Job| {
            let parts: Vec<_> = job
                .prompt
                .iter()
                .map(|piece| (piece.key, piece.tokens))
                .collect();
            Prompt::of(&parts, block_tokens)
        };
        let prompts: Vec<Prompt> = self.jobs.iter().map(prompt).collect();
        bound::unbounded(&prompts, 0, block_tokens)
    }
}

impl Workload for TraceLoad {
    fn len(&self) -> usize {
        self.jobs.len()
    }

    fn prompted(&self, index: usize) -> Prompted {
        let job = &self.jobs[index];
        let mut ids = Vec::with_capacity(job.prompt_tokens());
        for piece in &job.prompt {
            let mut rng = text::rng(&[self.seed, piece.key]);
            ids.extend(text::token_ids(
                &mut rng,
                piece.tokens as usize,
                self.vocabulary,
            ));
        }
        let body = Body {
            model: &self.model,
            prompt: json!(ids),
            max_tokens: job.output_tokens,
            ignore_eos: self.ignore_eos,
        };
        Prompted {
            path: "/v1/completions",
            body: body.streamed(),
            group: job.session as u32,
        }
    }
}

fn summary(report: &Report) -> String {
    let mut out = format!(
        "trace {} on {} ({}), {} times its speed, seed {}\n",
        report.trace, report.url, report.model, report.speed, report.seed
    );
    if report.simulated {
        out.push_str(&format!("{}\n", report_text::SIMULATED));
    }
    out.push('\n');
    out.push_str(&report_text::scenario(&report.scenario));
    out.push_str(&format!(
        "\nprefix hit rate at the engines {}, reported in answers {}, one cache without end {}\n",
        if report.engines.is_empty() {
            "n/a (give --engines or --admin)".to_owned()
        } else {
            report_text::percent(report.engine_hit_rate)
        },
        report_text::percent(report.reported_hit_rate),
        report_text::percent(Some(report.ideal_hit_rate)),
    ));
    if let Some(ratio) = report.max_over_mean {
        out.push_str(&format!("busiest endpoint over the mean: {ratio:.2}\n"));
    }
    out
}
