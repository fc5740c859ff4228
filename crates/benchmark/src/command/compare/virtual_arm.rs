//! How does one arm run in virtual time? The engines' batch models and the gateway's own scheduling on one clock, as in
//! `prefixgate replay`: no process, no socket, nothing that a busy machine could disturb.
//!
//! Every window runs from an empty fleet: first what the arm has seen before (warm-up, kept windows), then a pause in which
//! everything drains, then the window. Only the window's requests are counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engine_api::usage::Usage;

use super::arm::{Arm, Routing};
use super::fleet::Build;
use crate::command::probe::{self, Offer, Probe};
use crate::engines::Gain;
use crate::load::Sample;
use crate::load::arrivals;
use crate::load::driver::Run;
use crate::replay::kept::{self, Served, Spec};
use crate::workload::jobs::Job;
use crate::workload::shared_prefix::SharedPrefix;
use crate::workload::{Prompted, Workload};

/// Between what was before and a window.
const PAUSE: Duration = Duration::from_secs(60);

/// Warm-up comes at this share of what a closed loop served.
const WARM_UP_SHARE: f64 = 0.5;

/// An arm and what it has seen.
pub(super) struct VirtualArm {
    build: Build,
    arm: Arm,
    before: Vec<(Arc<SharedPrefix>, Vec<Duration>)>,
}

impl VirtualArm {
    pub(super) fn new(build: &Build, arm: Arm) -> Self {
        Self {
            build: build.clone(),
            arm,
            before: Vec::new(),
        }
    }

    /// A closed loop over the whole workload, after all that was before, which the arm has then seen as well.
    pub(super) fn closed(
        &mut self,
        workload: &Arc<SharedPrefix>,
        lanes: usize,
    ) -> anyhow::Result<Run> {
        let mut jobs = self.prelude().0;
        let from = jobs.len();
        jobs.extend((0..workload.len()).map(|index| job(workload, index, Duration::ZERO)));
        let served = self.run(jobs, Some(lanes))?;
        let run = self.samples(workload, &served[from..]);
        if self.before.is_empty() {
            let rate = workload.len() as f64 / run.duration.as_secs_f64().max(1e-9);
            let gap_s = 1.0 / (rate * WARM_UP_SHARE).max(1e-9);
            let times =
                (0..workload.len()).map(|index| Duration::from_secs_f64(index as f64 * gap_s));
            self.before.push((Arc::clone(workload), times.collect()));
        }
        Ok(run)
    }

    /// Offers the workload at a rate; `keep` makes it part of what the arm has seen.
    pub(super) fn window(
        &mut self,
        workload: &Arc<SharedPrefix>,
        offer: &Offer,
        name: &str,
        keep: bool,
    ) -> anyhow::Result<Probe> {
        let times =
            arrivals::schedule(offer.arrivals, offer.rate_per_s, workload.len(), offer.seed);
        let (mut jobs, begin) = self.prelude();
        let from = jobs.len();
        let arrive = times.iter().enumerate();
        jobs.extend(arrive.map(|(index, at)| job(workload, index, begin + *at)));
        let served = self.run(jobs, None)?;
        let run = self.samples(workload, &served[from..]);
        let gains = self.gains(&served[from..]);
        let last = times.last().copied();
        if keep {
            self.before.push((Arc::clone(workload), times));
        }
        Ok(probe::of_run(
            offer,
            &run,
            workload.len(),
            &gains,
            last,
            name,
        ))
    }

    /// Jobs of all that was before, and when the next may begin.
    fn prelude(&self) -> (Vec<Job>, Duration) {
        let (mut jobs, mut begin) = (Vec::new(), Duration::ZERO);
        for (workload, times) in &self.before {
            let arrive = times.iter().enumerate();
            jobs.extend(arrive.map(|(index, at)| job(workload, index, begin + *at)));
            begin += times.last().copied().unwrap_or_default() + PAUSE;
        }
        (jobs, begin)
    }

    fn run(&self, jobs: Vec<Job>, concurrency: Option<usize>) -> anyhow::Result<Vec<Served>> {
        let spec = Spec {
            accelerator: &self.build.accelerator,
            replicas: usize::from(self.arm.replicas),
            blocks: self.build.blocks as usize,
            prefix_caching: self.arm.cache,
            decides: match self.arm.routing {
                Routing::RoundRobin => "round-robin",
                Routing::Ours => &self.build.preset,
            },
            seed: self.build.seed,
            concurrency,
        };
        kept::served(&spec, jobs)
    }

    /// The same samples that a client would have taken.
    fn samples(&self, workload: &SharedPrefix, served: &[Served]) -> Run {
        let first = served
            .iter()
            .map(|one| one.arrived)
            .min()
            .unwrap_or_default();
        let last = served.iter().map(|one| one.ended).max().unwrap_or_default();
        let begun = Instant::now();
        let at = |time: Duration| begun + time.saturating_sub(first);
        let sample = |(index, one): (usize, &Served)| {
            let prompted = Prompted {
                path: "",
                body: Bytes::new(),
                group: workload.group(index),
            };
            let mut sample = Sample::begin(&prompted, at(one.arrived), at(one.arrived));
            sample.arrived(1, at(one.first_token));
            if one.output_tokens > 1 {
                sample.arrived(1, at(one.ended));
            }
            sample.usage = Some(Usage {
                prompt_tokens: one.prompt_tokens,
                completion_tokens: one.output_tokens,
                cached_tokens: Some(one.cached_tokens),
            });
            sample.endpoint = Some(format!("replica-{}", one.replica));
            sample.simulated = true;
            sample.done = true;
            sample.finish(at(one.ended));
            sample
        };
        Run {
            begun,
            duration: last.saturating_sub(first),
            samples: served.iter().enumerate().map(sample).collect(),
        }
    }

    /// What the engines' counters would have gained.
    fn gains(&self, served: &[Served]) -> Vec<Gain> {
        let one = |replica: usize| {
            let own = || served.iter().filter(move |one| one.replica == replica);
            let sum = |of: fn(&Served) -> u64| Some(own().map(of).sum::<u64>() as f64);
            Gain {
                url: format!("replica-{replica}"),
                queried_tokens: sum(|one| one.prompt_tokens),
                hit_tokens: sum(|one| one.cached_tokens),
                finished_requests: sum(|_| 1),
                preemptions: None,
            }
        };
        (0..usize::from(self.arm.replicas)).map(one).collect()
    }
}

fn job(workload: &SharedPrefix, index: usize, at: Duration) -> Job {
    let (prompt, output_key) = workload.pieces(index);
    Job {
        at,
        prompt,
        output_tokens: workload.shape().output_tokens,
        output_key,
        session: workload.conversation(index),
    }
}
