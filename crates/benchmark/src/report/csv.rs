//! How do figures get into a spreadsheet?

use std::path::Path;
use std::time::Instant;

use anyhow::Context;

use crate::load::Sample;
use crate::load::driver::Run;

/// Rows under a head, as RFC 4180 has it.
pub fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = head.join(",");
    out.push_str("\r\n");
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    }
    out
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// A number, or nothing.
pub fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.3}"))
}

const REQUEST_HEAD: [&str; 11] = [
    "intended_s",
    "group",
    "client_queue_ms",
    "ttft_ms",
    "tpot_ms",
    "e2e_ms",
    "prompt_tokens",
    "cached_tokens",
    "output_tokens",
    "endpoint",
    "error",
];

/// One row a request, in order of the intended send time.
pub fn requests(run: &Run) -> String {
    let mut samples: Vec<&Sample> = run.samples.iter().collect();
    samples.sort_by_key(|sample| sample.intended);
    let rows: Vec<Vec<String>> = samples
        .iter()
        .map(|sample| request(sample, run.begun))
        .collect();
    render(&REQUEST_HEAD, &rows)
}

fn request(sample: &Sample, begun: Instant) -> Vec<String> {
    let count = |of: Option<u64>| of.map_or_else(String::new, |count| count.to_string());
    let at = sample.intended.saturating_duration_since(begun);
    vec![
        format!("{:.6}", at.as_secs_f64()),
        sample.group.to_string(),
        number(Some(sample.client_queue_ms())),
        number(sample.ttft_ms()),
        number(sample.tpot_ms()),
        number(Some(sample.e2e_ms())),
        count(sample.usage.map(|usage| usage.prompt_tokens)),
        count(sample.usage.and_then(|usage| usage.cached_tokens)),
        count(sample.usage.map(|usage| usage.completion_tokens)),
        sample.endpoint.clone().unwrap_or_default(),
        sample
            .failure
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
    ]
}

/// Writes `content`, naming the file in an error.
pub fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let rows = [
            vec!["a".to_owned(), "b,\"c\"".to_owned()],
            vec!["1".to_owned(), "two\nlines".to_owned()],
        ];
        assert_eq!(
            render(&["x", "y"], &rows),
            "x,y\r\na,\"b,\"\"c\"\"\"\r\n1,\"two\nlines\"\r\n"
        );
        assert_eq!(number(None), "");
        assert_eq!(number(Some(1.5)), "1.500");
    }
}
