//! In which order is everything measured?
//!
//! First each arm's saturation; then, with fresh processes, the loads that are equal in all arms, which follow from the
//! saturations. Every window asks new questions over prefixes that the arm has seen before: the steady state of a
//! service, where a cache holds what routing put there.

use std::sync::Arc;

use super::arm::{self, Arm};
use super::fleet::{Build, Fleet};
use super::result::{
    AT_BUSY, AT_HIGH, AT_LOW, AT_SATURATION, Report, Row, Saturation, WorkloadReport, void,
};
use super::virtual_arm::VirtualArm;
use super::{Args, WorkloadKind, calibrate, say};
use crate::command::bracket::Bracket;
use crate::command::probe::{self, Offer, Probe};
use crate::command::progress::Bar;
use crate::command::shape::{ShapeArgs, Source};
use crate::load::arrivals::Arrivals;
use crate::load::driver::{self, Run};
use crate::report::{Scenario, Slo, bound};
use crate::workload::Workload;
use crate::workload::shared_prefix::{PromptForm, SharedPrefix};

/// vLLM's default block, which the engines are left at.
const BLOCK_TOKENS: u32 = 16;
/// Ids of generated prompts stay below this.
const VOCABULARY: u32 = 20_000;
/// Equal loads, over the least saturation of all arms.
const LOW: f64 = 0.3;
const HIGH: f64 = 0.9;
/// Just under round robin's saturation.
const BUSY: f64 = 0.95;
/// Requests in flight per replica that say roughly how much it serves.
const GUESS_LANES: usize = 24;
/// The search begins at this share of that.
const GUESS: f64 = 0.85;

/// Run numbers: questions of different windows have nothing in common; those of all arms are the same.
const WARM_UP_RUN: u64 = 0;
const GUESS_RUN: u64 = 1;
const TRIAL_RUN: u64 = 10;
const LOW_RUN: u64 = 500;
const HIGH_RUN: u64 = 501;
const BUSY_RUN: u64 = 502;

/// The requests of one comparison.
pub(super) struct Load {
    source: Source,
    name: &'static str,
}

impl Load {
    pub(super) fn new(args: &Args, kind: WorkloadKind) -> Self {
        let turns = match kind {
            WorkloadKind::SharedPrefix => 1,
            WorkloadKind::MultiTurn => args.turns,
        };
        Self {
            source: Source {
                shape: ShapeArgs {
                    groups: args.groups,
                    prefix_tokens: args.prefix_tokens,
                    question_tokens: args.question_tokens,
                    turns,
                },
                output_tokens: args.output_tokens,
                form: PromptForm::TokenIds {
                    vocabulary: VOCABULARY,
                },
                model: args.model.clone(),
                ignore_eos: true,
                seed: args.seed(),
            },
            name: kind.name(),
        }
    }

    pub(super) fn run(&self, requests: usize, run: u64) -> Arc<SharedPrefix> {
        self.source.run(requests, run)
    }

    /// Twice every prefix.
    fn warm_up(&self) -> Arc<SharedPrefix> {
        self.run(self.source.shape.groups as usize * 2, WARM_UP_RUN)
    }

    /// Warms an arm up; then, roughly, the requests per simulated second that it serves.
    pub(super) async fn guess(
        &self,
        ground: &mut Ground,
        arm: Arm,
        time_scale: f64,
        window_s: f64,
    ) -> anyhow::Result<f64> {
        let lanes = GUESS_LANES * usize::from(arm.replicas);
        closed(ground, self.warm_up(), lanes, "warm-up").await?;
        // A short window needs no long guess.
        let requests = lanes * if window_s < 30.0 { 3 } else { 6 };
        let run = closed(ground, self.run(requests, GUESS_RUN), lanes, "first guess").await?;
        let scenario = Scenario::of("guess", &run);
        if scenario.successful == 0 {
            let why = scenario
                .errors
                .first()
                .map_or("no reason given", |error| &error.message);
            anyhow::bail!("no request succeeded on {arm}: {why}");
        }
        Ok(scenario.requests_per_s * time_scale)
    }
}

/// Everything asked for.
pub(super) async fn all(args: &Args) -> anyhow::Result<Report> {
    let mut build = args.build()?;
    let loads: Vec<Load> = (args.workload.iter().map(|kind| Load::new(args, *kind))).collect();
    if let Some(load) = loads.first().filter(|_| !build.virtual_time) {
        calibrate::time_scale(args, &mut build, load).await?;
    }
    let mut workloads = Vec::new();
    for load in &loads {
        workloads.push(one_load(args, &build, load).await?);
    }
    Ok(Report {
        accelerator: args.accelerator.clone(),
        blocks_per_replica: args.blocks,
        window_s: args.window_s,
        tolerance: args.tolerance,
        time_scale: build.time_scale,
        virtual_time: build.virtual_time,
        seed: args.seed(),
        preset: args.preset.clone(),
        simulated: true,
        quick: args.quick,
        workloads,
    })
}

async fn one_load(args: &Args, build: &Build, load: &Load) -> anyhow::Result<WorkloadReport> {
    let slo = calibrate::slo(args, build, load).await?;
    say(&format!("{}: good with {slo}", load.name));
    let mut rows = Vec::new();
    for arm in &args.arms {
        rows.push(saturation(args, build, load, *arm, slo).await?);
    }
    let least = (rows.iter())
        .filter_map(|row| Some(row.saturation.carried_rps? / f64::from(row.replicas)))
        .fold(f64::INFINITY, f64::min);
    let (low, high) = if least.is_finite() {
        (least * LOW, least * HIGH)
    } else {
        (0.0, 0.0)
    };
    let busy = rows
        .iter()
        .find(|row| row.name == arm::ROUND_ROBIN)
        .and_then(|row| row.saturation.carried_rps)
        .map(|rate| rate * BUSY);
    if high > 0.0 {
        for row in &mut rows {
            let equal = EqualLoads {
                low,
                high,
                busy,
                slo,
            };
            equal_loads(args, build, load, row, &equal).await?;
        }
    }
    let shape = load.source.shape;
    let prefix_blocks = u64::from(shape.groups) * u64::from(shape.prefix_tokens / BLOCK_TOKENS);
    let mut report = WorkloadReport {
        name: load.name.to_owned(),
        turns: shape.turns,
        groups: shape.groups,
        prefix_tokens: shape.prefix_tokens,
        question_tokens: shape.question_tokens,
        output_tokens: args.output_tokens,
        slo,
        prefixes_over_one_replica: prefix_blocks as f64 / f64::from(args.blocks - 1),
        low_rps_per_replica: low,
        high_rps_per_replica: high,
        arms: rows,
        factors: Vec::new(),
        expectations: Vec::new(),
    };
    report.conclude();
    Ok(report)
}

/// Looks for the highest rate that the arm carries.
async fn saturation(
    args: &Args,
    build: &Build,
    load: &Load,
    arm: Arm,
    slo: Slo,
) -> anyhow::Result<Row> {
    let mut ground = Ground::start(build, arm).await?;
    let most = load
        .guess(&mut ground, arm, build.time_scale, args.window_s)
        .await?;
    let mut bracket = Bracket::new(most * GUESS, args.tolerance);
    let mut trials: Vec<Probe> = Vec::new();
    while let Some(rate) = bracket.next() {
        let run = TRIAL_RUN + trials.len() as u64;
        let name = format!("{arm} {rate:.1}/s");
        let seen = window(
            args,
            build,
            load,
            &mut ground,
            rate,
            slo,
            (run, true),
            &name,
        )
        .await?;
        say(&format!(
            "{} {arm}: {rate:.2}/s {}, {:.1} % good, TTFT p95 {}, in flight {:.1} -> {:.1}",
            load.name,
            if seen.carried {
                "carried"
            } else {
                "not carried"
            },
            seen.good_share * 100.0,
            seen.scenario.ttft_ms.show(seen.scenario.ttft_ms.p95),
            seen.in_flight.0,
            seen.in_flight.1
        ));
        bracket.tried(rate, seen.carried);
        trials.push(seen);
    }
    let at = bracket.carried.and_then(|rate| {
        trials
            .iter()
            .find(|trial| trial.carried && trial.rate_per_s == rate)
    });
    let saturation = Saturation {
        carried_rps: bracket.carried,
        refused_rps: bracket.refused,
        throughput_rps: at.map(|probe| probe.served_rps),
        goodput_rps: at.map(|probe| probe.goodput_rps),
        trials: Vec::new(),
    };
    let void = at.map_or_else(Vec::new, |probe| void(AT_SATURATION, probe));
    Ok(Row {
        name: arm,
        replicas: arm.replicas,
        saturated_rps: saturation.throughput_rps,
        saturation: Saturation {
            trials,
            ..saturation
        },
        low: None,
        high: None,
        busy: None,
        achievable_hit_rate: None,
        void,
        simulated: true,
    })
}

/// Rates that do not depend on the arm; per replica, but for `busy`.
struct EqualLoads {
    low: f64,
    high: f64,
    busy: Option<f64>,
    slo: Slo,
}

async fn equal_loads(
    args: &Args,
    build: &Build,
    load: &Load,
    row: &mut Row,
    equal: &EqualLoads,
) -> anyhow::Result<()> {
    let arm = row.name;
    let mut ground = Ground::start(build, arm).await?;
    let lanes = GUESS_LANES * usize::from(arm.replicas);
    let warm_up = load.warm_up();
    closed(&mut ground, warm_up.clone(), lanes, "warm-up").await?;
    let replicas = f64::from(arm.replicas);
    let mut prompts = warm_up.prompts(BLOCK_TOKENS);
    for (what, rate, run) in [
        (AT_LOW, equal.low * replicas, LOW_RUN),
        (AT_HIGH, equal.high * replicas, HIGH_RUN),
    ] {
        let name = format!("{arm} {what}");
        let seen = window(
            args,
            build,
            load,
            &mut ground,
            rate,
            equal.slo,
            (run, false),
            &name,
        )
        .await?;
        row.void.extend(void(what, &seen));
        let from = prompts.len();
        prompts.extend(load.run(requests(args, rate), run).prompts(BLOCK_TOKENS));
        if what == AT_LOW {
            row.low = Some(seen);
        } else {
            let room = usize::from(arm.replicas) * (args.blocks as usize - 1);
            row.achievable_hit_rate =
                (arm.cache).then(|| bound::bounded(&prompts, from, BLOCK_TOKENS, room));
            row.high = Some(seen);
        }
    }
    if let Some(rate) = equal
        .busy
        .filter(|_| arm.replicas == arm::MANY && arm.cache)
    {
        let name = format!("{arm} busy");
        let run = (BUSY_RUN, false);
        let seen = window(args, build, load, &mut ground, rate, equal.slo, run, &name).await?;
        row.void.extend(void(AT_BUSY, &seen));
        row.busy = Some(seen);
    }
    say(&format!(
        "{} {arm}: equal loads measured{}",
        load.name,
        if row.void.is_empty() { "" } else { ", void" }
    ));
    Ok(())
}

fn requests(args: &Args, rate: f64) -> usize {
    ((rate * args.window_s).round() as usize).max(1)
}

#[allow(
    clippy::too_many_arguments,
    reason = "a window is all of these and nothing else"
)]
async fn window(
    args: &Args,
    build: &Build,
    load: &Load,
    ground: &mut Ground,
    rate: f64,
    slo: Slo,
    (run, give_up): (u64, bool),
    name: &str,
) -> anyhow::Result<Probe> {
    let offer = Offer {
        rate_per_s: rate,
        slo,
        time_scale: build.time_scale,
        arrivals: Arrivals::Poisson,
        seed: build.seed ^ run,
        give_up,
    };
    let workload = load.run(requests(args, rate), run);
    match ground {
        Ground::Live(fleet) => {
            Ok(
                probe::probe(&fleet.client, &fleet.engines, workload, &offer, name)
                    .await?
                    .0,
            )
        }
        Ground::Virtual(arm) => arm.window(&workload, &offer, name, !give_up),
    }
}

/// Where an arm runs.
pub(super) enum Ground {
    Live(Fleet),
    Virtual(Box<VirtualArm>),
}

impl Ground {
    pub(super) async fn start(build: &Build, arm: Arm) -> anyhow::Result<Self> {
        Ok(match build.virtual_time {
            true => Self::Virtual(Box::new(VirtualArm::new(build, arm))),
            false => Self::Live(Fleet::start(build, arm).await?),
        })
    }
}

/// A closed loop over the whole workload.
pub(super) async fn closed(
    ground: &mut Ground,
    workload: Arc<SharedPrefix>,
    lanes: usize,
    name: &str,
) -> anyhow::Result<Run> {
    match ground {
        Ground::Live(fleet) => {
            let bar = Bar::new(name, workload.len());
            let workload: Arc<dyn Workload> = workload;
            Ok(driver::closed(&fleet.client, &workload, lanes, &bar.progress()).await)
        }
        Ground::Virtual(arm) => arm.closed(&workload, lanes),
    }
}
