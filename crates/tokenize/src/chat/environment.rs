//! Which functions does Python offer to a chat template?

use minijinja::value::{Kwargs, Value, ViaDeserialize};
use minijinja::{Environment, Error, ErrorKind, State};

use crate::pyjson;

/// Variable that `strftime_now` reads the time from: templates get no clock of their own.
pub(super) const NOW: &str = "__now_unix_s";

/// An environment set up as Hugging Face sets up Jinja for chat templates.
pub(super) fn for_chat() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment
}

/// Unlike Jinja's own filter it does not escape for HTML, and keys keep their order.
fn to_json(value: ViaDeserialize<serde_json::Value>, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    for ignored in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(ignored)?;
    }
    options.assert_all_used()?;
    // A level deeper than this is nobody's intent and costs memory.
    Ok(Value::from_safe_string(pyjson::dumps(
        &value,
        indent.map(|width| width.min(16)),
    )))
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn strftime_now(state: &State<'_, '_>, format: &str) -> Result<String, Error> {
    let wrong = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let seconds = state
        .lookup(NOW)
        .and_then(|now| i64::try_from(now).ok())
        .unwrap_or(0);
    let now = jiff::Timestamp::from_second(seconds)
        .map_err(wrong)?
        .to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::strtime::format(format, &now).map_err(wrong)
}
