//! What was decided, and what spoke for it?

use std::sync::Arc;

use kv_index::Slot;

use crate::StageKind;

/// One scorer's word on one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreReason {
    /// The scorer's configured name.
    pub scorer: Arc<str>,
    /// What it looked at, in `unit`.
    pub raw: f64,
    pub unit: &'static str,
    /// 0..=1
    pub score: f32,
    pub weight: f32,
}

/// Everything that was said of one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct CandidateReason {
    pub slot: Slot,
    pub name: Arc<str>,
    /// Sum of weight times score; 0 for one that a filter removed.
    pub total: f32,
    pub scores: Vec<ScoreReason>,
    /// The filter that removed it, and why, in words with figures.
    pub removed: Option<(Arc<str>, String)>,
}

/// Ordered: the first is where the request goes, the rest are where it goes if that fails before a byte.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// At most [`Decision::MAX_PREFERENCES`], never empty.
    pub preferences: Vec<Slot>,
    /// Of the first preference; of every candidate, in row order, when the ask said `explain`.
    pub reasons: Vec<CandidateReason>,
    /// Response headers a plugin wants to set (session tokens).
    pub response_headers: Vec<(String, String)>,
    /// What became of the stages that could go elsewhere; empty where no stage is split off.
    pub beside: Vec<Beside>,
}

/// One stage that could go to an endpoint of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    pub stage: StageKind,
    /// Where it goes; `None` where the destination does it.
    pub slot: Option<Slot>,
    /// Why, in words with figures.
    pub words: String,
    /// Of the endpoint; of every candidate, in row order, when the ask said `explain`. Empty where none was looked for.
    pub reasons: Vec<CandidateReason>,
}

impl Decision {
    pub const MAX_PREFERENCES: usize = 8;
}

/// Why nothing could be picked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    #[error("no ready endpoint in pool {pool}")]
    NoneReady { pool: String },
    #[error("no ready endpoint of pool {pool} serves model {model}")]
    NoneServesModel { pool: String, model: String },
    #[error("filter {filter} removed every candidate")]
    AllFiltered { filter: String },
    #[error("{admitter} does not admit the request: {why}")]
    NotAdmitted { admitter: String, why: String },
    #[error("every candidate has been tried")]
    Exhausted,
}
