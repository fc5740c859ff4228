//! What do a night with fewer replicas, and prompts found in cache, save?

use serde::Serialize;

use super::model::DAY_S;

/// A day/night schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// Hours a day with fewer replicas, 0 to 24.
    pub night_hours: f64,
    pub replicas_fewer: u32,
    /// Price of a node for an hour.
    pub node_per_hour: f64,
    /// Seconds that a replica is paid for before it serves, once a morning.
    pub startup_s: f64,
    /// Saved a day if replicas served at once.
    pub saved_per_day_before_startup: f64,
    /// Saved a day.
    pub saved_per_day: f64,
}

impl Schedule {
    /// `hours · replicas · price of an hour`, less the price of starting them again before the day begins.
    pub fn new(night_hours: f64, replicas_fewer: u32, node_per_hour: f64, startup_s: f64) -> Self {
        let fewer = f64::from(replicas_fewer);
        let gross = night_hours * fewer * node_per_hour;
        let startup = (startup_s / 3600.0).min(night_hours) * fewer * node_per_hour;
        Self {
            night_hours,
            replicas_fewer,
            node_per_hour,
            startup_s,
            saved_per_day_before_startup: gross,
            saved_per_day: gross - startup,
        }
    }
}

/// Prefill that was not needed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheSaving {
    pub requests_per_day: f64,
    /// Prompt tokens found in cache, a day.
    pub tokens_avoided_per_day: f64,
    /// Uncached prompt tokens per second of one replica.
    pub prefill_tokens_per_s: f64,
    /// Seconds of one replica's prefill, a day.
    pub replica_seconds_per_day: f64,
    /// Replicas' worth at the planned utilisation.
    pub replicas: f64,
    pub saved_per_day: f64,
}

impl CacheSaving {
    /// `requests · prompt tokens · hit rate / prefill rate` seconds of a replica that is used for `utilisation` of
    /// the day it is paid for.
    pub fn new(
        requests_per_day: f64,
        input_tokens: f64,
        hit_rate: f64,
        prefill_tokens_per_s: f64,
        utilisation: f64,
        node_per_day: f64,
    ) -> Self {
        let tokens = requests_per_day * input_tokens * hit_rate;
        let seconds = tokens / prefill_tokens_per_s;
        let replicas = seconds / DAY_S / utilisation;
        Self {
            requests_per_day,
            tokens_avoided_per_day: tokens,
            prefill_tokens_per_s,
            replica_seconds_per_day: seconds,
            replicas,
            saved_per_day: replicas * node_per_day,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_saves_its_hours_less_the_start_up() {
        let check = |hours, fewer, startup_s, expected: (f64, f64)| {
            let schedule = Schedule::new(hours, fewer, 5.29, startup_s);
            let near = |seen: f64, expected: f64| (seen - expected).abs() < 0.005;
            assert!(
                near(schedule.saved_per_day_before_startup, expected.0)
                    && near(schedule.saved_per_day, expected.1),
                "{schedule:?} is not {expected:?}"
            );
        };
        check(8.0, 2, 0.0, (84.64, 84.64));
        check(8.0, 2, 240.0, (84.64, 83.93));
        check(8.0, 0, 240.0, (0.0, 0.0));
        // A start-up longer than the night eats it, and no more.
        check(1.0, 1, 7200.0, (5.29, 0.0));
    }

    #[test]
    fn hits_save_the_prefill_they_avoid() {
        // 1M requests of 1,000 tokens, half found: 500M tokens at 10,000 a second are 50,000 s of a replica.
        let saving = CacheSaving::new(1e6, 1000.0, 0.5, 10_000.0, 0.8, 100.0);
        assert_eq!(saving.tokens_avoided_per_day, 5e8);
        assert_eq!(saving.replica_seconds_per_day, 50_000.0);
        assert!((saving.replicas - 50_000.0 / 86_400.0 / 0.8).abs() < 1e-12);
        assert!((saving.saved_per_day - 100.0 * saving.replicas).abs() < 1e-9);
        assert_eq!(
            CacheSaving::new(1e6, 1000.0, 0.0, 1e4, 0.8, 100.0).saved_per_day,
            0.0
        );
    }
}
