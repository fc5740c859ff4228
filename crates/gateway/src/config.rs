//! Which figures bound a request's way through the gateway?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Default of [`GatewayConfig::connect_timeout_ms`].
pub const CONNECT_TIMEOUT_MS: u64 = 1_000;
/// Default of [`GatewayConfig::idle_timeout_ms`].
pub const IDLE_TIMEOUT_MS: u64 = 60_000;
/// Default of [`GatewayConfig::total_timeout_ms`].
pub const TOTAL_TIMEOUT_MS: u64 = 1_800_000;
/// Default of [`GatewayConfig::max_body_bytes`].
pub const MAX_BODY_BYTES: u64 = 32 << 20;
/// Default of [`GatewayConfig::max_replay_bytes`].
pub const MAX_REPLAY_BYTES: u64 = 1 << 20;
/// Default of [`GatewayConfig::header_read_timeout_ms`].
pub const HEADER_READ_TIMEOUT_MS: u64 = 30_000;
/// Default of [`GatewayConfig::body_read_timeout_ms`].
pub const BODY_READ_TIMEOUT_MS: u64 = 30_000;
/// Default of [`GatewayConfig::client_write_timeout_ms`].
pub const CLIENT_WRITE_TIMEOUT_MS: u64 = 60_000;
/// Default of [`GatewayConfig::response_headers`].
pub const RESPONSE_HEADERS: bool = false;
/// Default of [`GatewayConfig::metrics_on_data_port`].
pub const METRICS_ON_DATA_PORT: bool = false;
/// Default of [`GatewayConfig::max_connections`].
pub const MAX_CONNECTIONS: usize = 16_384;
/// Default of [`GatewayConfig::max_in_flight`].
pub const MAX_IN_FLIGHT: usize = 8_192;
/// Default of [`GatewayConfig::max_attempts`].
pub const MAX_ATTEMPTS: u32 = 8;
/// Default of [`GatewayConfig::retry_after_seconds`].
pub const RETRY_AFTER_SECONDS: u64 = 1;
/// Default of [`GatewayConfig::drain_timeout_ms`].
pub const DRAIN_TIMEOUT_MS: u64 = 30_000;
/// Default of [`GatewayConfig::drain_delay_ms`].
pub const DRAIN_DELAY_MS: u64 = 0;
/// Default of [`GatewayConfig::access_log`].
pub const ACCESS_LOG: bool = true;
/// Default of [`GatewayConfig::max_stored_responses`].
pub const MAX_STORED_RESPONSES: usize = 65_536;
/// Default of [`GatewayConfig::max_idle_connections_per_endpoint`].
pub const MAX_IDLE_CONNECTIONS_PER_ENDPOINT: usize = 256;

/// Settings of the data path and the admin API; addresses to listen on are given by whoever binds them.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Longest time to open a connection to an endpoint, milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest time from a sent request to the first byte of the response body, per attempt, milliseconds;
    /// absent for no limit but `total_timeout_ms`.
    pub first_byte_timeout_ms: Option<u64>,
    /// Longest silence between two pieces of a response body, milliseconds.
    pub idle_timeout_ms: u64,
    /// Longest time from a request's arrival to its end, milliseconds.
    pub total_timeout_ms: u64,
    /// Largest request body, bytes; beyond it 413.
    pub max_body_bytes: u64,
    /// A body that nobody looks into (an unknown path, an encoded body) is passed on as it comes; up to this many bytes
    /// of it are kept until an answer begins, so that it can go to a second endpoint when the first fails. A longer one
    /// goes to one endpoint only. Bodies that are read are always kept whole.
    pub max_replay_bytes: u64,
    /// Longest time for a client to send a request's whole head, however it trickles, counted from the connection's
    /// beginning or the last response's end, milliseconds; then 408 where some of the head came, and the connection is
    /// closed. An HTTP/2 connection must finish its preface and begin a request within it, and is told to go away after
    /// this time without any request.
    pub header_read_timeout_ms: u64,
    /// Longest silence while a client sends a request's body, milliseconds; then 408.
    pub body_read_timeout_ms: u64,
    /// Longest time for a client to take nothing of a response that waits for it, milliseconds; then the connection is
    /// closed and the engine's work ends. On an HTTP/2 connection that takes others, only that response is ended.
    pub client_write_timeout_ms: u64,
    /// Whether responses say which endpoint served them (`x-prefixgate-endpoint`), how many prompt tokens were
    /// expected in its cache (`x-prefixgate-cached-tokens`) and, asked with `x-prefixgate-explain: 1`, all scores.
    pub response_headers: bool,
    /// Paths forwarded although they are control paths of engines, such as `/reset_prefix_cache`.
    pub forward_paths: Vec<String>,
    /// Whether `/metrics` is answered on the data port too.
    pub metrics_on_data_port: bool,
    /// Client connections open at once; further ones are answered 429 and closed.
    pub max_connections: usize,
    /// Requests in flight at once; further ones are answered 429.
    pub max_in_flight: usize,
    /// Endpoints tried for one request at most.
    pub max_attempts: u32,
    /// What `Retry-After` says on 429 and 503, seconds.
    pub retry_after_seconds: u64,
    /// Longest time for requests in flight to end after a stop was asked for, milliseconds.
    pub drain_timeout_ms: u64,
    /// How long connections are still accepted after a stop was asked for, milliseconds, so that load balancers
    /// see `/readyz` turn 503 first.
    pub drain_delay_ms: u64,
    /// Whether one line is logged per request that went to an engine or was refused.
    pub access_log: bool,
    /// Stored responses (`/v1/responses`) whose endpoint is remembered; the oldest are forgotten first.
    pub max_stored_responses: usize,
    /// Priorities of objectives, by the name that requests give in `x-llm-d-inference-objective`; 0 for every other. Below 0
    /// a request may be turned away for others while its pool is full.
    pub objectives: BTreeMap<String, i32>,
    /// Idle connections kept to one endpoint.
    pub max_idle_connections_per_endpoint: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            first_byte_timeout_ms: None,
            idle_timeout_ms: IDLE_TIMEOUT_MS,
            total_timeout_ms: TOTAL_TIMEOUT_MS,
            max_body_bytes: MAX_BODY_BYTES,
            max_replay_bytes: MAX_REPLAY_BYTES,
            header_read_timeout_ms: HEADER_READ_TIMEOUT_MS,
            body_read_timeout_ms: BODY_READ_TIMEOUT_MS,
            client_write_timeout_ms: CLIENT_WRITE_TIMEOUT_MS,
            response_headers: RESPONSE_HEADERS,
            forward_paths: Vec::new(),
            metrics_on_data_port: METRICS_ON_DATA_PORT,
            max_connections: MAX_CONNECTIONS,
            max_in_flight: MAX_IN_FLIGHT,
            max_attempts: MAX_ATTEMPTS,
            retry_after_seconds: RETRY_AFTER_SECONDS,
            drain_timeout_ms: DRAIN_TIMEOUT_MS,
            drain_delay_ms: DRAIN_DELAY_MS,
            access_log: ACCESS_LOG,
            max_stored_responses: MAX_STORED_RESPONSES,
            objectives: BTreeMap::new(),
            max_idle_connections_per_endpoint: MAX_IDLE_CONNECTIONS_PER_ENDPOINT,
        }
    }
}
