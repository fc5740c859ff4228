//! What became of each of these jobs? For callers that bring their own and want every request back.

use std::time::Duration;

use engine::backend::Profile;

use super::arms::Arm;
use super::replicas::Hardware;
use super::settings::{
    DEFAULT_EVENT_MS, DEFAULT_HOP_MS, DEFAULT_PAGE_MS, DEFAULT_SCRAPE_IDLE_MS, DEFAULT_SCRAPE_MS,
    DEFAULT_SLO_TPOT_MS, DEFAULT_SLO_TTFT_MS, Settings,
};
use super::world::World;
use crate::workload::jobs::{Job, Jobs};

pub(crate) use super::figures::Served;

/// A fleet of equal replicas.
#[derive(Clone, Debug)]
pub(crate) struct Spec<'a> {
    pub(crate) accelerator: &'a str,
    pub(crate) replicas: usize,
    pub(crate) blocks: usize,
    pub(crate) prefix_caching: bool,
    /// As `--compare` names it.
    pub(crate) decides: &'a str,
    pub(crate) seed: u64,
    /// Requests at once, whatever the jobs' times; `None` for their own times.
    pub(crate) concurrency: Option<usize>,
}

/// Every request, in order of arrival.
///
/// # Errors
/// Names that are not known, engines that cannot be built, a job that no engine can take, a broken checker.
pub(crate) fn served(spec: &Spec<'_>, jobs: Vec<Job>) -> anyhow::Result<Vec<Served>> {
    let profile = Profile::named(spec.accelerator)?;
    let ms = |ms: f64| Duration::from_secs_f64(ms / 1e3);
    let settings = Settings {
        seed: spec.seed,
        hardware: Hardware {
            profiles: vec![profile; spec.replicas],
            block_size_tokens: None,
            num_blocks: Some(spec.blocks),
            max_num_seqs: None,
            max_num_batched_tokens: None,
            prefix_caching: spec.prefix_caching,
        },
        gateways: 1,
        concurrency: spec.concurrency,
        hop: ms(DEFAULT_HOP_MS),
        scrape: Duration::from_millis(DEFAULT_SCRAPE_MS),
        scrape_idle: Duration::from_millis(DEFAULT_SCRAPE_IDLE_MS),
        page: ms(DEFAULT_PAGE_MS),
        events: ms(DEFAULT_EVENT_MS),
        lag: Duration::ZERO,
        report_cached: true,
        slo_ttft_ms: DEFAULT_SLO_TTFT_MS,
        slo_tpot_ms: DEFAULT_SLO_TPOT_MS,
        keep_requests: true,
        mutation: None,
    };
    let arm = Arm::named(spec.decides, spec.replicas)?;
    let world = World::new(&settings, |gateway| arm.router(&settings, gateway))?;
    let count = jobs.len();
    let done = world.run(&mut Listed(jobs.into_iter()), &mut |_, _| {})?;
    let (violations, _) = done.ledger.close();
    if let Some(first) = violations.first() {
        anyhow::bail!("checker {} is broken: {}", first.checker, first.what);
    }
    let mut kept = done.figures.kept.unwrap_or_default();
    anyhow::ensure!(
        kept.len() == count,
        "{} of {count} requests do not fit into an engine: more --blocks, or shorter prompts",
        count - kept.len()
    );
    kept.sort_by_key(|served| served.number);
    Ok(kept)
}

/// Jobs that are there already.
struct Listed(std::vec::IntoIter<Job>);

impl Jobs for Listed {
    fn next_job(&mut self) -> anyhow::Result<Option<Job>> {
        Ok(self.0.next())
    }

    fn progress(&self) -> f64 {
        0.0
    }
}
