//! What does the body of a generation request ask for?
//!
//! Unknown fields are accepted and ignored. Types are checked here; whether values make sense together is
//! `generate.rs`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::loose::{float, int, truth};
use super::reply::Failure;

/// Most prompts in one completion request.
const MAX_PROMPTS: usize = 1024;
/// What some clients put before a body.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `/v1/completions` and `/v1/chat/completions` in one: a field of the other route is ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Ask {
    pub(crate) model: Option<String>,
    pub(crate) prompt: Option<Box<RawValue>>,
    pub(crate) messages: Option<Value>,
    pub(crate) tools: Option<Value>,
    pub(crate) chat_template: Option<String>,
    pub(crate) chat_template_kwargs: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) add_generation_prompt: Option<bool>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) continue_final_message: Option<bool>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) add_special_tokens: Option<bool>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    #[serde(default, deserialize_with = "int")]
    pub(crate) max_tokens: Option<i64>,
    #[serde(default, deserialize_with = "int")]
    pub(crate) max_completion_tokens: Option<i64>,
    #[serde(default, deserialize_with = "int")]
    pub(crate) min_tokens: Option<i64>,
    #[serde(default, deserialize_with = "int")]
    pub(crate) n: Option<i64>,
    pub(crate) stop: Option<Stop>,
    pub(crate) stop_token_ids: Option<Vec<i64>>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) include_stop_str_in_output: Option<bool>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) ignore_eos: Option<bool>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) echo: Option<bool>,
    pub(crate) cache_salt: Option<String>,
    #[serde(default, deserialize_with = "float")]
    pub(crate) temperature: Option<f64>,
    #[serde(default, deserialize_with = "float")]
    pub(crate) top_p: Option<f64>,
    #[serde(default, deserialize_with = "int")]
    pub(crate) seed: Option<i64>,
    #[serde(default, deserialize_with = "int")]
    pub(crate) priority: Option<i64>,
    #[serde(default, deserialize_with = "int")]
    pub(crate) top_k: Option<i64>,
    #[serde(default, deserialize_with = "float")]
    pub(crate) min_p: Option<f64>,
    #[serde(default, deserialize_with = "float")]
    pub(crate) presence_penalty: Option<f64>,
    #[serde(default, deserialize_with = "float")]
    pub(crate) frequency_penalty: Option<f64>,
    #[serde(default, deserialize_with = "float")]
    pub(crate) repetition_penalty: Option<f64>,
    pub(crate) logprobs: Option<Logprobs>,
    #[serde(default, deserialize_with = "int")]
    pub(crate) top_logprobs: Option<i64>,
    #[serde(default, deserialize_with = "int")]
    pub(crate) prompt_logprobs: Option<i64>,
    pub(crate) suffix: Option<String>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) return_token_ids: Option<bool>,
    pub(crate) request_id: Option<String>,
}

/// Completions take a number here, chats yes or no.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Logprobs {
    Wanted(bool),
    Top(i64),
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct StreamOptions {
    #[serde(default, deserialize_with = "truth")]
    pub(crate) include_usage: Option<bool>,
    #[serde(default, deserialize_with = "truth")]
    pub(crate) continuous_usage_stats: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Stop {
    One(String),
    Many(Vec<String>),
}

/// A prompt as text or as tokens.
#[derive(Debug)]
pub(crate) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

impl Ask {
    pub(crate) fn read(body: &[u8]) -> Result<Self, Failure> {
        parse(body)
    }

    /// The stop strings, none of them empty.
    pub(crate) fn stops(&mut self) -> Result<Vec<String>, Failure> {
        let stops = match self.stop.take() {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop],
            Some(Stop::Many(stops)) => stops,
        };
        match stops.iter().any(String::is_empty) {
            true => Err(Failure::invalid("stop cannot contain an empty string.")),
            false => Ok(stops),
        }
    }

    /// The prompts of a completion request, at least one.
    pub(crate) fn prompts(&self) -> Result<Vec<Prompt>, Failure> {
        let raw = self
            .prompt
            .as_ref()
            .filter(|raw| raw.get() != "\"\"")
            .ok_or_else(|| {
                Failure::invalid("`prompt` is required and must not be empty").param("prompt")
            })?;
        let prompts = prompts(raw.get())?;
        match prompts.len() {
            0 => Err(Failure::invalid("at least one prompt is required")),
            1..=MAX_PROMPTS => Ok(prompts),
            _ => Err(
                Failure::invalid(format!("at most {MAX_PROMPTS} prompts in one request"))
                    .param("prompt"),
            ),
        }
    }
}

/// Reads a JSON body, as Python does: behind a byte order mark too, and of a key that comes twice the last counts. The
/// message says where it went wrong.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::malformed(
            "the request body is empty; a JSON object is expected",
        ));
    }
    let read = serde_json::from_slice(body).or_else(|error| {
        // Rare, so that it may cost a second reading: a tree keeps the last of equal keys.
        match error.to_string().starts_with("duplicate field") {
            true => serde_json::from_value(serde_json::from_slice(body)?),
            false => Err(error),
        }
    });
    read.map_err(|error| Failure::malformed(error.to_string()))
}

fn prompts(raw: &str) -> Result<Vec<Prompt>, Failure> {
    let wrong = || {
        Failure::malformed(
            "`prompt` must be a string, a list of strings, token ids, or lists of token ids",
        )
    };
    let read = |_| wrong();
    if !raw.starts_with('[') {
        return serde_json::from_str(raw)
            .map(|text| vec![Prompt::Text(text)])
            .map_err(read);
    }
    match raw[1..].trim_start().bytes().next() {
        Some(b']') => Ok(Vec::new()),
        Some(b'"') => {
            let texts: Vec<String> = serde_json::from_str(raw).map_err(read)?;
            Ok(texts.into_iter().map(Prompt::Text).collect())
        }
        Some(b'[') => {
            let lists: Vec<Vec<u32>> = serde_json::from_str(raw).map_err(read)?;
            Ok(lists.into_iter().map(Prompt::Tokens).collect())
        }
        _ => Ok(vec![Prompt::Tokens(
            serde_json::from_str(raw).map_err(read)?,
        )]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Result<&[&str], &str>) {
        let ask = Ask::read(body.as_bytes());
        let seen = ask.and_then(|ask| ask.prompts()).map(|prompts| {
            let show = |prompt: &Prompt| match prompt {
                Prompt::Text(text) => format!("text {text}"),
                Prompt::Tokens(ids) => format!("ids {ids:?}"),
            };
            prompts.iter().map(show).collect::<Vec<_>>()
        });
        match (seen, expected) {
            (Ok(seen), Ok(expected)) => assert_eq!(seen, expected),
            (Err(seen), Err(part)) => assert!(format!("{seen:?}").contains(part), "{seen:?}"),
            (seen, expected) => panic!("{body}: {seen:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_prompt_has_four_forms() {
        check(r#"{"prompt":"a\n","unknown":[1]}"#, Ok(&["text a\n"]));
        check(r#"{"prompt":[ "a", "b"]}"#, Ok(&["text a", "text b"]));
        check(r#"{"prompt":[1,2]}"#, Ok(&["ids [1, 2]"]));
        check(r#"{"prompt":[[1],[2,3]]}"#, Ok(&["ids [1]", "ids [2, 3]"]));
        check("\u{feff}{\"prompt\":\"a\"}", Ok(&["text a"]));
    }

    #[test]
    fn of_equal_keys_the_last_counts() {
        check(
            r#"{"prompt":"a","prompt":[1,2],"n":1,"n":2}"#,
            Ok(&["ids [1, 2]"]),
        );
        let twice = r#"{"stream_options":{"include_usage":false,"include_usage":true},"model":"a","model":"b"}"#;
        let ask = Ask::read(twice.as_bytes()).unwrap();
        assert_eq!(ask.model.as_deref(), Some("b"));
        assert_eq!(ask.stream_options.unwrap().include_usage, Some(true));
        check(r#"{"prompt":"a","prompt":7}"#, Err("must be"));
    }

    #[test]
    fn other_forms_are_refused() {
        check("", Err("empty"));
        check(r#"{"prompt":"a""#, Err("EOF"));
        check(r#"{}"#, Err("required"));
        check(r#"{"prompt":[]}"#, Err("at least one"));
        check(r#"{"prompt":[-1]}"#, Err("must be"));
        check(r#"{"prompt":7}"#, Err("must be"));
        check(r#"{"prompt":["a",1]}"#, Err("must be"));
        check(
            r#"{"prompt":"a","max_tokens":"many"}"#,
            Err("not a valid integer"),
        );
        check(r#"{"prompt":"a","stream":2}"#, Err("not a valid boolean"));
        check(r#"{"prompt":"a","stream":[]}"#, Err("invalid type"));
        check("[1]", Err("Bad Request"));
    }
}
