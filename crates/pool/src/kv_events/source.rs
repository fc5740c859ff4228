//! Where does one endpoint's engine publish?

use std::collections::BTreeMap;

use fleet::EndpointSpec;
use serde::Deserialize;

use super::address::Address;
use super::{KvEventsConfig, KvSource};

/// Labels by which discovery can say it for one endpoint.
const LABEL: &str = "prefixgate.io/kv-events";
const REPLAY_LABEL: &str = "prefixgate.io/kv-events-replay";

/// Path at which engines tell their publishers, one for each data-parallel rank.
pub(super) const SOURCES_PATH: &str = "/kv_event_sources";

/// A publisher to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) events: Address,
    pub(super) replay: Option<Address>,
}

/// What the configuration says about an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Configured {
    Here(Source),
    /// The engine connects to us; its replay socket, where that is known.
    Bound(Option<Address>),
    /// The engine must be asked.
    Ask,
}

impl Configured {
    /// The first source that says something about `spec`.
    ///
    /// # Errors
    /// It says something that is no address, in words.
    pub(super) fn of(config: &KvEventsConfig, spec: &EndpointSpec) -> Result<Self, String> {
        let label = |name: &str| spec.labels.get(name).cloned();
        if let Some(endpoint) = label(LABEL) {
            let source = KvSource {
                endpoint,
                replay_endpoint: label(REPLAY_LABEL),
            };
            return here(&source, spec, 0).map(Self::Here);
        }
        let listed = config.sources.get(&*spec.name);
        if let Some(source) = listed.or_else(|| config.sources.get(&*spec.address)) {
            return here(source, spec, 0).map(Self::Here);
        }
        let rank = spec.rank.unwrap_or(0);
        if let Some(endpoint) = &config.endpoint {
            let source = KvSource {
                endpoint: endpoint.clone(),
                replay_endpoint: config.replay_endpoint.clone(),
            };
            return here(&source, spec, rank).map(Self::Here);
        }
        if config.bind.is_some() {
            let replay = config.replay_endpoint.as_deref();
            let replay = replay
                .map(|replay| address(replay, spec, rank))
                .transpose()?;
            return Ok(Self::Bound(replay));
        }
        Ok(Self::Ask)
    }
}

fn here(source: &KvSource, spec: &EndpointSpec, rank: u32) -> Result<Source, String> {
    let replay = source.replay_endpoint.as_deref();
    Ok(Source {
        events: address(&source.endpoint, spec, rank)?,
        replay: replay
            .map(|replay| address(replay, spec, rank))
            .transpose()?,
    })
}

fn address(text: &str, spec: &EndpointSpec, rank: u32) -> Result<Address, String> {
    let host = host(spec);
    let written = text.replace("{host}", host);
    let address = Address::parse(&written).map_err(|reason| format!("`{written}` {reason}"))?;
    address.seen_from_outside(host).of_rank(rank)
}

/// Host of the endpoint's own address.
pub(super) fn host(spec: &EndpointSpec) -> &str {
    spec.address
        .rsplit_once(':')
        .map_or(&*spec.address, |(host, _)| host)
}

/// One publisher, as an engine describes it; further fields are of no concern here.
#[derive(Debug, Deserialize)]
struct Told {
    enable_kv_cache_events: Option<bool>,
    publisher: Option<String>,
    endpoint: Option<String>,
    replay_endpoint: Option<String>,
}

/// Reads an engine's answer.
///
/// # Errors
/// Why there is nothing to connect to, in words, with what to do.
pub(super) fn told(status: u16, body: &[u8], spec: &EndpointSpec) -> Result<Source, String> {
    match status {
        200 => {}
        404 | 405 => {
            return Err(format!(
                "the engine has no {SOURCES_PATH}; say where it publishes with `kv_events.endpoint` or `kv_events.sources`"
            ));
        }
        401 | 403 => {
            return Err(format!(
                "{SOURCES_PATH} answered {status}; set `api_key_env`, or `kv_events.endpoint`"
            ));
        }
        status => return Err(format!("{SOURCES_PATH} answered {status}")),
    }
    let sources: BTreeMap<String, Told> = serde_json::from_slice(body)
        .map_err(|error| format!("{SOURCES_PATH} is not what was expected: {error}"))?;
    let off = || {
        "the engine publishes no events; start it with --kv-events-config '{\"enable_kv_cache_events\":true}'"
            .to_owned()
    };
    if sources.is_empty() {
        return Err(off());
    }
    if spec.rank.is_none() && sources.len() > 1 {
        return Err(format!(
            "{} data-parallel ranks answer at this address; list each rank as an endpoint",
            sources.len()
        ));
    }
    let rank = spec.rank.unwrap_or(0);
    let own = sources.get(&rank.to_string());
    let own = own.ok_or_else(|| format!("the engine has no data-parallel rank {rank}"))?;
    let on = own.enable_kv_cache_events.unwrap_or(true);
    if !on || own.publisher.as_deref() == Some("null") {
        return Err(off());
    }
    if let Some(publisher) = own.publisher.as_deref().filter(|name| *name != "zmq") {
        return Err(format!("the engine publishes by `{publisher}`, not by zmq"));
    }
    let endpoint = own.endpoint.clone().ok_or_else(off)?;
    // Some engines tell every rank the first one's port.
    let first = sources.get("0").and_then(|first| first.endpoint.as_ref());
    let offset = if rank > 0 && first == Some(&endpoint) {
        rank
    } else {
        0
    };
    let source = KvSource {
        endpoint,
        replay_endpoint: own.replay_endpoint.clone(),
    };
    here(&source, spec, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint_from_url;

    fn spec(rank: Option<u32>) -> EndpointSpec {
        EndpointSpec {
            rank,
            ..endpoint_from_url("http://10.0.0.7:8000").unwrap()
        }
    }

    #[track_caller]
    fn check(body: &str, rank: Option<u32>, expected: &str) {
        let got = match told(200, body.as_bytes(), &spec(rank)) {
            Ok(source) => format!(
                "{} {}",
                source.events,
                source
                    .replay
                    .map_or_else(|| "-".to_owned(), |replay| replay.to_string())
            ),
            Err(reason) => reason,
        };
        assert!(got.contains(expected), "{got:?} lacks {expected:?}");
    }

    #[test]
    fn an_engines_answer() {
        let one = r#"{"0":{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:5557",
            "replay_endpoint":"tcp://*:5558","buffer_steps":10000,"topic":""}}"#;
        check(one, None, "tcp://10.0.0.7:5557 tcp://10.0.0.7:5558");
        let two = r#"{"0":{"endpoint":"tcp://*:5557"},"1":{"endpoint":"tcp://*:5557"}}"#;
        check(two, Some(1), "tcp://10.0.0.7:5558 -");
        check(two, None, "2 data-parallel ranks");
        check(two, Some(2), "no data-parallel rank 2");
        let moved = r#"{"0":{"endpoint":"tcp://*:5557"},"1":{"endpoint":"tcp://*:6000"}}"#;
        check(moved, Some(1), "tcp://10.0.0.7:6000 -");
        check("{}", None, "publishes no events");
        check(
            r#"{"0":{"enable_kv_cache_events":false,"endpoint":"tcp://*:1"}}"#,
            None,
            "publishes no events",
        );
        check(r#"{"0":{"publisher":"null"}}"#, None, "publishes no events");
        check(
            r#"{"0":{"publisher":"kafka","endpoint":"x"}}"#,
            None,
            "kafka",
        );
        check("[", None, "not what was expected");
        assert!(told(404, b"", &spec(None)).unwrap_err().contains("sources"));
    }

    #[test]
    fn the_first_that_says_something_holds() {
        let mut config = KvEventsConfig::default();
        let mut spec = spec(Some(1));
        let check = |config: &KvEventsConfig, spec: &EndpointSpec, expected: &str| {
            let got = match Configured::of(config, spec).unwrap() {
                Configured::Here(source) => source.events.to_string(),
                other => format!("{other:?}"),
            };
            assert_eq!(got, expected);
        };
        check(&config, &spec, "Ask");
        config.bind = Some("tcp://*:5557".to_owned());
        check(&config, &spec, "Bound(None)");
        config.endpoint = Some("tcp://{host}:7000".to_owned());
        check(&config, &spec, "tcp://10.0.0.7:7001");
        let listed = KvSource {
            endpoint: "tcp://other:1".to_owned(),
            replay_endpoint: None,
        };
        config.sources.insert("10.0.0.7:8000".to_owned(), listed);
        check(&config, &spec, "tcp://other:1");
        (spec.labels).insert(LABEL.to_owned(), "tcp://{host}:9".to_owned());
        check(&config, &spec, "tcp://10.0.0.7:9");
    }
}
