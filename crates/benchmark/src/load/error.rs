//! Why did a request get no answer?

use std::time::Duration;

/// What went wrong on the way, with the place and the next thing to try.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot connect to {url}: {why}; is the server running there, and is the port right?")]
    Connect { url: String, why: String },
    #[error("TLS with {url} failed: {why}; check the certificate, or use http://")]
    Tls { url: String, why: String },
    #[error("{url} broke the connection: {why}; see the server's log")]
    Broken { url: String, why: String },
    #[error(
        "{url} did not finish within {after:?}; see whether it is overloaded, or raise the timeout"
    )]
    Timeout { url: String, after: Duration },
    #[error("no request can be built for {url}: {why}")]
    Request { url: String, why: String },
}

impl ClientError {
    /// A short name for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Broken { .. } => "broken",
            Self::Timeout { .. } => "timeout",
            Self::Request { .. } => "request",
        }
    }
}

/// The innermost cause, which is the one that says something ("Connection refused").
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
