//! Which candidates are out of the question?

pub(crate) mod overload_guard;
pub(crate) mod prefix_affinity;
pub(crate) mod utilization;
