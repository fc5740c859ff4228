//! Which plugins are there, what does each do, and what does it take?
//!
//! THE table: configuration, `prefixgate plugins`, the generated reference and the JSON schema all read it.
//! A new plugin is a file and a row here.

use schemars::Schema;
use serde_json::Value;

use crate::config::params::{NoParams, Params, Reference, decode, schema_of};
use crate::config::{ParamError, Parameters, Wiring, wired};
use crate::filter::{overload_guard, prefix_affinity, utilization};
use crate::picker::{self, max_score, random, weighted_random};
use crate::scorer::{
    active_request, kv_cache, latency_cost, no_hit_lru, prefix_cache, queue, running_requests,
    session_affinity, token_load,
};
use crate::{Filter, Picker, Scorer};

/// What part of the machinery a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Filter,
    Scorer,
    Picker,
    ProfileHandler,
    Producer,
    Source,
    Extractor,
    Parser,
    /// Part of flow control, which is not built: accepted while it has nothing to do.
    FlowControl,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Filter,
        Self::Scorer,
        Self::Picker,
        Self::ProfileHandler,
        Self::Producer,
        Self::Source,
        Self::Extractor,
        Self::Parser,
        Self::FlowControl,
    ];

    /// In words, singular.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Scorer => "scorer",
            Self::Picker => "picker",
            Self::ProfileHandler => "profile handler",
            Self::Producer => "data producer",
            Self::Source => "data source",
            Self::Extractor => "extractor",
            Self::Parser => "parser",
            Self::FlowControl => "flow-control part",
        }
    }

    /// Whether a scheduling profile is made of these.
    pub const fn in_profile(self) -> bool {
        matches!(self, Self::Filter | Self::Scorer | Self::Picker)
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
    Scorer(Box<dyn Scorer>),
    Picker(Box<dyn Picker>),
    /// Applied to the document's wiring.
    Wire(Box<dyn FnOnce(&mut Wiring)>),
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
    made(input, |params: P| {
        Ok(Part::Scorer(Box::new(make(&params)?)))
    })
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

const NO_FLOW_CONTROL: &str = "flow control is not built, so nothing would read it";

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
        formula: "sticky = matched/total blocks >= affinityThreshold; none sticky: all stay\nTTFT = uncached tokens in flight / peakPrefillThroughput * 1000\nbest sticky TTFT - best other TTFT > maxTTFTPenaltyMs: all stay",
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
        formula: "cost = r * (Q + U) + d * O + harm * r * U * A\nr, d = learned ms per uncached prompt token and per output token\nQ = uncached tokens waiting there, U = this request's, O = expected output, A = our requests in flight\nscore = least cost / cost",
        misleads: "It is a choice of its own: summed with other scorers it is a ratio of costs like any score, and no longer milliseconds.",
        refused: &[],
        schema: schema_of::<latency_cost::Params>,
        build: |input| scorer(input, latency_cost::LatencyCost::new),
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
                "prompts are hashed as bytes, so no tokenizer service is asked; use `estimate: {}`",
            ),
            (
                "udsTokenizerConfig",
                "prompts are hashed as bytes, so no tokenizer service is asked; use `estimate: {}`",
            ),
            (
                "modelName",
                "only a tokenizer service reads it; the bytes-per-token ratio is learned for each model",
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
        kind: Kind::FlowControl,
        stability: Stability::Beta,
        summary: "Measures saturation for flow control.",
        formula: "",
        misleads: "",
        refused: &[
            ("queueDepthThreshold", NO_FLOW_CONTROL),
            ("kvCacheUtilThreshold", NO_FLOW_CONTROL),
            ("metricsStalenessThreshold", NO_FLOW_CONTROL),
            ("headroom", NO_FLOW_CONTROL),
        ],
        schema: schema_of::<NoParams>,
        build: plain,
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
        build: plain,
    },
    PluginType {
        name: "global-strict-fairness-policy",
        aliases: &[],
        kind: Kind::FlowControl,
        stability: Stability::Beta,
        summary: "Orders across all flows.",
        formula: "",
        misleads: "",
        refused: &[],
        schema: schema_of::<NoParams>,
        build: plain,
    },
    PluginType {
        name: "static-usage-limit-policy",
        aliases: &[],
        kind: Kind::FlowControl,
        stability: Stability::Beta,
        summary: "One saturation ceiling for all priorities.",
        formula: "",
        misleads: "",
        refused: &[("threshold", NO_FLOW_CONTROL)],
        schema: schema_of::<NoParams>,
        build: plain,
    },
];

/// Types the field knows and this project has not built, with what to do instead.
pub static NOT_BUILT: &[(&str, &str)] = &[
    (
        "precise-prefix-cache-producer",
        "use `approx-prefix-cache-producer`, which engines' answers correct",
    ),
    ("precise-prefix-cache-scorer", "use `prefix-cache-scorer`"),
    ("load-aware-scorer", "use `queue-scorer`"),
    (
        "lora-affinity-scorer",
        "remove it: an adapter's requests already go only where `/v1/models` lists it",
    ),
    (
        "context-length-aware",
        "remove it, or put endpoints of one context length in a pool of their own",
    ),
    (
        "endpoint-attribute-scorer",
        "use `queue-scorer`, `running-requests-size-scorer` or `kv-cache-utilization-scorer`",
    ),
    ("endpoint-attribute-filter", "use `utilization-filter`"),
    (
        "header-label-affinity-scorer",
        "use `session-affinity-scorer`, or a pool for each label value",
    ),
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
    ("latency-scorer", "use `token-load-scorer`"),
    (
        "predicted-latency-producer",
        "use `token-load-scorer` in place of `latency-scorer`",
    ),
    (
        "latency-slo-admitter",
        "remove it: nothing is refused for its latency target",
    ),
    (
        "slo-headroom-tier-filter",
        "use `utilization-filter` or `overload-guard`",
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
        "session-affinity-filter",
        "use `session-affinity-scorer` with a weight above the sum of the others",
    ),
    (
        "decode-filter",
        "remove it: prefill and decode are not split",
    ),
    (
        "prefill-filter",
        "remove it: prefill and decode are not split",
    ),
    ("encode-filter", "remove it: encoding is not split off"),
    (
        "label-selector-filter",
        "select endpoints where the pool is defined",
    ),
    (
        "by-label-selector",
        "select endpoints where the pool is defined",
    ),
    ("by-label", "select endpoints where the pool is defined"),
    (
        "header-based-testing-filter",
        "remove it: a client cannot name its endpoint",
    ),
    (
        "concurrency-detector",
        "use `utilization-filter` on `active-requests`",
    ),
    (
        "disagg-profile-handler",
        "use `single-profile-handler`: prefill and decode are not split",
    ),
    (
        "pd-profile-handler",
        "use `single-profile-handler`: prefill and decode are not split",
    ),
    (
        "data-parallel-profile-handler",
        "use `single-profile-handler`: every rank is an endpoint",
    ),
    (
        "header-profile-handler",
        "use `single-profile-handler`, or a pool for each profile",
    ),
    (
        "disagg-headers-handler",
        "remove it: prefill and decode are not split",
    ),
    (
        "prefill-header-handler",
        "remove it: prefill and decode are not split",
    ),
    (
        "prefix-based-pd-decider",
        "remove it: prefill and decode are not split",
    ),
    (
        "always-disagg-pd-decider",
        "remove it: prefill and decode are not split",
    ),
    (
        "always-disagg-multimodal-decider",
        "remove it: encoding is not split off",
    ),
    (
        "probabilistic-admitter",
        "remove it: nothing is shed by priority",
    ),
    (
        "disaggregatedset-rollout-screener",
        "remove it: prefill and decode are not split",
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
        "list the endpoints under `pools` in prefixgate.yaml",
    ),
    ("sglanghttp-parser", "use `passthrough-parser`"),
    ("vllmgrpc-parser", "remove it: gRPC is not carried"),
    ("vertexai-parser", "remove it: gRPC is not carried"),
    (
        "round-robin-fairness-policy",
        "remove it: requests are not queued before scheduling",
    ),
    (
        "program-aware-fairness",
        "remove it: requests are not queued before scheduling",
    ),
    (
        "edf-ordering-policy",
        "remove it: requests are not queued before scheduling",
    ),
    (
        "slo-deadline-ordering-policy",
        "remove it: requests are not queued before scheduling",
    ),
    (
        "priority-holdback-policy",
        "remove it: requests are not queued before scheduling",
    ),
    (
        "soft-reflective-ceiling-policy",
        "remove it: requests are not queued before scheduling",
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
        for plugin in PLUGINS.iter().filter(|p| p.name != "utilization-filter") {
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
                    !looks_like_plugin
                        || *name == quoted
                        || find(quoted).is_some()
                        || *name == "predicted-latency-producer",
                    "{name}: {quoted}"
                );
            }
        }
    }
}
