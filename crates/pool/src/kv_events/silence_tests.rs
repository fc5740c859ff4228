//! How long does it take until silence is told, at the pace at which endpoints are really looked at?

use super::*;
use crate::config::{ScrapeConfig, ms};
use crate::kv_events::KvEventsConfig;
use crate::kv_events::feed::LOOK_EVERY;
use crate::pace::Adaptive;
use crate::scrape;

/// What is promised to an operator.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// An engine of which one step is a millisecond of time: what it computed, and what was scraped of it.
struct Engine {
    pace: Adaptive,
    next_scrape_ms: u64,
    next_look_ms: u64,
    computed_tokens: f64,
    seen: Seen,
}

impl Engine {
    /// Idle for so long that it is scraped as seldom as may be; the next scrape falls at `next_scrape_ms`.
    fn idle(next_scrape_ms: u64, next_look_ms: u64) -> Self {
        let config = ScrapeConfig::default();
        let mut pace = scrape::pace(&config, true);
        for _ in 0..20 {
            pace.next(false, Duration::ZERO);
        }
        Self {
            pace,
            next_scrape_ms,
            next_look_ms,
            computed_tokens: 0.0,
            seen: Seen {
                computed_tokens: Some(0.0),
                scrapes: 7,
                ..Seen::default()
            },
        }
    }

    /// One millisecond; what the silence came to, if it was looked at.
    fn step(&mut self, now_ms: u64, begun: Instant, silence: &mut Silence) -> Option<Duration> {
        if now_ms == self.next_scrape_ms {
            let busy = self.seen.computed_tokens != Some(self.computed_tokens);
            self.seen.computed_tokens = Some(self.computed_tokens);
            self.seen.scrapes += 1;
            let wait = self.pace.next(busy, Duration::ZERO);
            self.next_scrape_ms += wait.as_millis() as u64;
        }
        if now_ms != self.next_look_ms {
            return None;
        }
        self.next_look_ms += LOOK_EVERY.as_millis() as u64;
        let work = Work {
            seen: self.seen,
            picks: 0,
            active_requests: 0,
        };
        silence.look(work, begun + ms(now_ms))
    }
}

/// Milliseconds from the beginning of work, past us and untold, until it would be told.
fn told_after_ms(next_scrape_ms: u64, next_look_ms: u64) -> u64 {
    let begun = Instant::now();
    let limit = ms(KvEventsConfig::default().silent_after_ms);
    let mut engine = Engine::idle(next_scrape_ms, next_look_ms);
    let mut silence = Silence::default();
    silence.heard(engine.seen);
    for now_ms in 1..60_000 {
        // The worst moment for it to begin: when the last word was heard.
        engine.computed_tokens += 1.0;
        let silent = engine.step(now_ms, begun, &mut silence);
        if silent.is_some_and(|silent| silent >= limit) {
            return now_ms;
        }
    }
    u64::MAX
}

#[test]
fn silence_is_told_within_five_seconds_whenever_it_begins() {
    let worst = (1..=20).flat_map(|scrape| (1..=5).map(move |look| (scrape * 50, look * 100)));
    let worst = worst
        .map(|(scrape, look)| told_after_ms(scrape, look))
        .max();
    assert!(
        worst.is_some_and(|worst| ms(worst) <= TOLD_WITHIN),
        "{worst:?} ms"
    );
}

/// Steps of an engine in one situation: (scrapes, computed tokens, picks of ours) at each look, 500 ms apart.
#[track_caller]
fn check(looks: &[(u64, f64, u64)], expected: Option<u64>) {
    let begun = Instant::now();
    let mut silence = Silence::default();
    let mut last = None;
    for (number, (scrapes, computed_tokens, picks)) in looks.iter().enumerate() {
        let work = Work {
            seen: Seen {
                computed_tokens: Some(*computed_tokens),
                scrapes: *scrapes,
                ..Seen::default()
            },
            picks: *picks,
            active_requests: 0,
        };
        last = silence.look(work, begun + LOOK_EVERY * number as u32);
    }
    assert_eq!(last, expected.map(ms));
}

#[test]
fn what_can_be_explained_is_no_silence() {
    // The first scrape may count what was heard before it.
    check(&[(1, 0.0, 0), (1, 9_000.0, 0)], None);
    check(&[(2, 0.0, 0), (3, 9_000.0, 0), (4, 9_000.0, 0)], Some(500));
    // The end of each cached prompt is computed again: up to two blocks a request, ours or one that is not.
    check(&[(2, 0.0, 0), (3, 32.0, 0), (4, 32.0, 0)], None);
    check(&[(2, 0.0, 0), (3, 320.0, 9), (4, 320.0, 9)], None);
    check(&[(2, 0.0, 0), (3, 321.0, 9), (4, 321.0, 9)], Some(500));
    // Another process counts from nothing.
    check(
        &[(2, 9_000.0, 0), (3, 9_999.0, 0), (4, 5.0, 0), (5, 6.0, 0)],
        None,
    );
}
