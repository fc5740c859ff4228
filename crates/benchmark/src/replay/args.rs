//! What can be asked of a replay?

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use engine::backend::Profile;

use super::arms::{Arm, Plan};
use super::falsify::Falsify;
use super::ledger::Mutation;
use super::replicas::Hardware;
use super::settings::{
    DEFAULT_EVENT_MS, DEFAULT_HOP_MS, DEFAULT_PAGE_MS, DEFAULT_SCRAPE_IDLE_MS, DEFAULT_SCRAPE_MS,
    DEFAULT_SLO_TPOT_MS, DEFAULT_SLO_TTFT_MS, Settings,
};
use super::source::Source;
use crate::workload::jobs::generate::{GenerateOptions, Kind};
use crate::workload::jobs::mooncake::{DEFAULT_SPREAD_MS, TraceOptions};

const DEFAULT_REPLICAS: usize = 8;
const MAX_REPLICAS: usize = 1_000;
const MAX_GATEWAYS: usize = 64;
/// Simulated seconds of a made-up workload at a load that is searched for.
const LOAD_SECONDS: f64 = 120.0;
const DEFAULT_ACCELERATOR: &str = "a100";
const DEFAULT_COMPARE: &str = "default,round-robin";

/// A whole fleet in virtual time against a trace: any scheduler configurations side by side. All figures are simulated.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Trace in the Mooncake format (JSONL: timestamp, input_length, output_length, hash_ids).
    #[arg(long, value_name = "FILE", conflicts_with = "workload")]
    trace: Option<PathBuf>,

    /// Made-up workload instead of a trace.
    #[arg(long, value_enum, value_name = "KIND")]
    workload: Option<Kind>,

    /// What decides, side by side: presets, reference rules, bounds, or files with a scheduling document. A name that is
    /// a preset and a rule is the preset; `rule:NAME` is the rule. `exact:` before a preset or a file: caches are known
    /// from the engines' events. `--list` names them all.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = DEFAULT_COMPARE)]
    compare: Vec<String>,

    /// Names of presets, rules and bounds, and what each does.
    #[arg(long)]
    pub(super) list: bool,

    /// Replicas, 1 to 1000.
    #[arg(long, default_value_t = DEFAULT_REPLICAS, value_name = "N")]
    replicas: usize,

    /// Accelerator profiles, dealt out to replicas in turn; `t4*3` is three of them.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = DEFAULT_ACCELERATOR)]
    accelerator: Vec<String>,

    /// KV blocks of each replica; the profile's own number when not given.
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,

    /// Tokens per KV block; the profile's own when not given.
    #[arg(long, value_name = "TOKENS")]
    block_size: Option<usize>,

    /// Requests an engine runs at once; the profile's own when not given.
    #[arg(long, value_name = "N")]
    max_num_seqs: Option<usize>,

    /// Tokens an engine computes in a step; the profile's own when not given.
    #[arg(long, value_name = "TOKENS")]
    max_num_batched_tokens: Option<usize>,

    /// Engines keep no prefix cache.
    #[arg(long)]
    no_prefix_cache: bool,

    /// Gateways that do not see each other's picks; each request reaches one by chance.
    #[arg(long, default_value_t = 1, value_name = "N")]
    gateways: usize,

    /// Offered load as a share of the highest rate at which round robin keeps 95 % goodput; that rate is searched first.
    #[arg(long, value_name = "SHARE")]
    load: Option<f64>,

    /// Also run every arm at these multiples of the load, for curves of latency against throughput.
    #[arg(long, value_name = "FACTOR,...", value_delimiter = ',')]
    sweep: Vec<f64>,

    /// Requests at once, each after another's end, instead of arrivals at their own times.
    #[arg(long, value_name = "N", conflicts_with_all = ["load", "speed", "sweep"])]
    concurrency: Option<usize>,

    /// Takes the cause of the gain away and shows that it vanishes.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) falsify: Option<Falsify>,

    /// Sets published figures beside simulated ones; needs no trace.
    #[arg(long)]
    pub(super) fidelity: bool,

    /// Arrivals come this many times as fast as in the trace.
    #[arg(
        long,
        default_value_t = 1.0,
        value_name = "FACTOR",
        conflicts_with = "load"
    )]
    speed: f64,

    /// Requests read at most (trace), or made (workload: 2000 when not given, 120 simulated seconds of them with --load).
    #[arg(long, value_name = "N")]
    requests: Option<usize>,

    /// Only the first so many seconds of the trace, on its own clock.
    #[arg(long, value_name = "SECONDS")]
    until: Option<f64>,

    /// Prompts are cut to this length.
    #[arg(long, value_name = "TOKENS")]
    max_prompt_tokens: Option<u32>,

    /// Time stamps that are a multiple of this are batches and are spread until the next; 0 for none.
    #[arg(long, default_value_t = DEFAULT_SPREAD_MS, value_name = "MS")]
    spread_ms: u64,

    /// Arrivals a second of a made-up workload.
    #[arg(long, value_name = "PER_S")]
    rate: Option<f64>,

    /// Prefix groups, documents or kinds of assistant in a made-up workload.
    #[arg(long, value_name = "N")]
    groups: Option<u32>,

    /// Tokens of a common beginning in a made-up workload.
    #[arg(long, value_name = "TOKENS")]
    prefix_tokens: Option<u32>,

    /// Tokens of a question in a made-up workload, on average.
    #[arg(long, value_name = "TOKENS")]
    question_tokens: Option<u32>,

    /// Tokens generated in a made-up workload, on average.
    #[arg(long, value_name = "TOKENS")]
    output_tokens: Option<u32>,

    /// Turns of a conversation in a made-up workload, on average.
    #[arg(long, value_name = "N")]
    turns: Option<u32>,

    /// Milliseconds between scrapes of an engine with work.
    #[arg(long, default_value_t = DEFAULT_SCRAPE_MS, value_name = "MS")]
    scrape_ms: u64,

    /// Milliseconds between scrapes of an idle engine.
    #[arg(long, default_value_t = DEFAULT_SCRAPE_IDLE_MS, value_name = "MS")]
    scrape_idle_ms: u64,

    /// Milliseconds to write and read a metrics page.
    #[arg(long, default_value_t = DEFAULT_PAGE_MS, value_name = "MS")]
    page_ms: f64,

    /// Milliseconds between gateway and engine, one way.
    #[arg(long, default_value_t = DEFAULT_HOP_MS, value_name = "MS")]
    hop_ms: f64,

    /// Milliseconds that a cache event takes longer than a byte of an answer.
    #[arg(long, default_value_t = DEFAULT_EVENT_MS, value_name = "MS")]
    event_ms: f64,

    /// Everything a gateway hears reaches its scheduler this much later, milliseconds.
    #[arg(long, default_value_t = 0.0, value_name = "MS")]
    stale_ms: f64,

    /// Engines do not report cached tokens in their answers (vLLM without --enable-prompt-tokens-details).
    #[arg(long)]
    no_cached_report: bool,

    /// Time to first token within which a request is good, milliseconds.
    #[arg(long, default_value_t = DEFAULT_SLO_TTFT_MS, value_name = "MS")]
    slo_ttft_ms: f64,

    /// Time per output token within which a request is good, milliseconds.
    #[arg(long, default_value_t = DEFAULT_SLO_TPOT_MS, value_name = "MS")]
    slo_tpot_ms: f64,

    /// Seed of everything that is left to chance; drawn when not given, and printed. Several give means and intervals.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    seed: Vec<u64>,

    /// So many seeds, from --seed on: means over them and 95 % intervals.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,

    /// Arms that run at once, each on a thread of its own; the host's cores when not given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,

    /// One JSON object on standard output, nothing else.
    #[arg(long)]
    pub(super) json: bool,

    /// Also write the JSON object here.
    #[arg(long, value_name = "FILE")]
    pub(super) json_file: Option<PathBuf>,

    /// Also write a page with plots here; it needs nothing beside it.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,

    /// Also write one CSV line per arm here.
    #[arg(long, value_name = "FILE")]
    pub(super) csv: Option<PathBuf>,

    /// Break something on purpose, to see the checker for it notice.
    #[arg(long, value_enum, hide = true)]
    mutate: Option<Mutation>,
}

impl Args {
    /// Everything checked and resolved, once for each seed.
    pub(super) fn plans(&self) -> anyhow::Result<Vec<Plan>> {
        let first = match self.seed.first() {
            Some(seed) => *seed,
            None => crate::workload::text::fresh_seed(),
        };
        let seeds = match (self.seed.len(), self.seeds) {
            (0 | 1, Some(count)) => (0..count).map(|at| first.wrapping_add(at)).collect(),
            (0, None) => vec![first],
            (_, None) => self.seed.clone(),
            (_, Some(_)) => {
                anyhow::bail!("--seeds counts on from one --seed; give either a list or a number")
            }
        };
        seeds.into_iter().map(|seed| self.plan(seed)).collect()
    }

    fn plan(&self, seed: u64) -> anyhow::Result<Plan> {
        let settings = self.settings(seed)?;
        let replicas = settings.hardware.profiles.len();
        let arms = self
            .compare
            .iter()
            .map(|name| Arm::named(name.trim(), replicas))
            .collect::<anyhow::Result<Vec<_>>>()?;
        if let Some(load) = self.load {
            positive("--load", load)?;
        }
        let threads = self.threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        Ok(Plan {
            settings,
            source: match self.fidelity {
                true => Source::Made(GenerateOptions::default()),
                false => self.source(seed)?,
            },
            arms,
            load: self.load,
            threads: threads.max(1),
            sweep: self
                .sweep
                .iter()
                .map(|factor| positive("--sweep", *factor))
                .collect::<anyhow::Result<_>>()?,
        })
    }

    fn settings(&self, seed: u64) -> anyhow::Result<Settings> {
        anyhow::ensure!(
            (1..=MAX_REPLICAS).contains(&self.replicas),
            "--replicas is {}; 1 to {MAX_REPLICAS} can be simulated",
            self.replicas
        );
        anyhow::ensure!(
            (1..=MAX_GATEWAYS).contains(&self.gateways),
            "--gateways is {}; 1 to {MAX_GATEWAYS} can be simulated",
            self.gateways
        );
        anyhow::ensure!(self.scrape_ms > 0, "--scrape-ms must be at least 1");
        Ok(Settings {
            seed,
            hardware: Hardware {
                profiles: self.profiles()?,
                block_size_tokens: self.block_size,
                num_blocks: self.blocks,
                max_num_seqs: self.max_num_seqs,
                max_num_batched_tokens: self.max_num_batched_tokens,
                prefix_caching: !self.no_prefix_cache,
            },
            gateways: self.gateways,
            concurrency: match self.concurrency {
                Some(0) => anyhow::bail!("--concurrency must be at least 1"),
                other => other,
            },
            hop: ms("--hop-ms", self.hop_ms)?,
            scrape: Duration::from_millis(self.scrape_ms),
            scrape_idle: Duration::from_millis(self.scrape_idle_ms),
            page: ms("--page-ms", self.page_ms)?,
            events: ms("--event-ms", self.event_ms)?,
            lag: ms("--stale-ms", self.stale_ms)?,
            report_cached: !self.no_cached_report,
            slo_ttft_ms: positive("--slo-ttft-ms", self.slo_ttft_ms)?,
            slo_tpot_ms: positive("--slo-tpot-ms", self.slo_tpot_ms)?,
            keep_requests: false,
            mutation: self.mutate,
        })
    }

    fn profiles(&self) -> anyhow::Result<Vec<Profile>> {
        let mut deal = Vec::new();
        for word in &self.accelerator {
            let (name, count) = match word.split_once('*') {
                Some((name, count)) => (
                    name,
                    count
                        .parse::<usize>()
                        .ok()
                        .filter(|count| (1..=MAX_REPLICAS).contains(count))
                        .with_context(|| {
                            format!("--accelerator {word}: `{count}` is not a number of replicas")
                        })?,
                ),
                None => (word.as_str(), 1),
            };
            let profile = Profile::named(name.trim())?;
            deal.extend(std::iter::repeat_n(profile, count));
        }
        Ok((0..self.replicas)
            .map(|replica| deal[replica % deal.len()].clone())
            .collect())
    }

    fn source(&self, seed: u64) -> anyhow::Result<Source> {
        positive("--speed", self.speed)?;
        if let Some(until) = self.until {
            positive("--until", until)?;
        }
        if let Some(path) = &self.trace {
            anyhow::ensure!(
                self.rate.is_none(),
                "--rate is for made-up workloads; a trace is sped up by --speed"
            );
            return Ok(Source::Trace {
                path: path.clone(),
                options: TraceOptions {
                    speed: self.speed,
                    max_requests: self.requests,
                    until: self.until.map(Duration::from_secs_f64),
                    spread_ms: self.spread_ms,
                    max_prompt_tokens: self.max_prompt_tokens,
                    seed,
                },
            });
        }
        let kind = self.workload.with_context(|| {
            let kinds: Vec<String> = Kind::value_variants()
                .iter()
                .map(|kind| kind.name().to_owned())
                .collect();
            format!(
                "nothing to replay: give --trace FILE, or --workload with one of {}",
                kinds.join(", ")
            )
        })?;
        let default = GenerateOptions::default();
        Ok(Source::Made(GenerateOptions {
            kind,
            requests: self.requests.unwrap_or(default.requests),
            // A search for a rate needs the same time at every rate, or a short burst passes for a rate that is carried.
            seconds: (self.load.is_some() && self.requests.is_none()).then_some(LOAD_SECONDS),
            rate_per_s: positive("--rate", self.rate.unwrap_or(default.rate_per_s))? * self.speed,
            groups: self.groups.unwrap_or(default.groups),
            prefix_tokens: self.prefix_tokens.unwrap_or(default.prefix_tokens),
            question_tokens: self.question_tokens.unwrap_or(default.question_tokens),
            output_tokens: self.output_tokens.unwrap_or(default.output_tokens),
            turns: self.turns.unwrap_or(default.turns),
            seed,
            ..default
        }))
    }
}

fn ms(flag: &str, value: f64) -> anyhow::Result<Duration> {
    anyhow::ensure!(
        value.is_finite() && (0.0..=86_400_000.0).contains(&value),
        "{flag} is {value}; milliseconds from 0 to a day"
    );
    Ok(Duration::from_secs_f64(value / 1e3))
}

fn positive(flag: &str, value: f64) -> anyhow::Result<f64> {
    anyhow::ensure!(
        value.is_finite() && value > 0.0,
        "{flag} is {value}; it must be more than 0"
    );
    Ok(value)
}
