//! Do many different requests at once reach every replica?

use std::collections::BTreeMap;

use benchmark::engines::{self, Counters, Gain};
use benchmark::load::Answer;
use benchmark::load::stream::error_message;

use super::Subject;
use super::fleet::{named, show_counts};
use super::outcome::Check;
use super::prompts::Prompts;

const NAME: &str = "distribution";

/// Where a set of requests went.
pub(crate) struct Landed {
    /// Requests by replica, only those that got some.
    pub(crate) counts: BTreeMap<String, u64>,
    /// `response headers` or `engine metrics`
    pub(crate) by: &'static str,
}

impl Landed {
    /// By the answers' headers, else by what the engines' counters gained; an error says why neither tells.
    pub(crate) fn of(
        answers: &[Answer],
        before: Result<Option<Vec<Counters>>, String>,
        after: Result<Option<Vec<Counters>>, String>,
    ) -> Result<Self, String> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for name in answers.iter().filter_map(named) {
            *counts.entry(name).or_default() += 1;
        }
        if !counts.is_empty() {
            return Ok(Self {
                counts,
                by: "response headers",
            });
        }
        let (Some(before), Some(after)) = (before?, after?) else {
            return Err("answers name no endpoint and no engine addresses are known".to_owned());
        };
        for gain in engines::gains(&before, &after) {
            if let Some(count) = requests(&gain) {
                counts.insert(gain.url, count);
            }
        }
        if counts.is_empty() {
            return Err("the engines' counters did not move".to_owned());
        }
        Ok(Self {
            counts,
            by: "engine metrics",
        })
    }

    pub(crate) fn show(&self) -> String {
        format!("{} (by {})", show_counts(&self.counts), self.by)
    }
}

/// Requests finished, else at least one where tokens were looked up.
fn requests(gain: &Gain) -> Option<u64> {
    let finished = gain
        .finished_requests
        .filter(|count| *count > 0.0)
        .map(|count| count as u64);
    finished.or_else(|| {
        gain.queried_tokens
            .filter(|tokens| *tokens > 0.0)
            .map(|_| 1)
    })
}

impl Subject<'_> {
    pub(crate) async fn distribution(&mut self) -> Check {
        let asked = usize::from(self.args.concurrency);
        let expected = format!("{asked} different requests at once reach every replica");
        let before = self.fleet.counters().await;
        let prompts = Prompts::new(self.model.as_deref());
        let sends = (0..asked as u64)
            .map(|index| self.client.post("/v1/completions", prompts.distinct(index)));
        let results = futures_util::future::join_all(sends).await;
        let after = self.fleet.counters().await;
        let (answers, failures) = sort(results);
        for answer in &answers {
            self.note(answer);
        }
        if let Some(first) = failures.first() {
            let seen = format!(
                "{} of {asked} requests failed, the first with: {first}",
                failures.len()
            );
            return Check::fail(NAME, expected, seen)
                .hint("see pool health, and the gateway's log");
        }
        match Landed::of(&answers, before, after) {
            Ok(landed) => self.judge(&expected, &landed),
            Err(why) => Check::skip(NAME, expected, why).hint(
                "give --engines URL,URL (the replicas' own addresses) to tell by their metrics",
            ),
        }
    }

    fn judge(&self, expected: &str, landed: &Landed) -> Check {
        let reached = landed.counts.len();
        let one = landed.counts.keys().next().map(String::as_str);
        let seen = format!("{reached} reached: {}", landed.show());
        match self.fleet.expected(self.model.as_deref(), one) {
            Some((replicas, how)) if reached >= replicas => {
                Check::pass(NAME, format!("{expected} ({replicas}, {how})"), seen)
            }
            Some((replicas, how)) => Check::fail(
                NAME,
                format!("{expected} ({replicas}, {how})"),
                seen,
            )
            .hint(
                "is load in the scoring (queue-scorer), and does every replica serve this model?",
            ),
            None if reached > 1 => Check::pass(
                NAME,
                expected,
                format!("{seen}; how many there are is not known"),
            ),
            None => Check::skip(
                NAME,
                expected,
                format!("{seen}; how many there are is not known"),
            )
            .hint("say so with --replicas N, --engines URL,URL or --admin URL"),
        }
    }
}

/// Answers with status 200, and what went wrong with the others.
pub(crate) fn sort<E: std::fmt::Display>(
    results: Vec<Result<Answer, E>>,
) -> (Vec<Answer>, Vec<String>) {
    let (mut answers, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(answer) if answer.status.is_success() => answers.push(answer),
            Ok(answer) => failures.push(format!(
                "{}: {}",
                answer.status,
                error_message(&answer.body)
            )),
            Err(error) => failures.push(error.to_string()),
        }
    }
    (answers, failures)
}
