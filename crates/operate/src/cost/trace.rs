//! What does a trace ask of a fleet: how fast, how long, and how much of it is asked again?

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use benchmark::workload::jobs::Jobs;
use benchmark::workload::jobs::mooncake::{Mooncake, TraceOptions};
use serde::Serialize;

/// The peak is the busiest span of this length.
const PEAK_SPAN: Duration = Duration::from_mins(1);
/// A beginning that so large a share of requests has is common to all: any replica holds it soon.
const COMMON: f64 = 0.5;

/// A trace in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceFacts {
    pub requests: u64,
    pub duration_s: f64,
    pub mean_rps: f64,
    /// In the busiest minute.
    pub peak_rps: f64,
    pub input_tokens: f64,
    pub output_tokens: f64,
    /// Prompt tokens that an earlier request had computed already, if everything were kept: share of all.
    pub overlap: f64,
    /// The same without the first block, where most requests begin with the same one.
    pub overlap_beyond_common: f64,
    pub distinct_tokens: u64,
}

/// Reads a whole trace.
///
/// # Errors
/// It cannot be read, a line makes no sense, or it holds fewer than two requests.
pub(super) fn read(path: &Path) -> anyhow::Result<TraceFacts> {
    let facts = facts(&mut Mooncake::open(path, TraceOptions::default())?)?;
    ensure!(
        facts.requests >= 2 && facts.duration_s > 0.0,
        "{} holds {} request(s) over {} s; a rate needs more",
        path.display(),
        facts.requests,
        facts.duration_s
    );
    Ok(facts)
}

fn facts(jobs: &mut dyn Jobs) -> anyhow::Result<TraceFacts> {
    let mut seen = HashSet::new();
    let mut firsts: HashMap<u64, u64> = HashMap::new();
    let mut window: VecDeque<Duration> = VecDeque::new();
    let (mut requests, mut input, mut output) = (0_u64, 0_u64, 0_u64);
    let (mut found, mut found_first, mut distinct) = (0_u64, 0_u64, 0_u64);
    let (mut last, mut busiest) = (Duration::ZERO, 0_usize);
    while let Some(job) = jobs.next_job()? {
        requests += 1;
        let prompt = job.prompt_tokens() as u64;
        (input, output) = (input + prompt, output + u64::from(job.output_tokens));
        let (mut reused, mut leading, mut first) = (0_u64, true, 0_u64);
        for (place, piece) in job.prompt.iter().enumerate() {
            let tokens = u64::from(piece.tokens);
            let known = !seen.insert((piece.key, piece.tokens));
            leading &= known;
            reused += if leading { tokens } else { 0 };
            first += if leading && place == 0 { tokens } else { 0 };
            distinct += if known { 0 } else { tokens };
        }
        // The last token is always computed.
        found += reused.min(prompt.saturating_sub(1));
        found_first += first;
        if let Some(piece) = job.prompt.first() {
            *firsts.entry(piece.key).or_default() += 1;
        }
        last = job.at;
        window.push_back(job.at);
        while window
            .front()
            .is_some_and(|first| *first + PEAK_SPAN <= job.at)
        {
            window.pop_front();
        }
        busiest = busiest.max(window.len());
    }
    let duration_s = last.as_secs_f64();
    let per = |sum: u64, over: u64| sum as f64 / over.max(1) as f64;
    let mean_rps = requests as f64 / duration_s.max(f64::MIN_POSITIVE);
    let common = firsts.values().max().copied().unwrap_or(0) as f64 > COMMON * requests as f64;
    let beyond = if common {
        found.saturating_sub(found_first)
    } else {
        found
    };
    Ok(TraceFacts {
        requests,
        duration_s,
        mean_rps,
        peak_rps: (busiest as f64 / PEAK_SPAN.as_secs_f64()).max(mean_rps),
        input_tokens: per(input, requests),
        output_tokens: per(output, requests),
        overlap: per(found, input),
        overlap_beyond_common: per(beyond, input),
        distinct_tokens: distinct,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts_of(lines: &[(u64, u32, &[u64])]) -> TraceFacts {
        let text: String = lines
            .iter()
            .map(|(at, input, ids)| {
                format!("{{\"timestamp\":{at},\"input_length\":{input},\"output_length\":10,\"hash_ids\":{ids:?}}}\n")
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.jsonl");
        std::fs::write(&file, text).unwrap();
        read(&file).unwrap()
    }

    #[test]
    fn overlap_is_the_leading_run_that_was_seen() {
        let check = |lines: &[(u64, u32, &[u64])], overlap: f64, beyond: f64| {
            let facts = facts_of(lines);
            assert!((facts.overlap - overlap).abs() < 1e-9, "{facts:?}");
            assert!(
                (facts.overlap_beyond_common - beyond).abs() < 1e-9,
                "{facts:?}"
            );
        };
        // Nothing twice.
        check(&[(0, 1024, &[1, 2]), (100, 1024, &[3, 4])], 0.0, 0.0);
        // One block again; all begin with it.
        check(
            &[(0, 1024, &[1, 2]), (100, 1024, &[1, 4])],
            512.0 / 2048.0,
            0.0,
        );
        // The whole prompt again, but for the token that is always computed.
        check(
            &[(0, 1024, &[1, 2]), (100, 1024, &[1, 2])],
            1023.0 / 2048.0,
            511.0 / 2048.0,
        );
    }

    #[test]
    fn the_peak_is_the_busiest_minute() {
        let ids: &[u64] = &[1];
        let mut lines: Vec<(u64, u32, &[u64])> = (0..60).map(|i| (i * 1_001, 100, ids)).collect();
        lines.extend((0..60).map(|i| (600_000 + 1 + i * 10, 100, ids)));
        let facts = facts_of(&lines);
        assert_eq!(facts.requests, 120);
        assert_eq!(facts.peak_rps, 1.0);
        assert!((facts.mean_rps - 120.0 / facts.duration_s).abs() < 1e-9);
    }
}
