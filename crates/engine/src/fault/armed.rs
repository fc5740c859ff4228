//! Which fault, if any, strikes this request?

use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

use super::{Fault, Kind, Stage};

/// Most faults armed at once; an admin call beyond it is refused.
const MAX_ARMED: usize = 64;

#[derive(Debug)]
struct Armed {
    fault: Fault,
    rng: SmallRng,
    struck: u64,
    armed_at: Duration,
}

impl Armed {
    fn live(&self, now: Duration) -> bool {
        let in_time = self
            .fault
            .for_ms
            .is_none_or(|for_ms| now < self.armed_at + Duration::from_millis(for_ms));
        in_time && self.fault.count.is_none_or(|count| self.struck < count)
    }

    fn draw(&mut self) -> bool {
        let struck = self.fault.probability >= 1.0 || self.rng.random_bool(self.fault.probability);
        self.struck += u64::from(struck);
        struck
    }
}

/// The armed faults of one engine. Times are `Duration`s since the engine started.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    armed: Mutex<Vec<Armed>>,
    /// Counts changes, so that a sleeping request or a closed listener notices one.
    changes: watch::Sender<u64>,
}

impl Faults {
    /// Faults that draw their chances from `seed` unless they bring their own.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            armed: Mutex::default(),
            changes: watch::channel(0).0,
        }
    }

    /// Arms one more. The error says that there are too many.
    pub(crate) fn arm(&self, fault: Fault, now: Duration) -> Result<(), String> {
        let mut armed = self.armed.lock();
        armed.retain(|armed| armed.live(now));
        if armed.len() >= MAX_ARMED {
            return Err(format!("at most {MAX_ARMED} faults can be armed at once"));
        }
        let seed = fault
            .seed
            .unwrap_or(self.seed.wrapping_add(armed.len() as u64));
        armed.push(Armed {
            fault,
            rng: SmallRng::seed_from_u64(seed),
            struck: 0,
            armed_at: now,
        });
        drop(armed);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Removes all; requests held by one go on.
    pub(crate) fn clear(&self) {
        self.armed.lock().clear();
        self.changes.send_modify(|count| *count += 1);
    }

    /// Removes those of one kind.
    pub(crate) fn disarm(&self, kind: Kind) {
        self.armed.lock().retain(|armed| armed.fault.kind != kind);
        self.changes.send_modify(|count| *count += 1);
    }

    /// What is armed now, with the number of requests each has struck.
    pub(crate) fn list(&self, now: Duration) -> Vec<(Fault, u64)> {
        let armed = self.armed.lock();
        armed
            .iter()
            .filter(|armed| armed.live(now))
            .map(|armed| (armed.fault.clone(), armed.struck))
            .collect()
    }

    /// Sees every later change of the set.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The first armed fault of `stage` that strikes a request to `path`, which counts as struck. A fault
    /// without a path of its own is for generation requests only.
    pub(crate) fn strike(
        &self,
        stage: Stage,
        path: &str,
        generates: bool,
        now: Duration,
    ) -> Option<Fault> {
        self.first(now, |fault| {
            fault.kind.stage() == stage
                && match &fault.path {
                    Some(prefix) => path.starts_with(prefix.as_str()),
                    None => generates || fault.kind == Kind::SlowStart,
                }
        })
    }

    /// Whether a fault of `kind` is in force, without drawing its chance; for the listener and the gauges.
    pub(crate) fn in_force(&self, kind: Kind, now: Duration) -> bool {
        let armed = self.armed.lock();
        armed
            .iter()
            .any(|armed| armed.fault.kind == kind && armed.live(now))
    }

    /// When the first timed fault of `kind` ends by itself.
    pub(crate) fn ends_at(&self, kind: Kind) -> Option<Duration> {
        let armed = self.armed.lock();
        let ends = armed.iter().filter(|armed| armed.fault.kind == kind);
        ends.filter_map(|armed| Some(armed.armed_at + Duration::from_millis(armed.fault.for_ms?)))
            .min()
    }

    /// Whether a connection accepted now is to be reset.
    pub(crate) fn resets(&self, now: Duration) -> bool {
        self.first(now, |fault| fault.kind == Kind::Reset).is_some()
    }

    fn first(&self, now: Duration, wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        // Taken on every request: the usual case is an empty list.
        let mut armed = self.armed.lock();
        armed.iter_mut().find_map(|armed| {
            (armed.live(now) && wanted(&armed.fault) && armed.draw()).then(|| armed.fault.clone())
        })
    }
}
