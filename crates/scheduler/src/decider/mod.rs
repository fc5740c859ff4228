//! Is another stage of this request worth an endpoint of its own?

pub(crate) mod always;
pub(crate) mod prefix_based;
