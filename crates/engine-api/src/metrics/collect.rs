//! What do several series of one thing come to?

use super::line::Series;
use super::spec::{Spec, VALUES, What};
use super::{EngineMetrics, Selector};
use crate::dialect::{CacheInfo, Dialect, LoraInfo};

/// Values of the most preferred name seen so far.
#[derive(Clone, Copy, Default)]
struct Sum {
    rank: usize,
    count: u32,
    sum: f64,
    max: f64,
}

impl Sum {
    fn add(&mut self, rank: usize, value: f64) {
        if self.count > 0 && rank > self.rank {
            return;
        }
        if rank < self.rank {
            self.count = 0;
        }
        if self.count == 0 {
            *self = Self {
                rank,
                count: 1,
                sum: value,
                max: value,
            };
            return;
        }
        self.count += 1;
        self.sum += value;
        self.max = self.max.max(value);
    }

    fn total(&self) -> Option<f64> {
        (self.count > 0).then_some(self.sum)
    }

    fn average(&self) -> Option<f64> {
        self.total().map(|sum| sum / f64::from(self.count))
    }

    fn largest(&self) -> Option<f64> {
        self.total().map(|_| self.max)
    }
}

/// What a page said so far.
pub(super) struct Collected<'a> {
    dialect: &'a Dialect,
    selector: Selector<'a>,
    values: [Sum; VALUES],
    /// From info gauges; the rest comes from `values`.
    metrics: EngineMetrics,
    /// Value of the LoRA series taken, a time.
    lora_time: f64,
}

impl<'a> Collected<'a> {
    pub(super) fn new(dialect: &'a Dialect, selector: Selector<'a>) -> Self {
        Self {
            dialect,
            selector,
            values: [Sum::default(); VALUES],
            metrics: EngineMetrics::default(),
            lora_time: f64::NEG_INFINITY,
        }
    }

    /// Takes in one series that is called what `spec` says.
    pub(super) fn take(&mut self, what: What, spec: &Spec<'_>, series: &Series<'_>) {
        let labelled = |(name, value): (&str, &str)| series.label(name).is_some_and(|v| v == value);
        if !series.value.is_finite() || !spec.label.is_none_or(labelled) || !self.selects(series) {
            return;
        }
        match (what, &self.dialect.cache_info, &self.dialect.lora_info) {
            (What::CacheInfo, Some(info), _) => self.cache_info(info, series),
            (What::LoraInfo, _, Some(info)) => self.lora_info(info, series),
            _ => {
                if let Some(sum) = self.values.get_mut(what as usize) {
                    sum.add(spec.rank, series.value);
                }
            }
        }
    }

    fn selects(&self, series: &Series<'_>) -> bool {
        let Selector { rank, model } = self.selector;
        let rank_fits = rank.is_none_or(|rank| {
            let label = series.label(self.dialect.rank_label);
            label.is_none_or(|label| label.parse() == Ok(rank))
        });
        rank_fits
            && model.is_none_or(|model| {
                let label = series.label(self.dialect.model_label);
                label.is_none_or(|label| label == model)
            })
    }

    /// Each rank has a cache of its own: blocks add up, their size does not.
    fn cache_info(&mut self, info: &CacheInfo, series: &Series<'_>) {
        let number = |label| {
            let written = series.label(label)?.parse::<u32>();
            written.ok().filter(|number| *number > 0)
        };
        let metrics = &mut self.metrics;
        if let Some(size) = number(info.block_size_label) {
            metrics.block_size_tokens = Some(metrics.block_size_tokens.unwrap_or(0).max(size));
        }
        if let Some(blocks) = number(info.num_blocks_label) {
            metrics.num_blocks = Some(metrics.num_blocks.unwrap_or(0).saturating_add(blocks));
        }
        let enabled = info
            .prefix_caching_label
            .and_then(|label| series.label(label));
        match enabled.as_deref() {
            Some("True" | "true" | "1") => metrics.prefix_caching_enabled = Some(true),
            Some("False" | "false" | "0") => metrics.prefix_caching_enabled = Some(false),
            _ => {}
        }
    }

    fn lora_info(&mut self, info: &LoraInfo, series: &Series<'_>) {
        if series.value < self.lora_time {
            return;
        }
        self.lora_time = series.value;
        let names = |label| {
            let list = series.label(label).unwrap_or_default();
            let names = list
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        self.metrics.running_loras = names(info.running_label);
        self.metrics.waiting_loras = names(info.waiting_label);
        let max = series.label(info.max_label);
        self.metrics.max_loras = max.and_then(|text| text.trim().parse().ok());
    }

    pub(super) fn into_metrics(self) -> EngineMetrics {
        let of = |what: What| &self.values[what as usize];
        // A cast of a float to an integer saturates, so no count can wrap.
        let count = |value: Option<f64>| value.map(|value| value.round() as u32);
        let metrics = self.metrics;
        EngineMetrics {
            waiting: count(of(What::Waiting).total()),
            running: count(of(What::Running).total()),
            kv_usage: of(What::KvUsage)
                .average()
                .map(|usage| usage.clamp(0.0, 1.0)),
            block_size_tokens: metrics
                .block_size_tokens
                .or(count(of(What::BlockSize).largest())),
            num_blocks: metrics.num_blocks.or(count(of(What::NumBlocks).total())),
            prefix_queries_tokens: of(What::PrefixQueries).total(),
            prefix_hits_tokens: of(What::PrefixHits).total(),
            prompt_tokens: of(What::PromptTokens).total(),
            generation_tokens: of(What::GenerationTokens).total(),
            preemptions: of(What::Preemptions).total(),
            process_start_seconds: of(What::ProcessStart).largest(),
            awake: of(What::Awake).total().map(|ranks| ranks > 0.0),
            ..metrics
        }
    }
}
