//! What does a document say about the machinery around the scheduler?
//!
//! Producers, data sources and parsers of real documents are built in here; what they are told by parameters
//! is collected in one [`Wiring`], for the rooms that own that machinery to obey.

use std::time::Duration;

use super::parsers::Parsers;
use crate::FlowSettings;

/// Settings that a document carries for others than the scheduler.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wiring {
    pub prefix: PrefixWiring,
    pub inflight: InflightWiring,
    pub scrape: ScrapeWiring,
    pub parsers: Parsers,
    pub latency: LatencyWiring,
    /// `None` where requests are scheduled at once.
    pub flow: Option<FlowSettings>,
}

/// From `predicted-latency-producer`.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyWiring {
    /// What a request's time for each token is multiplied by before it is held against what is expected.
    pub slo_buffer: f32,
}

impl Default for LatencyWiring {
    fn default() -> Self {
        Self { slo_buffer: 1.0 }
    }
}

/// From `approx-prefix-cache-producer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixWiring {
    /// Use the block size and block count that an endpoint reports; the figures below are for endpoints that
    /// report none. When false they are for all.
    pub auto_tune: bool,
    /// Tokens a block.
    pub block_size_tokens: u32,
    /// Tokens of a prompt that are looked up at most; `None` for all.
    pub max_match_tokens: Option<u32>,
    /// Blocks one endpoint is believed to hold at most.
    pub capacity_blocks: u32,
}

impl Default for PrefixWiring {
    fn default() -> Self {
        Self {
            auto_tune: true,
            block_size_tokens: 16,
            max_match_tokens: None,
            capacity_blocks: 31_250,
        }
    }
}

/// From `inflight-load-producer`.
#[derive(Clone, Debug, PartialEq)]
pub struct InflightWiring {
    /// Count expected output as load too.
    pub add_estimated_output_tokens: bool,
    /// Expected output tokens per prompt token.
    pub output_ratio: f64,
    pub max_estimated_output_tokens: Option<u32>,
}

impl Default for InflightWiring {
    fn default() -> Self {
        Self {
            add_estimated_output_tokens: false,
            output_ratio: 1.5,
            max_estimated_output_tokens: None,
        }
    }
}

impl InflightWiring {
    /// Output tokens to count for a request: 0 unless asked for, never more than the request's own limit.
    pub fn output_tokens(&self, prompt_tokens: u32, max_tokens: Option<u32>) -> u32 {
        if !self.add_estimated_output_tokens {
            return 0;
        }
        let estimate = (f64::from(prompt_tokens) * self.output_ratio) as u32;
        let limits = [self.max_estimated_output_tokens, max_tokens];
        limits.into_iter().flatten().fold(estimate, u32::min)
    }
}

/// From `metrics-data-source` and `core-metrics-extractor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeWiring {
    /// False when the document turned the default source off and names none.
    pub enabled: bool,
    /// `http` or `https`; `None` for that of the endpoint's own URL.
    pub scheme: Option<String>,
    pub path: String,
    /// Port of the metrics page where it is not the endpoint's own.
    pub port: Option<u16>,
    /// Fixed time between scrapes; `None` for adaptive.
    pub interval: Option<Duration>,
    /// Dialect of an endpoint whose page does not tell, as `vllm`.
    pub default_engine: Option<String>,
}

impl Default for ScrapeWiring {
    fn default() -> Self {
        Self {
            enabled: true,
            scheme: None,
            path: "/metrics".to_owned(),
            port: None,
            interval: None,
            default_engine: None,
        }
    }
}
