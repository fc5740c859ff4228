//! What time is it, as the fleet counts it?

use std::time::Duration;

use tokio::time::Instant;

/// Time since process start. Every caller of one fleet must use clones of one clock.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero, now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Time since [`Clock::start`].
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
