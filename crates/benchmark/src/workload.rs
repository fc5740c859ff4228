//! What is asked?

pub mod jobs;
pub mod shared_prefix;
pub mod suite;
pub mod text;

use bytes::Bytes;
use serde_json::{Value, json};

/// One request, ready to send.
#[derive(Clone, Debug)]
pub struct Prompted {
    pub path: &'static str,
    pub body: Bytes,
    /// Requests of one group share their prefix.
    pub group: u32,
}

/// A fixed sequence of requests; the same index always gives the same bytes.
pub trait Workload: Send + Sync {
    fn len(&self) -> usize;
    fn prompted(&self, index: usize) -> Prompted;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A completion request.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    pub model: &'a str,
    /// Text, or an array of token ids.
    pub prompt: Value,
    pub max_tokens: u32,
    /// Asks vLLM-compatible engines for exactly `max_tokens`.
    pub ignore_eos: bool,
}

impl Body<'_> {
    /// To be answered whole.
    pub fn whole(self) -> Bytes {
        Bytes::from(self.json().to_string())
    }

    /// To be streamed, with the token counts at the end.
    pub fn streamed(self) -> Bytes {
        let mut body = self.json();
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
        Bytes::from(body.to_string())
    }

    fn json(self) -> Value {
        let mut body = json!({
            "model": self.model,
            "prompt": self.prompt,
            "max_tokens": self.max_tokens,
            "temperature": 0,
        });
        if self.ignore_eos {
            body["ignore_eos"] = json!(true);
        }
        body
    }
}
