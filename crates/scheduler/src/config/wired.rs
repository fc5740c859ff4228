//! Which parameters of built-in wiring are honoured?

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ParamError;
use super::params::{Params, Reference, Target};
use super::wiring::Wiring;
use super::{APPROX_PREFIX_PRODUCER, parsers::Parser};

/// Parameters of `token-producer`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Tokens {
    /// Token counts are estimated from bytes, with a ratio learned per model. Takes no settings.
    pub(crate) estimate: Estimate,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Estimate {}

impl Params for Tokens {}

/// Parameters of `approx-prefix-cache-producer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ApproxPrefix {
    /// Use each endpoint's own block size and block count where it reports them.
    pub(crate) auto_tune: bool,
    /// Tokens a block where the endpoint reports none, or for all when `autoTune` is off.
    pub(crate) block_size_tokens: u32,
    /// Tokens of a prompt that are looked up at most; when absent, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_prefix_tokens_to_match: Option<u32>,
    /// The same in blocks; `maxPrefixTokensToMatch` takes precedence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_prefix_blocks_to_match: Option<u32>,
    /// Blocks an endpoint is believed to hold where it reports none, or for all when `autoTune` is off.
    pub(crate) lru_capacity_per_server: u32,
}

impl Default for ApproxPrefix {
    fn default() -> Self {
        let wiring = super::wiring::PrefixWiring::default();
        Self {
            auto_tune: wiring.auto_tune,
            block_size_tokens: wiring.block_size_tokens,
            max_prefix_tokens_to_match: None,
            max_prefix_blocks_to_match: None,
            lru_capacity_per_server: wiring.capacity_blocks,
        }
    }
}

impl Params for ApproxPrefix {}

/// Whole number above 0, or an error that says so.
fn positive(parameter: &'static str, value: u32) -> Result<u32, ParamError> {
    if value == 0 {
        Err(ParamError::new(parameter, "must be 1 or more"))
    } else {
        Ok(value)
    }
}

pub(crate) fn approx_prefix(params: &ApproxPrefix, wiring: &mut Wiring) -> Result<(), ParamError> {
    let block = positive("blockSizeTokens", params.block_size_tokens)?;
    let tokens = params
        .max_prefix_tokens_to_match
        .map(|n| positive("maxPrefixTokensToMatch", n))
        .transpose()?;
    let blocks = params
        .max_prefix_blocks_to_match
        .map(|n| positive("maxPrefixBlocksToMatch", n))
        .transpose()?;
    wiring.prefix.auto_tune = params.auto_tune;
    wiring.prefix.block_size_tokens = block;
    wiring.prefix.max_match_tokens = tokens.or(blocks.map(|n| n.saturating_mul(block)));
    wiring.prefix.capacity_blocks =
        positive("lruCapacityPerServer", params.lru_capacity_per_server)?;
    Ok(())
}

/// Parameters of `inflight-load-producer`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Inflight {
    /// Count expected output tokens as load.
    pub(crate) add_estimated_output_tokens: bool,
    /// Expected output tokens per prompt token.
    pub(crate) output_ratio: f64,
    /// Most output tokens counted for one request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_estimated_output_tokens: Option<u32>,
    /// Name of the producer of matches: an `approx-prefix-cache-producer`.
    pub(crate) prefix_match_info_producer_name: String,
}

impl Default for Inflight {
    fn default() -> Self {
        Self {
            add_estimated_output_tokens: false,
            output_ratio: 1.5,
            max_estimated_output_tokens: None,
            prefix_match_info_producer_name: APPROX_PREFIX_PRODUCER.to_owned(),
        }
    }
}

impl Params for Inflight {
    fn references(&self) -> Vec<Reference> {
        vec![Reference {
            parameter: "prefixMatchInfoProducerName",
            name: self.prefix_match_info_producer_name.clone(),
            to: Target::Plugin(APPROX_PREFIX_PRODUCER),
        }]
    }
}

pub(crate) fn inflight(params: &Inflight, wiring: &mut Wiring) -> Result<(), ParamError> {
    if !(params.output_ratio >= 0.0 && params.output_ratio.is_finite()) {
        return Err(ParamError::new("outputRatio", "must be 0 or more"));
    }
    wiring.inflight.add_estimated_output_tokens = params.add_estimated_output_tokens;
    wiring.inflight.output_ratio = params.output_ratio;
    wiring.inflight.max_estimated_output_tokens = params.max_estimated_output_tokens;
    Ok(())
}

/// Parameters of `metrics-data-source`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct MetricsSource {
    /// `http` or `https`; when absent, as the endpoint's own URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scheme: Option<String>,
    /// Accepted over `http`, where there is no certificate to check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insecure_skip_verify: Option<bool>,
    /// Path of the metrics page.
    pub(crate) path: String,
    /// Its port, where it is not the endpoint's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    /// Fixed time between scrapes, as `50ms`; when absent it adapts to traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<String>,
}

impl Default for MetricsSource {
    fn default() -> Self {
        Self {
            scheme: None,
            insecure_skip_verify: None,
            path: "/metrics".to_owned(),
            port: None,
            interval: None,
        }
    }
}

impl Params for MetricsSource {}

/// Shortest time between scrapes.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

pub(crate) fn metrics_source(
    params: &MetricsSource,
    wiring: &mut Wiring,
) -> Result<(), ParamError> {
    if !params.path.starts_with('/') {
        return Err(ParamError::new("path", "must begin with `/`"));
    }
    if params.port == Some(0) {
        return Err(ParamError::new("port", "must be between 1 and 65535"));
    }
    if params
        .scheme
        .as_deref()
        .is_some_and(|scheme| !["http", "https"].contains(&scheme))
    {
        return Err(ParamError::new("scheme", "must be `http` or `https`"));
    }
    if params.insecure_skip_verify == Some(true) && params.scheme.as_deref() != Some("http") {
        let message = "certificates are checked as the pool's TLS settings say; remove it, or set `scheme: http`";
        return Err(ParamError::new("insecureSkipVerify", message));
    }
    wiring.scrape.scheme.clone_from(&params.scheme);
    wiring.scrape.path.clone_from(&params.path);
    wiring.scrape.port = params.port;
    wiring.scrape.interval = match &params.interval {
        None => None,
        Some(text) => match parse_duration(text) {
            Some(interval) if interval >= MIN_INTERVAL => Some(interval),
            _ => {
                return Err(ParamError::new(
                    "interval",
                    "must be a duration of 50ms or more, as `50ms` or `1s`",
                ));
            }
        },
    };
    Ok(())
}

/// Parameters of `core-metrics-extractor`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CoreMetrics {
    /// Engine whose metric names are assumed where the page does not tell: `vllm` or `sglang`.
    pub(crate) default_engine: String,
}

impl Default for CoreMetrics {
    fn default() -> Self {
        Self {
            default_engine: "vllm".to_owned(),
        }
    }
}

impl Params for CoreMetrics {}

pub(crate) fn core_metrics(params: &CoreMetrics, wiring: &mut Wiring) -> Result<(), ParamError> {
    if !["vllm", "sglang"].contains(&params.default_engine.as_str()) {
        return Err(ParamError::new(
            "defaultEngine",
            "must be `vllm` or `sglang`; others are not built",
        ));
    }
    wiring.scrape.default_engine = Some(params.default_engine.clone());
    Ok(())
}

/// The parser behind a plugin type.
pub(crate) fn parser(r#type: &str) -> Option<Parser> {
    Some(match r#type {
        "openai-parser" => Parser::Openai,
        "anthropic-parser" => Parser::Anthropic,
        "vllmhttp-parser" => Parser::Vllmhttp,
        "passthrough-parser" => Parser::Passthrough,
        _ => return None,
    })
}

/// `1m30s`, `50ms`, `0.5s`; `None` for anything else.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(amount * seconds).ok()?)?;
        rest = &rest[unit..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_field_writes_them() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(
                parse_duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        };
        check("50ms", Some(50));
        check("1m30s", Some(90_000));
        check("0.5s", Some(500));
        check("", None);
        check("50", None);
        check("ms", None);
        check("1 fortnight", None);
    }
}
