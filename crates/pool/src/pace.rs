//! How long until the next look at an endpoint?

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Looks of one kind a second over all endpoints of a pool; beyond it each waits longer.
const MAX_LOOKS_PER_SECOND: u64 = 1_000;

/// Endpoints whose first looks may fall together.
const AT_ONCE: usize = 100;

/// Looks are spread by up to this share of their interval, so that they do not fall into step.
const JITTER: f64 = 0.1;

/// The chance that spreads one endpoint's looks: the same for the same name and kind in every run.
pub(crate) fn seeded(name: &str, kind: &str) -> SmallRng {
    let mut hasher = DefaultHasher::new();
    (name, kind).hash(&mut hasher);
    SmallRng::seed_from_u64(hasher.finish())
}

/// `interval`, not less than what `endpoints` leave to each, less a little chance: never longer than asked for,
/// unless there are too many.
pub(crate) fn spread(interval: Duration, endpoints: usize, rng: &mut SmallRng) -> Duration {
    interval
        .max(share(endpoints))
        .mul_f64(1.0 - JITTER * rng.random::<f64>())
}

/// How long a new endpoint's first look waits: not at all, unless so many came at once that they would all connect
/// in one instant.
pub(crate) fn first(endpoints: usize, rng: &mut SmallRng) -> Duration {
    if endpoints <= AT_ONCE {
        return Duration::ZERO;
    }
    share(endpoints).mul_f64(rng.random::<f64>())
}

/// What [`MAX_LOOKS_PER_SECOND`] leaves to each endpoint.
fn share(endpoints: usize) -> Duration {
    Duration::from_millis(endpoints as u64 * 1_000 / MAX_LOOKS_PER_SECOND)
}

/// The interval of one endpoint's scrapes: the least while it works, doubling up to the most while it does not.
#[derive(Debug)]
pub(crate) struct Adaptive {
    least: Duration,
    most: Duration,
    current: Duration,
}

impl Adaptive {
    pub(crate) fn new(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most,
            current: least,
        }
    }

    /// After a look that took `took`: an endpoint is left alone at least as long as its answer cost it.
    pub(crate) fn next(&mut self, busy: bool, took: Duration) -> Duration {
        self.current = if busy {
            self.least
        } else {
            (self.current * 2).min(self.most)
        };
        self.current.max(took)
    }

    /// Work came: the next look may be this soon after the last.
    pub(crate) fn least(&self) -> Duration {
        self.least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_while_idle_and_drops_when_busy() {
        let ms = Duration::from_millis;
        let mut pace = Adaptive::new(ms(100), ms(1_000));
        let check = |pace: &mut Adaptive, busy, took, expected| {
            assert_eq!(pace.next(busy, ms(took)), ms(expected));
        };
        for (busy, took, expected) in [
            (false, 1, 200),
            (false, 1, 400),
            (false, 1, 800),
            (false, 1, 1_000),
            (false, 1, 1_000),
            (true, 1, 100),
            (true, 300, 300),
            (false, 1, 200),
        ] {
            check(&mut pace, busy, took, expected);
        }
    }

    #[test]
    fn only_a_crowd_waits_for_its_first_look() {
        for (endpoints, most_ms) in [(1, 0), (100, 0), (1_000, 1_000)] {
            let wait = first(endpoints, &mut seeded("a:1", "health"));
            assert!(
                wait <= Duration::from_millis(most_ms),
                "{endpoints}: {wait:?}"
            );
            assert_eq!(wait.is_zero(), most_ms == 0);
        }
    }

    #[test]
    fn spread_is_repeatable_and_bounded() {
        let ms = Duration::from_millis;
        for (interval, endpoints, least, most) in
            [(100, 3, 90, 100), (100, 2_000, 1_800, 2_000), (0, 1, 0, 1)]
        {
            let once = spread(ms(interval), endpoints, &mut seeded("a:1", "scrape"));
            let again = spread(ms(interval), endpoints, &mut seeded("a:1", "scrape"));
            assert_eq!(once, again);
            assert!(once >= ms(least) && once <= ms(most), "{once:?}");
        }
    }
}
