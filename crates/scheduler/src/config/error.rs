//! What is wrong with a document, where, and what to do about it?

use std::fmt;

use super::located::At;

/// Everything that is wrong with a document; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 1 for the first line; `None` where the value came from no file.
    pub line: Option<u64>,
    /// As in `plugins[2].parameters.lruSize`; empty for the document as a whole.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    pub(crate) fn at<T>(
        value: &At<T>,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            line: value.line,
            path: path.into(),
            message: message.into(),
        }
    }

    pub(crate) fn general(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            line: None,
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.path.as_str()) {
            (Some(line), "") => write!(f, "line {line}: {}", self.message),
            (Some(line), path) => write!(f, "line {line}, {path}: {}", self.message),
            (None, "") => self.message.fmt(f),
            (None, path) => write!(f, "{path}: {}", self.message),
        }
    }
}

impl fmt::Display for ConfigError {
    /// One problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

/// A parameter that a plugin does not accept.
#[derive(Debug)]
pub(crate) struct ParamError {
    /// Empty for the parameters as a whole.
    pub(crate) parameter: String,
    pub(crate) message: String,
}

impl ParamError {
    pub(crate) fn new(parameter: &str, message: impl Into<String>) -> Self {
        Self {
            parameter: parameter.to_owned(),
            message: message.into(),
        }
    }
}
