//! Which headers go further, and which end here?

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use scheduler::StageKind;

/// Request id, generated where the client sent none; passed on and given back.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Endpoint that served the request.
pub(crate) const ENDPOINT: HeaderName = HeaderName::from_static("x-prefixgate-endpoint");
/// Prompt tokens expected in its cache.
pub(crate) const CACHED_TOKENS: HeaderName = HeaderName::from_static("x-prefixgate-cached-tokens");
/// Asks for [`SCORES`].
pub(crate) const EXPLAIN: HeaderName = HeaderName::from_static("x-prefixgate-explain");
/// Every candidate's total and scores.
pub(crate) const SCORES: HeaderName = HeaderName::from_static("x-prefixgate-scores");
/// Names the model that a data plane's own configuration wants in place of the client's.
pub(crate) const MODEL_REWRITE: HeaderName = HeaderName::from_static("x-llm-d-model-name-rewrite");
/// Names the objective of a request.
pub(crate) const OBJECTIVE: HeaderName = HeaderName::from_static("x-llm-d-inference-objective");
/// Longest time to the first token that a request asks for, ms.
pub(crate) const SLO_TTFT: HeaderName = HeaderName::from_static("x-llm-d-slo-ttft-ms");
/// Whom a request counts for.
pub(crate) const FAIRNESS_ID: HeaderName = HeaderName::from_static("x-llm-d-inference-fairness-id");
/// Whom requests count for that name nobody.
pub(crate) const DEFAULT_FLOW: &str = "default-flow";
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Headers about one connection, RFC 9110 section 7.6.1 and its customary additions.
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers by which routing components speak to each other; a client's are removed, whoever reads them.
static SYSTEM_OWNED: [&str; 25] = [
    "x-llm-d-inference-fairness-id",
    "x-gateway-inference-fairness-id",
    "x-llm-d-inference-objective",
    "x-gateway-inference-objective",
    "x-llm-d-model-name-rewrite",
    "x-gateway-model-name-rewrite",
    "x-llm-d-slo-ttft-ms",
    "x-slo-ttft-ms",
    "x-llm-d-slo-tpot-ms",
    "x-slo-tpot-ms",
    "x-llm-d-video-fps",
    "x-llm-d-video-duration-seconds",
    "x-llm-d-video-resolution",
    "x-llm-d-request-dropped-reason",
    "x-gateway-destination-endpoint",
    "x-gateway-destination-endpoint-subset",
    "x-gateway-destination-endpoint-served",
    "x-gateway-destination-endpoint-scores",
    "x-gateway-inference-request-cost",
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-data-parallel-host-port",
    "x-kv-cache-source-host-port",
    "x-data-parallel-rank",
    "epp-profile",
];

/// Prefixes of further ones: unprefixed video hints, and our own.
static SYSTEM_OWNED_PREFIXES: [&str; 3] = [
    "x-prefixgate-",
    "x-video-",
    "x-gateway-destination-endpoint",
];

/// Headers with two spellings, the current one first; that one wins where both are sent.
static SPELLINGS: [(&str, &str); 5] = [
    (
        "x-llm-d-inference-fairness-id",
        "x-gateway-inference-fairness-id",
    ),
    (
        "x-llm-d-inference-objective",
        "x-gateway-inference-objective",
    ),
    ("x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"),
    ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"),
    ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"),
];

/// Makes what was sent under one spelling readable under both.
pub(crate) fn unite_spellings(headers: &mut HeaderMap) {
    for (current, older) in SPELLINGS {
        if let Some(value) = headers.get(current).cloned() {
            if headers.contains_key(older) {
                headers.insert(HeaderName::from_static(older), value);
            }
        } else if let Some(value) = headers.get(older).cloned() {
            headers.insert(HeaderName::from_static(current), value);
        }
    }
}

/// What `name` holds, under whichever of its spellings; the current one wins.
pub(crate) fn spelt<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let value = headers.get(name).or_else(|| {
        let (_, older) = SPELLINGS.iter().find(|(current, _)| *current == name)?;
        headers.get(*older)
    });
    value?.to_str().ok()
}

/// Whether the request states `preference` (RFC 7240).
pub(crate) fn prefers(headers: &HeaderMap, preference: &str) -> bool {
    let mut stated = headers.get_all("prefer").iter().flat_map(tokens);
    stated.any(|token| token.eq_ignore_ascii_case(preference))
}

/// Names of the system-owned headers in `headers`.
pub(crate) fn system_owned(headers: &HeaderMap) -> Vec<String> {
    let names = headers.keys().filter(|name| is_system_owned(name));
    names.map(|name| name.as_str().to_owned()).collect()
}

/// Pinned data-parallel rank, set from the endpoint.
const RANK: HeaderName = HeaderName::from_static("x-data-parallel-rank");

/// The comma-separated members of a header's value.
pub(crate) fn tokens(value: &HeaderValue) -> impl DoubleEndedIterator<Item = &str> {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(str::trim)
}

/// Removes what concerns one connection only, the headers that `Connection` lists included.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let listed: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(tokens)
            .filter_map(|token| token.parse().ok())
            .collect();
        for name in listed {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// What is sent along with a request beside the client's own headers.
pub(crate) struct Additions<'a> {
    pub(crate) request_id: &'a HeaderValue,
    /// The client's address; `None` where unknown.
    pub(crate) client: Option<std::net::IpAddr>,
    /// In place of the client's `Authorization`.
    pub(crate) engine_authorization: Option<&'a HeaderValue>,
    pub(crate) pass_client_authorization: bool,
}

/// Turns a client's headers into those sent to an engine; framing and `Host` are added by whoever writes them.
pub(crate) fn to_engine(headers: &mut HeaderMap, additions: &Additions<'_>) {
    remove_hop_by_hop(headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
    remove_system_owned(headers);
    match additions.engine_authorization {
        Some(value) => {
            headers.insert(AUTHORIZATION, value.clone());
        }
        None if !additions.pass_client_authorization => {
            headers.remove(AUTHORIZATION);
        }
        None => {}
    }
    headers.insert(REQUEST_ID, additions.request_id.clone());
    if let Some(client) = additions.client {
        append_forwarded_for(headers, client);
    }
}

fn remove_system_owned(headers: &mut HeaderMap) {
    // Nearly always there is none, and then nothing is allocated.
    while let Some(name) = headers.keys().find(|name| is_system_owned(name)).cloned() {
        headers.remove(name);
    }
}

fn is_system_owned(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Every one of them but the last starts like this, and no header of plain HTTP does.
    (name.starts_with("x-") || name.starts_with("epp-"))
        && (SYSTEM_OWNED.contains(&name)
            || SYSTEM_OWNED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix)))
}

fn append_forwarded_for(headers: &mut HeaderMap, client: std::net::IpAddr) {
    let known = headers
        .get(FORWARDED_FOR)
        .and_then(|value| value.to_str().ok());
    let chain = match known {
        Some(known) => format!("{known}, {client}"),
        None => client.to_string(),
    };
    if let Ok(value) = HeaderValue::try_from(chain) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// Pins the data-parallel rank of the picked endpoint.
pub(crate) fn set_rank(headers: &mut HeaderMap, rank: Option<u32>) {
    match rank {
        Some(rank) => {
            headers.insert(RANK, HeaderValue::from(rank));
        }
        None => {
            headers.remove(RANK);
        }
    }
}

/// Tells the endpoint that answers who does the other stages; a client's own were removed before.
pub(crate) fn set_stages(headers: &mut HeaderMap, stages: &[(&'static str, HeaderValue)]) {
    for stage in [StageKind::Encode, StageKind::Prefill] {
        headers.remove(stage.header());
    }
    for (name, address) in stages {
        headers.insert(HeaderName::from_static(name), address.clone());
    }
}

/// The client's request id, or a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    match headers.get(REQUEST_ID) {
        Some(id) if !id.is_empty() => id.clone(),
        _ => {
            let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
            let text = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut text);
            // Digits, letters and dashes are always a header value.
            HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_an_engine() {
        let given: &[(&str, &str)] = &[
            ("host", "gateway"),
            ("connection", "close, X-Private, keep-alive"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("content-type", "application/json"),
            ("x-gateway-destination-endpoint", "1.2.3.4:5"),
            ("x-gateway-destination-endpoint-subset", "1.2.3.4:5"),
            ("x-llm-d-inference-objective", "high"),
            ("x-slo-ttft-ms", "10"),
            ("x-data-parallel-rank", "3"),
            ("x-prefixgate-explain", "1"),
            ("x-prefixgate-anything", "1"),
            ("x-custom", "kept"),
            ("traceparent", "kept"),
            ("authorization", "Bearer client"),
            ("x-forwarded-for", "9.9.9.9"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let id = HeaderValue::from_static("id-1");
        to_engine(
            &mut headers,
            &Additions {
                request_id: &id,
                client: Some([1, 2, 3, 4].into()),
                engine_authorization: None,
                pass_client_authorization: true,
            },
        );
        let mut left: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "authorization: Bearer client",
                "content-type: application/json",
                "traceparent: kept",
                "x-custom: kept",
                "x-forwarded-for: 9.9.9.9, 1.2.3.4",
                "x-request-id: id-1",
            ]
        );
    }
}
