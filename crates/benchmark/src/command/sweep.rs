//! `bench sweep`: from quiet to saturated, how do throughput, goodput and latency change?

mod show;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use serde::Serialize;

use super::Connection;
use super::bracket::Bracket;
use super::connection::EngineAddresses;
use super::outputs::Outputs;
use super::probe::{self, Offer, Probe};
use super::progress::Bar;
use super::shape::{ShapeArgs, Source};
use super::shared_prefix::Prompts;
use crate::engines::Engines;
use crate::load::arrivals::Arrivals;
use crate::load::driver;
use crate::load::{Client, traffic::ArrivalKind};
use crate::report::Slo;
use crate::workload::Workload;

/// Limits where no flag says.
const DEFAULT_SLO: Slo = Slo {
    ttft_ms: Some(1_000.0),
    tpot_ms: Some(100.0),
    e2e_ms: None,
};
/// Run numbers of the steps start here; the warm-up has another.
const FIRST_STEP: u64 = 1;

/// Rates one after the other, given or found.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub engines: EngineAddresses,
    #[command(flatten)]
    pub prompts: Prompts,
    #[command(flatten)]
    pub shape: ShapeArgs,
    /// Requests per second to offer, one after the other; without it the highest rate that is carried is looked for.
    #[arg(long, value_name = "R", value_delimiter = ',')]
    pub rates: Vec<f64>,
    /// First rate of the search.
    #[arg(long, value_name = "R", default_value_t = 4.0)]
    pub start_rate: f64,
    /// The search ends when the highest rate carried and the lowest not carried are no further apart than this share.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub tolerance: f64,
    /// Seconds of each rate.
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    pub step_s: f64,
    /// Most requests of one rate.
    #[arg(long, default_value_t = 20_000)]
    pub max_requests: usize,
    /// How gaps between requests are drawn.
    #[arg(long, value_enum, default_value = "poisson")]
    pub arrivals: ArrivalKind,
    /// Shape of gamma-distributed gaps.
    #[arg(long, default_value_t = 1.0)]
    pub burstiness: f64,
    /// Limits of a good request, in ms [default: ttft:1000,tpot:100]. A rate is carried when 95 % are good and requests
    /// in flight do not grow.
    #[arg(long, value_name = "LIMITS")]
    pub goodput: Option<Slo>,
    #[command(flatten)]
    pub outputs: Outputs,
}

/// The result.
#[derive(Debug, Serialize)]
pub struct Report {
    pub url: String,
    pub model: String,
    pub simulated: bool,
    pub seed: u64,
    pub slo: Slo,
    /// Highest rate that was carried, requests per second; `None` where none was.
    pub saturated_rps: Option<f64>,
    /// Lowest rate that was not.
    pub first_not_carried_rps: Option<f64>,
    /// Engines behind the address, where their addresses are known.
    pub replicas: Option<usize>,
    pub steps: Vec<Probe>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let report = measure(&args).await?;
    args.outputs.deliver_with(
        "sweep",
        &report,
        &show::text(&report),
        || show::csv(&report),
        || show::charts(&report),
    )?;
    let served = report.steps.iter().any(|step| step.scenario.successful > 0);
    Ok(if served {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Sweep<'a> {
    args: &'a Args,
    client: Arc<Client>,
    engines: Engines,
    source: Source,
    slo: Slo,
    steps: Vec<Probe>,
}

/// Warms the caches up, then offers rate after rate; every step asks new questions over the same prefixes.
///
/// # Errors
/// The server is not ready, or the engines cannot be read.
pub async fn measure(args: &Args) -> anyhow::Result<Report> {
    args.check()?;
    let (client, model) = args.connection.ready().await?;
    let engines = args.engines.connect(&model).await?;
    let seed = args.prompts.seed();
    let source = Source {
        shape: args.shape,
        output_tokens: args.prompts.output_tokens,
        form: args.prompts.form(&client, &model, seed).await?,
        model: model.clone(),
        ignore_eos: args.prompts.ignore_eos,
        seed,
    };
    let mut sweep = Sweep {
        args,
        client,
        engines,
        source,
        slo: args.goodput.unwrap_or(DEFAULT_SLO),
        steps: Vec::new(),
    };
    sweep.warm_up().await;
    sweep.all().await?;
    let Sweep {
        mut steps,
        engines,
        client,
        slo,
        ..
    } = sweep;
    steps.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    let rates = |carried: bool| {
        let of = steps.iter().filter(move |step| step.carried == carried);
        of.map(|step| step.rate_per_s)
    };
    Ok(Report {
        url: client.target().to_string(),
        model,
        simulated: steps.iter().any(|step| step.simulated),
        seed,
        slo,
        saturated_rps: rates(true).reduce(f64::max),
        first_not_carried_rps: rates(false).reduce(f64::min),
        replicas: (!engines.is_empty()).then_some(engines.len()),
        steps,
    })
}

impl Args {
    fn check(&self) -> anyhow::Result<()> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        ensure!(
            self.rates.iter().copied().all(positive) && positive(self.start_rate),
            "rates must be above 0"
        );
        ensure!(positive(self.step_s), "--step-s must be above 0");
        ensure!(self.burstiness > 0.0, "--burstiness must be above 0");
        ensure!(
            (0.005..=1.0).contains(&self.tolerance),
            "--tolerance is a share from 0.005 to 1"
        );
        Ok(())
    }

    fn arrivals(&self) -> Arrivals {
        match self.arrivals {
            ArrivalKind::Constant => Arrivals::Constant,
            ArrivalKind::Poisson => Arrivals::Poisson,
            ArrivalKind::Gamma => Arrivals::Gamma {
                shape: self.burstiness,
            },
        }
    }
}

impl Sweep<'_> {
    /// Every prefix once, so that the first step is not a cold one.
    async fn warm_up(&self) {
        let workload: Arc<dyn Workload> = self.source.run(self.args.shape.groups as usize, 0);
        let bar = Bar::new("warm-up", workload.len());
        driver::closed(&self.client, &workload, 8, &bar.progress()).await;
    }

    async fn all(&mut self) -> anyhow::Result<()> {
        if self.args.rates.is_empty() {
            let mut bracket = Bracket::new(self.args.start_rate, self.args.tolerance);
            while let Some(rate) = bracket.next() {
                let carried = self.step(rate).await?;
                bracket.tried(rate, carried);
            }
            return Ok(());
        }
        for rate in &self.args.rates {
            self.step(*rate).await?;
        }
        Ok(())
    }

    /// Offers one rate; whether it was carried.
    async fn step(&mut self, rate: f64) -> anyhow::Result<bool> {
        let number = FIRST_STEP + self.steps.len() as u64;
        let requests = (rate * self.args.step_s).round() as usize;
        let workload = self
            .source
            .run(requests.clamp(1, self.args.max_requests.max(1)), number);
        let offer = Offer {
            rate_per_s: rate,
            slo: self.slo,
            time_scale: 1.0,
            arrivals: self.args.arrivals(),
            seed: self.source.seed ^ number,
            give_up: false,
        };
        let name = format!("{rate:.1}/s");
        let (probe, _) = probe::probe(&self.client, &self.engines, workload, &offer, &name).await?;
        let carried = probe.carried;
        self.steps.push(probe);
        Ok(carried)
    }
}
