//! Why can a body not be read?

use crate::json::{Fault, MAX_DEPTH};

/// Why a body cannot be read; the message names the place and never quotes the prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the request body is empty; send a JSON object")]
    Empty,
    #[error("the request body is not valid UTF-8 (first bad byte at offset {offset})")]
    Utf8 { offset: usize },
    /// Line and column count from 1, the column in characters.
    #[error("the request body is not valid JSON: {what} at line {line} column {column}")]
    Syntax {
        what: String,
        line: usize,
        column: usize,
    },
    #[error("the request body is nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("`{field}` must be {expected}")]
    Type {
        field: &'static str,
        expected: &'static str,
    },
    #[error("`{field}` is required")]
    Missing { field: &'static str },
}

/// As [`BodyError`] while reading: a place is an offset until someone asks for line and column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    Fault(Fault),
    Type(TypeStop),
}

/// A field of a type that no engine accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeStop {
    pub(super) field: &'static str,
    pub(super) expected: &'static str,
}

impl Stop {
    pub(super) fn wrong(field: &'static str, expected: &'static str) -> Self {
        Self::Type(TypeStop { field, expected })
    }

    pub(super) fn in_text(self, text: &str) -> BodyError {
        match self {
            Self::Fault(Fault::Syntax { at, what }) => syntax(text, at, what),
            Self::Fault(Fault::TooDeep) => BodyError::TooDeep { limit: MAX_DEPTH },
            Self::Type(stop) => stop.into(),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<TypeStop> for BodyError {
    fn from(TypeStop { field, expected }: TypeStop) -> Self {
        Self::Type { field, expected }
    }
}

fn syntax(text: &str, at: usize, what: &str) -> BodyError {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let starts_char = |byte: &&u8| **byte & 0xc0 != 0x80;
    BodyError::Syntax {
        what: what.to_owned(),
        line: 1 + memchr::memchr_iter(b'\n', before).count(),
        column: 1 + before[line_start..].iter().filter(starts_char).count(),
    }
}
