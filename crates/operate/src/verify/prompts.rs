//! What do the checks ask, so that no earlier run's cache decides?

use benchmark::workload::text;
use bytes::Bytes;
use serde_json::{Value, json};

/// Words of the generated system prompt: several blocks even where a block is 128 tokens.
const SYSTEM_WORDS: usize = 700;
/// Words of each prompt in the distribution check.
const DISTINCT_WORDS: usize = 48;
/// Output tokens of each request.
const OUTPUT_TOKENS: u32 = 8;

/// Prompts of one run: the nonce stands first in every one of them.
pub(crate) struct Prompts<'a> {
    model: Option<&'a str>,
    nonce: u64,
}

impl<'a> Prompts<'a> {
    pub(crate) fn new(model: Option<&'a str>) -> Self {
        Self {
            model,
            nonce: text::fresh_seed(),
        }
    }

    pub(crate) fn completion(&self) -> Bytes {
        self.body(json!({"prompt": format!("{:08x} The capital of France is", self.nonce)}))
    }

    pub(crate) fn chat(&self) -> Bytes {
        let asked = format!("{:08x} Say hello in one short sentence.", self.nonce);
        self.body(json!({"messages": [{"role": "user", "content": asked}]}))
    }

    pub(crate) fn chat_stream(&self) -> Bytes {
        let asked = format!("{:08x} Count from one to five.", self.nonce);
        self.body(json!({
            "messages": [{"role": "user", "content": asked}],
            "stream": true,
            "stream_options": {"include_usage": true},
        }))
    }

    /// Differs from all others from its first word on.
    pub(crate) fn distinct(&self, index: u64) -> Bytes {
        let mut rng = text::rng(&[self.nonce, 1, index]);
        let words = text::words(&mut rng, DISTINCT_WORDS);
        self.body(json!({"prompt": format!("{:08x}-{index} {words}", self.nonce)}))
    }

    /// One system prompt, another question each time.
    pub(crate) fn with_system(&self, system: Option<&str>, index: u64) -> Bytes {
        let mut rng = text::rng(&[self.nonce, 2]);
        let generated = || {
            format!(
                "You answer briefly. {}",
                text::words(&mut rng, SYSTEM_WORDS)
            )
        };
        let system = system.map_or_else(generated, str::to_owned);
        self.body(json!({"messages": [
            {"role": "system", "content": format!("{:08x} {system}", self.nonce)},
            {"role": "user", "content": format!("Question {index}: which word comes after word {index}?")},
        ]}))
    }

    fn body(&self, mut body: Value) -> Bytes {
        if let Some(model) = self.model {
            body["model"] = json!(model);
        }
        body["max_tokens"] = json!(OUTPUT_TOKENS);
        Bytes::from(body.to_string())
    }
}
