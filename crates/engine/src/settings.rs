//! Which model server do these flags describe?

use std::sync::Arc;

use anyhow::Context;
use tokenize::Tokenizer;

use crate::args::EngineArgs;
use crate::backend::{FillerVocabulary, Profile, SimulatedBackend, SimulatedOptions};
use crate::kv_events::Form;
use crate::loras::Loras;
use crate::model::{BatchConfig, BatchModel};

/// Version of vLLM whose behaviour is imitated.
pub(crate) const VLLM_VERSION: &str = "0.32.0";

/// The flags, resolved and checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) args: EngineArgs,
    pub(crate) profile: Profile,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) batch: BatchConfig,
    /// Names of the model itself; the first is the one in answers and metrics.
    pub(crate) served_names: Vec<String>,
    /// `vllm-<version>-simulated-<hash of the settings>`
    pub(crate) fingerprint: String,
}

impl Settings {
    /// Errors: unknown accelerator, unreadable tokenizer, limits that contradict each other.
    pub(crate) fn resolve(args: EngineArgs) -> anyhow::Result<Self> {
        let profile = Profile::named(&args.accelerator)?;
        let tokenizer = match &args.tokenizer {
            Some(dir) => Tokenizer::from_dir(dir)
                .with_context(|| format!("--tokenizer {}", dir.display()))?,
            None => Tokenizer::built_in(),
        };
        let batch = limits(&args, &profile);
        batch.validate()?;
        let served_names = if args.served_model_name.is_empty() {
            vec![args.model.clone()]
        } else {
            args.served_model_name.clone()
        };
        let fingerprint = fingerprint(&served_names[0], &args.accelerator, &batch);
        Ok(Self {
            profile,
            tokenizer,
            batch,
            served_names,
            fingerprint,
            args,
        })
    }

    /// A model with the backend these settings name.
    pub(crate) fn batch_model(&self) -> anyhow::Result<BatchModel> {
        let vocabulary: Arc<[u32]> = match self.tokenizer.is_built_in() {
            true => tokenize::filler_ids().into(),
            false => plain_ids(&self.tokenizer),
        };
        let options = SimulatedOptions {
            time_scale: self.args.time_scale,
            seed: self.args.seed,
            vocabulary: FillerVocabulary::new(vocabulary),
            ..SimulatedOptions::default()
        };
        let backend = SimulatedBackend::new(self.profile.clone(), options);
        Ok(BatchModel::new(self.batch.clone(), Box::new(backend))?)
    }

    /// The adapters named at start.
    pub(crate) fn loras(&self) -> Loras {
        let modules = self.args.lora_modules.iter();
        Loras::new(modules.map(|lora| (lora.name.as_str(), lora.path.as_str())))
    }

    /// How this engine's cache events look on the wire.
    pub(crate) fn event_form(&self) -> Form {
        Form {
            encoding: self.args.kv_events_encoding,
            hashes: self.args.kv_events_hashes,
            algo: self.batch.hash_algo,
            block_size_tokens: self.batch.block_size_tokens,
            rank: self.args.data_parallel_rank,
        }
    }

    /// The name that answers and metrics carry.
    pub(crate) fn model_name(&self) -> &str {
        &self.served_names[0]
    }

    /// Longest prompt plus answer.
    pub(crate) fn max_model_len(&self) -> usize {
        self.batch.max_model_len_tokens
    }
}

fn limits(args: &EngineArgs, profile: &Profile) -> BatchConfig {
    let block_size = args.block_size as usize;
    let of = |flag: Option<u32>, default: usize| flag.map_or(default, |flag| flag as usize);
    BatchConfig {
        block_size_tokens: block_size,
        num_gpu_blocks: of(
            args.num_gpu_blocks_override,
            profile.num_gpu_blocks(block_size),
        ),
        max_num_seqs: of(args.max_num_seqs, profile.max_num_seqs),
        max_num_batched_tokens: of(args.max_num_batched_tokens, profile.max_num_batched_tokens),
        max_model_len_tokens: model_len(args, profile, block_size),
        enable_prefix_caching: args.prefix_caching(),
        max_num_queued_reqs: args.max_num_queued_reqs.map(|limit| limit as usize),
        max_num_queued_tokens: args.max_num_queued_tokens.map(|limit| limit as usize),
        hash_algo: args.prefix_caching_hash_algo,
        hash_seed: args.hash_seed.as_str().into(),
        record_cache_events: args.kv_events_config.is_on() && args.prefix_caching(),
    }
}

/// The flag, else the default or as much of it as the KV cache holds.
fn model_len(args: &EngineArgs, profile: &Profile, block_size: usize) -> usize {
    if let Some(tokens) = args.max_model_len {
        return tokens as usize;
    }
    let blocks = args
        .num_gpu_blocks_override
        .map_or(profile.num_gpu_blocks(block_size), |blocks| blocks as usize);
    profile
        .max_model_len_tokens
        .min(blocks.saturating_sub(1) * block_size)
        .max(1)
}

/// Differs where answers may differ.
fn fingerprint(model: &str, accelerator: &str, batch: &BatchConfig) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{model} {accelerator} {batch:?}"));
    format!(
        "vllm-{VLLM_VERSION}-simulated-{:02x}{:02x}{:02x}{:02x}",
        digest[0], digest[1], digest[2], digest[3]
    )
}

/// Ids of a vocabulary from files that stand for a word with its space: readable filler.
fn plain_ids(tokenizer: &Tokenizer) -> Arc<[u32]> {
    let readable = |&id: &u32| {
        let text = tokenizer.decode(&[id]);
        let word = text.trim_start();
        (3..=12).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    let words: Vec<u32> = (0..tokenizer.vocab_size())
        .filter(readable)
        .take(4096)
        .collect();
    // A vocabulary without words (of bytes, say) still needs ids that it has.
    if words.is_empty() {
        (0..tokenizer.vocab_size().min(128)).collect()
    } else {
        words.into()
    }
}
