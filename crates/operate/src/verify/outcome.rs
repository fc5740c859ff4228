//! What does one check say?

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Pass,
    Fail,
    /// It could not be decided; `seen` says why.
    Skip,
}

/// One check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub expected: String,
    pub seen: String,
    pub status: Status,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

impl Check {
    fn new(
        status: Status,
        name: &str,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            expected: expected.into(),
            seen: seen.into(),
            status,
            hint: None,
        }
    }

    pub(crate) fn pass(name: &str, expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::new(Status::Pass, name, expected, seen)
    }

    pub(crate) fn fail(name: &str, expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self::new(Status::Fail, name, expected, seen)
    }

    pub(crate) fn skip(name: &str, expected: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(Status::Skip, name, expected, why)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// All checks of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub url: String,
    pub model: Option<String>,
    /// Some answer said that its compute is simulated.
    pub simulated: bool,
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    pub checks: Vec<Check>,
}

impl Report {
    pub(crate) fn of(
        url: String,
        model: Option<String>,
        simulated: bool,
        checks: Vec<Check>,
    ) -> Self {
        let count = |status| checks.iter().filter(|check| check.status == status).count();
        Self {
            url,
            model,
            simulated,
            passed: count(Status::Pass),
            failed: count(Status::Fail),
            skipped: count(Status::Skip),
            checks,
        }
    }
}
