//! Does what we rely on hold, with a real client, over a socket?
//!
//! `semantics` runs against the in-project API server, and against a real one as well when `KUBECONFIG` is set: whatever
//! holds there has to hold here. `discovery` and `preflight` need faults and a known cluster, and run in the project.
//! `controller` runs on a paused clock, its requests answered without a socket.

// A test that cannot go on should stop where it is.
#![allow(clippy::unwrap_used)]

mod controller;
mod discovery;
mod manifests;
mod preflight;
mod semantics;
