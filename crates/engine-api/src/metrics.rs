//! What does an engine's `/metrics` page say about its load and cache?

use crate::dialect::Dialect;

/// What one scrape said; `None` is "the page did not say", never zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineMetrics {
    pub waiting: Option<u32>,
    pub running: Option<u32>,
    /// 0..1, blocks referenced by live requests over all blocks.
    pub kv_usage: Option<f64>,
    pub block_size_tokens: Option<u32>,
    pub num_blocks: Option<u32>,
    /// Tokens looked up and found in the prefix cache since the engine started.
    pub prefix_queries_tokens: Option<f64>,
    pub prefix_hits_tokens: Option<f64>,
    pub prompt_tokens: Option<f64>,
    pub generation_tokens: Option<f64>,
    pub preemptions: Option<f64>,
    pub prefix_caching_enabled: Option<bool>,
    /// `process_start_time_seconds`, to notice a restart behind the same address.
    pub process_start_seconds: Option<f64>,
    /// False while the engine is asleep.
    pub awake: Option<bool>,
    pub running_loras: Vec<String>,
    pub waiting_loras: Vec<String>,
    pub max_loras: Option<u32>,
}

/// Which series of the page to read: of one data-parallel rank and one model where the page holds several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selector<'a> {
    pub rank: Option<u32>,
    pub model: Option<&'a str>,
}

/// Reads the series `dialect` names and skips every other line unparsed. Old and new names are accepted,
/// the first present wins; several series of one name (ranks, models) are summed, usage is averaged.
pub fn parse(_page: &[u8], _dialect: &Dialect, _selector: Selector<'_>) -> EngineMetrics {
    EngineMetrics::default()
}

/// Which dialect a page is written in, by the metric prefixes it uses.
pub fn detect(_page: &[u8]) -> Option<&'static Dialect> {
    None
}
