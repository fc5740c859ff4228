//! When does a gateway next look at an engine's metrics?
//!
//! As its scrape feed does: the least interval while the engine or we have work there, doubling up to the most while
//! nobody has, a little chance so that looks do not fall into step, and at once (but for the least interval) when work
//! comes to an idle engine.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::settings::Settings;
use crate::workload::text;

/// Looks a second over all endpoints of a gateway; beyond it each waits longer.
const MAX_LOOKS_PER_SECOND: u64 = 1_000;

/// Looks are spread by up to this share of their interval.
const JITTER: f64 = 0.1;

/// The looks of one gateway at one engine.
#[derive(Debug)]
pub(crate) struct Pace {
    least: Duration,
    most: Duration,
    /// What is left to each engine of a large fleet.
    share: Duration,
    current: Duration,
    /// Counts looks entered on the agenda; only the latest is in force.
    turn: u64,
    /// Not before this, whatever comes.
    soonest: Duration,
    next: Duration,
    under_way: bool,
    sent_at: Duration,
    /// Work came since the last page was asked for.
    work: bool,
    rng: SmallRng,
}

impl Pace {
    pub(crate) fn new(
        settings: &Settings,
        fixed: Option<Duration>,
        replicas: usize,
        gateway: usize,
        replica: usize,
    ) -> Self {
        let (least, most) = match fixed {
            Some(interval) => (interval, interval),
            None => (settings.scrape, settings.scrape_idle.max(settings.scrape)),
        };
        Self {
            least,
            most,
            share: Duration::from_millis(replicas as u64 * 1_000 / MAX_LOOKS_PER_SECOND),
            current: least,
            turn: 0,
            soonest: Duration::ZERO,
            next: Duration::ZERO,
            under_way: false,
            sent_at: Duration::ZERO,
            work: false,
            rng: text::rng(&[settings.seed, 0x7061_6365, gateway as u64, replica as u64]),
        }
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// When the first look is: spread, so that a large fleet is not looked at in one instant.
    pub(crate) fn first(&mut self) -> Duration {
        self.next = self.least.max(self.share).mul_f64(self.rng.random::<f64>());
        self.next
    }

    /// A look begins.
    pub(crate) fn sent(&mut self, now: Duration) {
        self.under_way = true;
        self.sent_at = now;
        self.work = false;
    }

    /// The page is here; when is the next look, and which turn is that?
    pub(crate) fn read(&mut self, now: Duration, busy: bool) -> (Duration, u64) {
        self.under_way = false;
        self.current = match busy || self.work {
            true => self.least,
            false => (self.current * 2).min(self.most),
        };
        let took = now.saturating_sub(self.sent_at).min(self.least);
        let wait = self.current.max(took).max(self.share);
        let wait = wait.mul_f64(1.0 - JITTER * self.rng.random::<f64>());
        self.soonest = now + wait.min(self.least);
        self.next = if self.work { self.soonest } else { now + wait };
        self.turn += 1;
        (self.next, self.turn)
    }

    /// Work comes to the engine; a look that is moved forward for it.
    pub(crate) fn work_came(&mut self, now: Duration) -> Option<(Duration, u64)> {
        self.work = true;
        let sooner = now.max(self.soonest);
        if self.under_way || sooner >= self.next {
            return None;
        }
        self.next = sooner;
        self.turn += 1;
        Some((sooner, self.turn))
    }
}
