//! Percentiles of times, and what the process takes up.

use std::time::Duration;

pub struct Times(Vec<Duration>);

impl Times {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// Microseconds.
    pub fn at(&self, share: f64) -> f64 {
        let at = ((self.0.len() - 1) as f64 * share) as usize;
        self.0[at].as_secs_f64() * 1e6
    }
}

/// Resident memory, bytes.
pub fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// Time that this thread was on a core, so far; what others had of the core is not in it.
pub fn core_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split_whitespace().next();
    Duration::from_nanos(ns.and_then(|ns| ns.parse().ok()).unwrap_or(0))
}
