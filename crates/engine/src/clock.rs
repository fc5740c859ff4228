//! What time is it for an engine?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Time since the engine started, on tokio's clock: it stands still where a test pauses that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// Wall clock at `origin`, seconds since 1970.
    origin_unix_s: f64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            origin: Instant::now(),
            origin_unix_s: unix.as_secs_f64(),
        }
    }

    pub(crate) fn now(self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn instant(self, at: Duration) -> Instant {
        self.origin + at
    }

    pub(crate) fn started_unix_s(self) -> f64 {
        self.origin_unix_s
    }

    pub(crate) fn unix_s(self) -> u64 {
        self.unix_s_at(self.now()) as u64
    }

    /// Wall clock at `at`, seconds since 1970.
    pub(crate) fn unix_s_at(self, at: Duration) -> f64 {
        self.origin_unix_s + at.as_secs_f64()
    }
}
