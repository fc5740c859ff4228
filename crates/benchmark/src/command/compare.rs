//! `bench compare`: of what three replicas with routing gain over one, what is hardware, what cache, what routing?
//!
//! Every arm is started here: its engines and its gateway are processes of this program. All arms get the same requests
//! at the same times. Times and rates are those of the simulated fleet: what is measured, divided by the time scale.

pub mod agree;
mod arm;
mod calibrate;
mod fleet;
mod measure;
mod plan;
mod result;
mod seeds;
mod show;
mod virtual_arm;

use std::process::ExitCode;

use anyhow::{Context, ensure};

pub use arm::{Arm, Routing};
pub use result::{Expectation, Factor, Report, Row, Saturation, WorkloadReport};

use crate::command::outputs::Outputs;
use crate::report::{self, Slo};
use crate::workload::text::fresh_seed;

/// Starts every arm by itself and takes hardware, cache and routing apart.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Accelerator profile that the engines simulate.
    #[arg(long, value_name = "NAME", default_value = "l4")]
    pub accelerator: String,
    /// Model name that the engines serve.
    #[arg(long, value_name = "NAME", default_value = "Qwen/Qwen2.5-3B-Instruct")]
    pub model: String,
    /// KV-cache blocks of each replica.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(64..))]
    pub blocks: u32,
    /// Scheduling preset that stands for our routing.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub preset: String,
    /// Loads to run: single questions over shared prefixes, conversations over the same.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["shared-prefix", "multi-turn"])]
    pub workload: Vec<WorkloadKind>,
    /// Number of prefixes.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    pub groups: u32,
    #[arg(long, default_value_t = 1536)]
    pub prefix_tokens: u32,
    #[arg(long, default_value_t = 256)]
    pub question_tokens: u32,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..))]
    pub output_tokens: u32,
    /// Questions of one conversation of the multi-turn load.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub turns: u32,
    /// Limits of a good request, in ms of simulated time [default: five times what one request alone takes, uncached].
    #[arg(long, value_name = "LIMITS")]
    pub goodput: Option<Slo>,
    /// Simulated seconds of each offered rate.
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    pub window_s: f64,
    /// The search for saturation ends when its two ends are no further apart than this share.
    #[arg(long, value_name = "SHARE", default_value_t = 0.06)]
    pub tolerance: f64,
    /// Real seconds per simulated second to begin with; raised until the host is under 60 % busy and lag is under 2 % of
    /// the latency.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub time_scale: f64,
    /// Keep that time scale whatever the host does; rows that suffer are still void.
    #[arg(long)]
    pub fixed_time_scale: bool,
    /// No processes and no sockets: the engines' batch models and the gateway's scheduling on one virtual clock, as in
    /// `replay`. Minutes instead of hours, and no quiet machine needed; HTTP, tokenization and network are not in it.
    #[arg(long = "virtual", conflicts_with_all = ["time_scale", "fixed_time_scale"])]
    pub virtual_time: bool,
    /// So many seeds, from --seed on: means and 95 % intervals.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "virtual_time", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// Arms to run, such as `1-off-rr,3-on-ours` [default: all eight].
    #[arg(long, value_name = "ARM", value_delimiter = ',')]
    pub arms: Vec<Arm>,
    /// Four arms, single questions, short windows, a coarse search: to see that it works, not for figures.
    #[arg(long)]
    pub quick: bool,
    /// Print the arms and the estimated time, and end.
    #[arg(long)]
    pub dry_run: bool,
    /// Fixes prompts, arrivals and every chance taken in routing.
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub outputs: Outputs,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WorkloadKind {
    SharedPrefix,
    MultiTurn,
}

impl WorkloadKind {
    fn name(self) -> &'static str {
        match self {
            Self::SharedPrefix => "shared-prefix",
            Self::MultiTurn => "multi-turn",
        }
    }
}

/// Windows and search of `--quick`.
const QUICK_WINDOW_S: f64 = 10.0;
const QUICK_TOLERANCE: f64 = 0.25;

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let args = args.settled()?;
    let plan = plan::text(&args);
    if args.dry_run {
        report::emit(&plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&plan);
    if args.seeds > 1 {
        return over_seeds(args).await;
    }
    let report = measure::all(&args).await?;
    args.outputs.deliver_with(
        "compare",
        &report,
        &show::text(&report),
        || show::csv(&report),
        || show::charts(&report),
    )?;
    let carried = (report.workloads.iter())
        .flat_map(|workload| &workload.arms)
        .any(|row| row.saturation.carried_rps.is_some());
    Ok(if carried {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The same for each seed; means and intervals.
async fn over_seeds(args: Args) -> anyhow::Result<ExitCode> {
    let mut reports = Vec::new();
    for at in 0..args.seeds {
        let seed = args.seed().wrapping_add(at);
        say(&format!("seed {seed}"));
        let one = Args {
            seed: Some(seed),
            ..args.clone()
        };
        reports.push(measure::all(&one).await?);
    }
    let report = seeds::Report::of(reports);
    args.outputs.deliver_with(
        "compare",
        &report,
        &seeds::text(&report),
        || seeds::csv(&report),
        || report.by_seed.first().map_or_else(Vec::new, show::charts),
    )?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Checked, with everything that has a default of its own filled in.
    fn settled(mut self) -> anyhow::Result<Self> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        ensure!(positive(self.window_s), "--window-s must be above 0");
        ensure!(positive(self.time_scale), "--time-scale must be above 0");
        ensure!(
            (0.005..=1.0).contains(&self.tolerance),
            "--tolerance is a share from 0.005 to 1"
        );
        let longest = self.prefix_tokens + self.turns * (self.question_tokens + self.output_tokens);
        ensure!(
            u64::from(longest) < u64::from(self.blocks) * 16,
            "the longest prompt and answer of {longest} tokens do not fit into {} blocks of 16",
            self.blocks
        );
        if self.quick {
            self.window_s = self.window_s.min(QUICK_WINDOW_S);
            self.tolerance = self.tolerance.max(QUICK_TOLERANCE);
            self.workload.truncate(1);
        }
        if self.arms.is_empty() {
            self.arms = if self.quick { Arm::few() } else { Arm::all() };
        }
        self.arms.sort_unstable();
        self.arms.dedup();
        self.workload.dedup();
        self.seed = Some(self.seed.unwrap_or_else(fresh_seed));
        Ok(self)
    }

    /// What the command line says where nothing is given.
    fn defaults() -> anyhow::Result<Self> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let line: Line = clap::Parser::try_parse_from(["compare"])?;
        line.args.settled()
    }

    fn build(&self) -> anyhow::Result<fleet::Build> {
        Ok(fleet::Build {
            program: std::env::current_exe().context("cannot find this program's own file")?,
            accelerator: self.accelerator.clone(),
            model: self.model.clone(),
            blocks: self.blocks,
            preset: self.preset.clone(),
            seed: self.seed(),
            time_scale: self.time_scale,
            virtual_time: self.virtual_time,
        })
    }

    fn seed(&self) -> u64 {
        self.seed.unwrap_or_default()
    }
}

/// A line on standard error: what goes on during a run of an hour.
#[allow(
    clippy::print_stderr,
    reason = "standard output is for the report alone"
)]
fn say(line: &str) {
    eprintln!("{}", line.trim_end());
}
