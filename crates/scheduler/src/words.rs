//! How is a decision told to people?

use crate::scorer::units;
use crate::{CandidateReason, Decision, ScoreReason};

/// Totals closer than this are told as equal.
const EQUAL: f32 = 0.01;

impl Decision {
    /// Why the first preference was preferred, in one sentence; says over whom when the ask said `explain`.
    pub fn words(&self, prompt_tokens: f32) -> String {
        let reason_of = |place: usize| {
            let slot = self.preferences.get(place)?;
            self.reasons.iter().find(|reason| reason.slot == *slot)
        };
        let mut words = match reason_of(0) {
            Some(winner) => explain_words(winner, prompt_tokens, reason_of(1)),
            None => "no reason was kept".to_owned(),
        };
        for beside in &self.beside {
            let at = beside
                .reasons
                .iter()
                .find(|it| Some(it.slot) == beside.slot);
            let stage = beside.stage.name();
            let told = match at {
                Some(at) => format!("; {stage} at {} ({})", at.name, beside.words),
                None => format!("; no {stage} elsewhere ({})", beside.words),
            };
            words.push_str(&told);
        }
        words
    }
}

/// Everything said of one candidate; `over` is whom it was preferred to, if anyone.
pub fn explain_words(
    reason: &CandidateReason,
    prompt_tokens: f32,
    over: Option<&CandidateReason>,
) -> String {
    if let Some((filter, why)) = &reason.removed {
        return format!("removed by {filter}: {why}");
    }
    let mut words: Vec<String> = reason
        .scores
        .iter()
        .map(|score| {
            let figure = figure(score, prompt_tokens);
            format!("{figure} ({:.2} × {:.1})", score.score, score.weight)
        })
        .collect();
    if words.is_empty() {
        words.push("nothing is scored".to_owned());
    } else {
        words.push(format!("total {:.2}", reason.total));
    }
    if let Some(other) = over {
        words.push(comparison(reason, other));
    }
    words.join("; ")
}

fn figure(score: &ScoreReason, prompt_tokens: f32) -> String {
    let count = thousands(score.raw);
    match score.unit {
        units::CACHED_TOKENS => format!(
            "holds {count} of {} prompt tokens",
            thousands(f64::from(prompt_tokens))
        ),
        units::WAITING => format!("{count} waiting"),
        units::RUNNING => format!("{count} running"),
        units::KV_SHARE => format!("KV cache {:.0} % used", score.raw * 100.0),
        units::IN_FLIGHT => format!("{count} in flight"),
        units::LOAD_TOKENS => format!("{count} tokens to prefill"),
        units::LAST_COLD if score.raw == 0.0 => "has taken no cold prompt".to_owned(),
        units::LAST_COLD => format!("took a cold prompt {count} cold prompts ago"),
        units::SESSION if score.raw > 0.0 => "served this session before".to_owned(),
        units::SESSION => "did not serve this session".to_owned(),
        units::ADAPTER if score.raw >= 1.0 => "runs the adapter".to_owned(),
        units::ADAPTER if score.raw > 0.7 => "has room for the adapter".to_owned(),
        units::ADAPTER if score.raw > 0.0 => "has requests waiting for the adapter".to_owned(),
        units::ADAPTER => "has no room for the adapter".to_owned(),
        units::CONTEXT if score.raw > 0.0 => "is meant for prompts of this length".to_owned(),
        units::CONTEXT => "is meant for prompts of another length".to_owned(),
        units::LABEL if score.raw > 0.0 => "has the label asked for".to_owned(),
        units::LABEL => "has not the label asked for".to_owned(),
        units::TTFT_MS => format!("first token expected in {count} ms"),
        units::ATTRIBUTE => format!("{} {}", score.scorer, thousands(score.raw)),
        unit => format!("{count} {unit}"),
    }
}

fn comparison(reason: &CandidateReason, other: &CandidateReason) -> String {
    let gap = reason.total - other.total;
    if gap.abs() < EQUAL {
        return format!(
            "equal to {}, and picked less recently or drawn first",
            other.name
        );
    }
    if gap < 0.0 {
        return format!("drawn before {} ({:.2})", other.name, other.total);
    }
    let points = |score: &ScoreReason| score.weight * score.score;
    let deltas = reason
        .scores
        .iter()
        .zip(&other.scores)
        .map(|(here, there)| (here, points(here) - points(there)));
    let because: Vec<String> = deltas
        .filter(|(_, delta)| delta.abs() >= EQUAL)
        .map(|(score, delta)| {
            let more = if delta > 0.0 { "more" } else { "less" };
            format!("{:.2} {more} from {}", delta.abs(), score.scorer)
        })
        .collect();
    format!(
        "preferred over {} ({:.2}) because of {}",
        other.name,
        other.total,
        because.join(", ")
    )
}

/// A count with commas, one decimal where it is not whole.
fn thousands(value: f64) -> String {
    let rounded = value.round();
    if (value - rounded).abs() > 0.05 && value.abs() < 1000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", rounded.abs());
    let mut out = if rounded < 0.0 {
        "-".to_owned()
    } else {
        String::new()
    };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_well() {
        let check = |value: f64, expected: &str| assert_eq!(thousands(value), expected);
        check(0.0, "0");
        check(1536.0, "1,536");
        check(131_072.4, "131,072");
        check(2.5, "2.5");
        check(999.0, "999");
    }
}
