//! How does a person read a decision?

use benchmark::report::Table;
use serde::Deserialize;
use serde_json::Value;

/// The gateway's answer, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Explained {
    #[serde(default)]
    pool: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    prompt_tokens: Option<f64>,
    /// Chosen endpoint.
    #[serde(default)]
    endpoint: Option<String>,
    #[serde(default)]
    words: Option<String>,
    #[serde(default)]
    candidates: Vec<Candidate>,
}

#[derive(Debug, Deserialize)]
struct Candidate {
    endpoint: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    total: Option<f64>,
    #[serde(default)]
    scores: Vec<Score>,
    #[serde(default)]
    removed: Option<Removed>,
    #[serde(default)]
    words: Option<String>,
    #[serde(default)]
    kv_mode: Option<String>,
    #[serde(default)]
    kv_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Score {
    scorer: String,
    #[serde(default)]
    raw: Option<f64>,
    #[serde(default)]
    unit: Option<String>,
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    weight: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Removed {
    filter: String,
    #[serde(default)]
    reason: Option<String>,
}

/// Heading, one table row per candidate and scorer, the words of each candidate, the words of the decision.
pub(crate) fn text(answer: &Value) -> anyhow::Result<String> {
    let explained = Explained::deserialize(answer)
        .map_err(|error| anyhow::anyhow!("the gateway's answer is of another shape: {error}"))?;
    let named = explained.model.as_deref().filter(|name| !name.is_empty());
    let mut out = format!(
        "pool {}, model {}, prompt about {} tokens\n\n",
        explained.pool.as_deref().unwrap_or("unknown"),
        named.unwrap_or("not named"),
        number(explained.prompt_tokens),
    );
    out.push_str(&table(&explained).render());
    out.push('\n');
    for candidate in &explained.candidates {
        out.push_str(&candidate_words(candidate));
    }
    let chosen = explained.endpoint.as_deref().unwrap_or("none");
    out.push_str(&format!("\nchosen: {chosen}\n"));
    if let Some(words) = &explained.words {
        out.push_str(&format!("{words}\n"));
    }
    Ok(out)
}

fn table(explained: &Explained) -> Table {
    let mut table = Table::new(&[
        "endpoint", "scorer", "raw", "unit", "score", "weight", "weighted", "total",
    ])
    .left(1)
    .left(3);
    for candidate in &explained.candidates {
        let chosen = explained.endpoint.as_deref() == Some(candidate.endpoint.as_str());
        let mut name = format!("{} {}", if chosen { ">" } else { " " }, candidate.endpoint);
        let mut total = match &candidate.removed {
            Some(_) => "removed".to_owned(),
            None => number(candidate.total),
        };
        if candidate.scores.is_empty() {
            let blank = || "-".to_owned();
            table.row(vec![
                name,
                blank(),
                blank(),
                blank(),
                blank(),
                blank(),
                blank(),
                total,
            ]);
            continue;
        }
        for score in &candidate.scores {
            let weighted = score
                .score
                .zip(score.weight)
                .map(|(score, weight)| score * weight);
            table.row(vec![
                std::mem::take(&mut name),
                score.scorer.clone(),
                number(score.raw),
                score.unit.clone().unwrap_or_default(),
                number(score.score),
                number(score.weight),
                number(weighted),
                std::mem::take(&mut total),
            ]);
        }
    }
    table
}

fn candidate_words(candidate: &Candidate) -> String {
    let mut said = Vec::new();
    if let Some(removed) = &candidate.removed {
        let reason = removed.reason.as_deref().unwrap_or("no reason given");
        said.push(format!("removed by {}: {reason}", removed.filter));
    }
    said.extend(candidate.words.clone().filter(|words| !words.is_empty()));
    said.extend(cache_words(candidate));
    let words = if said.is_empty() {
        "no reason given".to_owned()
    } else {
        said.join("; ")
    };
    format!("{} ({}): {words}\n", candidate.endpoint, candidate.url)
}

/// What is said of its cache rests on what; nothing where no events are expected.
fn cache_words(candidate: &Candidate) -> Option<String> {
    let reason = candidate.kv_reason.as_deref().unwrap_or("no reason given");
    match candidate.kv_mode.as_deref() {
        Some("exact") => Some("cache exact, by its engine's events".to_owned()),
        Some("stale") => Some(format!("cache stale, by our own history: {reason}")),
        _ => None,
    }
}

/// Three decimals at most, without trailing zeros.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_an_aligned_table_and_words() {
        let answer = serde_json::json!({
            "pool": "p", "model": "m", "prompt_tokens": 120, "endpoint": "e-1",
            "words": "e-1 holds 96 of 120 tokens",
            "candidates": [
                {"endpoint": "e-1", "url": "http://h:1", "total": 4.2, "removed": null, "words": "most cached",
                 "kv_mode": "exact", "kv_reason": null,
                 "scores": [
                    {"scorer": "prefix-cache-scorer", "raw": 0.9, "unit": "share", "score": 0.9, "weight": 3.0},
                    {"scorer": "queue-scorer", "raw": 2, "unit": "requests", "score": 0.7, "weight": 1.0}]},
                {"endpoint": "e-2", "url": "http://h:2", "total": 0.0, "scores": [], "words": "",
                 "kv_mode": "stale", "kv_reason": "batches 2 to 4 were lost",
                 "removed": {"filter": "overload-guard", "reason": "900 ms queued"}}]
        });
        let expected = "\
pool p, model m, prompt about 120 tokens

endpoint  scorer               raw  unit      score  weight  weighted    total
--------  -------------------  ---  --------  -----  ------  --------  -------
> e-1     prefix-cache-scorer  0.9  share       0.9       3       2.7      4.2
          queue-scorer           2  requests    0.7       1       0.7
  e-2     -                      -  -             -       -         -  removed

e-1 (http://h:1): most cached; cache exact, by its engine's events
e-2 (http://h:2): removed by overload-guard: 900 ms queued; cache stale, by our own history: batches 2 to 4 were lost

chosen: e-1
e-1 holds 96 of 120 tokens
";
        assert_eq!(text(&answer).unwrap(), expected);
    }

    #[test]
    fn another_shape_is_an_error_in_words() {
        let said = text(&serde_json::json!({"candidates": [{"no": "endpoint"}]}))
            .unwrap_err()
            .to_string();
        assert!(said.contains("another shape"), "{said}");
    }
}
