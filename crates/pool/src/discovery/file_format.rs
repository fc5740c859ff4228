//! Which endpoints does the text of an endpoint file name?
//!
//! A list, bare or under `endpoints`; each entry a URL, or a mapping with `url` or with `address` and `port`, and
//! optionally `name`, `namespace`, `labels`, `rank`.

use std::collections::BTreeMap;
use std::fmt;

use fleet::EndpointSpec;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::twice;
use crate::{Scheme, endpoint_from_url};

/// Reads the whole file; the error names the entry, counted from 1, or the line.
pub(super) fn parse(text: &str, json: bool) -> Result<Vec<EndpointSpec>, String> {
    if text.trim().is_empty() {
        return Err("is empty; write `[]` for no endpoints".to_owned());
    }
    let list: List = if json {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())?
    };
    let endpoints = list
        .0
        .into_iter()
        .enumerate()
        .map(|(at, entry)| {
            entry
                .endpoint()
                .map_err(|reason| format!("entry {}: {reason}", at + 1))
        })
        .collect::<Result<Vec<_>, _>>()?;
    match twice(&endpoints) {
        Some(endpoint) => Err(format!("endpoint `{}` is listed twice", endpoint.name)),
        None => Ok(endpoints),
    }
}

struct List(Vec<Entry>);

enum Entry {
    Url(String),
    Fields(Box<Fields>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    endpoints: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    name: Option<String>,
    namespace: Option<String>,
    url: Option<String>,
    scheme: Option<Scheme>,
    address: Option<String>,
    port: Option<Port>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    rank: Option<u32>,
}

/// Some write ports as text.
struct Port(u16);

impl Entry {
    fn endpoint(self) -> Result<EndpointSpec, String> {
        match self {
            Self::Url(url) => endpoint_from_url(&url).map_err(|error| error.to_string()),
            Self::Fields(fields) => fields.endpoint(),
        }
    }
}

impl Fields {
    fn endpoint(self) -> Result<EndpointSpec, String> {
        let url = match (&self.url, &self.address, &self.port) {
            (Some(url), None, None) if self.scheme.is_none() => url.clone(),
            (Some(_), ..) => {
                return Err("`url` goes without `scheme`, `address`, `port`".to_owned());
            }
            (None, Some(address), Some(Port(port))) => {
                let scheme = self.scheme.unwrap_or_default().name();
                format!("{scheme}://{}:{port}", bracketed(address)?)
            }
            _ => return Err("needs `url`, or `address` and `port`".to_owned()),
        };
        let spec = endpoint_from_url(&url).map_err(|error| error.to_string())?;
        let name = match (self.namespace, self.name) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}").into(),
            (None, Some(name)) => name.into(),
            (Some(_), None) => return Err("`namespace` needs a `name` beside it".to_owned()),
            (None, None) => match self.rank {
                Some(rank) => format!("{}#{rank}", spec.name).into(),
                None => spec.name,
            },
        };
        Ok(EndpointSpec {
            name,
            rank: self.rank,
            labels: self.labels,
            ..spec
        })
    }
}

fn bracketed(address: &str) -> Result<String, String> {
    if address.is_empty() || address.contains(['/', '@', '?', '#', ' ']) {
        return Err(format!("`address` `{address}` is not a host or IP address"));
    }
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("[{address}]"));
    }
    if address.contains(':') {
        return Err("`address` must not hold a port; give it as `port`".to_owned());
    }
    Ok(address.to_owned())
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = List;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of endpoints, or a mapping with `endpoints`")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<List, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(List)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<List, A::Error> {
                Wrapped::deserialize(MapAccessDeserializer::new(map)).map(|all| List(all.endpoints))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Entry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an endpoint: a URL, or a mapping with `url` or `address` and `port`")
            }
            fn visit_str<E: Error>(self, url: &str) -> Result<Entry, E> {
                Ok(Entry::Url(url.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map))
                    .map(|fields| Entry::Fields(Box::new(fields)))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Port;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port from 1 to 65535")
            }
            fn visit_u64<E: Error>(self, port: u64) -> Result<Port, E> {
                match u16::try_from(port) {
                    Ok(port) if port != 0 => Ok(Port(port)),
                    _ => Err(E::invalid_value(
                        serde::de::Unexpected::Unsigned(port),
                        &self,
                    )),
                }
            }
            fn visit_i64<E: Error>(self, port: i64) -> Result<Port, E> {
                match u64::try_from(port) {
                    Ok(port) => self.visit_u64(port),
                    Err(_) => Err(E::invalid_value(serde::de::Unexpected::Signed(port), &self)),
                }
            }
            fn visit_str<E: Error>(self, port: &str) -> Result<Port, E> {
                match port.parse() {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(serde::de::Unexpected::Str(port), &self)),
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
#[path = "file_format_test.rs"]
mod tests;
