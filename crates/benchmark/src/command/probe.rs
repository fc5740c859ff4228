//! What becomes of one offered rate: is it carried, how well, and how sure is that?

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::progress::Bar;
use super::shared_prefix::max_over_mean;
use crate::engines::{self, Engines};
use crate::load::arrivals::{self, Arrivals};
use crate::load::driver::{self, Run};
use crate::load::{Client, Sample};
use crate::report::html::in_flight;
use crate::report::interval::{self, Interval};
use crate::report::{Scenario, Slo};
use crate::workload::Workload;

/// Share of good requests from which on a rate is carried.
pub const GOOD_SHARE: f64 = 0.95;
/// Requests in flight grew when they are this many times those of an earlier quarter, and then some.
const GROWTH_FACTOR: f64 = 1.5;
const GROWTH_SLACK: f64 = 3.0;
/// Most requests in flight: far above what any queue that does not grow holds.
const MAX_IN_FLIGHT: usize = 8192;

/// What is offered.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Requests per second of simulated time.
    pub rate_per_s: f64,
    pub slo: Slo,
    /// Real seconds per simulated second.
    pub time_scale: f64,
    pub arrivals: Arrivals,
    pub seed: u64,
    /// Give up as soon as the rate cannot be carried any more.
    pub give_up: bool,
}

/// What came of it; times and rates are of simulated time.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    pub rate_per_s: f64,
    /// Good requests over those that were to be sent.
    pub good_share: f64,
    pub good_share_ci95: Option<Interval>,
    /// Requests that ended well per second, over the arrivals but for their first quarter: neither filling up nor
    /// running empty is part of it.
    pub served_rps: f64,
    /// Good requests per second, over the same span.
    pub goodput_rps: f64,
    /// Mean requests in flight in the second and in the last quarter of the arrivals.
    pub in_flight: (f64, f64),
    pub queue_grows: bool,
    /// Good share reached and no growth: the rate is carried.
    pub carried: bool,
    /// Given up before its end: figures are of the part that ended.
    pub given_up: bool,
    pub engine_hit_rate: Option<f64>,
    pub hit_rate_ci95: Option<Interval>,
    pub max_over_mean: Option<f64>,
    /// Mean time by which a request left late, ms.
    pub client_lag_ms: f64,
    /// Mean time by which the engines were late with a step, ms; `None` where they do not say.
    pub step_lag_ms: Option<f64>,
    /// Both, over the mean TTFT.
    pub lag_share: Option<f64>,
    /// Share of the processor time of all cores that was in use; `None` where the system does not say.
    pub host_busy: Option<f64>,
    pub simulated: bool,
    pub scenario: Scenario,
}

/// Offers the whole workload at that rate.
///
/// # Errors
/// The engines' counters cannot be read.
pub async fn probe(
    client: &Arc<Client>,
    fleet: &Engines,
    workload: Arc<dyn Workload>,
    offer: &Offer,
    name: &str,
) -> anyhow::Result<(Probe, Run)> {
    let real_rate = offer.rate_per_s / offer.time_scale;
    let times = arrivals::schedule(offer.arrivals, real_rate, workload.len(), offer.seed);
    let bar = Bar::new(name, workload.len());
    let total = workload.len();
    let allowed = ((1.0 - GOOD_SHARE) * total as f64).floor() as usize;
    let hopeless = |samples: &[Sample]| {
        let bad = |sample: &&Sample| !offer.slo.met(sample, offer.time_scale);
        samples.iter().filter(bad).count() > allowed
    };
    // Counting again for each sample would be quadratic: every 16th is often enough.
    let keep_going = |samples: &[Sample]| {
        !offer.give_up || !samples.len().is_multiple_of(16) || !hopeless(samples)
    };
    let (before, busy_before) = (fleet.read().await?, crate::load::host::busy());
    let run = driver::open_while(
        client,
        &workload,
        &times,
        MAX_IN_FLIGHT,
        &bar.progress(),
        &keep_going,
    )
    .await;
    let (after, busy_after) = (fleet.read().await?, crate::load::host::busy());
    let gains = engines::gains(&before, &after);
    let mut probe = of_run(offer, &run, total, &gains, times.last().copied(), name);
    probe.host_busy = crate::load::host::share(busy_before, busy_after);
    probe.step_lag_ms = engines::step_lag_ms(&before, &after).map(|ms| ms / offer.time_scale);
    let lag = probe.client_lag_ms + probe.step_lag_ms.unwrap_or(0.0);
    probe.lag_share = probe.scenario.ttft_ms.mean.map(|ttft| lag / ttft);
    Ok((probe, run))
}

/// Figures of a run whose engines gained that.
pub(crate) fn of_run(
    offer: &Offer,
    run: &Run,
    total: usize,
    gains: &[engines::Gain],
    last_arrival: Option<Duration>,
    name: &str,
) -> Probe {
    let samples: Vec<&Sample> = run.samples.iter().collect();
    let real_s = run.duration.as_secs_f64();
    let mut scenario = Scenario::of_scaled(name, &samples, real_s, offer.time_scale);
    scenario.rate_per_s = Some(offer.rate_per_s);
    let met = samples
        .iter()
        .filter(|sample| offer.slo.met(sample, offer.time_scale))
        .count();
    let given_up = samples.len() < total;
    let last_arrival = last_arrival.unwrap_or_default();
    let in_flight = quarters(run, last_arrival);
    let per_s =
        |count: &dyn Fn(&Sample) -> bool| steady_rate(run, last_arrival, count) * offer.time_scale;
    let queue_grows = in_flight.1 > GROWTH_FACTOR * in_flight.0 + GROWTH_SLACK;
    // What was given up has not been good.
    let good_share = met as f64 / total.max(1) as f64;
    let hits: Vec<(f64, f64)> = (samples.iter().filter_map(|sample| sample.usage))
        .filter_map(|usage| Some((usage.cached_tokens? as f64, usage.prompt_tokens as f64)))
        .collect();
    Probe {
        rate_per_s: offer.rate_per_s,
        good_share,
        good_share_ci95: interval::share(met, total),
        served_rps: per_s(&Sample::is_ok),
        goodput_rps: per_s(&|sample| offer.slo.met(sample, offer.time_scale)),
        in_flight,
        queue_grows,
        carried: good_share >= GOOD_SHARE && !queue_grows && !given_up,
        given_up,
        engine_hit_rate: engines::hit_rate(gains),
        hit_rate_ci95: interval::ratio(&hits),
        max_over_mean: max_over_mean(&scenario, gains),
        client_lag_ms: scenario.client_queue_ms.mean.unwrap_or(0.0),
        step_lag_ms: None,
        lag_share: None,
        host_busy: None,
        simulated: scenario.simulated,
        scenario,
    }
}

/// Requests that `counts` and that ended in the last three quarters of the time in which requests arrived, per real
/// second.
fn steady_rate(run: &Run, last_arrival: Duration, counts: &dyn Fn(&Sample) -> bool) -> f64 {
    let (from, to) = (last_arrival.mul_f64(0.25), last_arrival);
    let inside = |sample: &&Sample| {
        let ended = sample.ended().saturating_duration_since(run.begun);
        ended > from && ended <= to && counts(sample)
    };
    let count = run.samples.iter().filter(inside).count();
    count as f64 / (to - from).as_secs_f64().max(1e-9)
}

/// Mean requests in flight over the second and over the last quarter of the time in which requests arrived.
fn quarters(run: &Run, last_arrival: Duration) -> (f64, f64) {
    let span = last_arrival.as_secs_f64();
    let steps = in_flight(run);
    let mean = |from: f64, to: f64| {
        let (mut area, mut level, mut at) = (0.0, 0.0, from);
        for (time, count) in &steps {
            if *time > at && at < to {
                area += level * (time.min(to) - at);
                at = time.min(to);
            }
            level = *count;
        }
        area += level * (to - at).max(0.0);
        area / (to - from).max(f64::MIN_POSITIVE)
    };
    if span <= 0.0 {
        return (0.0, 0.0);
    }
    (mean(span * 0.25, span * 0.5), mean(span * 0.75, span))
}
