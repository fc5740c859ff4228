//! What does one streamed request teach?

use std::time::{Duration, Instant};

use engine_api::usage::Usage;

use super::error::ClientError;
use crate::workload::Prompted;

/// Events closer together than this came out of one write of the server, or waited together in a socket
/// buffer; they are one arrival. No engine makes tokens of one stream faster.
const COALESCE: Duration = Duration::from_micros(500);

/// Why a request counts as failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("status {code}: {message}")]
    Status { code: u16, message: String },
    #[error("the stream carried an error event: {message}")]
    InBand { message: String },
    #[error("asked for a stream, got {what}")]
    NotAStream { what: String },
    #[error("the stream ended without a single token")]
    Empty,
}

/// Content events that arrived together.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Instant,
    content_events: u32,
}

/// One request: its times from the intended send time on, what the engine counted, how it ended.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Which prefix group it belongs to.
    pub group: u32,
    pub intended: Instant,
    sent: Instant,
    ended: Instant,
    arrivals: Vec<Arrival>,
    /// The engine's count; `None` where the stream carried none.
    pub usage: Option<Usage>,
    /// `x-prefixgate-endpoint`
    pub endpoint: Option<String>,
    /// The answer says that its compute is simulated.
    pub simulated: bool,
    /// `[DONE]` was seen.
    pub done: bool,
    pub failure: Option<Failure>,
}

impl Sample {
    pub(crate) fn begin(prompted: &Prompted, intended: Instant, now: Instant) -> Self {
        Self {
            group: prompted.group,
            intended,
            sent: now.max(intended),
            ended: now,
            arrivals: Vec::new(),
            usage: None,
            endpoint: None,
            simulated: false,
            done: false,
            failure: None,
        }
    }

    /// Content arrived: `events` events in one read at `now`.
    pub(crate) fn arrived(&mut self, events: u32, now: Instant) {
        if events == 0 {
            return;
        }
        match self.arrivals.last_mut() {
            Some(last) if now.duration_since(last.at) < COALESCE => last.content_events += events,
            _ => self.arrivals.push(Arrival {
                at: now,
                content_events: events,
            }),
        }
    }

    /// The first failure stays.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    pub(crate) fn finish(&mut self, now: Instant) {
        self.ended = now;
        let said_nothing =
            self.arrivals.is_empty() && self.usage.is_none_or(|usage| usage.completion_tokens == 0);
        if said_nothing {
            self.fail(Failure::Empty);
        }
    }

    pub fn is_ok(&self) -> bool {
        self.failure.is_none()
    }

    /// Time the request waited in this tool, in ms: our lateness, not the server's.
    pub fn client_queue_ms(&self) -> f64 {
        ms(self.sent.duration_since(self.intended))
    }

    /// First content after the intended send time, in ms.
    pub fn ttft_ms(&self) -> Option<f64> {
        self.arrivals
            .first()
            .map(|first| ms(first.at.duration_since(self.intended)))
    }

    /// Last content after the intended send time, in ms; the end of the answer where it had no content.
    pub fn e2e_ms(&self) -> f64 {
        let last = self.arrivals.last().map_or(self.ended, |last| last.at);
        ms(last.duration_since(self.intended))
    }

    /// `(E2E - TTFT) / (output tokens - 1)`, in ms; needs the engine's own token count.
    pub fn tpot_ms(&self) -> Option<f64> {
        let tokens = self.usage?.completion_tokens;
        (tokens > 1).then_some((self.e2e_ms() - self.ttft_ms()?) / (tokens - 1) as f64)
    }

    /// Gaps between content events, in ms. Events that arrived together share the gap before them evenly;
    /// those of the first arrival have no gap.
    pub fn itl_ms(&self) -> impl Iterator<Item = f64> + '_ {
        self.arrivals.windows(2).flat_map(|pair| {
            let events = pair[1].content_events;
            let gap = ms(pair[1].at.duration_since(pair[0].at)) / f64::from(events);
            std::iter::repeat_n(gap, events as usize)
        })
    }

    /// When it left.
    pub fn sent(&self) -> Instant {
        self.sent
    }

    /// When content came, and in how many events.
    pub fn contents(&self) -> impl Iterator<Item = (Instant, u32)> + '_ {
        self.arrivals
            .iter()
            .map(|arrival| (arrival.at, arrival.content_events))
    }

    /// When the answer ended.
    pub fn ended(&self) -> Instant {
        self.ended
    }

    /// Content events, which are not tokens.
    pub fn content_events(&self) -> u64 {
        self.arrivals
            .iter()
            .map(|arrival| u64::from(arrival.content_events))
            .sum()
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(reads_ms: &[(u64, u32)], tokens: u64) -> Sample {
        let begin = Instant::now();
        let prompted = Prompted {
            path: "/v1/completions",
            body: bytes::Bytes::new(),
            group: 0,
        };
        let mut sample = Sample::begin(&prompted, begin, begin + Duration::from_millis(3));
        for &(at_ms, events) in reads_ms {
            sample.arrived(events, begin + Duration::from_millis(at_ms));
        }
        sample.usage = Some(Usage {
            prompt_tokens: 9,
            completion_tokens: tokens,
            cached_tokens: None,
        });
        sample.finish(begin + Duration::from_millis(500));
        sample
    }

    #[test]
    fn times_count_from_the_intended_send_time() {
        let sample = sample(&[(103, 1), (113, 1), (123, 1)], 3);
        assert_eq!(sample.client_queue_ms(), 3.0);
        assert_eq!(sample.ttft_ms(), Some(103.0));
        assert_eq!(sample.e2e_ms(), 123.0);
        assert_eq!(sample.tpot_ms(), Some(10.0));
        assert_eq!(sample.itl_ms().collect::<Vec<_>>(), [10.0, 10.0]);
    }

    #[test]
    fn events_of_one_read_share_the_gap() {
        let sample = sample(&[(100, 2), (130, 3)], 5);
        assert_eq!(sample.itl_ms().collect::<Vec<_>>(), [10.0, 10.0, 10.0]);
        // Tokens come from usage: five, though the first read held two events.
        assert_eq!(sample.tpot_ms(), Some(7.5));
    }

    #[test]
    fn reads_a_moment_apart_are_one_arrival() {
        let begin = Instant::now();
        let prompted = Prompted {
            path: "/v1/completions",
            body: bytes::Bytes::new(),
            group: 0,
        };
        let mut sample = Sample::begin(&prompted, begin, begin);
        for micros in [100_000, 120_000, 120_040, 120_080, 140_000] {
            sample.arrived(1, begin + Duration::from_micros(micros));
        }
        let gaps: Vec<f64> = sample
            .itl_ms()
            .map(|gap| (gap * 100.0).round() / 100.0)
            .collect();
        assert_eq!(gaps, [6.67, 6.67, 6.67, 20.0]);
    }

    #[test]
    fn nothing_said_is_a_failure_and_one_token_has_no_tpot() {
        assert!(matches!(sample(&[], 0).failure, Some(Failure::Empty)));
        assert!(
            sample(&[], 4).is_ok(),
            "tokens that decode to nothing are tokens"
        );
        assert_eq!(sample(&[(50, 1)], 1).tpot_ms(), None);
    }
}
