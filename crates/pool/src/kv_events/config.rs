//! Where do a pool's KV-cache events come from?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::Address;
use crate::PoolError;
use crate::config::setting;

/// An engine counts a step's prompts after it has published the step, so whatever is still missing this much later is
/// not on its way. With a scrape and a look before it, silence is told within 5 s.
const DEFAULT_SILENT_AFTER_MS: u64 = 2_000;
const MOST_SILENT_AFTER_MS: u64 = 600_000;

/// KV-cache events: engines tell which blocks they store and drop, and prefixes are routed by that instead of by
/// guess.
///
/// For each endpoint the first of these that says something holds: the labels `prefixgate.io/kv-events` and
/// `prefixgate.io/kv-events-replay` that discovery gave it, its entry in `sources`, `endpoint`, `bind`, and what the
/// engine answers to `/kv_event_sources`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KvEventsConfig {
    /// Whether events are wanted. Without them prefixes are routed by our own history.
    pub enabled: bool,
    /// Whether engines are asked at `/kv_event_sources` where they publish.
    pub discover: bool,
    /// Where every engine publishes, such as `tcp://{host}:5557`; `{host}` is the endpoint's host. An endpoint's
    /// data-parallel rank is added to the port.
    pub endpoint: Option<String>,
    /// Where every engine answers for what was missed, such as `tcp://{host}:5558`; the rank is added here too.
    pub replay_endpoint: Option<String>,
    /// By endpoint name or `host:port`, for engines that publish elsewhere.
    pub sources: BTreeMap<String, KvSource>,
    /// Address to listen on, such as `tcp://*:5557`, for engines that connect to their consumer. They must publish
    /// under the topic `kv@<endpoint>@<model>`, `<endpoint>` being the name, address or host known here; one endpoint
    /// a host may have any topic.
    pub bind: Option<String>,
    /// Beginning of the topics to subscribe to; empty for all.
    pub topic: String,
    /// Milliseconds in which an engine that computed new blocks must have told. While events are followed, an idle
    /// endpoint is scraped once a second at least, so that its work is noticed.
    pub silent_after_ms: u64,
}

/// Where one engine publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KvSource {
    /// Such as `tcp://10.0.0.7:5557` or `ipc:///run/kv.sock`.
    pub endpoint: String,
    /// Where it answers for what was missed; without it a gap cannot be filled.
    pub replay_endpoint: Option<String>,
}

impl Default for KvEventsConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            discover: true,
            endpoint: None,
            replay_endpoint: None,
            sources: BTreeMap::new(),
            bind: None,
            topic: String::new(),
            silent_after_ms: DEFAULT_SILENT_AFTER_MS,
        }
    }
}

impl KvEventsConfig {
    /// Finds every mistake that can be found without the network.
    ///
    /// # Errors
    /// The first one, naming the key.
    pub(crate) fn check(&self) -> Result<(), PoolError> {
        let address = |key, text: &Option<String>, bind| match text {
            Some(text) => judge(key, text, bind),
            None => Ok(()),
        };
        address("kv_events.endpoint", &self.endpoint, false)?;
        address("kv_events.replay_endpoint", &self.replay_endpoint, false)?;
        address("kv_events.bind", &self.bind, true)?;
        for source in self.sources.values() {
            judge("kv_events.sources.*.endpoint", &source.endpoint, false)?;
            address(
                "kv_events.sources.*.replay_endpoint",
                &source.replay_endpoint,
                false,
            )?;
        }
        if !(100..=MOST_SILENT_AFTER_MS).contains(&self.silent_after_ms) {
            return Err(setting(
                "kv_events.silent_after_ms",
                &format!("must be from 100 to {MOST_SILENT_AFTER_MS}"),
            ));
        }
        let nowhere = self.endpoint.is_none() && self.bind.is_none() && self.sources.is_empty();
        if self.enabled && !self.discover && nowhere {
            return Err(setting(
                "kv_events",
                "is enabled, but says nowhere to get events from: set `discover`, `endpoint`, `sources` or `bind`",
            ));
        }
        Ok(())
    }
}

fn judge(key: &'static str, text: &str, bind: bool) -> Result<(), PoolError> {
    let address = Address::parse(&text.replace("{host}", "host"))
        .map_err(|reason| setting(key, &format!("`{text}` {reason}")))?;
    if !bind && address.is_wildcard() {
        return Err(setting(
            key,
            &format!(
                "`{text}` names no host to connect to; write `{{host}}` for the endpoint's own"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: KvEventsConfig, expected: &str) {
        let error = config
            .check()
            .map_or_else(|error| error.to_string(), |()| String::new());
        assert!(
            error.contains(expected) && error.is_empty() == expected.is_empty(),
            "{error:?} is not about {expected:?}"
        );
    }

    #[test]
    fn mistakes_are_told() {
        let with = |endpoint: &str| KvEventsConfig {
            enabled: true,
            endpoint: Some(endpoint.to_owned()),
            ..KvEventsConfig::default()
        };
        check(with("tcp://{host}:5557"), "");
        check(with("ipc:///run/kv.sock"), "");
        check(with("tcp://*:5557"), "names no host");
        check(with("udp://a:1"), "tcp://HOST:PORT");
        check(with("tcp://{host}"), "tcp://HOST:PORT");
        let nothing = KvEventsConfig {
            enabled: true,
            discover: false,
            ..KvEventsConfig::default()
        };
        check(nothing.clone(), "says nowhere");
        check(
            KvEventsConfig {
                bind: Some("tcp://*:5557".to_owned()),
                ..nothing
            },
            "",
        );
        check(
            KvEventsConfig {
                silent_after_ms: 1,
                ..KvEventsConfig::default()
            },
            "silent_after_ms",
        );
    }
}
