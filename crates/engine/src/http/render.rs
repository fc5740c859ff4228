//! Which tokens would a request be, and which sampling would it get?
//!
//! What `--enable-scale-out` opens: the request as the engine would get it, for routers that need its tokens. Nothing is
//! generated.

use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::body::Body;
use super::generate::{Context, Style};
use super::plan::{Plan, plan};
use super::reply::{self, Failure};
use super::request::Ask;

/// Answer in one piece, numbered as in vLLM.
const FINAL_ONLY: u64 = 2;
/// Answer in pieces.
const DELTA: u64 = 1;
/// Left out of the answer, being the default.
const DEFAULT_MAX_TOKENS: usize = 16;

/// One object for a chat, a list of them, one a prompt, for completions.
pub(crate) fn render(
    context: &Context,
    style: Style,
    body: &[u8],
) -> Result<Response<Body>, Failure> {
    let plan = plan(context, style, body)?;
    let mut ask = Ask::read(body)?;
    let stops = ask.stops()?;
    let one = |index: usize| {
        let request_id = match plan.prompts.len() {
            1 => plan.id.clone(),
            _ => format!("{}-{index}", plan.id),
        };
        json!({
            "request_id": request_id, "token_ids": &plan.prompts[index][..], "token_offsets": null, "features": null,
            "content_parts": null, "sampling_params": sampling(&ask, &stops, &plan, index), "model": ask.model,
            "reasoning_ended": null, "reasoning_parser_kwargs": null, "return_token_ids": null, "output_mode": "tokens",
            "stream": plan.stream, "stream_options": stream_options(&ask), "cache_salt": ask.cache_salt,
            "priority": ask.priority.unwrap_or(0), "kv_transfer_params": null, "ec_transfer_params": null,
        })
    };
    let mut rendered: Vec<Value> = (0..plan.prompts.len()).map(one).collect();
    let value = match style {
        Style::Completion => Value::Array(rendered),
        Style::Chat => rendered.pop().unwrap_or_default(),
    };
    Ok(reply::json(StatusCode::OK, &value))
}

fn stream_options(ask: &Ask) -> Value {
    ask.stream_options.as_ref().map_or(Value::Null, |options| {
        json!({
            "include_usage": options.include_usage.unwrap_or(false),
            "continuous_usage_stats": options.continuous_usage_stats.unwrap_or(false),
        })
    })
}

/// In vLLM's order; some fields are there only when they are not at their default.
fn sampling(ask: &Ask, stops: &[String], plan: &Plan, index: usize) -> Value {
    let mut params = Map::new();
    let mut put = |name: &str, value: Value| {
        params.insert(name.to_owned(), value);
    };
    let or = |value: Option<f64>, default: f64| json!(value.unwrap_or(default));
    if plan.n > 1 {
        put("n", json!(plan.n));
    }
    put("presence_penalty", or(ask.presence_penalty, 0.0));
    put("frequency_penalty", or(ask.frequency_penalty, 0.0));
    put("repetition_penalty", or(ask.repetition_penalty, 1.0));
    put("temperature", or(ask.temperature, 1.0));
    put("top_p", or(ask.top_p, 1.0));
    if let Some(top_k) = ask.top_k.filter(|&top_k| top_k != 0) {
        put("top_k", json!(top_k));
    }
    put("min_p", or(ask.min_p, 0.0));
    if let Some(seed) = ask.seed {
        put("seed", json!(seed));
    }
    put("stop", json!(stops));
    put(
        "stop_token_ids",
        json!(ask.stop_token_ids.as_deref().unwrap_or(&[])),
    );
    if ask.ignore_eos == Some(true) {
        put("ignore_eos", json!(true));
    }
    if plan.requests[index * plan.n].max_tokens != DEFAULT_MAX_TOKENS {
        put(
            "max_tokens",
            json!(plan.requests[index * plan.n].max_tokens),
        );
    }
    if let Some(min_tokens) = ask.min_tokens.filter(|&min_tokens| min_tokens != 0) {
        put("min_tokens", json!(min_tokens));
    }
    if let Some(top) = plan.logprobs {
        put("logprobs", json!(top));
    }
    if let Some(top) = plan.prompt_logprobs {
        put("prompt_logprobs", json!(top));
    }
    if ask.include_stop_str_in_output == Some(true) {
        put("include_stop_str_in_output", json!(true));
    }
    put(
        "output_kind",
        json!(if plan.stream { DELTA } else { FINAL_ONLY }),
    );
    put("skip_clone", json!(true));
    put("bad_words", json!([]));
    put(
        "skip_reading_prefix_cache",
        json!(plan.prompt_logprobs.is_some()),
    );
    Value::Object(params)
}
