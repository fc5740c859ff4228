//! What can be seen of a fleet from outside?

use engine_api::metrics::EngineMetrics;
use engine_api::models::ModelCard;
use engine_api::usage::Usage;
use kv_index::Slot;

use crate::{Change, KvMode, ScrapeMark};

/// One observation. Events about a slot whose endpoint has left are ignored.
#[derive(Clone, Debug)]
pub enum Event {
    Change(Change),
    /// A `/metrics` scrape ended; `mark` was taken by [`crate::Fleet::scrape_begin`] before it was sent.
    Scrape {
        slot: Slot,
        mark: ScrapeMark,
        result: Result<EngineMetrics, String>,
    },
    /// An active health check ended.
    Probe {
        slot: Slot,
        result: Result<(), String>,
    },
    /// The endpoint's `/v1/models`; `None` when it has no such page (then it qualifies for every model).
    Models {
        slot: Slot,
        cards: Option<Vec<ModelCard>>,
    },
    /// The process behind the address is a new one: its cache is empty.
    Restarted {
        slot: Slot,
    },
    /// What matches at the endpoint rest on from now on. What its events told is dropped where that is approximate, and
    /// kept but not looked at where it is stale ([`crate::Fleet::clear_kv`] drops it).
    KvMode {
        slot: Slot,
        mode: KvMode,
    },
}

/// How an attempt at an endpoint failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing listens there: out at once, back when a probe succeeds.
    ConnectRefused,
    ConnectTimeout,
    /// The connection broke (not the stale keep-alive case, which says nothing about health).
    Reset,
    /// The engine answered with this status before a byte was passed on.
    Status(u16),
    FirstByteTimeout,
    IdleTimeout,
    /// The answer was not HTTP.
    Protocol,
    /// No TLS connection came about: an untrusted certificate, another name, no TLS at all.
    Tls,
    /// An in-band error event in a stream.
    InBand,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The whole response was passed on; `status` is the engine's.
    Complete { status: u16 },
    /// The client went away.
    ClientGone,
    /// Failed with no body byte passed on; the request may go elsewhere.
    FailedBeforeFirstByte(Failure),
    /// Failed with bytes already passed on.
    FailedAfterFirstByte(Failure),
}

/// The one fact that comes back from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub end: End,
    /// As the engine reported it, if it did.
    pub usage: Option<Usage>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ConnectRefused => f.write_str("connection refused"),
            Self::ConnectTimeout => f.write_str("connect timed out"),
            Self::Reset => f.write_str("connection reset"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::FirstByteTimeout => f.write_str("no first byte in time"),
            Self::IdleTimeout => f.write_str("stream went silent"),
            Self::Protocol => f.write_str("answer was not HTTP"),
            Self::Tls => f.write_str("TLS handshake failed"),
            Self::InBand => f.write_str("error event in stream"),
        }
    }
}
