//! What did a real service serve? Reads a trace in the Mooncake format, a line at a time.
//!
//! A line is a request: `timestamp` in milliseconds from the start, `input_length` and `output_length` in tokens, and
//! `hash_ids`, one number for each block of 512 prompt tokens (the last may be shorter), equal where everything up to and
//! with that block is equal. There is no text, so generated tokens cannot be told from a later prompt's: a turn's answer
//! is never found again at the engine, which a real conversation would. Hit ratios are a little low for that.
//!
//! Time stamps of some traces were gathered in batches: many requests on one multiple of three seconds. Those are spread
//! over the time until the next stamp, at random, in their order.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rand::Rng;
use rand::rngs::SmallRng;
use serde::Deserialize;

use super::{Job, Jobs, Piece, key};
use crate::workload::text;

/// Prompt tokens that one hash id stands for.
pub const TRACE_BLOCK_TOKENS: u32 = 512;

/// Length of the batches that time stamps were gathered in.
pub const DEFAULT_SPREAD_MS: u64 = 3_000;

/// Longest prompt taken for one: beyond, the line is a mistake.
const MAX_PROMPT_TOKENS: u64 = 16 << 20;

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    hash_ids: Vec<u64>,
}

/// Which part of a trace is read, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceOptions {
    /// Arrivals come this many times as fast.
    pub speed: f64,
    /// Requests read at most.
    pub max_requests: Option<usize>,
    /// Only what arrived before this, on the trace's own clock.
    pub until: Option<Duration>,
    /// Time stamps that are a multiple of this are batches; 0 takes every stamp as it is.
    pub spread_ms: u64,
    /// Longest prompt kept; longer ones are cut to it.
    pub max_prompt_tokens: Option<u32>,
    pub seed: u64,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            speed: 1.0,
            max_requests: None,
            until: None,
            spread_ms: DEFAULT_SPREAD_MS,
            max_prompt_tokens: None,
            seed: 0,
        }
    }
}

/// A trace being read.
pub struct Mooncake {
    path: PathBuf,
    lines: Box<dyn BufRead + Send>,
    options: TraceOptions,
    rng: SmallRng,
    /// Line read and not yet part of a batch.
    ahead: Option<Line>,
    ready: VecDeque<Job>,
    line: u64,
    bytes: u64,
    total_bytes: u64,
    taken: usize,
    last_ms: f64,
    text: String,
}

impl Mooncake {
    /// Opens a trace.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path, options: TraceOptions) -> anyhow::Result<Self> {
        let file =
            File::open(path).with_context(|| format!("cannot open trace {}", path.display()))?;
        let total_bytes = file.metadata().map(|data| data.len()).unwrap_or(0);
        Ok(Self::read(
            path,
            Box::new(BufReader::new(file)),
            total_bytes,
            options,
        ))
    }

    fn read(
        path: &Path,
        lines: Box<dyn BufRead + Send>,
        total_bytes: u64,
        options: TraceOptions,
    ) -> Self {
        Self {
            path: path.to_owned(),
            lines,
            options,
            rng: text::rng(&[options.seed, 0x7472_6163]),
            ahead: None,
            ready: VecDeque::new(),
            line: 0,
            bytes: 0,
            total_bytes: total_bytes.max(1),
            taken: 0,
            last_ms: 0.0,
            text: String::new(),
        }
    }

    fn read_line(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            self.text.clear();
            let read = self
                .lines
                .read_line(&mut self.text)
                .with_context(|| format!("cannot read trace {}", self.path.display()))?;
            if read == 0 {
                return Ok(None);
            }
            self.bytes += read as u64;
            self.line += 1;
            if self.text.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(&self.text).with_context(|| {
                format!(
                    "{} line {}: not a request; expected timestamp, input_length, output_length and hash_ids",
                    self.path.display(),
                    self.line
                )
            })?;
            self.check(&line)?;
            self.last_ms = line.timestamp;
            return Ok(Some(line));
        }
    }

    fn check(&self, line: &Line) -> anyhow::Result<()> {
        let at = || format!("{} line {}", self.path.display(), self.line);
        anyhow::ensure!(
            line.timestamp.is_finite() && line.timestamp >= self.last_ms,
            "{}: timestamp {} is before {}, the one of the line before; sort the trace by time",
            at(),
            line.timestamp,
            self.last_ms
        );
        anyhow::ensure!(
            (1..=MAX_PROMPT_TOKENS).contains(&line.input_length),
            "{}: input_length is {}; a prompt has 1 to {MAX_PROMPT_TOKENS} tokens",
            at(),
            line.input_length
        );
        anyhow::ensure!(
            line.output_length <= MAX_PROMPT_TOKENS,
            "{}: output_length is {}; more than {MAX_PROMPT_TOKENS} is a mistake",
            at(),
            line.output_length
        );
        let blocks = line.input_length.div_ceil(u64::from(TRACE_BLOCK_TOKENS));
        anyhow::ensure!(
            line.hash_ids.len() as u64 == blocks,
            "{}: {} hash_ids for {} tokens; {blocks} blocks of {TRACE_BLOCK_TOKENS} tokens were expected",
            at(),
            line.hash_ids.len(),
            line.input_length
        );
        Ok(())
    }

    /// Reads every request of the next time stamp and places them in time.
    fn fill(&mut self) -> anyhow::Result<()> {
        let first = match self.ahead.take() {
            Some(line) => Some(line),
            None => self.read_line()?,
        };
        let Some(first) = first else { return Ok(()) };
        let stamp = first.timestamp;
        if self
            .options
            .until
            .is_some_and(|until| stamp >= until.as_secs_f64() * 1e3)
        {
            return Ok(());
        }
        let mut batch = vec![first];
        let next_ms = loop {
            match self.read_line()? {
                Some(line) if line.timestamp == stamp => batch.push(line),
                Some(line) => break Some(self.ahead.insert(line).timestamp),
                None => break None,
            }
        };
        let times = self.times(stamp, batch.len(), next_ms);
        for (line, at_ms) in batch.into_iter().zip(times) {
            let at = Duration::from_secs_f64(at_ms / 1e3 / self.options.speed);
            let number = self.ready.len() as u64 + self.taken as u64;
            let job = self.job(&line, at, number);
            self.ready.push_back(job);
        }
        Ok(())
    }

    /// When the `count` requests of one stamp came.
    fn times(&mut self, stamp: f64, count: usize, next_ms: Option<f64>) -> Vec<f64> {
        let spread = self.options.spread_ms as f64;
        if spread == 0.0 || stamp % spread != 0.0 {
            return vec![stamp; count];
        }
        let width = next_ms.map_or(spread, |next| (next - stamp).min(spread));
        let mut times: Vec<f64> = (0..count)
            .map(|_| stamp + width * self.rng.random::<f64>())
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        times
    }

    fn job(&self, line: &Line, at: Duration, number: u64) -> Job {
        let mut left = line.input_length as u32;
        if let Some(most) = self.options.max_prompt_tokens {
            left = left.min(most.max(1));
        }
        let mut prompt = Vec::with_capacity(line.hash_ids.len());
        for id in &line.hash_ids {
            if left == 0 {
                break;
            }
            let tokens = left.min(TRACE_BLOCK_TOKENS);
            left -= tokens;
            prompt.push(Piece {
                key: key(&[1, *id]),
                tokens,
            });
        }
        Job {
            at,
            prompt,
            output_tokens: (line.output_length as u32).max(1),
            output_key: key(&[2, self.options.seed, number]),
            // Where the beginning is common to all, what follows it tells conversations apart.
            session: line
                .hash_ids
                .get(1)
                .or(line.hash_ids.first())
                .copied()
                .unwrap_or(number),
        }
    }
}

impl Jobs for Mooncake {
    fn next_job(&mut self) -> anyhow::Result<Option<Job>> {
        if self
            .options
            .max_requests
            .is_some_and(|most| self.taken >= most)
        {
            return Ok(None);
        }
        if self.ready.is_empty() {
            self.fill()?;
        }
        let job = self.ready.pop_front();
        self.taken += usize::from(job.is_some());
        Ok(job)
    }

    fn progress(&self) -> f64 {
        let by_bytes = self.bytes as f64 / self.total_bytes as f64;
        let by_count = self
            .options
            .max_requests
            .map_or(0.0, |most| self.taken as f64 / most.max(1) as f64);
        by_bytes.max(by_count).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn jobs(text: &str, options: TraceOptions) -> anyhow::Result<Vec<Job>> {
        let lines = Box::new(Cursor::new(text.to_owned().into_bytes()));
        let mut trace = Mooncake::read(Path::new("t.jsonl"), lines, text.len() as u64, options);
        std::iter::from_fn(|| trace.next_job().transpose()).collect()
    }

    fn line(at: u64, input: u32, ids: &[u64]) -> String {
        format!(
            "{{\"timestamp\":{at},\"input_length\":{input},\"output_length\":9,\"hash_ids\":{ids:?}}}\n"
        )
    }

    fn batches() -> String {
        let mut text = String::new();
        for batch in 0..4 {
            for request in 0..5 {
                text += &line(batch * 3_000, 700, &[0, 10 + batch * 5 + request]);
            }
        }
        text
    }

    #[test]
    fn batches_are_spread_and_stay_in_order() {
        let seen = jobs(&batches(), TraceOptions::default()).unwrap();
        assert_eq!(seen.len(), 20);
        assert!(seen.windows(2).all(|pair| pair[0].at <= pair[1].at));
        for (number, job) in seen.iter().enumerate() {
            let window = number as u64 / 5 * 3;
            assert!(
                job.at >= Duration::from_secs(window),
                "{number}: {:?}",
                job.at
            );
            assert!(
                job.at < Duration::from_secs(window + 3),
                "{number}: {:?}",
                job.at
            );
        }
        let distinct: std::collections::BTreeSet<_> = seen.iter().map(|job| job.at).collect();
        assert_eq!(distinct.len(), 20);
    }

    #[test]
    fn blocks_become_pieces() {
        let seen = jobs(&line(7, 1_100, &[0, 3, 9]), TraceOptions::default()).unwrap();
        let lengths: Vec<u32> = seen[0].prompt.iter().map(|piece| piece.tokens).collect();
        assert_eq!(lengths, [512, 512, 76]);
        assert_eq!(seen[0].prompt_tokens(), 1_100);
        assert_eq!(seen[0].at, Duration::from_millis(7));
        assert_eq!(seen[0].session, 3);
    }

    #[test]
    fn speed_and_truncation() {
        let half = TraceOptions {
            speed: 2.0,
            spread_ms: 0,
            ..TraceOptions::default()
        };
        let seen = jobs(&batches(), half).unwrap();
        assert_eq!(seen[19].at, Duration::from_millis(4_500));
        let few = TraceOptions {
            max_requests: Some(7),
            ..half
        };
        assert_eq!(jobs(&batches(), few).unwrap().len(), 7);
        let early = TraceOptions {
            until: Some(Duration::from_secs(6)),
            ..half
        };
        assert_eq!(jobs(&batches(), early).unwrap().len(), 10);
        let short = TraceOptions {
            max_prompt_tokens: Some(600),
            ..half
        };
        assert!(
            jobs(&batches(), short)
                .unwrap()
                .iter()
                .all(|job| job.prompt_tokens() == 600)
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            ("{}\n".to_owned(), "line 1"),
            (line(5, 700, &[1, 2]) + &line(4, 700, &[1, 2]), "line 2"),
            (line(0, 700, &[1]), "2 blocks"),
            (line(0, 0, &[]), "input_length is 0"),
            ("nonsense\n".to_owned(), "not a request"),
        ] {
            let error = format!("{:#}", jobs(&text, TraceOptions::default()).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
