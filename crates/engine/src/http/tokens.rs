//! Which tokens is a text, and which text are tokens?

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::body::Body;
use super::plan::chat_text;
use super::reply::{self, Failure};
use super::request::{Ask, Prompt, parse};
use super::shell::Shell;

#[derive(Deserialize)]
struct Extra {
    return_token_strs: Option<bool>,
}

#[derive(Deserialize)]
struct Detokenize {
    tokens: Vec<u32>,
}

pub(crate) fn tokenize(shell: &Shell, body: &[u8]) -> Result<Response<Body>, Failure> {
    let ask = Ask::read(body)?;
    let extra: Extra = parse(body)?;
    let tokenizer = &shell.settings.tokenizer;
    let (text, special) = match &ask.messages {
        Some(_) => (
            chat_text(shell, &ask)?,
            ask.add_special_tokens.unwrap_or(false),
        ),
        None => match ask.prompts()?.pop() {
            Some(Prompt::Text(text)) => (text, ask.add_special_tokens.unwrap_or(true)),
            _ => return Err(Failure::malformed("`prompt` must be a string")),
        },
    };
    let tokens = tokenizer
        .encode_with(&text, special)
        .map_err(|error| Failure::invalid(error.to_string()))?;
    let strings = extra.return_token_strs.unwrap_or(false);
    let strings = strings.then(|| {
        tokens
            .iter()
            .map(|&token| tokenizer.decode(&[token]))
            .collect::<Vec<_>>()
    });
    let answer = json!({
        "count": tokens.len(), "max_model_len": shell.settings.max_model_len(), "tokens": tokens, "token_strs": strings,
    });
    Ok(reply::json(StatusCode::OK, &answer))
}

pub(crate) fn detokenize(shell: &Shell, body: &[u8]) -> Result<Response<Body>, Failure> {
    let ask: Detokenize = parse(body)?;
    Ok(reply::json(
        StatusCode::OK,
        &json!({"prompt": shell.settings.tokenizer.decode(&ask.tokens)}),
    ))
}
