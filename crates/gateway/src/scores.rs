//! How are a decision's reasons written in one header line?

use std::fmt::Write;

use scheduler::CandidateReason;

/// Longest line, bytes; further candidates are left out and counted.
const MAX_BYTES: usize = 4096;

/// `name=total[scorer:score*weight,…]` per candidate, separated by `; `; a removed one as `name=removed[filter]`.
pub(crate) fn compact(reasons: &[CandidateReason]) -> String {
    let mut line = String::new();
    for (at, reason) in reasons.iter().enumerate() {
        if line.len() > MAX_BYTES {
            // Writing to a string does not fail.
            let _ = write!(line, "; +{}", reasons.len() - at);
            break;
        }
        if at > 0 {
            line.push_str("; ");
        }
        candidate(reason, &mut line);
    }
    line
}

/// Every remaining candidate's total, by name.
pub(crate) fn totals(reasons: &[CandidateReason]) -> Vec<(String, f64)> {
    let kept = reasons.iter().filter(|reason| reason.removed.is_none());
    kept.map(|reason| (reason.name.to_string(), f64::from(reason.total)))
        .collect()
}

fn candidate(reason: &CandidateReason, line: &mut String) {
    // Writing to a string does not fail.
    if let Some((filter, _)) = &reason.removed {
        let _ = write!(line, "{}=removed[{filter}]", reason.name);
        return;
    }
    let _ = write!(line, "{}={:.3}[", reason.name, reason.total);
    for (at, score) in reason.scores.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(
            line,
            "{comma}{}:{:.3}*{}",
            score.scorer, score.score, score.weight
        );
    }
    line.push(']');
}
