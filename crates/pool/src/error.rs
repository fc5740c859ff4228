//! Why can a pool's feeds not start?

use std::path::PathBuf;

/// A mistake in what was configured, named so that it can be mended.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("endpoint `{url}`: {reason}")]
    Url { url: String, reason: String },
    #[error("endpoint `{name}` is listed twice")]
    Duplicate { name: String },
    #[error("endpoint file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("`{key}`: {reason}")]
    Setting { key: &'static str, reason: String },
    #[error("TLS: {0}")]
    Tls(String),
}
