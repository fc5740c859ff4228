//! How does one manifest become running, routed, scaled replicas?
//!
//! `types` are the resources we read, lean; `desired` says which objects a service needs; `status` says what is true
//! of it; `reconcile` carries the difference to the API server; `discovery` turns the cluster into endpoints for the
//! gateway. `desired` and `status` are pure.

pub mod desired;
pub mod discovery;
pub mod lint;
pub mod preflight;
pub mod reconcile;
pub mod scale;
pub mod schedule;
pub mod status;
pub mod types;
