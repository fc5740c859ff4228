//! What does `up` need beside a gateway? Engines as child processes that are watched, and ports for them.

pub(crate) mod banner;
pub(crate) mod ports;
pub(crate) mod signals;
pub(crate) mod supervise;
