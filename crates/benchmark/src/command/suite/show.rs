//! How does a person read the suite's report?

use super::{CacheTest, Report};
use crate::report::text;

/// The report for people.
pub fn summary(report: &Report) -> String {
    let metadata = &report.metadata;
    let mut out = format!(
        "{}\n{} of {} on {}\n",
        metadata.tool, metadata.started, metadata.model, metadata.url
    );
    if metadata.simulated {
        out.push_str(&format!("{}\n", text::SIMULATED));
    }
    for scenario in &report.scenarios {
        out.push('\n');
        out.push_str(&text::scenario(scenario));
    }
    out.push('\n');
    out.push_str(&cache_text(&report.cache_test, metadata.simulated));
    out
}

fn cache_text(test: &CacheTest, simulated: bool) -> String {
    let ms =
        |value: Option<f64>| value.map_or_else(|| "n/a".to_owned(), |ms| format!("{ms:.1} ms"));
    let tokens = test
        .prompt_tokens
        .map_or_else(|| "unknown".to_owned(), |tokens| tokens.to_string());
    let cached: Vec<String> = test
        .cached_tokens
        .iter()
        .map(|cached| cached.map_or_else(|| "n/a".to_owned(), |cached| cached.to_string()))
        .collect();
    let mut out = format!(
        "cache test: one prompt of {tokens} tokens, repeated{}\n  \
         first TTFT {}, later {} (mean, n={}), improvement {}\n  cached tokens per request: {}\n",
        if simulated { "  [simulated]" } else { "" },
        ms(test.first_latency_ms),
        ms(test.avg_subsequent_ms),
        test.subsequent_n,
        test.improvement_pct
            .map_or_else(|| "n/a".to_owned(), |percent| format!("{percent:.1} %")),
        cached.join(", "),
    );
    for error in &test.errors {
        out.push_str(&format!("  failed: {error}\n"));
    }
    out
}
