//! May this request go on at all?

pub(crate) mod latency_slo;
pub(crate) mod probabilistic;
