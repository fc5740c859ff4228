//! What does `--kv-events-config` say?
//!
//! The JSON that vLLM takes under this name, with its fields, defaults and meaning.

use serde::{Deserialize, Serialize};

/// Where events are published unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "tcp://*:5557";
/// Batches kept for those who missed some.
pub const DEFAULT_BUFFER_STEPS: usize = 10_000;
/// Batches that may wait for one slow subscriber.
pub const DEFAULT_HWM: usize = 100_000;
/// Batches that may wait to be published.
pub const DEFAULT_MAX_QUEUE_SIZE: usize = 100_000;

/// Largest of the three bounds above that is accepted.
const MAX_BOUND: usize = 10_000_000;
/// Similarity from which on a misspelt name gets a suggestion, 0..=1.
const SUGGEST_FROM: f64 = 0.75;

const FIELDS: [&str; 8] = [
    "enable_kv_cache_events",
    "publisher",
    "endpoint",
    "replay_endpoint",
    "buffer_steps",
    "hwm",
    "max_queue_size",
    "topic",
];

/// Who publishes the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Publisher {
    /// Nobody.
    Null,
    /// A ZeroMQ PUB socket.
    Zmq,
}

/// `--kv-events-config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KvEventsConfig {
    /// Publish what the prefix cache stores and drops.
    pub enable_kv_cache_events: bool,
    /// Absent or null: `zmq` when events are enabled.
    pub publisher: Option<Publisher>,
    /// Where the PUB socket binds (`*`, `::`, `ipc://`) or else connects to.
    pub endpoint: String,
    /// Where the replay ROUTER socket binds; absent or null: no replay.
    pub replay_endpoint: Option<String>,
    /// Batches kept for replay.
    pub buffer_steps: usize,
    /// Batches that may wait for one slow subscriber; later ones are dropped for it.
    pub hwm: usize,
    /// Batches that may wait to be published; later ones are dropped, which the sequence shows.
    pub max_queue_size: usize,
    /// First frame of every message.
    pub topic: String,
}

impl Default for KvEventsConfig {
    fn default() -> Self {
        Self {
            enable_kv_cache_events: false,
            publisher: None,
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            replay_endpoint: None,
            buffer_steps: DEFAULT_BUFFER_STEPS,
            hwm: DEFAULT_HWM,
            max_queue_size: DEFAULT_MAX_QUEUE_SIZE,
            topic: String::new(),
        }
    }
}

impl KvEventsConfig {
    /// Whether events leave this process.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.enable_kv_cache_events && self.publisher != Some(Publisher::Null)
    }
}

impl std::str::FromStr for KvEventsConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let object = value.as_object().ok_or(
            "expected a JSON object, for example {\"enable_kv_cache_events\":true,\"endpoint\":\"tcp://*:5557\"}",
        )?;
        if let Some(unknown) = object.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(unknown_field(unknown));
        }
        let config: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        for (name, bound) in [
            ("buffer_steps", config.buffer_steps),
            ("hwm", config.hwm),
            ("max_queue_size", config.max_queue_size),
        ] {
            if bound > MAX_BOUND {
                return Err(format!("{name} is {bound}, the most is {MAX_BOUND}"));
            }
        }
        Ok(config)
    }
}

fn unknown_field(unknown: &str) -> String {
    let closest = FIELDS
        .iter()
        .map(|field| (strsim::jaro_winkler(unknown, field), field))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity >= SUGGEST_FROM);
    match closest {
        Some((_, field)) => format!("unknown field `{unknown}`; did you mean `{field}`?"),
        None => format!("unknown field `{unknown}`; there are {}", FIELDS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<KvEventsConfig, &str>) {
        match (text.parse::<KvEventsConfig>(), expected) {
            (Ok(config), Ok(expected)) => assert_eq!(config, expected),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, expected) => panic!("{got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn vllms_fields_and_defaults() {
        check("{}", Ok(KvEventsConfig::default()));
        let on = KvEventsConfig {
            enable_kv_cache_events: true,
            ..KvEventsConfig::default()
        };
        check(r#"{"enable_kv_cache_events":true}"#, Ok(on.clone()));
        check(
            r#"{"enable_kv_cache_events":true,"publisher":null,"replay_endpoint":null}"#,
            Ok(on),
        );
        check(
            r#"{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"ipc:///tmp/e","replay_endpoint":"tcp://*:5558",
               "buffer_steps":5,"hwm":6,"max_queue_size":7,"topic":"kv@a:1@m"}"#,
            Ok(KvEventsConfig {
                enable_kv_cache_events: true,
                publisher: Some(Publisher::Zmq),
                endpoint: "ipc:///tmp/e".to_owned(),
                replay_endpoint: Some("tcp://*:5558".to_owned()),
                buffer_steps: 5,
                hwm: 6,
                max_queue_size: 7,
                topic: "kv@a:1@m".to_owned(),
            }),
        );
    }

    #[test]
    fn mistakes_are_told() {
        check("[]", Err("expected a JSON object"));
        check("{", Err("not JSON"));
        check(r#"{"endpont":"x"}"#, Err("did you mean `endpoint`?"));
        check(r#"{"zzz":1}"#, Err("there are enable_kv_cache_events"));
        check(r#"{"publisher":"kafka"}"#, Err("unknown variant `kafka`"));
        check(r#"{"hwm":-1}"#, Err("invalid value"));
        check(r#"{"buffer_steps":10000001}"#, Err("the most is 10000000"));
    }

    #[test]
    fn on_means_enabled_and_published() {
        for (text, expected) in [
            ("{}", false),
            (r#"{"publisher":"zmq"}"#, false),
            (r#"{"enable_kv_cache_events":true}"#, true),
            (
                r#"{"enable_kv_cache_events":true,"publisher":"null"}"#,
                false,
            ),
        ] {
            assert_eq!(
                text.parse::<KvEventsConfig>().unwrap().is_on(),
                expected,
                "{text}"
            );
        }
    }
}
