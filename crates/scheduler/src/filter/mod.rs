//! Which candidates are out of the question?

pub(crate) mod header_steering;
pub(crate) mod labels;
pub(crate) mod overload_guard;
pub(crate) mod prefix_affinity;
pub(crate) mod slo_headroom;
pub(crate) mod utilization;
