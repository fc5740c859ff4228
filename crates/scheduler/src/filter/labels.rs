//! Which endpoints carry the right labels?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{ParamError, params};
use crate::{Ask, Candidates, Filter, Rng};

/// Label that says which part of the work an endpoint does.
const ROLE: &str = "llm-d.ai/role";
const DECODES: [&str; 4] = ["decode", "prefill-decode", "both", "encode-prefill-decode"];
const PREFILLS: [&str; 5] = [
    "prefill",
    "encode-prefill",
    "prefill-decode",
    "both",
    "encode-prefill-decode",
];

const ENCODES: [&str; 3] = ["encode", "encode-prefill", "encode-prefill-decode"];

/// Parameters of `label-selector-filter`; at least one condition is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Labels with exactly these values.
    pub(crate) match_labels: BTreeMap<String, String>,
    /// All must hold.
    pub(crate) match_expressions: Vec<Expression>,
}

impl params::Params for Params {}

/// One condition on one label.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Expression {
    pub(crate) key: String,
    pub(crate) operator: Operator,
    /// Of `In` and `NotIn`; the others take none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<String>,
}

/// As in Kubernetes: `NotIn` and `DoesNotExist` also hold where the label is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// Parameters of `by-label`; `label` is needed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ByLabelParams {
    pub(crate) label: String,
    /// Values that stay; at least one unless `allowsNoLabel`.
    pub(crate) valid_values: Vec<String>,
    /// Endpoints without the label stay too.
    pub(crate) allows_no_label: bool,
}

impl params::Params for ByLabelParams {}

/// Stays when every test holds.
pub(crate) struct Labels(Vec<Test>);

struct Test {
    key: String,
    allowed: Allowed,
    /// What a missing label means.
    missing: bool,
}

enum Allowed {
    Any,
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
    Nothing,
}

impl Labels {
    /// `label-selector-filter`.
    pub(crate) fn selector(params: &Params) -> Result<Self, ParamError> {
        let exact = params.match_labels.iter().map(|(key, value)| Test {
            key: key.clone(),
            allowed: Allowed::OneOf(vec![value.clone()]),
            missing: false,
        });
        let mut tests: Vec<Test> = exact.collect();
        for expression in &params.match_expressions {
            tests.push(test(expression)?);
        }
        if tests.is_empty() {
            let message = "needs at least one label, or `matchExpressions`";
            return Err(ParamError::new("matchLabels", message));
        }
        Ok(Self(tests))
    }

    /// `by-label`.
    pub(crate) fn by_label(params: &ByLabelParams) -> Result<Self, ParamError> {
        if params.label.is_empty() {
            return Err(ParamError::new("label", "names the label to look at"));
        }
        if params.valid_values.is_empty() && !params.allows_no_label {
            let message = "needs at least one value, or `allowsNoLabel`";
            return Err(ParamError::new("validValues", message));
        }
        Ok(Self(vec![Test {
            key: params.label.clone(),
            allowed: Allowed::OneOf(params.valid_values.clone()),
            missing: params.allows_no_label,
        }]))
    }

    /// `decode-filter`: an endpoint without a role does everything.
    pub(crate) fn decode() -> Self {
        Self::role(&DECODES, true)
    }

    /// `prefill-filter`
    pub(crate) fn prefill() -> Self {
        Self::role(&PREFILLS, false)
    }

    /// `encode-filter`
    pub(crate) fn encode() -> Self {
        Self::role(&ENCODES, false)
    }

    fn role(roles: &[&str], missing: bool) -> Self {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Self(vec![Test {
            key: ROLE.to_owned(),
            allowed: Allowed::OneOf(roles),
            missing,
        }])
    }

    fn broken(&self, labels: &BTreeMap<String, String>) -> Option<&Test> {
        self.0.iter().find(|test| !test.holds(labels))
    }
}

fn test(expression: &Expression) -> Result<Test, ParamError> {
    let values = expression.values.clone();
    let takes_values = matches!(expression.operator, Operator::In | Operator::NotIn);
    if expression.key.is_empty() || values.is_empty() == takes_values {
        let message =
            "needs a `key`; `In` and `NotIn` need `values`, `Exists` and `DoesNotExist` take none";
        return Err(ParamError::new("matchExpressions", message));
    }
    let (allowed, missing) = match expression.operator {
        Operator::In => (Allowed::OneOf(values), false),
        Operator::NotIn => (Allowed::NoneOf(values), true),
        Operator::Exists => (Allowed::Any, false),
        Operator::DoesNotExist => (Allowed::Nothing, true),
    };
    Ok(Test {
        key: expression.key.clone(),
        allowed,
        missing,
    })
}

impl Test {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match (labels.get(&self.key), &self.allowed) {
            (None, _) => self.missing,
            (Some(_), Allowed::Any) => true,
            (Some(value), Allowed::OneOf(values)) => values.contains(value),
            (Some(value), Allowed::NoneOf(values)) => !values.contains(value),
            (Some(_), Allowed::Nothing) => false,
        }
    }
}

impl Filter for Labels {
    fn filter(&self, _ask: &Ask<'_>, candidates: &Candidates, _rng: &mut Rng, keep: &mut [bool]) {
        for (row, kept) in keep.iter_mut().enumerate() {
            *kept = *kept && self.broken(&candidates.info(row).labels).is_none();
        }
    }

    fn reason(
        &self,
        _ask: &Ask<'_>,
        candidates: &Candidates,
        _before: &[bool],
        row: usize,
    ) -> String {
        let labels = &candidates.info(row).labels;
        let Some(test) = self.broken(labels) else {
            return "every label fits".to_owned();
        };
        match labels.get(&test.key) {
            Some(value) => format!("label `{}` is `{value}`", test.key),
            None => format!("has no label `{}`", test.key),
        }
    }
}
