//! What does a Hugging Face model directory say about tokens?

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer as Vocabulary;

use crate::splits::Splits;
use crate::{ChatTemplate, EncodeError};

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {path}: {cause}")]
    Read {
        path: PathBuf,
        cause: std::io::Error,
    },
    #[error("{path} is not what was expected: {cause}")]
    Content { path: PathBuf, cause: String },
}

/// A vocabulary from `tokenizer.json`.
#[derive(Debug)]
pub struct Files {
    vocabulary: Vocabulary,
    special: HashSet<u32>,
    eos_ids: Vec<u32>,
    vocab_size: u32,
}

impl Files {
    pub(crate) fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, EncodeError> {
        let encoding = self
            .vocabulary
            .encode_fast(text, add_special)
            .map_err(|error| EncodeError(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(crate) fn decode(&self, tokens: &[u32], skip_special: bool) -> String {
        // The only errors are those of a decoder that refuses a token sequence; it then has no text.
        self.vocabulary
            .decode(tokens, skip_special)
            .unwrap_or_default()
    }

    pub(crate) fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    pub(crate) fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    pub(crate) fn is_special(&self, token: u32) -> bool {
        self.special.contains(&token)
    }
}

/// Reads the directory's vocabulary and its chat template, if it has one.
pub(crate) fn load(dir: &Path) -> Result<(Files, Option<ChatTemplate>, Splits), LoadError> {
    let path = dir.join("tokenizer.json");
    let bytes = std::fs::read(&path).map_err(|cause| LoadError::Read {
        path: path.clone(),
        cause,
    })?;
    let splits = serde_json::from_slice(&bytes)
        .map_or(Splits::None, |tokenizer: Value| Splits::of(&tokenizer));
    let mut vocabulary = Vocabulary::from_bytes(&bytes).map_err(|error| LoadError::Content {
        path: path.clone(),
        cause: error.to_string(),
    })?;
    // Files of embedding models truncate and pad by themselves; a prompt must arrive whole.
    vocabulary.with_padding(None);
    vocabulary
        .with_truncation(None)
        .map_err(|error| LoadError::Content {
            path,
            cause: error.to_string(),
        })?;

    let config = optional_json(&dir.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
    let generation = optional_json(&dir.join("generation_config.json"))?.unwrap_or(Value::Null);
    let template = chat_template(dir, &config)?;
    Ok((describe(vocabulary, &config, &generation), template, splits))
}

fn describe(vocabulary: Vocabulary, config: &Value, generation: &Value) -> Files {
    let added = vocabulary.get_added_tokens_decoder();
    let special = added
        .iter()
        .filter(|(_, token)| token.special)
        .map(|(&id, _)| id)
        .collect();
    let mut eos_ids: Vec<u32> = match &generation["eos_token_id"] {
        Value::Array(ids) => ids.iter().filter_map(id).collect(),
        one => id(one).into_iter().collect(),
    };
    if let Some(eos) =
        token_text(&config["eos_token"]).and_then(|text| vocabulary.token_to_id(text))
        && !eos_ids.contains(&eos)
    {
        eos_ids.push(eos);
    }
    let largest = vocabulary.get_vocab(true).into_values().max().unwrap_or(0);
    Files {
        vocab_size: largest + 1,
        vocabulary,
        special,
        eos_ids,
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// A token is written as its text or as an object with `content`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

fn optional_json(path: &Path) -> Result<Option<Value>, LoadError> {
    let Some(text) = optional_text(path)? else {
        return Ok(None);
    };
    let content = |error: serde_json::Error| LoadError::Content {
        path: path.to_owned(),
        cause: error.to_string(),
    };
    serde_json::from_str(&text).map(Some).map_err(content)
}

fn optional_text(path: &Path) -> Result<Option<String>, LoadError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(LoadError::Read {
            path: path.to_owned(),
            cause,
        }),
    }
}

/// `chat_template.jinja` wins over `chat_template` of the configuration, which is one text or a list of
/// named ones: `default`, and often `tool_use` for conversations with tools.
fn chat_template(dir: &Path, config: &Value) -> Result<Option<ChatTemplate>, LoadError> {
    let path = dir.join("chat_template.jinja");
    let named = |name: &str| {
        let entries = config["chat_template"].as_array()?;
        entries.iter().find(|entry| entry["name"] == name)?["template"]
            .as_str()
            .map(str::to_owned)
    };
    let source = match optional_text(&path)? {
        Some(text) => Some(text),
        None => config["chat_template"]
            .as_str()
            .map(str::to_owned)
            .or_else(|| named("default")),
    };
    let Some(source) = source else {
        return Ok(None);
    };
    let template =
        ChatTemplate::new(source, named("tool_use")).map_err(|error| LoadError::Content {
            path: dir.join("tokenizer_config.json"),
            cause: error.to_string(),
        })?;
    Ok(Some(template.with_tokens(
        token_text(&config["bos_token"]).unwrap_or_default(),
        token_text(&config["eos_token"]).unwrap_or_default(),
    )))
}
