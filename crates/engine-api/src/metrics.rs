//! What does an engine's `/metrics` page say about its load and cache?

mod collect;
mod line;
mod spec;

use crate::dialect::{ALL, Dialect};
use line::{Lines, Series};

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
/// A series without the selector's label passes it; a value that is no finite number is as good as absent.
pub fn parse(page: &[u8], dialect: &Dialect, selector: Selector<'_>) -> EngineMetrics {
    let wanted = spec::Wanted::of(dialect);
    let mut collected = collect::Collected::new(dialect, selector);
    for line in Lines::of(page) {
        if let Some(name) = line.name(|len| wanted.may_have(len)) {
            wanted.each(name, |what, spec| {
                if let Some(series) = Series::read(line, name) {
                    collected.take(what, spec, &series);
                }
            });
        }
    }
    collected.into_metrics()
}

/// Which dialect a page is written in, by the metric prefixes it uses.
pub fn detect(page: &[u8]) -> Option<&'static Dialect> {
    let mut best = ALL.len();
    for line in Lines::of(page) {
        let fits = |dialect: &&Dialect| line.starts_with(dialect.prefix.as_bytes());
        if let Some(found) = ALL[..best].iter().position(fits) {
            best = found;
            if best == 0 {
                break;
            }
        }
    }
    ALL.get(best).copied()
}
