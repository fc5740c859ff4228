//! How long is an endpoint's prefill queue, in milliseconds, how long does a prompt take there, and how long a token?
//!
//! Each endpoint has a clock of its own: the moment at which all prefills sent to it are expected to be done. A pick moves
//! it on by what its prompt is expected to take; every first byte says how far off it was and sets it right. Between two
//! pieces of news it runs down by itself, so an estimate does not freeze when news is late or lost.
//!
//! What a prompt takes is fitted over the whole pool to observed times to first byte, `c + a * tokens + b * pairs` with
//! `tokens` the uncached tokens and `pairs` the (new token, context token) pairs that attention looks at; what an output
//! token takes is fitted to observed times per output token, `c + d * context` with `context` the tokens of all requests
//! there. The constant `c` of the first is whatever comes on top of every answer (hops, late news): it is told apart so
//! that an endpoint is not taken for slow when only news is. Fits are ridge regressions by faded normal equations, weighted
//! to relative errors. How much faster or slower than the pool an endpoint is, is one factor each for prefill and decode,
//! believed as far as it stands out of the noise (James and Stein, 1961): equal endpoints are not told apart by chance.

mod fit;
mod head;
mod speed;

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;

use crate::slot_state::{AtomicF64, DEFAULT_PREFILL_MS_PER_TOKEN};
use fit::Fit;
use head::Head;
use speed::Speed;

/// Pairs cost this share of a token each until it is learned: a model of some billion parameters.
const DEFAULT_PAIR_SHARE: f64 = 4e-5;

/// Milliseconds an output token takes until it is learned.
const DEFAULT_TOKEN_MS: f64 = 10.0;

/// Units of the fitted figures, so that all are about 1 in size.
const LATENCY_UNIT_MS: f64 = 20.0;
const CONTEXT_UNIT_TOKENS: f64 = 100_000.0;

/// Errors are weighed relative to the expected time plus this.
const SLACK_MS: f64 = 20.0;

/// Observations in which the past fades by 1/e: at one endpoint, and over all of them.
const MEMORY: f64 = 200.0;
const POOL_MEMORY: f64 = 1_000.0;

/// How firmly the pool's own fit holds on to the values assumed at the beginning.
const PRIOR_OBSERVATIONS: f64 = 0.05;

/// Time in which prefill sent fades by 1/e, for how busy an endpoint is.
const BUSY_MEMORY_US: f64 = 5e6;

/// Picks of less time than this say little of how busy an endpoint is.
const BUSY_LEAST_US: f64 = 0.25e6;

/// News that may be so old leaves the clock half its word.
const STALE_US: f64 = 1e6;

/// Times to first byte tell nothing of prefill once all of them are longer than this: they may be the age of news.
const NOTHING_TOLD_US: f64 = 1e7;

/// First bytes in which the least of them is forgotten.
const LATE_MEMORY: f64 = 256.0;

/// What prefill costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    tokens: f64,
    pairs: f64,
}

impl Work {
    /// Of a prompt of which a beginning is cached.
    pub(crate) fn of(prompt_tokens: f64, cached_tokens: f64) -> Self {
        let tokens = (prompt_tokens - cached_tokens).max(1.0);
        Self {
            tokens,
            pairs: tokens * cached_tokens + tokens * tokens / 2.0,
        }
    }

    fn features(&self) -> [f64; 3] {
        [
            LATENCY_UNIT_MS,
            self.tokens * DEFAULT_PREFILL_MS_PER_TOKEN,
            self.pairs * DEFAULT_PREFILL_MS_PER_TOKEN * DEFAULT_PAIR_SHARE,
        ]
    }
}

/// One endpoint's clock and fits.
#[derive(Debug)]
pub(crate) struct Forecast {
    lane: Mutex<Lane>,
    /// What is being computed now, for readers that do not wait for the lane.
    head: Head,
}

/// A request without a first byte.
#[derive(Clone, Copy, Debug)]
struct Open {
    name: u64,
    picked_us: f64,
    takes_us: f64,
    /// Expected end of its prefill.
    done_us: f64,
    /// Of its prompt, to be computed; 0 where its first byte comes only with its last.
    tokens: f64,
}

#[derive(Debug)]
struct Lane {
    /// All prefills sent are expected to be done, microseconds since process start.
    free_us: f64,
    /// Requests without a first byte, in order of their picks.
    open: VecDeque<Open>,
    /// Prefill of all of these.
    unheard_us: f64,
    /// Prefill sent there, faded: milliseconds, and when that was brought up to date.
    sent_ms: f64,
    sent_at_us: f64,
    /// The first pick.
    first_us: f64,
    /// Context tokens of all our requests there.
    context_tokens: u64,
    next_name: u64,
    /// Times as slow as the pool.
    prefill: Speed,
    decode: Speed,
}

impl Default for Forecast {
    fn default() -> Self {
        Self {
            lane: Mutex::new(Lane {
                free_us: 0.0,
                open: VecDeque::new(),
                unheard_us: 0.0,
                sent_ms: 0.0,
                sent_at_us: 0.0,
                first_us: 0.0,
                context_tokens: 0,
                next_name: 0,
                prefill: Speed::default(),
                decode: Speed::default(),
            }),
            head: Head::default(),
        }
    }
}

/// What one request is expected to take, from pick to first byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Booked {
    name: u64,
    work: Work,
    wait_ms: f64,
    prefill_ms: f64,
    context_tokens: u64,
    /// Context tokens there when its first byte came.
    context_at_first_byte: Option<u64>,
}

/// What is learned over all endpoints of a pool.
#[derive(Debug)]
pub(crate) struct PoolRates {
    learned: Mutex<Learned>,
    /// Multiples of the assumed rates: [`LATENCY_UNIT_MS`], a token's and a pair's share.
    prefill: [AtomicF64; 3],
    /// Of [`DEFAULT_TOKEN_MS`], and milliseconds per [`CONTEXT_UNIT_TOKENS`].
    decode: [AtomicF64; 2],
    /// Least time to first byte lately, microseconds, 0 for not yet: news is no older than that.
    late_us: AtomicF64,
}

#[derive(Debug, Default)]
struct Learned {
    prefill: Fit<3>,
    decode: Fit<2>,
    prefill_speed: Speed,
    decode_speed: Speed,
}

/// Before anything was seen.
const ASSUMED_PREFILL: [f64; 3] = [0.0, 1.0, 1.0];
const ASSUMED_DECODE: [f64; 2] = [1.0, 0.0];

impl Default for PoolRates {
    fn default() -> Self {
        Self {
            learned: Mutex::default(),
            prefill: ASSUMED_PREFILL.map(AtomicF64::of),
            decode: ASSUMED_DECODE.map(AtomicF64::of),
            late_us: AtomicF64::default(),
        }
    }
}

impl PoolRates {
    /// News is at most so old.
    fn late_us(&self) -> f64 {
        self.late_us.get()
    }

    /// What a prompt's prefill takes at an ordinary endpoint, ms.
    fn prefill_ms(&self, work: &Work) -> f64 {
        let [_, tokens, pairs] = work.features();
        self.prefill[1].get() * tokens + self.prefill[2].get() * pairs
    }

    /// What an output token takes at an ordinary endpoint, ms: by itself, and per context token.
    fn token_ms(&self) -> [f64; 2] {
        let [base, per_context] = [self.decode[0].get(), self.decode[1].get()];
        [base * DEFAULT_TOKEN_MS, per_context / CONTEXT_UNIT_TOKENS]
    }

    /// A prefill took that long beyond its wait.
    fn learn_prefill(&self, lane: &mut Speed, work: &Work, took_ms: f64, weight: f64) {
        let latency_ms = self.prefill[0].get().max(0.0) * LATENCY_UNIT_MS;
        let own_ms = (took_ms - latency_ms).max(0.0);
        let expected_ms = self.prefill_ms(work);
        let seen = ((own_ms + SLACK_MS) / (expected_ms + SLACK_MS)).ln();
        let mut learned = self.learned.lock();
        lane.add(seen, weight, MEMORY);
        learned.prefill_speed.add(seen, weight, POOL_MEMORY);
        let factor = lane.factor_over(&learned.prefill_speed);
        let relative = weight / (expected_ms + SLACK_MS).powi(2);
        let ordinary_ms = latency_ms.min(took_ms) + own_ms / factor;
        learned
            .prefill
            .add(work.features(), ordinary_ms, relative, POOL_MEMORY);
        let firmness = [
            PRIOR_OBSERVATIONS / 1e3,
            PRIOR_OBSERVATIONS,
            PRIOR_OBSERVATIONS * 10.0,
        ];
        let found = learned.prefill.solve(ASSUMED_PREFILL, firmness);
        self.prefill
            .iter()
            .zip(found)
            .for_each(|(rate, value)| rate.set(value));
    }

    fn learn_decode(&self, lane: &mut Speed, context_tokens: f64, seen_ms: f64) {
        let [base, per_context] = self.token_ms();
        let expected_ms = base + per_context * context_tokens;
        let seen = (seen_ms.max(1e-3) / expected_ms.max(1e-3)).ln();
        let mut learned = self.learned.lock();
        lane.add(seen, 1.0, MEMORY);
        learned.decode_speed.add(seen, 1.0, POOL_MEMORY);
        let factor = lane.factor_over(&learned.decode_speed);
        let features = [DEFAULT_TOKEN_MS, context_tokens / CONTEXT_UNIT_TOKENS];
        let relative = 1.0 / expected_ms.max(1e-3).powi(2);
        learned
            .decode
            .add(features, seen_ms / factor, relative, POOL_MEMORY);
        let found = learned
            .decode
            .solve(ASSUMED_DECODE, [PRIOR_OBSERVATIONS; 2]);
        self.decode
            .iter()
            .zip(found)
            .for_each(|(rate, value)| rate.set(value));
    }

    /// A first byte took that long. Two at once may lose one: others follow.
    fn took(&self, us: f64) {
        let known = self.late_us.get();
        self.late_us.set(match known {
            0.0 => us,
            known if us < known => us,
            known => known + (us - known) / LATE_MEMORY,
        });
    }
}

impl Lane {
    /// Nothing is expected to be later than this without a first byte having been heard.
    fn overdue_us(&self, now_us: f64, late_us: f64) -> f64 {
        (self.open.front()).map_or(0.0, |open| (now_us - open.done_us - late_us).max(0.0))
    }

    /// Prefills are done one after the other: with all before number `from` done at `done_us`, when are the rest?
    fn reckon(&mut self, from: usize, mut done_us: f64) {
        for open in self.open.iter_mut().skip(from) {
            done_us = done_us.max(open.picked_us) + open.takes_us;
            open.done_us = done_us;
        }
        self.free_us = done_us;
    }

    /// Milliseconds of prefill sent there per millisecond lately: over as long as anything was seen, or traffic that has
    /// only begun would pass for light.
    fn busy(&self, now_us: f64) -> f64 {
        let seen_us = (now_us - self.first_us).max(0.0) + BUSY_LEAST_US;
        let weight_ms = BUSY_MEMORY_US / 1e3 * (1.0 - (-seen_us / BUSY_MEMORY_US).exp());
        self.sent_lately_ms(now_us) / weight_ms
    }

    fn sent_lately_ms(&self, now_us: f64) -> f64 {
        self.sent_ms * (-(now_us - self.sent_at_us).max(0.0) / BUSY_MEMORY_US).exp()
    }

    /// The clock is believed as far as news is fresh; with old news it is all that was sent and not heard of since.
    fn wait_us(&self, now_us: f64, late_us: f64) -> f64 {
        let clock_us = (self.free_us + self.overdue_us(now_us, late_us) - now_us).max(0.0);
        let trust = 1.0 / (1.0 + late_us / STALE_US);
        trust * clock_us + (1.0 - trust) * self.unheard_us.max(0.0)
    }
}

impl Forecast {
    /// What a request of this size is to expect here.
    pub(crate) fn expected(
        &self,
        pool: &PoolRates,
        work: &Work,
        context_tokens: f64,
        now: Duration,
    ) -> scheduler::Forecast {
        let lane = self.lane.lock();
        let [base, per_context] = pool.token_ms();
        let (prefill_factor, decode_factor) =
            (lane.prefill.last_factor(), lane.decode.last_factor());
        let context = lane.context_tokens as f64 + context_tokens;
        scheduler::Forecast {
            wait_ms: (lane.wait_us(micros(now), pool.late_us()) / 1e3) as f32,
            prefill_ms: (prefill_factor * pool.prefill_ms(work)) as f32,
            token_ms: (decode_factor * (base + per_context * context)) as f32,
            waiting: lane.open.len() as f32,
            busy: lane.busy(micros(now)) as f32,
            learned: pool.late_us() > 0.0,
        }
    }

    /// A request goes there.
    pub(crate) fn picked(
        &self,
        pool: &PoolRates,
        work: Work,
        streamed: bool,
        context_tokens: u64,
        now: Duration,
    ) -> Booked {
        let mut lane = self.lane.lock();
        let now_us = micros(now);
        let wait_us = lane.wait_us(now_us, pool.late_us());
        let prefill_ms = lane.prefill.last_factor() * pool.prefill_ms(&work);
        lane.free_us = now_us.max(lane.free_us) + prefill_ms * 1e3;
        lane.context_tokens += context_tokens;
        let name = lane.next_name;
        lane.next_name += 1;
        if name == 0 {
            lane.first_us = now_us;
        }
        lane.sent_ms = lane.sent_lately_ms(now_us) + prefill_ms;
        lane.sent_at_us = now_us;
        let done_us = lane.free_us;
        lane.unheard_us += prefill_ms * 1e3;
        lane.open.push_back(Open {
            name,
            picked_us: now_us,
            takes_us: prefill_ms * 1e3,
            done_us,
            tokens: if streamed { work.tokens } else { 0.0 },
        });
        self.head.of(lane.first_streamed());
        Booked {
            name,
            work,
            wait_ms: wait_us / 1e3,
            prefill_ms,
            context_tokens,
            context_at_first_byte: None,
        }
    }

    /// Its first byte is here: sets the clock right and learns. `streamed` is false where the first byte comes with the
    /// last: it tells nothing of prefill then.
    pub(crate) fn first_byte(
        &self,
        pool: &PoolRates,
        booked: &mut Booked,
        streamed: bool,
        ttft: Duration,
        now: Duration,
    ) {
        let mut lane = self.lane.lock();
        booked.context_at_first_byte = Some(lane.context_tokens);
        let Some((at, _)) = lane.close(booked.name) else {
            return;
        };
        if !streamed {
            return;
        }
        let now_us = micros(now);
        pool.took(ttft.as_secs_f64() * 1e6);
        lane.reckon(at, now_us - pool.late_us());
        self.head.of(lane.first_streamed());
        let took_ms = ttft.as_secs_f64() * 1e3 - booked.wait_ms;
        // A long wait says more of others than of this one.
        let alone = booked.prefill_ms / (booked.prefill_ms + booked.wait_ms).max(1e-3);
        // What came back so late says more of the way than of the endpoint: whichever was believed to be busier would be
        // taken for the faster, and sent more.
        if pool.late_us() < NOTHING_TOLD_US {
            pool.learn_prefill(&mut lane.prefill, &booked.work, took_ms, alone);
        }
    }

    /// Tokens of prompts without a first byte that are expected to be computed already; never waits.
    pub(crate) fn done_tokens(&self, now_us: u64) -> f64 {
        self.head.done_tokens(now_us)
    }

    /// The request is over; `answer` where all of it came: its time between first and last byte and its tokens.
    pub(crate) fn finished(
        &self,
        pool: &PoolRates,
        booked: &Booked,
        answer: Option<(Duration, u64)>,
    ) {
        let mut lane = self.lane.lock();
        lane.context_tokens = lane.context_tokens.saturating_sub(booked.context_tokens);
        if let Some((at, open)) = lane.close(booked.name) {
            // Its prefill is not done any more.
            lane.reckon(at, open.done_us - open.takes_us);
            self.head.of(lane.first_streamed());
        }
        let (Some((took, tokens)), Some(context)) = (answer, booked.context_at_first_byte) else {
            return;
        };
        if tokens < 4 {
            return;
        }
        let seen_ms = took.as_secs_f64() * 1e3 / (tokens - 1) as f64;
        pool.learn_decode(&mut lane.decode, context as f64, seen_ms);
    }

    /// Another process is behind the same address: what was learned is not true of it.
    pub(crate) fn restarted(&self) {
        let mut lane = self.lane.lock();
        lane.prefill = Speed::default();
        lane.decode = Speed::default();
        lane.free_us = 0.0;
    }
}

impl Lane {
    /// What is computed next of all that will be heard of.
    fn first_streamed(&self) -> Option<&Open> {
        self.open.iter().find(|open| open.tokens > 0.0)
    }

    /// Takes a request off; its place and what was expected of it.
    fn close(&mut self, name: u64) -> Option<(usize, Open)> {
        let at = self.open.iter().position(|open| open.name == name)?;
        let open = self.open.remove(at)?;
        self.unheard_us -= open.takes_us;
        Some((at, open))
    }
}

fn micros(at: Duration) -> f64 {
    at.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A prompt that takes 500 ms by the assumed rates, pairs left out.
    fn work() -> Work {
        Work {
            tokens: 10_000.0,
            pairs: 0.0,
        }
    }

    #[test]
    fn the_clock_adds_up_and_runs_down_by_itself() {
        let (pool, forecast) = (PoolRates::default(), Forecast::default());
        let wait = |now| forecast.expected(&pool, &work(), 10_000.0, now).wait_ms;
        assert_eq!(wait(ms(0)), 0.0);
        let _first = forecast.picked(&pool, work(), true, 10_000, ms(0));
        let _second = forecast.picked(&pool, work(), true, 10_000, ms(0));
        assert_eq!(wait(ms(0)), 1_000.0);
        assert_eq!(wait(ms(400)), 600.0);
        // The first is overdue from 500 ms on: what comes after it is not done either.
        assert_eq!(wait(ms(800)), 500.0);
    }

    #[test]
    fn a_first_byte_sets_the_clock_right_and_a_failure_takes_its_work_off() {
        let (pool, forecast) = (PoolRates::default(), Forecast::default());
        let mut first = forecast.picked(&pool, work(), true, 10_000, ms(0));
        let second = forecast.picked(&pool, work(), true, 10_000, ms(0));
        let third = forecast.picked(&pool, work(), true, 10_000, ms(0));
        let state = || forecast.expected(&pool, &work(), 10_000.0, ms(600));
        forecast.first_byte(&pool, &mut first, true, ms(600), ms(600));
        let seen = state();
        assert_eq!(seen.waiting, 2.0);
        assert!(seen.wait_ms > 300.0 && seen.wait_ms < 1_001.0, "{seen:?}");
        forecast.finished(&pool, &second, None);
        assert!(state().wait_ms < seen.wait_ms, "{:?}", state());
        forecast.finished(&pool, &third, None);
        assert_eq!((state().wait_ms, state().waiting), (0.0, 0.0));
    }

    #[test]
    fn what_is_computed_of_the_first_does_not_stand_before_the_next() {
        let (pool, forecast) = (PoolRates::default(), Forecast::default());
        let done = |at_ms: u64| forecast.done_tokens(at_ms * 1_000);
        assert_eq!(done(100), 0.0);
        let mut first = forecast.picked(&pool, work(), true, 10_000, ms(0));
        let _second = forecast.picked(&pool, work(), true, 10_000, ms(0));
        for (at_ms, expected) in [(0, 0.0), (125, 2_500.0), (500, 10_000.0)] {
            assert!(
                (done(at_ms) - expected).abs() < 50.0,
                "{at_ms}: {}",
                done(at_ms)
            );
        }
        // It is overdue: ten times as slow as was thought, so far, and the next one has not begun.
        assert_eq!(done(5_000), 1_000.0);
        forecast.first_byte(&pool, &mut first, true, ms(600), ms(600));
        assert!(
            (0..9_000)
                .step_by(50)
                .all(|at_ms| done(600 + at_ms) <= 10_000.0)
        );
        // The first byte of a whole body comes with its last: how far it is, nobody can tell.
        let whole = Forecast::default();
        let _booked = whole.picked(&pool, work(), false, 10_000, ms(0));
        assert_eq!(whole.done_tokens(400_000), 0.0);
    }

    #[test]
    fn traffic_that_has_only_begun_is_not_light() {
        let (pool, forecast) = (PoolRates::default(), Forecast::default());
        let busy = |at_ms| forecast.expected(&pool, &work(), 0.0, ms(at_ms)).busy;
        // 500 ms of prefill every second, from the beginning on.
        for second in 0..20 {
            let _booked = forecast.picked(&pool, work(), true, 10_000, ms(second * 1_000));
            let seen = busy(second * 1_000 + 900);
            assert!((0.3..0.7).contains(&seen), "{second}: {seen}");
        }
        assert!(busy(60_000) < 0.01);
    }

    #[test]
    fn a_slow_endpoint_is_known_after_some_answers() {
        let pool = PoolRates::default();
        let (fast, slow) = (Forecast::default(), Forecast::default());
        let mut now = Duration::ZERO;
        for at in 0..20_u64 {
            let size = Work::of(1_000.0 + (at * 733 % 3_000) as f64, 0.0);
            for (forecast, factor) in [(&fast, 1.0), (&slow, 8.0)] {
                let took = Duration::from_secs_f64(pool_ms(&size) * factor / 1e3);
                let mut booked = forecast.picked(&pool, size, true, 1_000, now);
                forecast.first_byte(&pool, &mut booked, true, took, now + took);
                forecast.finished(&pool, &booked, Some((ms(100), 10)));
            }
            now += Duration::from_secs(60);
        }
        let expected = |forecast: &Forecast| {
            let work = Work::of(2_000.0, 0.0);
            forecast.expected(&pool, &work, 2_000.0, now).prefill_ms
        };
        let ratio = expected(&slow) / expected(&fast);
        assert!((4.0..12.0).contains(&ratio), "{ratio}");
    }

    /// What a prompt takes by the assumed rates.
    fn pool_ms(work: &Work) -> f64 {
        let [_, tokens, pairs] = work.features();
        tokens + pairs
    }
}
