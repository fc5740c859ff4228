//! How do written parameters become a plugin's own?

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::document::Parameters;
use super::error::ParamError;
use super::suggest::hint;

/// Another part of the document that a parameter names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) parameter: &'static str,
    pub(crate) name: String,
    pub(crate) to: Target,
}

/// What a [`Reference`] must name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A plugin of this type, declared or added by itself under that name.
    Plugin(&'static str),
    Profile,
}

/// A plugin's parameters; the default is what a plugin without parameters gets.
pub(crate) trait Params: Default + DeserializeOwned + Serialize + JsonSchema {
    /// What they name elsewhere in the document.
    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}

/// Of plugins that take none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NoParams {}

impl Params for NoParams {}

/// The schema of a plugin's parameters: names, descriptions, defaults.
pub(crate) fn schema_of<P: Params>() -> Schema {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    settings.into_generator().into_root_schema_for::<P>()
}

/// The parameters a schema lists.
pub(crate) fn properties(schema: &Schema) -> Map<String, Value> {
    match schema.get("properties") {
        Some(Value::Object(properties)) => properties.clone(),
        _ => Map::new(),
    }
}

/// Reads `written` over the defaults. `refused` are parameters of the field that are not honoured, with the
/// reason.
pub(crate) fn decode<P: Params>(
    written: &Parameters,
    refused: &[(&str, &str)],
) -> Result<P, Vec<ParamError>> {
    let known = properties(&schema_of::<P>());
    let mut object = Map::new();
    let mut errors = Vec::new();
    for (key, value) in &written.0 {
        if let Some((_, reason)) = refused.iter().find(|(name, _)| *name == key.value) {
            errors.push(ParamError::new(key, format!("not honoured: {reason}")));
        } else if !known.contains_key(&key.value) {
            let names = hint(key, known.keys().map(String::as_str));
            errors.push(ParamError::new(key, format!("unknown parameter{names}")));
        } else if let Err(error) = alone::<P>(key, value) {
            errors.push(ParamError::new(key, in_words(&error)));
        } else {
            object.insert(key.value.clone(), value.clone());
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    serde_json::from_value(Value::Object(object))
        .map_err(|error| vec![ParamError::new("", in_words(&error))])
}

/// Every parameter has a default, so each can be read without the others, and blamed alone.
fn alone<P: Params>(key: &str, value: &Value) -> Result<P, serde_json::Error> {
    let object = Map::from_iter([(key.to_owned(), value.clone())]);
    serde_json::from_value(Value::Object(object))
}

fn in_words(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    for (from, to) in [
        ("expected f64", "expected a number"),
        ("expected u32", "expected a whole number"),
        ("expected u16", "expected a whole number"),
        ("floating point", "number"),
    ] {
        message = message.replace(from, to);
    }
    message
}
