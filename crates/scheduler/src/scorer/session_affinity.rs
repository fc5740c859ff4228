//! Where did this session go before?
//!
//! As a scorer a preference, as a filter an order that holds while the endpoint is a candidate.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sessions::Sessions;
use super::units;
use crate::config::{ParamError, params};
use crate::headers::header_name;
use crate::{Ask, Candidates, EndpointInfo, Filter, Raw, Rng, Scorer};

/// Parameters of `session-affinity-scorer` and `session-affinity-filter`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Params {
    /// `encoded_endpoint_header`: the client echoes a token that names the endpoint; `session_id`: the client
    /// names its session and the binding is remembered here.
    pub(crate) strategy: Strategy,
    /// Header that carries the token, in requests and responses; `encoded_endpoint_header` only.
    pub(crate) header_name: String,
    /// Where a session id is read from, the first present wins; `session_id` only.
    pub(crate) sources: Vec<Source>,
    /// Seconds a binding lives unused; `session_id` only.
    pub(crate) eviction_ttl_seconds: f64,
    /// Seconds between sweeps of expired bindings; `session_id` only.
    pub(crate) eviction_sweep_seconds: f64,
    /// The three settings above in a block of their own; a field set in it wins.
    pub(crate) session_id_config: SessionIdConfig,
    /// Profile this belongs to; when given it must be the one that runs.
    pub(crate) profile_name: String,
}

/// How a session finds its endpoint again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Strategy {
    #[default]
    EncodedEndpointHeader,
    #[serde(alias = "session_id_header")]
    SessionId,
}

/// Where a session id is read from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Source {
    /// Request header.
    pub(crate) header: String,
}

/// Settings of `session_id` in a block of their own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct SessionIdConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sources: Option<Vec<Source>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eviction_ttl_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eviction_sweep_seconds: Option<f64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            header_name: "x-session-token".to_owned(),
            sources: vec![Source {
                header: "x-session-id".to_owned(),
            }],
            eviction_ttl_seconds: 300.0,
            eviction_sweep_seconds: 10.0,
            session_id_config: SessionIdConfig::default(),
            profile_name: String::new(),
        }
    }
}

impl params::Params for Params {
    fn references(&self) -> Vec<params::Reference> {
        if self.profile_name.is_empty() {
            return Vec::new();
        }
        vec![params::Reference {
            parameter: "profileName",
            name: self.profile_name.clone(),
            to: params::Target::Profile,
        }]
    }
}

/// `session-affinity-scorer`: 1 for the endpoint the session is bound to, 0 for the others.
pub(crate) struct SessionAffinity {
    headers: Vec<String>,
    /// `None` for the strategy without a memory.
    sessions: Option<Sessions>,
}

impl SessionAffinity {
    pub(crate) fn new(params: &Params) -> Result<Self, ParamError> {
        match params.strategy {
            Strategy::EncodedEndpointHeader => Ok(Self {
                headers: vec![header_name("headerName", &params.header_name)?],
                sessions: None,
            }),
            Strategy::SessionId => {
                let block = &params.session_id_config;
                let sources = block.sources.as_ref().unwrap_or(&params.sources);
                if sources.is_empty() {
                    return Err(ParamError::new("sources", "needs at least one {header}"));
                }
                let headers = sources
                    .iter()
                    .map(|s| header_name("sources", &s.header))
                    .collect::<Result<_, _>>()?;
                let ttl = block
                    .eviction_ttl_seconds
                    .unwrap_or(params.eviction_ttl_seconds);
                let sweep = block
                    .eviction_sweep_seconds
                    .unwrap_or(params.eviction_sweep_seconds);
                let sessions = Sessions::new(
                    seconds("evictionTtlSeconds", ttl)?,
                    seconds("evictionSweepSeconds", sweep)?,
                );
                Ok(Self {
                    headers,
                    sessions: Some(sessions),
                })
            }
        }
    }

    fn session<'a>(&self, ask: &Ask<'a>) -> Option<&'a str> {
        self.headers.iter().find_map(|wanted| {
            let value = ask.header(wanted)?;
            (!value.is_empty()).then_some(value)
        })
    }

    fn bind(&self, ask: &Ask<'_>, candidates: &Candidates, winner: usize) {
        if let (Some(sessions), Some(session)) = (&self.sessions, self.session(ask)) {
            sessions.bind(session, candidates.info(winner).slot, ask.now);
        }
    }

    fn token(&self, endpoint: &EndpointInfo) -> Option<(String, String)> {
        match self.sessions {
            None => Some((
                self.headers[0].clone(),
                STANDARD.encode(endpoint.name.as_bytes()),
            )),
            Some(_) => None,
        }
    }

    fn bound_row(&self, ask: &Ask<'_>, candidates: &Candidates) -> Option<usize> {
        let session = self.session(ask)?;
        match &self.sessions {
            Some(sessions) => {
                let slot = sessions.get(session, ask.now)?;
                (0..candidates.len()).find(|row| candidates.info(*row).slot == slot)
            }
            None => {
                let name = decode(session)?;
                (0..candidates.len()).find(|row| *candidates.info(*row).name == *name)
            }
        }
    }
}

fn seconds(parameter: &'static str, value: f64) -> Result<Duration, ParamError> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| ParamError::new(parameter, "must be more than 0 seconds"))
}

/// Clients and proxies differ in alphabet and padding; all four spellings are read.
fn decode(token: &str) -> Option<String> {
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|engine| engine.decode(token.trim()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
}

impl Scorer for SessionAffinity {
    fn score(&self, ask: &Ask<'_>, candidates: &Candidates, _keep: &[bool], out: &mut [f32]) {
        out.fill(0.0);
        if let Some(row) = self.bound_row(ask, candidates) {
            out[row] = 1.0;
        }
    }

    fn raw(&self, ask: &Ask<'_>, candidates: &Candidates, row: usize) -> Raw {
        let bound = self.bound_row(ask, candidates) == Some(row);
        Raw {
            value: f64::from(u8::from(bound)),
            unit: units::SESSION,
        }
    }

    fn picked(&self, ask: &Ask<'_>, candidates: &Candidates, winner: usize) {
        self.bind(ask, candidates, winner);
    }

    fn response_header(&self, endpoint: &EndpointInfo) -> Option<(String, String)> {
        self.token(endpoint)
    }

    fn headers(&self) -> &[String] {
        &self.headers
    }
}

impl Filter for SessionAffinity {
    fn filter(&self, ask: &Ask<'_>, candidates: &Candidates, _rng: &mut Rng, keep: &mut [bool]) {
        let bound = self.bound_row(ask, candidates).filter(|row| keep[*row]);
        if let Some(bound) = bound {
            keep.fill(false);
            keep[bound] = true;
        }
    }

    fn reason(
        &self,
        ask: &Ask<'_>,
        candidates: &Candidates,
        _before: &[bool],
        _row: usize,
    ) -> String {
        let bound = self.bound_row(ask, candidates);
        let name = bound.map(|row| &*candidates.info(row).name);
        format!("the session is bound to {}", name.unwrap_or_default())
    }

    fn picked(&self, ask: &Ask<'_>, candidates: &Candidates, winner: usize) {
        self.bind(ask, candidates, winner);
    }

    fn response_header(&self, endpoint: &EndpointInfo) -> Option<(String, String)> {
        self.token(endpoint)
    }

    fn headers(&self) -> &[String] {
        &self.headers
    }
}
