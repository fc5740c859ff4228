//! Which shape of messages does a template expect?

use serde_json::{Map, Value};

use super::TemplateError;

/// Whether a template goes through content parts itself, judged by its text: it then loops over a content.
pub(super) fn wants_parts(source: &str) -> bool {
    let compact: String = source
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect();
    [
        "inmessage.content",
        "inmessage['content']",
        "inmessage[\"content\"]",
        "incontent%}",
        "inm.content",
    ]
    .iter()
    .any(|walk| compact.contains(walk))
}

/// The messages with contents as the template wants them and tool-call arguments as objects.
/// The error names the place, never the text.
pub(super) fn messages(messages: &Value, wants_parts: bool) -> Result<Vec<Value>, String> {
    let messages = messages.as_array().ok_or("must be a list")?;
    messages
        .iter()
        .enumerate()
        .map(|(index, one)| message(one, wants_parts).map_err(|what| format!("{index}: {what}")))
        .collect()
}

fn message(message: &Value, wants_parts: bool) -> Result<Value, &'static str> {
    let message = message.as_object().ok_or("must be an object")?;
    if !message.get("role").is_some_and(Value::is_string) {
        return Err("role must be a string");
    }
    let mut normal = message.clone();
    normal.insert(
        "content".to_owned(),
        content(message.get("content"), wants_parts)?,
    );
    if let Some(Value::Array(calls)) = normal.get_mut("tool_calls") {
        calls.iter_mut().for_each(parse_arguments);
    }
    Ok(Value::Object(normal))
}

fn content(content: Option<&Value>, wants_parts: bool) -> Result<Value, &'static str> {
    match content {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(Value::String(text)) => Ok(Value::from(text.as_str())),
        Some(Value::Array(parts)) if wants_parts => parts
            .iter()
            .map(whole_part)
            .collect::<Result<_, _>>()
            .map(Value::Array),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> = parts.iter().map(part_text).collect::<Result<_, _>>()?;
            Ok(Value::from(texts.join("\n")))
        }
        Some(_) => Err("content must be a string or a list of parts"),
    }
}

fn whole_part(part: &Value) -> Result<Value, &'static str> {
    let mut normal = Map::new();
    normal.insert("type".to_owned(), "text".into());
    normal.insert("text".to_owned(), part_text(part)?.into());
    Ok(Value::Object(normal))
}

fn part_text(part: &Value) -> Result<&str, &'static str> {
    if let Some(text) = part.as_str() {
        return Ok(text);
    }
    match part["type"].as_str() {
        Some("text" | "input_text" | "output_text" | "refusal" | "thinking") => {
            let text = ["text", "refusal", "thinking"]
                .iter()
                .find_map(|name| part[*name].as_str());
            text.ok_or("a text part needs a text")
        }
        Some(_) => Err(
            "this model takes text only; at most 0 images, videos or audio files may be provided",
        ),
        None => Err("a content part must be a string or have a type"),
    }
}

/// Clients send arguments as JSON in a string; templates print them as objects.
fn parse_arguments(call: &mut Value) {
    if let Some(arguments) = call.pointer_mut("/function/arguments")
        && let Some(Ok(parsed)) = arguments.as_str().map(serde_json::from_str::<Value>)
        && parsed.is_object()
    {
        *arguments = parsed;
    }
}

/// Cuts the rendered text right after the last message's content.
pub(super) fn cut_after_final(text: &str, messages: &[Value]) -> Result<String, TemplateError> {
    let content = messages.last().map(|message| match &message["content"] {
        Value::Array(parts) => parts.last().and_then(|part| part["text"].as_str()),
        content => content.as_str(),
    });
    let Some(Some(content)) = content else {
        return Err(TemplateError::Messages(
            "the final message to continue has no text".to_owned(),
        ));
    };
    let content = content.trim();
    match text.rfind(content) {
        Some(at) => Ok(text[..at + content.len()].to_owned()),
        None => Err(TemplateError::Refused(
            "the template does not render the final message as it is".to_owned(),
        )),
    }
}
