//! Would this manifest come up on this cluster?
//!
//! `facts` reads what the cluster lets us read, `judge` compares it with what the manifest needs and is pure. What could
//! not be read is `unknown`, never `ok`.

mod chips;
mod facts;
mod judge;
mod needs;

pub use facts::{Fact, Facts, NodeFacts, PodFacts};
pub use judge::judge;
pub use needs::Needs;

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// Works without, but something is worth knowing.
    Warning,
    /// Could not be read.
    Unknown,
    Failed,
}

impl Verdict {
    /// As shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// One check of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `namespace/name` of the service.
    pub service: String,
    pub name: &'static str,
    pub verdict: Verdict,
    /// What was seen.
    pub evidence: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What a caller knows that a cluster does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    /// Most nodes the node pool may grow to.
    pub node_pool_max: Option<u64>,
}

/// Reads the cluster and judges every service of `manifest`, which is YAML of one or more documents.
///
/// # Errors
/// The manifest is no YAML, or holds no LLMInferenceService that can be read.
pub async fn run(
    client: &kube::Client,
    manifest: &str,
    hints: Hints,
) -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    for needs in Needs::of_manifest(manifest)? {
        let facts = Facts::read(client, &needs).await;
        checks.extend(judge(&needs, &facts, hints));
    }
    Ok(checks)
}
