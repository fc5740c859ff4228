//! `bench agree`: does the replay tell the truth? The same requests at the same times, once over sockets and once on one
//! virtual clock, from empty caches: hit rate and times side by side.

use std::process::ExitCode;

use anyhow::ensure;
use serde::Serialize;

use super::arm::{Arm, PATTERN_3};
use super::measure::{Ground, Load};
use super::{Args as CompareArgs, WorkloadKind, say};
use crate::command::outputs::Outputs;
use crate::command::probe::{self, Offer, Probe};
use crate::load::arrivals::Arrivals;
use crate::report::{Slo, Table};

/// Allowed between the two: points of hit rate, and share of the TTFT.
const HIT_POINTS: f64 = 2.0;
const TTFT_SHARE: f64 = 0.10;

/// The run number of the requests.
const RUN: u64 = 700;

/// The same small load live and replayed.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Accelerator profile that the engines simulate.
    #[arg(long, value_name = "NAME", default_value = "l4")]
    pub accelerator: String,
    /// Scheduling preset.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub preset: String,
    /// Requests per simulated second.
    #[arg(long, value_name = "PER_S", default_value_t = 12.0)]
    pub rate: f64,
    /// Requests.
    #[arg(long, value_name = "N", default_value_t = 480)]
    pub requests: usize,
    /// Real seconds per simulated second of the live run.
    #[arg(long, value_name = "FACTOR", default_value_t = 4.0)]
    pub time_scale: f64,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub outputs: Outputs,
}

/// Both, and what lies between.
#[derive(Debug, Serialize)]
pub struct Report {
    pub accelerator: String,
    pub preset: String,
    pub rate_per_s: f64,
    pub requests: usize,
    pub time_scale: f64,
    pub seed: u64,
    pub simulated: bool,
    pub live: Probe,
    pub replayed: Probe,
    pub hit_rate_points: Option<f64>,
    /// Replayed over live, minus 1.
    pub ttft_mean_share: Option<f64>,
    pub ttft_p50_share: Option<f64>,
    /// Within 2 points of hit rate and 10 % of mean TTFT.
    pub agrees: Option<bool>,
}

/// Runs both and prints them.
///
/// # Errors
/// Bad input; processes that do not start.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.rate.is_finite() && args.rate > 0.0,
        "--rate must be above 0"
    );
    ensure!(
        args.requests >= 30,
        "--requests must be at least 30: fewer tell nothing"
    );
    ensure!(
        args.time_scale.is_finite() && args.time_scale > 0.0,
        "--time-scale must be above 0"
    );
    let report = both(&args).await?;
    args.outputs
        .deliver_with("agree", &report, &text(&report), String::new, Vec::new)?;
    Ok(match report.agrees {
        Some(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn both(args: &Args) -> anyhow::Result<Report> {
    let mut live_args = CompareArgs::defaults()?;
    live_args.accelerator.clone_from(&args.accelerator);
    live_args.preset.clone_from(&args.preset);
    live_args.time_scale = args.time_scale;
    live_args.seed = Some(args.seed);
    let virtual_args = CompareArgs {
        virtual_time: true,
        time_scale: 1.0,
        ..live_args.clone()
    };
    let replayed = one(&virtual_args, args).await?;
    say(&format!(
        "replayed; live takes {:.0} s",
        args.requests as f64 / args.rate * args.time_scale
    ));
    let live = one(&live_args, args).await?;
    let share = |of: fn(&Probe) -> Option<f64>| Some(of(&replayed)? / of(&live)? - 1.0);
    let hit_rate_points = replayed
        .engine_hit_rate
        .zip(live.engine_hit_rate)
        .map(|(replayed, live)| (replayed - live) * 100.0);
    let ttft_mean_share = share(|probe| probe.scenario.ttft_ms.mean);
    Ok(Report {
        accelerator: args.accelerator.clone(),
        preset: args.preset.clone(),
        rate_per_s: args.rate,
        requests: args.requests,
        time_scale: args.time_scale,
        seed: args.seed,
        simulated: true,
        agrees: hit_rate_points
            .zip(ttft_mean_share)
            .map(|(points, share)| points.abs() <= HIT_POINTS && share.abs() <= TTFT_SHARE),
        hit_rate_points,
        ttft_mean_share,
        ttft_p50_share: share(|probe| probe.scenario.ttft_ms.p50),
        live,
        replayed,
    })
}

/// The load from empty caches.
async fn one(compare: &CompareArgs, args: &Args) -> anyhow::Result<Probe> {
    let arm: Arm = PATTERN_3;
    let build = compare.build()?;
    let load = Load::new(compare, WorkloadKind::MultiTurn);
    let offer = Offer {
        rate_per_s: args.rate,
        slo: Slo::default(),
        time_scale: build.time_scale,
        arrivals: Arrivals::Poisson,
        seed: args.seed,
        give_up: false,
    };
    let workload = load.run(args.requests, RUN);
    match Ground::start(&build, arm).await? {
        Ground::Live(fleet) => {
            let seen =
                probe::probe(&fleet.client, &fleet.engines, workload, &offer, "live").await?;
            Ok(seen.0)
        }
        Ground::Virtual(mut arm) => arm.window(&workload, &offer, "replayed", false),
    }
}

fn text(report: &Report) -> String {
    let mut table = Table::new(&["figure", "live", "replayed", "difference"]);
    let mut row = |name: &str, of: &dyn Fn(&Probe) -> Option<f64>, points: bool| {
        let (live, replayed) = (of(&report.live), of(&report.replayed));
        let show = |value: Option<f64>| {
            value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.1}"))
        };
        let difference = live.zip(replayed).map(|(live, replayed)| match points {
            true => format!("{:+.2} points", replayed - live),
            false => format!("{:+.1} %", (replayed / live - 1.0) * 100.0),
        });
        table.row(vec![
            name.to_owned(),
            show(live),
            show(replayed),
            difference.unwrap_or_else(|| "n/a".to_owned()),
        ]);
    };
    row(
        "hit rate %",
        &|probe| Some(probe.engine_hit_rate? * 100.0),
        true,
    );
    row("TTFT mean ms", &|probe| probe.scenario.ttft_ms.mean, false);
    row("TTFT p50 ms", &|probe| probe.scenario.ttft_ms.p50, false);
    row("TTFT p95 ms", &|probe| probe.scenario.ttft_ms.p95, false);
    row("TPOT p50 ms", &|probe| probe.scenario.tpot_ms.p50, false);
    row("E2E mean ms", &|probe| probe.scenario.e2e_ms.mean, false);
    let percent = |share: Option<f64>| {
        share.map_or_else(
            || "n/a".to_owned(),
            |share| format!("{:.1} %", share * 100.0),
        )
    };
    format!(
        "agree: the same {} requests live and replayed [simulated]\n3 x {}, preset {}, multi-turn, {} requests/s, time scale {} live, seed {}\nlive: host busy {}, lag {} of the TTFT\n\n{}\nwithin {HIT_POINTS} points of hit rate and {:.0} % of mean TTFT: {}\n",
        report.requests,
        report.accelerator,
        report.preset,
        report.rate_per_s,
        report.time_scale,
        report.seed,
        percent(report.live.host_busy),
        percent(report.live.lag_share),
        table.render(),
        TTFT_SHARE * 100.0,
        match report.agrees {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "not measured",
        }
    )
}
