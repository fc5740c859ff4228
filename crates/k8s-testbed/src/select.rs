//! Which objects does a selector mean?

use serde_json::Value;

use crate::object::text;
use crate::status::Status;

/// A parsed `labelSelector` or `fieldSelector`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// # Errors
    /// A term that is no requirement.
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        terms(text)
            .into_iter()
            .map(requirement)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// By labels.
    pub(crate) fn selects_labels(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0
            .iter()
            .all(|one| one.holds(|key| labels[key].as_str().map(str::to_owned)))
    }

    /// By fields, named with dots. An absent field is an empty one.
    pub(crate) fn selects_fields(&self, object: &Value) -> bool {
        let field = |key: &str| {
            let pointer = format!("/{}", key.replace('.', "/"));
            Some(text(object, &pointer).to_owned())
        };
        self.0.iter().all(|one| one.holds(field))
    }
}

impl Requirement {
    fn holds(&self, value: impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::In(key, values) => value(key).is_some_and(|value| values.contains(&value)),
            Self::NotIn(key, values) => value(key).is_none_or(|value| !values.contains(&value)),
            Self::Exists(key) => value(key).is_some(),
            Self::Absent(key) => value(key).is_none(),
        }
    }
}

/// Splits at commas outside parentheses.
fn terms(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut terms) = (0, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    terms.push(text[from..].trim());
    terms.retain(|term| !term.is_empty());
    terms
}

fn requirement(term: &str) -> Result<Requirement, Status> {
    let set = |text: &str| -> Vec<String> {
        text.trim_matches(['(', ')', ' '])
            .split(',')
            .map(|one| one.trim().to_owned())
            .collect()
    };
    let own = |text: &str| text.trim().to_owned();
    if let Some((key, values)) = term.split_once(" notin ") {
        return Ok(Requirement::NotIn(own(key), set(values)));
    }
    if let Some((key, values)) = term.split_once(" in ") {
        return Ok(Requirement::In(own(key), set(values)));
    }
    if let Some((key, value)) = term.split_once("!=") {
        return Ok(Requirement::NotIn(own(key), vec![own(value)]));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Ok(Requirement::In(own(key), vec![own(value)]));
    }
    match term.strip_prefix('!') {
        Some(key) => Ok(Requirement::Absent(own(key))),
        None if term.contains(' ') => Err(Status::bad_request(format!(
            "cannot parse selector term {term:?}"
        ))),
        None => Ok(Requirement::Exists(own(term))),
    }
}
