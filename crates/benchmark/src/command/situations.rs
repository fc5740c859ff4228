//! `bench situations`: from quiet to overload, does routing trade locality for balance when it should?

mod row;
mod show;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use super::Connection;
use super::connection::EngineAddresses;
use super::progress::Bar;
use super::shared_prefix::{DEFAULT_BLOCK_TOKENS, Prompts};
use crate::engines::{self, Engines};
use crate::load::arrivals::{self, Arrivals};
use crate::load::{Client, Sample, driver};
use crate::report::{self, Scenario};
use crate::workload::Workload;
use crate::workload::shared_prefix::{PromptForm, Shape, SharedPrefix};

pub use row::Situation;
use row::situation;

/// Offered load over saturation, and what is expected of routing there.
const SITUATIONS: [(&str, f64); 4] = [
    ("low: locality", 0.3),
    ("medium: spill", 0.6),
    ("high: balance", 0.9),
    ("overload", 1.2),
];
/// The burst starts from this load and multiplies it.
const BURST_BASE: f64 = 0.3;
const BURST_FACTOR: f64 = 5.0;
/// Saturation is reached when more lanes bring less than this much more.
const SATURATED_GAIN: f64 = 1.05;

/// Measured saturation, then the traffic table.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub engines: EngineAddresses,
    #[command(flatten)]
    pub prompts: Prompts,
    /// Number of prefixes.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    pub groups: u32,
    #[arg(long, default_value_t = 1536)]
    pub prefix_tokens: u32,
    #[arg(long, default_value_t = 256)]
    pub question_tokens: u32,
    /// Seconds of each situation.
    #[arg(long, default_value_t = 20.0)]
    pub duration_s: f64,
    /// Most requests of one situation.
    #[arg(long, default_value_t = 4000)]
    pub max_requests: usize,
    /// Requests per second at saturation, where it is known already.
    #[arg(long)]
    pub saturation: Option<f64>,
    /// Most lanes when looking for saturation.
    #[arg(long, default_value_t = 256)]
    pub max_concurrency: usize,
    /// Most requests in flight.
    #[arg(long, default_value_t = 4096)]
    pub max_in_flight: usize,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub url: String,
    pub model: String,
    pub simulated: bool,
    pub saturation_per_s: f64,
    /// Lanes and requests per second of each step of the search.
    pub saturation_steps: Vec<(usize, f64)>,
    pub seed: u64,
    pub situations: Vec<Situation>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.duration_s > 0.0, "--duration-s must be above 0");
    ensure!(
        args.saturation.is_none_or(|rate| rate > 0.0),
        "--saturation must be above 0"
    );
    let report = measure(&args).await?;
    if args.json {
        report::emit_json(&report)?;
    } else {
        report::emit(&show::text(&report))?;
    }
    let served = report
        .situations
        .iter()
        .any(|situation| situation.scenario.successful > 0);
    Ok(if served {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What every situation of one run shares.
struct Bench<'a> {
    args: &'a Args,
    client: Arc<Client>,
    engines: Engines,
    model: String,
    form: PromptForm,
    seed: u64,
}

/// Finds saturation, then runs each situation with prefixes of its own.
pub async fn measure(args: &Args) -> anyhow::Result<Report> {
    let (client, model) = args.connection.ready().await?;
    let engines = args.engines.connect(&model).await?;
    let seed = args.prompts.seed();
    let form = args.prompts.form(&client, &model, seed).await?;
    let bench = Bench {
        args,
        client,
        engines,
        model,
        form,
        seed,
    };
    let (saturation_per_s, saturation_steps) = match args.saturation {
        Some(rate) => (rate, Vec::new()),
        None => bench.saturation().await?,
    };
    let mut situations = Vec::new();
    for (index, (name, load)) in SITUATIONS.into_iter().enumerate() {
        let seed = seed.wrapping_add(100 + index as u64);
        situations.push(bench.steady(name, load, saturation_per_s, seed).await?);
    }
    situations.push(
        bench
            .burst(saturation_per_s, seed.wrapping_add(200))
            .await?,
    );
    Ok(Report {
        url: bench.client.target().to_string(),
        model: bench.model.clone(),
        simulated: situations
            .iter()
            .any(|situation| situation.scenario.simulated),
        saturation_per_s,
        saturation_steps,
        seed,
        situations,
    })
}

impl Bench<'_> {
    fn workload(&self, requests: usize, seed: u64) -> Arc<SharedPrefix> {
        let shape = Shape {
            groups: self.args.groups,
            prefix_tokens: self.args.prefix_tokens,
            question_tokens: self.args.question_tokens,
            output_tokens: self.args.prompts.output_tokens,
            requests,
            turns: 1,
            seed,
            run: 0,
        };
        Arc::new(SharedPrefix::new(
            shape,
            self.form,
            &self.model,
            self.args.prompts.ignore_eos,
        ))
    }

    /// Doubles the lanes until throughput stops rising; the best rate seen.
    async fn saturation(&self) -> anyhow::Result<(f64, Vec<(usize, f64)>)> {
        let mut steps = Vec::new();
        let mut best = 0.0_f64;
        let mut lanes = 8;
        loop {
            let requests = (lanes * 6).max(self.args.groups as usize * 2);
            let workload = self.workload(requests, self.seed.wrapping_add(lanes as u64));
            let bar = Bar::new(&format!("{lanes} lanes"), requests);
            let workload: Arc<dyn Workload> = workload;
            let run = driver::closed(&self.client, &workload, lanes, &bar.progress()).await;
            let scenario = Scenario::of("saturation", &run);
            if scenario.successful == 0 {
                let why = scenario
                    .errors
                    .first()
                    .map_or("no reason given", |error| &error.message);
                anyhow::bail!("no request succeeded while looking for saturation: {why}");
            }
            steps.push((lanes, scenario.requests_per_s));
            let gain = scenario.requests_per_s / best.max(f64::MIN_POSITIVE);
            best = best.max(scenario.requests_per_s);
            if gain < SATURATED_GAIN || lanes >= self.args.max_concurrency {
                return Ok((best, steps));
            }
            lanes *= 2;
        }
    }

    async fn steady(
        &self,
        name: &str,
        load: f64,
        saturation: f64,
        seed: u64,
    ) -> anyhow::Result<Situation> {
        let rate = load * saturation;
        let requests = self.requests(rate * self.args.duration_s);
        let times = arrivals::schedule(Arrivals::Poisson, rate, requests, seed);
        let workload = self.workload(requests, seed);
        let before = self.engines.read().await?;
        let run = self.open(name, workload.clone(), &times).await;
        let after = self.engines.read().await?;
        let samples: Vec<&Sample> = run.samples.iter().collect();
        let block = engines::block_size_tokens(&after).unwrap_or(DEFAULT_BLOCK_TOKENS);
        let gains = engines::gains(&before, &after);
        let mut row = situation(name, load, &samples, run.duration.as_secs_f64(), &gains);
        row.scenario.rate_per_s = Some(rate);
        row.ideal_hit_rate = Some(workload.ideal_hit_rate(block));
        Ok(row)
    }

    /// A third of the time at the base load, a third at five times as much, a third at the base again; the row
    /// is of the requests that arrived in the middle, hit rates of the whole.
    async fn burst(&self, saturation: f64, seed: u64) -> anyhow::Result<Situation> {
        let name = "burst: five-fold";
        let (base, third_s) = (BURST_BASE * saturation, self.args.duration_s / 3.0);
        let quiet = self.requests(base * third_s);
        let loud = self.requests(base * BURST_FACTOR * third_s);
        let mut times = arrivals::schedule(Arrivals::Poisson, base, quiet, seed);
        let begin = Duration::from_secs_f64(third_s);
        let peak = arrivals::schedule(Arrivals::Poisson, base * BURST_FACTOR, loud, seed ^ 1);
        let after_peak = begin + peak.last().copied().unwrap_or_default();
        times.retain(|at| *at < begin);
        times.extend(peak.iter().map(|at| begin + *at));
        let gap = Duration::from_secs_f64(1.0 / base.max(1e-6));
        let tail = arrivals::schedule(Arrivals::Poisson, base, quiet, seed ^ 2);
        times.extend(tail.iter().map(|at| after_peak + gap + *at));
        let before = self.engines.read().await?;
        let run = self
            .open(name, self.workload(times.len(), seed), &times)
            .await;
        let gains = engines::gains(&before, &self.engines.read().await?);
        let inside = |sample: &&Sample| {
            let at = sample.intended.duration_since(run.begun);
            at >= begin && at <= after_peak
        };
        let samples: Vec<&Sample> = run.samples.iter().filter(inside).collect();
        let last = samples
            .iter()
            .map(|sample| sample.ended().duration_since(run.begun))
            .max();
        let span_s = last.unwrap_or_default().saturating_sub(begin).as_secs_f64();
        let mut row = situation(name, BURST_BASE * BURST_FACTOR, &samples, span_s, &gains);
        row.scenario.rate_per_s = Some(base * BURST_FACTOR);
        Ok(row)
    }

    async fn open(
        &self,
        name: &str,
        workload: Arc<SharedPrefix>,
        times: &[Duration],
    ) -> driver::Run {
        let bar = Bar::new(name, times.len());
        let workload: Arc<dyn Workload> = workload;
        driver::open(
            &self.client,
            &workload,
            times,
            self.args.max_in_flight,
            &bar.progress(),
        )
        .await
    }

    fn requests(&self, wanted: f64) -> usize {
        (wanted.round() as usize).clamp(1, self.args.max_requests.max(1))
    }
}
