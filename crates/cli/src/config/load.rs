//! How does a file become a [`Config`], and how is a mistake in it told?

use std::path::{Path, PathBuf};

use super::Config;

/// Names further than this from every known one get no suggestion.
const MIN_SIMILARITY: f64 = 0.7;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {message}")]
    Parse { path: PathBuf, message: String },
    #[error("{place}: {message}")]
    Value { place: String, message: String },
}

/// Reads `path`.
///
/// # Errors
/// The file cannot be read, is no YAML of this shape, or holds an unknown key: with line, column and, where a
/// known key is near, what was probably meant.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|message| ConfigError::Parse {
        path: path.to_owned(),
        message,
    })
}

/// Parses the text of a file; an empty one is all defaults.
pub(crate) fn parse(text: &str) -> Result<Config, String> {
    let only_comments = text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    if only_comments {
        return Ok(Config::default());
    }
    serde_saphyr::from_str(text).map_err(|error| with_suggestion(&error.to_string()))
}

/// Says "unknown field `x`, expected one of a, b" once, with what was probably meant before everything that is known.
fn with_suggestion(message: &str) -> String {
    let (first, snippet) = message.split_once('\n').unwrap_or((message, ""));
    let Some((place, rest)) = first.split_once("unknown field `") else {
        return message.to_owned();
    };
    let (unknown, known) = rest.split_once('`').unwrap_or((rest, ""));
    let expected = known
        .trim_start_matches(", expected one of ")
        .trim_start_matches(", expected ");
    let known: Vec<&str> = expected
        .split(", ")
        .flat_map(|names| names.split(" or "))
        .map(|name| name.trim_matches('`'))
        .filter(|name| !name.is_empty())
        .collect();
    let near = known
        .iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), *name))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .max_by(|left, right| left.0.total_cmp(&right.0));
    let mut told = format!("{place}unknown field `{unknown}`");
    if let Some((_, name)) = near {
        told.push_str(&format!(", did you mean `{name}`?"));
    }
    for line in snippet.lines() {
        told.push('\n');
        // The snippet's mark repeats the whole message.
        told.push_str(
            line.split_once("unknown field `")
                .map_or(line, |(mark, _)| mark)
                .trim_end(),
        );
    }
    if !known.is_empty() {
        told.push_str(&format!("\n  known here: {}", known.join(", ")));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let message = parse(text).expect_err("the document is wrong");
        for part in expected {
            assert!(message.contains(part), "`{part}` is not in: {message}");
        }
    }

    #[test]
    fn mistakes_are_told_with_line_and_suggestion() {
        check(
            "listne: 127.0.0.1:8000\n",
            &["unknown field `listne`", "did you mean `listen`?", "line 1"],
        );
        check(
            "listen: 127.0.0.1:8000\npools:\n- name: a\n  endpoint: [x]\n",
            &[
                "unknown field `endpoint`",
                "did you mean `endpoints`?",
                "line 4",
            ],
        );
        check("listen: nowhere\n", &["line 1"]);
        check(
            "gateway:\n  max_body_byte: 1\n",
            &["did you mean `max_body_bytes`?"],
        );
    }

    #[test]
    fn what_is_known_is_said_once() {
        for (text, unknown) in [
            ("gateway:\n  max_body_byte: 1\n", "max_body_byte"),
            ("gateway:\n  zzzzzz: 1\n", "zzzzzz"),
            ("pools:\n- name: a\n  endpoint: [x]\n", "endpoint"),
        ] {
            let message = parse(text).expect_err("the document is wrong");
            assert_eq!(message.matches("known here: ").count(), 1, "{message}");
            assert_eq!(message.matches("expected one of").count(), 0, "{message}");
            let named = format!("unknown field `{unknown}`");
            assert_eq!(message.matches(&named).count(), 1, "{message}");
            let line = format!("{unknown}: ");
            assert!(message.contains(&line), "the snippet is kept: {message}");
        }
        let message = parse("gateway:\n  zzzzzz: 1\n").expect_err("the document is wrong");
        assert!(!message.contains("did you mean"), "{message}");
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        for text in ["", "\n", "# nothing\n"] {
            let config = parse(text).expect("defaults");
            assert_eq!(config.listen.to_string(), super::super::DEFAULT_LISTEN);
        }
    }
}
