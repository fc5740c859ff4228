//! Which plugins are there, what does each do, and what does it take?
//!
//! THE table: configuration, `prefixgate plugins`, the generated reference and the JSON schema all read it.
//! A new plugin is a file and a row here.

use schemars::Schema;
use serde_json::Value;

use crate::admitter::{latency_slo, probabilistic};
use crate::config::params::{NoParams, Params, Reference, decode, schema_of};
use crate::config::{ParamError, Parameters, Wiring, handlers, pieces, precise, wired};
use crate::decider::{always, prefix_based};
use crate::filter::{
    header_steering, labels, overload_guard, prefix_affinity, slo_headroom, utilization,
};
use crate::picker::{self, max_score, random, weighted_random};
use crate::scorer::{
    active_request, context_length, endpoint_attribute, header_label, kv_cache, latency,
    latency_cost, load_aware, lora_affinity, no_hit_lru, prefix_cache, queue, running_requests,
    session_affinity, token_load,
};
use crate::{Admitter, Decider, Fairness, Filter, Order, Picker, Scorer};

/// What part of the machinery a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Filter,
    Scorer,
    Picker,
    ProfileHandler,
    Decider,
    Admitter,
    /// Writes headers of a request that was decided.
    Headers,
    Producer,
    Source,
    Extractor,
    Parser,
    /// Measures saturation; in a profile, a filter.
    Detector,
    /// Further part of flow control.
    FlowControl,
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::Filter,
        Self::Scorer,
        Self::Picker,
        Self::ProfileHandler,
        Self::Decider,
        Self::Admitter,
        Self::Headers,
        Self::Producer,
        Self::Source,
        Self::Extractor,
        Self::Parser,
        Self::Detector,
        Self::FlowControl,
    ];

    /// In words, singular.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Scorer => "scorer",
            Self::Picker => "picker",
            Self::ProfileHandler => "profile handler",
            Self::Decider => "decider",
            Self::Admitter => "admitter",
            Self::Headers => "header writer",
            Self::Producer => "data producer",
            Self::Source => "data source",
            Self::Extractor => "extractor",
            Self::Parser => "parser",
            Self::Detector => "saturation detector",
            Self::FlowControl => "flow-control part",
        }
    }

    /// Whether a scheduling profile is made of these.
    pub const fn in_profile(self) -> bool {
        matches!(self, Self::Filter | Self::Scorer | Self::Picker)
    }

    /// Whether a document may declare several of one type.
    pub(crate) const fn repeats(self) -> bool {
        self.in_profile()
            || matches!(
                self,
                Self::Decider | Self::Admitter | Self::Detector | Self::FlowControl
            )
    }
}

/// How settled a plugin is in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    Beta,
    Alpha,
    /// Known to this project only.
    Own,
}

impl Stability {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Beta => "beta",
            Self::Alpha => "alpha",
            Self::Own => "prefixgate only",
        }
    }
}

/// One plugin type.
pub struct PluginType {
    /// As a document's `type`.
    pub name: &'static str,
    /// Other spellings that documents use.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    pub stability: Stability,
    pub summary: &'static str,
    /// In plain text; empty for wiring.
    pub formula: &'static str,
    /// When its figure misleads; empty where it does not.
    pub misleads: &'static str,
    /// Parameters of the field that are refused, with the reason.
    pub refused: &'static [(&'static str, &'static str)],
    pub(crate) schema: fn() -> Schema,
    pub(crate) build: fn(&Input<'_>) -> Result<Built, Vec<ParamError>>,
}

impl PluginType {
    /// JSON schema of the parameters, with descriptions and defaults.
    pub fn parameters_schema(&self) -> Schema {
        (self.schema)()
    }
}

/// What a plugin is made from.
pub(crate) struct Input<'a> {
    pub(crate) parameters: &'a Parameters,
    pub(crate) refused: &'a [(&'a str, &'a str)],
    pub(crate) seed: u64,
}

/// A plugin made from its parameters.
pub(crate) struct Built {
    pub(crate) part: Part,
    /// All parameters, defaults filled in.
    pub(crate) parameters: Value,
    pub(crate) references: Vec<Reference>,
}

/// What a plugin adds to the system.
pub(crate) enum Part {
    Filter(Box<dyn Filter>),
    Scorer {
        scorer: Box<dyn Scorer>,
        /// Some filter as well.
        filter: Option<Box<dyn Filter>>,
        /// Some bring a producer along.
        wire: Option<Wire>,
    },
    Picker(Box<dyn Picker>),
    Decider(Box<dyn Decider>),
    Admitter(Box<dyn Admitter>),
    Handler(handlers::Handler),
    Flow(pieces::Piece),
    /// Applied to the document's wiring.
    Wire(Wire),
}

pub(crate) type Wire = Box<dyn FnOnce(&mut Wiring)>;

impl Part {
    fn scorer(scorer: impl Scorer + 'static) -> Self {
        Self::Scorer {
            scorer: Box::new(scorer),
            filter: None,
            wire: None,
        }
    }
}

/// The type called `name`, aliases included.
pub fn find(name: &str) -> Option<&'static PluginType> {
    PLUGINS
        .iter()
        .find(|plugin| plugin.name == name || plugin.aliases.contains(&name))
}

fn made<P: Params>(
    input: &Input<'_>,
    make: impl FnOnce(P) -> Result<Part, ParamError>,
) -> Result<Built, Vec<ParamError>> {
    let params: P = decode(input.parameters, input.refused)?;
    let parameters = serde_json::to_value(&params).unwrap_or(Value::Null);
    let references = params.references();
    Ok(Built {
        part: make(params).map_err(|error| vec![error])?,
        parameters,
        references,
    })
}

fn scorer<P: Params, S: Scorer + 'static>(
    input: &Input<'_>,
    make: fn(&P) -> Result<S, ParamError>,
) -> Result<Built, Vec<ParamError>> {
    made(input, |params: P| Ok(Part::scorer(make(&params)?)))
}

fn filter<P: Params, F: Filter + 'static>(
    input: &Input<'_>,
    make: fn(&P) -> Result<F, ParamError>,
) -> Result<Built, Vec<ParamError>> {
    made(input, |params: P| {
        Ok(Part::Filter(Box::new(make(&params)?)))
    })
}

fn picker<P: Params, K: Picker + 'static>(
    input: &Input<'_>,
    make: impl FnOnce(&P) -> Result<K, ParamError>,
) -> Result<Built, Vec<ParamError>> {
    made(input, |params: P| {
        Ok(Part::Picker(Box::new(make(&params)?)))
    })
}

fn wire<P: Params + 'static>(
    input: &Input<'_>,
    apply: fn(&P, &mut Wiring) -> Result<(), ParamError>,
) -> Result<Built, Vec<ParamError>> {
    made(input, |params: P| {
        // Once on a copy to hear of bad values while the line is known, once for real.
        apply(&params, &mut Wiring::default())?;
        Ok(Part::Wire(Box::new(move |wiring| {
            // Cannot fail: the same parameters were accepted above.
            let _ = apply(&params, wiring);
        })))
    })
}

fn context_length(input: &Input<'_>) -> Result<Built, Vec<ParamError>> {
    made(input, |params: context_length::Params| {
        let both = context_length::ContextLength::new(&params)?;
        let filter = || Box::new(both.clone()) as Box<dyn Filter>;
        Ok(Part::Scorer {
            filter: params.enable_filtering.then(filter),
            scorer: Box::new(both),
            wire: None,
        })
    })
}

fn precise_scorer(input: &Input<'_>) -> Result<Built, Vec<ParamError>> {
    made(input, |params: precise::Precise| {
        precise::precise(&params, &mut Wiring::default())?;
        Ok(Part::Scorer {
            scorer: Box::new(prefix_cache::PrefixCache::new(
                &prefix_cache::Params::default(),
            )?),
            filter: None,
            wire: Some(Box::new(move |wiring| {
                // Cannot fail: the same parameters were accepted above.
                let _ = precise::precise(&params, wiring);
            })),
        })
    })
}

fn decider<P: Params, D: Decider + 'static>(
    input: &Input<'_>,
    make: fn(&P) -> D,
) -> Result<Built, Vec<ParamError>> {
    made(input, |params: P| {
        Ok(Part::Decider(Box::new(make(&params))))
    })
}

fn admitter<P: Params, A: Admitter + 'static>(
    input: &Input<'_>,
    make: fn(&P) -> Result<A, ParamError>,
) -> Result<Built, Vec<ParamError>> {
    made(input, |params: P| {
        Ok(Part::Admitter(Box::new(make(&params)?)))
    })
}

fn handler<P: Params>(
    input: &Input<'_>,
    make: fn(P) -> Result<handlers::Handler, ParamError>,
) -> Result<Built, Vec<ParamError>> {
    made(input, |params: P| Ok(Part::Handler(make(params)?)))
}

fn piece<P: Params>(
    input: &Input<'_>,
    make: fn(&P) -> Result<pieces::Piece, ParamError>,
) -> Result<Built, Vec<ParamError>> {
    made(input, |params: P| Ok(Part::Flow(make(&params)?)))
}

fn plain(input: &Input<'_>) -> Result<Built, Vec<ParamError>> {
    wire(input, |_: &NoParams, _| Ok(()))
}

const OLD_PREFIX_PARAMETERS: &[(&str, &str)] = &[
    (
        "blockSize",
        "it counts characters; give `blockSizeTokens` to `approx-prefix-cache-producer`",
    ),
    (
        "hashBlockSize",
        "it counts characters; give `blockSizeTokens` to `approx-prefix-cache-producer`",
    ),
    (
        "blockSizeTokens",
        "it belongs to `approx-prefix-cache-producer`",
    ),
    (
        "maxPrefixBlocksToMatch",
        "it belongs to `approx-prefix-cache-producer`",
    ),
    (
        "maxPrefixTokensToMatch",
        "it belongs to `approx-prefix-cache-producer`",
    ),
    (
        "lruCapacityPerServer",
        "it belongs to `approx-prefix-cache-producer`",
    ),
    ("autoTune", "it belongs to `approx-prefix-cache-producer`"),
];

const SCRAPE_TLS: &str = "TLS towards endpoints is a setting of the pool";

/// Every plugin type, in the order of the reference.
pub static PLUGINS: &[PluginType] = &[
    PluginType {
        name: "overload-guard",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Own,
        summary: "Removes an endpoint whose queue costs more time than its cached prefix saves.",
        formula: "removed when queuedTokens*c - min(queuedTokens*c) > matchedTokens*c + slackMs\nc = the endpoint's own milliseconds per uncached prompt token, learned",
        misleads: "Queued tokens are those this gateway sent and that have no first byte yet: traffic that reaches the engines by another way is not seen. The least queued endpoint always stays, so it never refuses a request.",
        refused: &[],
        schema: schema_of::<overload_guard::Params>,
        build: |input| filter(input, overload_guard::OverloadGuard::new),
    },
    PluginType {
        name: "prefix-cache-affinity-filter",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Beta,
        summary: "Keeps only endpoints that hold most of the prompt, unless they are much slower.",
        formula: "sticky = matched/total blocks >= affinityThreshold; none sticky: all stay\nTTFT = uncached tokens in flight / peakPrefillThroughput * 1000\nbest sticky TTFT - best other TTFT > maxTTFTPenaltyMs: all stay\nttftSource latencyPredictor: TTFT = ms expected for this request, learned from answers",
        misleads: "`peakPrefillThroughput` is a figure for one model on one accelerator: measure your own. A weighted `prefix-cache-scorer` behind this filter keeps requests on the sticky endpoint even when the filter lets go; pair it with a load scorer alone.",
        refused: &[
            (
                "prefillCalibrationFile",
                "measure the throughput and write it as `peakPrefillThroughput`",
            ),
            (
                "prefillCalibrationFingerprint",
                "measure the throughput and write it as `peakPrefillThroughput`",
            ),
            (
                "prefillCalibrationRequired",
                "measure the throughput and write it as `peakPrefillThroughput`",
            ),
        ],
        schema: schema_of::<prefix_affinity::Params>,
        build: |input| filter(input, prefix_affinity::PrefixAffinity::new),
    },
    PluginType {
        name: "utilization-filter",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Alpha,
        summary: "Removes endpoints above fixed limits.",
        formula: "stays when every condition holds: metric <= maxValue",
        misleads: "Without `fallbackOnEmpty` a request is refused with 429 when every endpoint is above a limit.",
        refused: &[],
        schema: schema_of::<utilization::Params>,
        build: |input| filter(input, utilization::Utilization::new),
    },
    PluginType {
        name: "slo-headroom-tier-filter",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Beta,
        summary: "Keeps the endpoints that are expected to answer in the time the request asks for.",
        formula: "expected ttft < x-llm-d-slo-ttft-ms and expected tpot < x-llm-d-slo-tpot-ms * sloBufferFactor: stays\nnobody does, or no header: all stay; with a chance of epsilonExploreNeg the others stay instead",
        misleads: "Expected times are learned from answers that passed through here; before any came they are assumed for a model of some billion parameters.",
        refused: &[],
        schema: schema_of::<slo_headroom::Params>,
        build: |input| filter(input, slo_headroom::SloHeadroom::new),
    },
    PluginType {
        name: "label-selector-filter",
        aliases: &["by-label-selector"],
        kind: Kind::Filter,
        stability: Stability::Beta,
        summary: "Keeps the endpoints whose labels match a selector.",
        formula: "stays when every label of matchLabels is equal and every matchExpression holds",
        misleads: "The selector is the same for all requests: one that no endpoint matches refuses every request. Which endpoints are in the pool at all is its own setting.",
        refused: &[],
        schema: schema_of::<labels::Params>,
        build: |input| filter(input, labels::Labels::selector),
    },
    PluginType {
        name: "by-label",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Beta,
        summary: "Keeps the endpoints whose label has one of some values; `label-selector-filter` says more.",
        formula: "stays when label is one of validValues, or missing and allowsNoLabel",
        misleads: "Like `label-selector-filter`, it refuses every request when no endpoint fits.",
        refused: &[],
        schema: schema_of::<labels::ByLabelParams>,
        build: |input| filter(input, labels::Labels::by_label),
    },
    PluginType {
        name: "decode-filter",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Beta,
        summary: "Keeps the endpoints that decode.",
        formula: "stays when label llm-d.ai/role is decode, prefill-decode, both or encode-prefill-decode, or is missing",
        misleads: "Without `disagg-profile-handler` one profile is run: the endpoint that decodes also prefills.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| filter(input, |_: &NoParams| Ok(labels::Labels::decode())),
    },
    PluginType {
        name: "prefill-filter",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Beta,
        summary: "Keeps the endpoints that prefill.",
        formula: "stays when label llm-d.ai/role is prefill, encode-prefill, prefill-decode, both or encode-prefill-decode",
        misleads: "Without `disagg-profile-handler` the endpoint picked answers the whole request, so this is for pools whose prefill endpoints can.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| filter(input, |_: &NoParams| Ok(labels::Labels::prefill())),
    },
    PluginType {
        name: "encode-filter",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Beta,
        summary: "Keeps the endpoints that encode pictures and sound.",
        formula: "stays when label llm-d.ai/role is encode, encode-prefill or encode-prefill-decode",
        misleads: "Without `disagg-profile-handler` the endpoint picked answers the whole request, so this is for pools whose encode endpoints can.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| filter(input, |_: &NoParams| Ok(labels::Labels::encode())),
    },
    PluginType {
        name: "session-affinity-filter",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Alpha,
        summary: "Keeps only the endpoint that served the session before, while it is a candidate.",
        formula: "bound endpoint is a candidate: it alone stays; else all stay",
        misleads: "It holds against any load: a session stays on a full endpoint. `session-affinity-scorer` weighs it against the rest.",
        refused: &[],
        schema: schema_of::<session_affinity::Params>,
        build: |input| filter(input, session_affinity::SessionAffinity::new),
    },
    PluginType {
        name: "header-based-testing-filter",
        aliases: &[],
        kind: Kind::Filter,
        stability: Stability::Alpha,
        summary: "Keeps the endpoints that the header `test-epp-endpoint-selection` lists, for conformance suites.",
        formula: "stays when its address, with or without port, is in the comma list; no header: all stay",
        misleads: "The client names its endpoint: keep it out of pools that strangers reach.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| {
            filter(input, |_: &NoParams| {
                Ok(header_steering::HeaderSteering::new())
            })
        },
    },
    PluginType {
        name: "prefix-cache-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers the endpoint that holds the longest beginning of the prompt.",
        formula: "ratio = matched blocks / total blocks\nlength = min(1, matchedTokens / matchLengthScaleTokens)^2\nscore = matchLengthWeight*length + (1 - matchLengthWeight)*ratio; 0 where nothing is known",
        misleads: "A ratio knows no length: half of a 40-token prompt scores like half of a 40,000-token one; `matchLengthWeight` mends that. The index is what we sent, corrected by what engines report: an engine that evicts under pressure holds less until its next answer says so.",
        refused: OLD_PREFIX_PARAMETERS,
        schema: schema_of::<prefix_cache::Params>,
        build: |input| scorer(input, prefix_cache::PrefixCache::new),
    },
    PluginType {
        name: "queue-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers the shortest queue of waiting requests.",
        formula: "(max - q) / (max - min) over the candidates; all equal: 1",
        misleads: "It stretches any difference to the full range: queues of 0 and 1 differ as much as 0 and 100. It counts requests, not their length.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| scorer(input, |_: &NoParams| Ok(queue::Queue)),
    },
    PluginType {
        name: "kv-cache-utilization-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers the emptiest KV cache.",
        formula: "1 - KV use",
        misleads: "Blocks kept for reuse count as free, so a warm cache is not punished; an engine near 1.0 preempts, which this shows late.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| scorer(input, |_: &NoParams| Ok(kv_cache::KvCache)),
    },
    PluginType {
        name: "running-requests-size-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers the fewest running requests.",
        formula: "(max - r) / (max - min) over the candidates; all equal: 1",
        misleads: "The figure is as old as the last scrape, and like `queue-scorer` it stretches small differences.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| scorer(input, |_: &NoParams| Ok(running_requests::RunningRequests)),
    },
    PluginType {
        name: "active-request-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers the fewest requests of our own in flight.",
        formula: "count <= idleThreshold: 1; else (max - count) / max * maxBusyScore",
        misleads: "It sees only what this gateway sent; a second gateway, or direct traffic, is not counted.",
        refused: &[(
            "requestTimeout",
            "a count ends with its request; there is nothing to time out",
        )],
        schema: schema_of::<active_request::Params>,
        build: |input| scorer(input, active_request::ActiveRequest::new),
    },
    PluginType {
        name: "token-load-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers the least prefill work, counting what this request would add.",
        formula: "t = uncached tokens in flight + this request's uncached tokens there\nscore = 1 - min(t, queueThresholdTokens) / queueThresholdTokens",
        misleads: "With the default threshold of 4,194,304 tokens ordinary loads differ by a few thousandths, less than the tie margin of `max-score-picker`: give it a weight or a threshold that fits the traffic.",
        refused: &[],
        schema: schema_of::<token_load::Params>,
        build: |input| scorer(input, token_load::TokenLoad::new),
    },
    PluginType {
        name: "latency-cost-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Alpha,
        summary: "Prefers the endpoint where this request's tokens are out soonest, at the least delay to others; rates are learned.",
        formula: "cost = W + U * (1 + replication + n / (1 - busy) + harm * A) + decode * T * O\nW, U, T = ms until prefills sent there are done, for this request's own prefill, for each output token: all learned\nn, A = our requests there without and with a first byte, busy = the fleet's share of time spent on prefill, O = expected output\nscore = least cost / cost",
        misleads: "It is a choice of its own: summed with other scorers it is a ratio of costs like any score, and no longer milliseconds.",
        refused: &[],
        schema: schema_of::<latency_cost::Params>,
        build: |input| scorer(input, latency_cost::LatencyCost::new),
    },
    PluginType {
        name: "latency-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers the endpoint whose expected times fit best to what the request asks for, or the fastest where it asks for nothing.",
        formula: "headroom = what x-llm-d-slo-ttft-ms and x-llm-d-slo-tpot-ms ask for - expected; of these only the best tier that is there competes:\n  keeps both, idle, misses tpot, misses ttft, misses both\nplace = (|headroom| - min) / (max - min); where nothing is asked for, the same of the expected time\nleast: s = 1 - (ttftWeight * place + tpotWeight * place'); most turns places round where both are kept\nscore = (floor(100 * s) + 1) / 100, the others 0; nothing learned yet: weighted mean of free KV cache, short queue, cached share",
        misleads: "`least` packs: it prefers the slowest endpoint that still keeps the times. Small differences are stretched to the full range.",
        refused: &[],
        schema: schema_of::<latency::Params>,
        build: |input| scorer(input, latency::Latency::new),
    },
    PluginType {
        name: "no-hit-lru-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Hands prompts that nobody holds to the endpoints in turn.",
        formula: "any endpoint holds a block: 0.5 for all\nelse 1 - (candidates that took a cold prompt earlier) / (n - 1); never used ones tie at 1",
        misleads: "One shared block, such as a common system prompt, makes every prompt a hit and switches it off.",
        refused: &[],
        schema: schema_of::<no_hit_lru::Params>,
        build: |input| scorer(input, no_hit_lru::NoHitLru::new),
    },
    PluginType {
        name: "session-affinity-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Alpha,
        summary: "Prefers the endpoint that served the session before.",
        formula: "the bound endpoint 1, others 0; no session: 0 for all",
        misleads: "With `encoded_endpoint_header` the client can name any endpoint, which is a preference, never an order. `session_id` bindings live in this process: another replica of the gateway knows nothing of them.",
        refused: &[],
        schema: schema_of::<session_affinity::Params>,
        build: |input| scorer(input, session_affinity::SessionAffinity::new),
    },
    PluginType {
        name: "precise-prefix-cache-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "`prefix-cache-scorer` and `precise-prefix-cache-producer` in one; deprecated in the field.",
        formula: "score = matched blocks / total blocks; 0 where nothing is known",
        misleads: "Exact only where the pool follows the engines' cache events (`kv_events`); elsewhere what was sent counts as held.",
        refused: precise::REFUSED,
        schema: schema_of::<precise::Precise>,
        build: precise_scorer,
    },
    PluginType {
        name: "load-aware-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers short queues, against a fixed threshold.",
        formula: "0.5 * (1 - min(q, threshold) / threshold)",
        misleads: "It never gives more than 0.5, and with the default threshold of 128 a queue of 2 costs less than the tie margin of `max-score-picker`.",
        refused: &[],
        schema: schema_of::<load_aware::Params>,
        build: |input| scorer(input, load_aware::LoadAware::new),
    },
    PluginType {
        name: "lora-affinity-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers the endpoint that has the model's LoRA adapter loaded.",
        formula: "adapter running 1.0; fewer adapters running and waiting than slots 0.8; adapter waiting 0.6; else 0",
        misleads: "It reads the engine's `vllm:lora_requests_info`: an engine that shows none scores 0, and an adapter that is loaded but idle is not listed there.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| scorer(input, |_: &NoParams| Ok(lora_affinity::LoraAffinity)),
    },
    PluginType {
        name: "context-length-aware",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Beta,
        summary: "Prefers endpoints meant for prompts of this length, by a label `min-max`; filters too when asked.",
        formula: "inside: 0.3 + 0.7 * (0.7 / (1 + width/10000) + 0.3 * headroom/width); width 0: 1\noutside: 0.3 / (1 + distance/1000); no label 0.5; unreadable label 0\nenableFiltering: outside and unreadable are removed",
        misleads: "Prompt tokens are an estimate from bytes unless the request brings token ids or the pool has a tokenizer. With filtering, a prompt that fits nowhere is refused.",
        refused: &[],
        schema: schema_of::<context_length::Params>,
        build: context_length,
    },
    PluginType {
        name: "endpoint-attribute-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Alpha,
        summary: "Prefers endpoints by one figure of your choice.",
        formula: "place = (value - min) / (max - min); lower is better: 1 - place\nnot known: 0; all equal: 1",
        misleads: "`adaptiveRange` stretches any difference to the full range.",
        refused: &[("producer", "each figure has one producer here")],
        schema: schema_of::<endpoint_attribute::Params>,
        build: |input| scorer(input, endpoint_attribute::EndpointAttribute::new),
    },
    PluginType {
        name: "header-label-affinity-scorer",
        aliases: &[],
        kind: Kind::Scorer,
        stability: Stability::Alpha,
        summary: "Prefers endpoints whose label equals a request header.",
        formula: "label == header value: 1, else 0; no header: 0 for all",
        misleads: "A preference: enough load elsewhere outweighs it.",
        refused: &[],
        schema: schema_of::<header_label::Params>,
        build: |input| scorer(input, header_label::HeaderLabel::new),
    },
    PluginType {
        name: "max-score-picker",
        aliases: &[],
        kind: Kind::Picker,
        stability: Stability::Beta,
        summary: "Highest total first; equals take turns.",
        formula: "descending totals; totals within tieMargin of the best of their tier go to the least recently picked, then by seeded chance",
        misleads: "",
        refused: &[],
        schema: schema_of::<max_score::Params>,
        build: |input| picker(input, |params| max_score::MaxScore::new(params, input.seed)),
    },
    PluginType {
        name: "random-picker",
        aliases: &[],
        kind: Kind::Picker,
        stability: Stability::Beta,
        summary: "Any candidate, each with the same chance; scores are ignored.",
        formula: "a random permutation",
        misleads: "Scorers beside it have no effect.",
        refused: &[],
        schema: schema_of::<picker::Params>,
        build: |input| picker(input, random::Random::new),
    },
    PluginType {
        name: "weighted-random-picker",
        aliases: &[],
        kind: Kind::Picker,
        stability: Stability::Beta,
        summary: "Any candidate, with a chance in proportion to its total.",
        formula: "descending U^(1/total), U uniform in 0..1 for each candidate; totals of 0 come last, by chance",
        misleads: "Totals that differ little give nearly equal chances: a warm endpoint among 20 cold ones wins rarely.",
        refused: &[],
        schema: schema_of::<picker::Params>,
        build: |input| picker(input, weighted_random::WeightedRandom::new),
    },
    PluginType {
        name: "single-profile-handler",
        aliases: &[],
        kind: Kind::ProfileHandler,
        stability: Stability::Beta,
        summary: "Runs the one profile there is.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "data-parallel-profile-handler",
        aliases: &[],
        kind: Kind::ProfileHandler,
        stability: Stability::Beta,
        summary: "Runs the one profile there is; every data-parallel rank is an endpoint. Deprecated in the field.",
        formula: "",
        misleads: "",
        refused: &[(
            "primaryPort",
            "requests go to the port of the rank's own endpoint; remove it",
        )],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "disagg-profile-handler",
        aliases: &["pd-profile-handler"],
        kind: Kind::ProfileHandler,
        stability: Stability::Beta,
        summary: "Runs a profile for each stage: the request goes where it decodes; where it is prefilled and encoded is told in `x-prefiller-host-port` and `x-encoder-hosts-ports`.",
        formula: "",
        misleads: "A stage without a decider is never split off. The decoding endpoint needs whatever reads these headers (llm-d's sidecar). Both endpoints are taken to hold the prompt afterwards; the prefilling one carries its load until the first byte of the answer.",
        refused: &[
            (
                "primaryPort",
                "requests go to the port of the rank's own endpoint; remove it",
            ),
            (
                "prefixPluginType",
                "matches come out of one place here; remove it",
            ),
            (
                "prefixPluginName",
                "matches come out of one place here; remove it",
            ),
            ("hashBlockSize", "use `prefix-based-pd-decider`; remove it"),
            (
                "threshold",
                "use `nonCachedTokens` of `prefix-based-pd-decider`",
            ),
        ],
        schema: schema_of::<handlers::Disagg>,
        build: |input| handler(input, handlers::Disagg::handler),
    },
    PluginType {
        name: "header-profile-handler",
        aliases: &[],
        kind: Kind::ProfileHandler,
        stability: Stability::Alpha,
        summary: "Runs the profile that a request header names.",
        formula: "",
        misleads: "The client chooses among the profiles: a name that none has gets the default one.",
        refused: &[],
        schema: schema_of::<handlers::ByHeader>,
        build: |input| handler(input, handlers::ByHeader::handler),
    },
    PluginType {
        name: "prefix-based-pd-decider",
        aliases: &[],
        kind: Kind::Decider,
        stability: Stability::Beta,
        summary: "Splits prefill off where enough of the prompt is left to compute.",
        formula: "prompt tokens - cached tokens where it decodes >= nonCachedTokens, and prompt tokens >= promptTokens",
        misleads: "Prompt tokens are an estimate from bytes unless the request brings token ids or the pool has a tokenizer.",
        refused: &[],
        schema: schema_of::<prefix_based::Params>,
        build: |input| decider(input, prefix_based::PrefixBased::new),
    },
    PluginType {
        name: "always-disagg-pd-decider",
        aliases: &[],
        kind: Kind::Decider,
        stability: Stability::Beta,
        summary: "Always splits the stage off.",
        formula: "",
        misleads: "Short prompts pay for a transfer that costs more than computing them.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| decider(input, |_: &NoParams| always::Always),
    },
    PluginType {
        name: "always-disagg-multimodal-decider",
        aliases: &[],
        kind: Kind::Decider,
        stability: Stability::Beta,
        summary: "Splits encoding off for every request with a picture, a sound or a film.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| decider(input, |_: &NoParams| always::AlwaysMedia),
    },
    PluginType {
        name: "latency-slo-admitter",
        aliases: &[],
        kind: Kind::Admitter,
        stability: Stability::Beta,
        summary: "Turns requests of priority below 0 away (429) that no endpoint is expected to answer in the time they ask for.",
        formula: "admitted: priority >= 0, or no SLO header, or some endpoint is idle, has KV use < 0.02, or is expected to keep both times",
        misleads: "The priority is that of the objective which the request names; without it every request has priority 0 and is admitted.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| admitter(input, |_: &NoParams| Ok(latency_slo::LatencySlo::new())),
    },
    PluginType {
        name: "probabilistic-admitter",
        aliases: &[],
        kind: Kind::Admitter,
        stability: Stability::Beta,
        summary: "Turns requests of priority below 0 away (429) by a chance that grows as the pool fills.",
        formula: "saturation = mean over endpoints of max(queue / queueDepthThreshold, KV use / kvCacheUtilThreshold)\nchance = min(saturation^power * k, 1)",
        misleads: "With the default `k` of 300 a pool at a third of its capacity turns everything of low priority away.",
        refused: &[],
        schema: schema_of::<probabilistic::Params>,
        build: |input| admitter(input, probabilistic::Probabilistic::new),
    },
    PluginType {
        name: "disagg-headers-handler",
        aliases: &["prefill-header-handler"],
        kind: Kind::Headers,
        stability: Stability::Beta,
        summary: "Writes the headers of `disagg-profile-handler`, which does it by itself here. Deprecated in the field.",
        formula: "",
        misleads: "",
        refused: &[
            (
                "prefillProfile",
                "profiles are named by `disagg-profile-handler`",
            ),
            (
                "encodeProfile",
                "profiles are named by `disagg-profile-handler`",
            ),
        ],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "predicted-latency-producer",
        aliases: &[],
        kind: Kind::Producer,
        stability: Stability::Beta,
        summary: "Expects each request's times at each endpoint by rates learned from answers; no sidecar, no training.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<handlers::PredictedLatency>,
        build: |input| wire(input, handlers::predicted_latency),
    },
    PluginType {
        name: "token-producer",
        aliases: &["tokenizer"],
        kind: Kind::Producer,
        stability: Stability::Beta,
        summary: "Turns a request into something that can be counted and hashed.",
        formula: "",
        misleads: "",
        refused: &[
            (
                "vllm",
                "who tokenizes is the pool's `tokenizer` in prefixgate.yaml (its files, or one of its engines is asked); use `estimate: {}`",
            ),
            (
                "udsTokenizerConfig",
                "who tokenizes is the pool's `tokenizer` in prefixgate.yaml (its files, or one of its engines is asked); use `estimate: {}`",
            ),
            (
                "modelName",
                "whose tokenizer is used is the pool's `tokenizer` in prefixgate.yaml; remove it",
            ),
        ],
        schema: schema_of::<wired::Tokens>,
        build: |input| wire(input, |_: &wired::Tokens, _| Ok(())),
    },
    PluginType {
        name: "approx-prefix-cache-producer",
        aliases: &[],
        kind: Kind::Producer,
        stability: Stability::Beta,
        summary: "Remembers which endpoint was sent which prompts.",
        formula: "",
        misleads: "",
        refused: &[("blockSize", "it counts characters; use `blockSizeTokens`")],
        schema: schema_of::<wired::ApproxPrefix>,
        build: |input| wire(input, wired::approx_prefix),
    },
    PluginType {
        name: "precise-prefix-cache-producer",
        aliases: &[],
        kind: Kind::Producer,
        stability: Stability::Beta,
        summary: "Knows what engines hold from their cache events.",
        formula: "",
        misleads: "",
        refused: precise::REFUSED,
        schema: schema_of::<precise::Precise>,
        build: |input| wire(input, precise::precise),
    },
    PluginType {
        name: "inflight-load-producer",
        aliases: &[],
        kind: Kind::Producer,
        stability: Stability::Beta,
        summary: "Counts our requests and tokens in flight.",
        formula: "",
        misleads: "",
        refused: &[(
            "syncCrossReplicaState",
            "replicas of this gateway do not share state",
        )],
        schema: schema_of::<wired::Inflight>,
        build: |input| wire(input, wired::inflight),
    },
    PluginType {
        name: "metrics-data-source",
        aliases: &[],
        kind: Kind::Source,
        stability: Stability::Beta,
        summary: "Scrapes each endpoint's metrics page.",
        formula: "",
        misleads: "",
        refused: &[
            ("caCertPath", SCRAPE_TLS),
            ("clientCertPath", SCRAPE_TLS),
            ("clientKeyPath", SCRAPE_TLS),
        ],
        schema: schema_of::<wired::MetricsSource>,
        build: |input| wire(input, wired::metrics_source),
    },
    PluginType {
        name: "core-metrics-extractor",
        aliases: &[],
        kind: Kind::Extractor,
        stability: Stability::Beta,
        summary: "Reads queue, KV use and cache size from a metrics page.",
        formula: "",
        misleads: "",
        refused: &[
            (
                "engineLabelKey",
                "the page itself tells which engine wrote it",
            ),
            ("engineConfigs", "metric names are built in for each engine"),
        ],
        schema: schema_of::<wired::CoreMetrics>,
        build: |input| wire(input, wired::core_metrics),
    },
    PluginType {
        name: "models-data-source",
        aliases: &[],
        kind: Kind::Source,
        stability: Stability::Beta,
        summary: "Asks each endpoint for its `/v1/models`.",
        formula: "",
        misleads: "",
        refused: &[
            ("scheme", SCRAPE_TLS),
            ("path", "it is always `/v1/models`"),
            ("port", "models are asked for where requests go"),
            (
                "interval",
                "the time between refreshes is a setting of the pool",
            ),
            ("insecureSkipVerify", SCRAPE_TLS),
            ("caCertPath", SCRAPE_TLS),
            ("clientCertPath", SCRAPE_TLS),
            ("clientKeyPath", SCRAPE_TLS),
        ],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "models-data-extractor",
        aliases: &[],
        kind: Kind::Extractor,
        stability: Stability::Beta,
        summary: "Reads model names and adapters from `/v1/models`.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "endpoint-notification-source",
        aliases: &[],
        kind: Kind::Source,
        stability: Stability::Beta,
        summary: "Tells of endpoints that come and go; always on.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "openai-parser",
        aliases: &[],
        kind: Kind::Parser,
        stability: Stability::Beta,
        summary: "Claims the OpenAI paths.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "anthropic-parser",
        aliases: &[],
        kind: Kind::Parser,
        stability: Stability::Beta,
        summary: "Claims `messages` and `messages/count_tokens`.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "vllmhttp-parser",
        aliases: &[],
        kind: Kind::Parser,
        stability: Stability::Beta,
        summary: "Claims `inference/v1/generate`, and the OpenAI paths when `openai-parser` is not listed.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "passthrough-parser",
        aliases: &[],
        kind: Kind::Parser,
        stability: Stability::Beta,
        summary: "Claims every other path, body unread.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "utilization-detector",
        aliases: &[],
        kind: Kind::Detector,
        stability: Stability::Beta,
        summary: "Measures saturation by what engines say.",
        formula: "mean over endpoints of max(queue / queueDepthThreshold, KV use / kvCacheUtilThreshold); no endpoint: 1\nas a filter: an endpoint stays below 1 + headroom",
        misleads: "It is as old as the last scrape: what was sent since counts as waiting only where requests waited then.",
        refused: &[],
        schema: schema_of::<pieces::UtilizationParams>,
        build: |input| piece(input, pieces::utilization),
    },
    PluginType {
        name: "concurrency-detector",
        aliases: &[],
        kind: Kind::Detector,
        stability: Stability::Beta,
        summary: "Measures saturation by what was sent and has not ended.",
        formula: "mean over endpoints of requests / maxConcurrency, uncached tokens / maxTokenConcurrency, or the larger of both\nas a filter: an endpoint stays below 1 + headroom",
        misleads: "It sees only what this process sent; a second replica, or direct traffic, is not counted.",
        refused: &[],
        schema: schema_of::<pieces::ConcurrencyParams>,
        build: |input| piece(input, pieces::concurrency),
    },
    PluginType {
        name: "fcfs-ordering-policy",
        aliases: &[],
        kind: Kind::FlowControl,
        stability: Stability::Beta,
        summary: "Orders a queue by arrival.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| {
            piece(input, |_: &NoParams| {
                Ok(pieces::Piece::Order(Order::Arrival))
            })
        },
    },
    PluginType {
        name: "edf-ordering-policy",
        aliases: &[],
        kind: Kind::FlowControl,
        stability: Stability::Beta,
        summary: "Orders a queue by the end of each request's longest wait.",
        formula: "",
        misleads: "All requests wait equally long, so this differs from arrival only where `noEndpointRequestTTL` differs from `defaultRequestTTL`.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| {
            piece(input, |_: &NoParams| {
                Ok(pieces::Piece::Order(Order::Deadline))
            })
        },
    },
    PluginType {
        name: "slo-deadline-ordering-policy",
        aliases: &[],
        kind: Kind::FlowControl,
        stability: Stability::Beta,
        summary: "Orders a queue by arrival and the time to the first token that a request asks for (`x-llm-d-slo-ttft-ms`).",
        formula: "",
        misleads: "Requests that ask for no time come after all that do.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| {
            piece(input, |_: &NoParams| {
                Ok(pieces::Piece::Order(Order::SloDeadline))
            })
        },
    },
    PluginType {
        name: "global-strict-fairness-policy",
        aliases: &[],
        kind: Kind::FlowControl,
        stability: Stability::Beta,
        summary: "Orders across all flows of a band.",
        formula: "",
        misleads: "One flow that sends much holds up all others of its priority.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| {
            piece(input, |_: &NoParams| {
                Ok(pieces::Piece::Fairness(Fairness::GlobalStrict))
            })
        },
    },
    PluginType {
        name: "round-robin-fairness-policy",
        aliases: &[],
        kind: Kind::FlowControl,
        stability: Stability::Beta,
        summary: "Sends the first request of each flow of a band in turn; a flow is a value of `x-llm-d-inference-fairness-id`.",
        formula: "",
        misleads: "It counts requests, not their length; requests without the header are one flow.",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: |input| {
            piece(input, |_: &NoParams| {
                Ok(pieces::Piece::Fairness(Fairness::RoundRobin))
            })
        },
    },
    PluginType {
        name: "static-usage-limit-policy",
        aliases: &[],
        kind: Kind::FlowControl,
        stability: Stability::Beta,
        summary: "One saturation ceiling for all priorities.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<pieces::LimitParams>,
        build: |input| piece(input, pieces::limit),
    },
];

/// Types the field knows and this project has not built, with what to do instead.
pub static NOT_BUILT: &[(&str, &str)] = &[
    ("endpoint-attribute-filter", "use `utilization-filter`"),
    (
        "topology-affinity-scorer",
        "remove it, or put each zone's endpoints in a pool of their own",
    ),
    (
        "topology-affinity-filter",
        "remove it, or put each zone's endpoints in a pool of their own",
    ),
    (
        "topology-extractor",
        "remove it, or put each zone's endpoints in a pool of their own",
    ),
    (
        "mm-embeddings-cache-scorer",
        "use `prefix-cache-scorer`: images are part of the prefix by their hash",
    ),
    (
        "mm-embeddings-cache-producer",
        "use `approx-prefix-cache-producer`: images are part of the prefix by their hash",
    ),
    ("multicluster-queue-scorer", "use `queue-scorer`"),
    (
        "multicluster-kv-cache-utilization-scorer",
        "use `kv-cache-utilization-scorer`",
    ),
    (
        "multicluster-prefix-cache-scorer",
        "use `prefix-cache-scorer`",
    ),
    (
        "multicluster-session-affinity-filter",
        "use `session-affinity-scorer`",
    ),
    (
        "multicluster-metrics-data-source",
        "use `metrics-data-source`",
    ),
    (
        "multicluster-metrics-extractor",
        "use `core-metrics-extractor`",
    ),
    (
        "multicluster-file-discovery",
        "list the endpoints under `pools` in prefixgate.yaml",
    ),
    (
        "disaggregatedset-rollout-screener",
        "remove it: revisions are not told apart",
    ),
    (
        "agent-identity",
        "use `session-affinity-scorer` with `session_id` and the client's header",
    ),
    (
        "request-attribute-reporter",
        "read the gateway's own metrics and access log",
    ),
    (
        "session-id-producer",
        "use `sources` of `session-affinity-scorer`",
    ),
    (
        "burst-prefix-cache-producer",
        "use `approx-prefix-cache-producer`, which sees the placement before last",
    ),
    (
        "p2p-source-producer",
        "remove it: engines do not fetch blocks from each other here",
    ),
    ("dcgm-data-source", "use `metrics-data-source`"),
    ("dcgm-extractor", "use `core-metrics-extractor`"),
    (
        "k8s-notification-source",
        "remove it: membership comes from the pool's own discovery",
    ),
    (
        "file-discovery",
        "name its file with `--endpoint-file` (epp), or list the endpoints under `pools` in prefixgate.yaml",
    ),
    ("sglanghttp-parser", "use `passthrough-parser`"),
    (
        "vllmgrpc-parser",
        "remove it: a gRPC body is passed on unread and decided without its prompt",
    ),
    (
        "vertexai-parser",
        "remove it: a gRPC body is passed on unread and decided without its prompt",
    ),
    (
        "program-aware-fairness",
        "use `round-robin-fairness-policy`, which gives each flow its turn whatever it was served before",
    ),
    (
        "priority-holdback-policy",
        "use `static-usage-limit-policy`: every priority has the same ceiling, and higher ones go first",
    ),
    (
        "soft-reflective-ceiling-policy",
        "use `static-usage-limit-policy`: every priority has the same ceiling, and higher ones go first",
    ),
    (
        "sheddable-eviction-filter",
        "remove it: running requests are never evicted",
    ),
    (
        "priority-then-time-eviction-order-policy",
        "remove it: running requests are never evicted",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once_and_defaults_build() {
        let mut names: Vec<&str> = PLUGINS
            .iter()
            .flat_map(|p| std::iter::once(p.name).chain(p.aliases.iter().copied()))
            .collect();
        names.extend(NOT_BUILT.iter().map(|(name, _)| *name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let need_parameters = [
            "utilization-filter",
            "label-selector-filter",
            "by-label",
            "endpoint-attribute-scorer",
            "header-label-affinity-scorer",
        ];
        for plugin in PLUGINS
            .iter()
            .filter(|p| !need_parameters.contains(&p.name))
        {
            let none = Parameters::default();
            let built = (plugin.build)(&Input {
                parameters: &none,
                refused: plugin.refused,
                seed: 0,
            });
            assert!(built.is_ok(), "{}", plugin.name);
        }
    }

    #[test]
    fn advice_names_plugins_that_exist() {
        for (name, advice) in NOT_BUILT {
            for quoted in advice.split('`').skip(1).step_by(2) {
                let looks_like_plugin = [
                    "-scorer",
                    "-filter",
                    "-guard",
                    "-producer",
                    "-parser",
                    "-source",
                    "-extractor",
                    "-handler",
                ]
                .iter()
                .any(|end| quoted.ends_with(end));
                assert!(
                    !looks_like_plugin || *name == quoted || find(quoted).is_some(),
                    "{name}: {quoted}"
                );
            }
        }
    }
}
