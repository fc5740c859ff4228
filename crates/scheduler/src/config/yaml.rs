//! What does a YAML error say in our words?

use serde_saphyr::Error;

use super::document::Document;
use super::error::{ConfigError, Problem};
use super::suggest::hint;

impl Document {
    /// Reads a document, YAML or JSON. Nothing is resolved yet; see [`crate::compile`].
    ///
    /// # Errors
    /// Text that is not YAML, unknown fields (with a suggestion), values of a wrong type.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        serde_saphyr::from_str(text).map_err(|error| yaml_problem(&error).into())
    }
}

/// A YAML or decoding error with its line, and a suggestion where a field or variant is unknown.
pub fn yaml_problem(error: &Error) -> Problem {
    let line = error
        .location()
        .map(|location| location.line())
        .filter(|line| *line > 0);
    let message = match error.without_snippet() {
        Error::SerdeUnknownField {
            field, expected, ..
        } => {
            format!(
                "unknown field `{field}`{}",
                hint(field, expected.iter().copied())
            )
        }
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => {
            format!(
                "unknown value `{variant}`{}",
                hint(variant, expected.iter().copied())
            )
        }
        Error::SerdeMissingField { field, .. } => format!("missing field `{field}`"),
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            // The line is given apart.
            first.split(" at line ").next().unwrap_or(first).to_owned()
        }
    };
    Problem {
        line,
        path: String::new(),
        message,
    }
}
