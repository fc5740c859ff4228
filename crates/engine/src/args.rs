//! What can be set on the command line of one model server?
//!
//! Flags carry vLLM's names wherever vLLM has the flag, with vLLM's meaning; the rest say that they are
//! ours. Parsing does nothing but parse: resolving names and checking ranges is `settings.rs`.

use std::path::PathBuf;
use std::time::Duration;

use crate::fault::Fault;
use crate::kv_events::{Encoding, HashForm, KvEventsConfig};
use crate::model::{DEFAULT_HASH_ALGO, DEFAULT_HASH_SEED, HashAlgo};

/// Model assumed where none is named: the one the measured accelerator profile was fitted to.
pub const DEFAULT_MODEL: &str = "Qwen/Qwen2.5-3B-Instruct";
/// Tokens per KV-cache block.
pub(crate) const DEFAULT_BLOCK_SIZE_TOKENS: u32 = 16;

/// What the answer's text is made of; both are invented by the server, and say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TextMode {
    /// Deterministic words, seeded by the prompt.
    #[default]
    Filler,
    /// The prompt's own tokens, repeated.
    Echo,
}

/// `name=path` of one LoRA adapter; also accepts vLLM's JSON form `{"name":…,"path":…}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraModule {
    pub name: String,
    pub path: String,
}

impl std::str::FromStr for LoraModule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('{') {
            let value: serde_json::Value =
                serde_json::from_str(text).map_err(|error| error.to_string())?;
            let field = |name: &str| {
                value[name]
                    .as_str()
                    .filter(|text| !text.is_empty())
                    .map(str::to_owned)
            };
            return match (field("name"), field("path")) {
                (Some(name), Some(path)) => Ok(Self { name, path }),
                _ => Err("expected {\"name\":…,\"path\":…}".to_owned()),
            };
        }
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self {
                name: name.to_owned(),
                path: path.to_owned(),
            }),
            _ => Err("expected name=path".to_owned()),
        }
    }
}

/// One vLLM-compatible model server. Cache and scheduler are real; compute and text are simulated.
#[derive(Clone, Debug, clap::Args)]
pub struct EngineArgs {
    /// Address to listen on. Unlike vLLM only this machine by default, because the fault routes have no lock.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,

    /// Port to listen on; 0 takes a free one and prints it.
    #[arg(long, default_value_t = 8000)]
    pub port: u16,

    /// Model name, also the default of --served-model-name.
    #[arg(long, default_value = DEFAULT_MODEL)]
    pub model: String,

    /// Names this model is asked for by; the first is the one in answers and metrics.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    pub served_model_name: Vec<String>,

    /// Longest prompt plus answer, in tokens; without it 32768, or less where the KV cache is smaller.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_model_len: Option<u32>,

    /// Tokens per KV-cache block.
    #[arg(long, default_value_t = DEFAULT_BLOCK_SIZE_TOKENS, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub block_size: u32,

    /// KV-cache blocks; without it as many as the accelerator's memory holds.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=50_000_000))]
    pub num_gpu_blocks_override: Option<u32>,

    /// Most requests in one step; without it the accelerator's default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_num_seqs: Option<u32>,

    /// Token budget of one step; without it the accelerator's default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub max_num_batched_tokens: Option<u32>,

    /// Keep the KV cache of finished requests for equal prefixes (the default).
    #[arg(long, overrides_with = "no_enable_prefix_caching")]
    pub enable_prefix_caching: bool,

    /// Recompute every prompt from its first token.
    #[arg(long, overrides_with = "enable_prefix_caching")]
    pub no_enable_prefix_caching: bool,

    /// Report `usage.prompt_tokens_details.cached_tokens`.
    #[arg(long)]
    pub enable_prompt_tokens_details: bool,

    /// Answer 503 once this many requests wait; without it the queue is not limited by count.
    #[arg(long, value_name = "N")]
    pub max_num_queued_reqs: Option<u32>,

    /// Answer 503 once the prompts that wait have this many tokens; without it the queue is not limited by tokens.
    #[arg(long, value_name = "N")]
    pub max_num_queued_tokens: Option<u32>,

    /// How block contents are named: sha256_cbor (bit for bit vLLM's) or xxhash_cbor. vLLM's default, sha256, hashes a
    /// pickled Python object and is not offered.
    #[arg(long, default_value = DEFAULT_HASH_ALGO.as_str(), value_name = "NAME")]
    pub prefix_caching_hash_algo: HashAlgo,

    /// Seed of the first block's parent hash, from the variable that vLLM takes it from (not a vLLM flag).
    #[arg(long, env = "PYTHONHASHSEED", default_value = DEFAULT_HASH_SEED, value_name = "TEXT")]
    pub hash_seed: String,

    /// Publish what the prefix cache stores and drops, as vLLM's JSON:
    /// {"enable_kv_cache_events":true,"endpoint":"tcp://*:5557","replay_endpoint":null,"topic":"",…}.
    #[arg(
        long,
        default_value = "{}",
        value_name = "JSON",
        hide_default_value = true
    )]
    pub kv_events_config: KvEventsConfig,

    /// Shape of one event: maps as vLLM writes now, or the positional arrays of before (not a vLLM flag).
    #[arg(long, value_enum, default_value_t)]
    pub kv_events_encoding: Encoding,

    /// Shape of a block hash in events: int, its low 64 bits, or bytes (not a vLLM flag; vLLM has the variable only).
    #[arg(
        long,
        env = "VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES",
        default_value = "int",
        value_name = "int|bytes"
    )]
    pub kv_events_hashes: HashForm,

    /// Rank of this engine among data-parallel ones: the `engine` label of metrics, carried by events and added to
    /// their ports.
    #[arg(long, short = 'n', default_value_t = 0, value_name = "RANK")]
    pub data_parallel_rank: u32,

    /// Open `/v1/load_lora_adapter` and `/v1/unload_lora_adapter`.
    #[arg(long, env = "VLLM_ALLOW_RUNTIME_LORA_UPDATING", value_parser = clap::builder::FalseyValueParser::new())]
    pub allow_runtime_lora_updating: bool,

    /// Open `/reset_prefix_cache`, `/sleep`, `/wake_up` and `/is_sleeping`.
    #[arg(long, env = "VLLM_SERVER_DEV_MODE", value_parser = clap::builder::FalseyValueParser::new())]
    pub server_dev_mode: bool,

    /// Open the `/render` routes, which tokenize without generating.
    #[arg(long)]
    pub enable_scale_out: bool,

    /// Count open requests in `GET /load`.
    #[arg(long)]
    pub enable_server_load_tracking: bool,

    /// Answer with an `x-request-id` header: the client's, or a new one.
    #[arg(long)]
    pub enable_request_id_headers: bool,

    /// Send usage in every stream, asked for or not.
    #[arg(long)]
    pub enable_force_include_usage: bool,

    /// Bearer tokens one of which every `/v1` request must carry.
    #[arg(long, env = "VLLM_API_KEY", hide_env_values = true, num_args = 1.., value_name = "KEY")]
    pub api_key: Vec<String>,

    /// Seconds to let running requests end after SIGTERM; 0 aborts them at once.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS", value_parser = seconds)]
    pub shutdown_timeout: f64,

    /// Seconds between `: keep-alive` comments on a silent stream; 0 sends none.
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS", value_parser = seconds)]
    pub sse_keep_alive_interval: f64,

    /// Directory with a Hugging Face `tokenizer.json` and `tokenizer_config.json`; without it a built-in
    /// word-piece tokenizer (about 4 bytes a token of English) and a ChatML template.
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,

    /// LoRA adapters served beside the model.
    #[arg(long, num_args = 1.., value_name = "NAME=PATH")]
    pub lora_modules: Vec<LoraModule>,

    /// Accelerator whose step times are simulated (not a vLLM flag).
    #[arg(long, default_value = "tpu-v6e-4", value_name = "NAME")]
    pub accelerator: String,

    /// Factor on every simulated duration: 0.1 runs ten times as fast, 0 does not wait (not a vLLM flag).
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = factor)]
    pub time_scale: f64,

    /// Seed of the invented text and of faults that happen by chance.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// What the invented answer is made of (not a vLLM flag).
    #[arg(long, value_enum, default_value_t)]
    pub text: TextMode,

    /// Misbehave on purpose: KIND[:key=value,…], repeatable (not a vLLM flag).
    #[arg(long, value_name = "SPEC", long_help = crate::fault::HELP)]
    pub fault: Vec<Fault>,
}

impl EngineArgs {
    /// Prefix caching is on unless switched off.
    pub fn prefix_caching(&self) -> bool {
        !self.no_enable_prefix_caching
    }

    /// `--shutdown-timeout` as a duration.
    pub fn shutdown_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.shutdown_timeout)
    }
}

impl Default for EngineArgs {
    /// The values of an empty command line.
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            engine: EngineArgs,
        }
        <Line as clap::Parser>::parse_from(["engine"]).engine
    }
}

/// A span that fits a timer: up to one day.
fn seconds(text: &str) -> Result<f64, String> {
    bounded(text, 86_400.0)
}

fn factor(text: &str) -> Result<f64, String> {
    bounded(text, 1_000_000.0)
}

fn bounded(text: &str, most: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=most).contains(&value) => Ok(value),
        _ => Err(format!("expected a number from 0 to {most}")),
    }
}
