//! `bench suite`: how does the system do from one request at a time to twenty, and what does its cache save?

mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use super::Connection;
use super::progress::Bar;
use crate::load::{Client, Sample, driver};
use crate::report::{self, Scenario};
use crate::workload::Workload;
use crate::workload::suite::{Questions, Repeated};
use crate::workload::text::fresh_seed;

pub use show::summary;

/// Name, requests, concurrency.
const LEVELS: [(&str, usize, usize); 4] = [
    ("baseline", 5, 1),
    ("light", 20, 5),
    ("medium", 50, 10),
    ("heavy", 100, 20),
];

/// Four load levels, then the cache test.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub connection: Connection,
    /// Directory for `benchmark_<time>.json` and `benchmark_summary_<time>.txt`.
    #[arg(long, default_value = ".")]
    pub out: PathBuf,
    /// Print the JSON report instead of the summary; both files are written either way.
    #[arg(long)]
    pub json: bool,
    /// Output tokens per request.
    #[arg(long, default_value_t = 50)]
    pub output_tokens: u32,
    /// Requests of the cache test, the first included.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(2..))]
    pub cache_requests: u16,
    /// Words of the cache test's prompt.
    #[arg(long, default_value_t = 1200)]
    pub cache_words: usize,
    /// Fixes the prompts [default: fresh ones, so that earlier runs' caches decide nothing].
    #[arg(long)]
    pub seed: Option<u64>,
}

/// The file's content.
#[derive(Debug, Serialize)]
pub struct Report {
    pub metadata: Metadata,
    pub scenarios: Vec<Scenario>,
    pub cache_test: CacheTest,
}

#[derive(Debug, Serialize)]
pub struct Metadata {
    pub tool: String,
    pub started: String,
    pub url: String,
    pub model: String,
    /// Some answer said that its compute is simulated.
    pub simulated: bool,
    pub output_tokens: u32,
    pub seed: u64,
    pub duration_s: f64,
    /// What the times mean.
    pub definitions: &'static str,
}

/// One long prompt, repeated one at a time; latency here is TTFT.
#[derive(Debug, Default, Serialize)]
pub struct CacheTest {
    pub first_latency_ms: Option<f64>,
    pub avg_subsequent_ms: Option<f64>,
    /// How much shorter the later ones are than the first; negative when longer.
    pub improvement_pct: Option<f64>,
    /// Later requests behind the average.
    pub subsequent_n: usize,
    pub prompt_tokens: Option<u64>,
    /// Per request in order; `None` where the answer does not report it.
    pub cached_tokens: Vec<Option<u64>>,
    pub endpoints: Vec<Option<String>>,
    pub failed: usize,
    pub errors: Vec<String>,
}

const DEFINITIONS: &str = "ms from the intended send time; TTFT to the first content, E2E to the last, \
    TPOT = (E2E - TTFT) / (output tokens - 1), ITL between content events; tokens by the server's usage; \
    percentiles interpolated, p95 from 20 samples on, p99 from 100";

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create the directory {}", args.out.display()))?;
    let report = measure(&args).await?;
    let summary = summary(&report);
    let files = write_files(&args.out, &report, &summary)?;
    if args.json {
        report::emit_json(&report)?;
    } else {
        report::emit(&format!(
            "{summary}\nwritten: {}\n         {}\n",
            files.0.display(),
            files.1.display()
        ))?;
    }
    let some_succeeded = report
        .scenarios
        .iter()
        .any(|scenario| scenario.successful > 0);
    Ok(if some_succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs all levels and the cache test.
pub async fn measure(args: &Args) -> anyhow::Result<Report> {
    let (client, model) = args.connection.ready().await?;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let started = jiff::Zoned::now();
    let begun = Instant::now();
    let mut scenarios = Vec::new();
    for (index, (name, requests, concurrency)) in LEVELS.into_iter().enumerate() {
        let questions = Questions {
            model: model.clone(),
            requests,
            output_tokens: args.output_tokens,
            seed: seed.wrapping_add(index as u64),
        };
        scenarios.push(level(&client, name, Arc::new(questions), concurrency).await);
    }
    let (cache_test, simulated_cache) = cache_test(&client, &model, args, seed).await;
    let metadata = Metadata {
        tool: concat!("prefixgate bench suite ", env!("CARGO_PKG_VERSION")).to_owned(),
        started: started.to_string(),
        url: client.target().to_string(),
        model,
        simulated: simulated_cache || scenarios.iter().any(|scenario| scenario.simulated),
        output_tokens: args.output_tokens,
        seed,
        duration_s: begun.elapsed().as_secs_f64(),
        definitions: DEFINITIONS,
    };
    Ok(Report {
        metadata,
        scenarios,
        cache_test,
    })
}

async fn level(
    client: &Arc<Client>,
    name: &str,
    workload: Arc<dyn Workload>,
    concurrency: usize,
) -> Scenario {
    let bar = Bar::new(name, workload.len());
    let run = driver::closed(client, &workload, concurrency, &bar.progress()).await;
    Scenario {
        concurrency: Some(concurrency),
        ..Scenario::of(name, &run)
    }
}

async fn cache_test(
    client: &Arc<Client>,
    model: &str,
    args: &Args,
    seed: u64,
) -> (CacheTest, bool) {
    let workload: Arc<dyn Workload> = Arc::new(Repeated {
        model: model.to_owned(),
        repetitions: usize::from(args.cache_requests),
        words: args.cache_words,
        output_tokens: args.output_tokens.min(16),
        seed: seed.wrapping_add(1000),
    });
    let bar = Bar::new("cache test", workload.len());
    // One lane: samples come in order.
    let run = driver::closed(client, &workload, 1, &bar.progress()).await;
    let simulated = run.samples.iter().any(|sample| sample.simulated);
    (cache_figures(&run.samples), simulated)
}

fn cache_figures(samples: &[Sample]) -> CacheTest {
    let ttft = |sample: &Sample| sample.ttft_ms().filter(|_| sample.is_ok());
    let first = samples.first().and_then(ttft);
    let later: Vec<f64> = samples.iter().skip(1).filter_map(ttft).collect();
    let average = (!later.is_empty()).then(|| later.iter().sum::<f64>() / later.len() as f64);
    let usages = samples.iter().map(|sample| sample.usage);
    CacheTest {
        first_latency_ms: first,
        avg_subsequent_ms: average,
        improvement_pct: first
            .zip(average)
            .map(|(first, later)| (1.0 - later / first) * 100.0),
        subsequent_n: later.len(),
        prompt_tokens: usages
            .clone()
            .flatten()
            .next()
            .map(|usage| usage.prompt_tokens),
        cached_tokens: usages
            .map(|usage| usage.and_then(|usage| usage.cached_tokens))
            .collect(),
        endpoints: samples
            .iter()
            .map(|sample| sample.endpoint.clone())
            .collect(),
        failed: samples.iter().filter(|sample| !sample.is_ok()).count(),
        errors: samples
            .iter()
            .filter_map(|s| s.failure.as_ref())
            .map(ToString::to_string)
            .collect(),
    }
}

fn write_files(out: &Path, report: &Report, summary: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let stamp = jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string();
    let json = out.join(format!("benchmark_{stamp}.json"));
    let text = out.join(format!("benchmark_summary_{stamp}.txt"));
    let write = |path: &Path, content: &str| {
        std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    write(
        &json,
        &format!("{}\n", serde_json::to_string_pretty(report)?),
    )?;
    write(&text, summary)?;
    Ok((json, text))
}
