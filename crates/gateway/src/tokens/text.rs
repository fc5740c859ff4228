//! Which text does the model read for a body?

use engine_api::openai::Route;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokenize::{ChatOptions, KnownTokens};

use super::Without;

/// What of a body decides its tokens.
#[derive(Deserialize)]
struct Asked {
    messages: Option<Value>,
    prompt: Option<Value>,
    tools: Option<Value>,
    documents: Option<Value>,
    chat_template: Option<String>,
    chat_template_kwargs: Option<Map<String, Value>>,
    add_generation_prompt: Option<bool>,
    continue_final_message: Option<bool>,
    add_special_tokens: Option<bool>,
}

/// Tokens of every prompt in `body`, and how many bytes of text were tokenized for it.
pub(super) fn tokens(
    known: &KnownTokens,
    route: Route,
    body: &[u8],
    now_unix_s: i64,
) -> Result<(Vec<Vec<u32>>, usize), Without> {
    let asked: Asked = serde_json::from_slice(body).map_err(|_| Without::Body)?;
    let encode = |text: &str, special: bool| {
        let tokenized = known.encode(text, special).map_err(|_| Without::Refused)?;
        Ok((tokenized.ids, tokenized.new_bytes))
    };
    if route == Route::Chat {
        let text = chat(known, &asked, now_unix_s)?;
        let (ids, new_bytes) = encode(&text, asked.add_special_tokens.unwrap_or(false))?;
        return Ok((vec![ids], new_bytes));
    }
    let special = asked.add_special_tokens.unwrap_or(true);
    let prompts = match asked.prompt {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(texts)) => texts
            .into_iter()
            .map(|text| match text {
                Value::String(text) => Ok(text),
                _ => Err(Without::Body),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(Without::Body),
    };
    let mut all = (Vec::with_capacity(prompts.len()), 0);
    for prompt in prompts {
        let (ids, new_bytes) = encode(&prompt, special)?;
        all.0.push(ids);
        all.1 += new_bytes;
    }
    Ok(all)
}

fn chat(known: &KnownTokens, asked: &Asked, now_unix_s: i64) -> Result<String, Without> {
    let messages = asked.messages.as_ref().ok_or(Without::Body)?;
    if has_media(messages) {
        return Err(Without::Media);
    }
    // Whether the engine trusts requests with a template is its own setting.
    if asked
        .chat_template
        .as_ref()
        .is_some_and(|own| !own.is_empty())
    {
        return Err(Without::Refused);
    }
    let continued = asked.continue_final_message.unwrap_or(false);
    let mut kwargs = asked.chat_template_kwargs.clone().unwrap_or_default();
    if let Some(documents) = &asked.documents {
        kwargs
            .entry("documents")
            .or_insert_with(|| documents.clone());
    }
    let options = ChatOptions {
        add_generation_prompt: asked.add_generation_prompt.unwrap_or(!continued),
        continue_final_message: continued,
        kwargs: Some(&kwargs),
        now_unix_s,
    };
    known
        .tokenizer()
        .render_chat(messages, asked.tools.as_ref(), &options)
        .map_err(|_| Without::Refused)
}

/// Whether some part of a message is no text: how many tokens it takes is known to the engine alone.
fn has_media(messages: &Value) -> bool {
    let parts = |message: &Value| message["content"].as_array().cloned().unwrap_or_default();
    let text = |part: &Value| {
        part.is_string()
            || matches!(
                part["type"].as_str(),
                Some("text" | "input_text" | "refusal")
            )
    };
    let mut messages = messages.as_array().into_iter().flatten();
    messages.any(|message| !parts(message).iter().all(text))
}
