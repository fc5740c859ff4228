//! The engine from outside, over HTTP. Most tests speak over an in-memory pipe under paused time, so a
//! minute of simulated compute takes no time; those about sockets use port 0 and real time.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// The same body against this engine and, with `ENGINE_URL`, against a real vLLM.
mod conformance;
/// What requests are refused, and how.
mod errors;
/// Each kind of misbehaviour that can be asked for.
mod faults;
/// What is published of the prefix cache, and replayed.
mod kv_events;
/// Shutting down, idle connections, clients that leave or read slowly.
mod lifecycle;
/// `/metrics`, logs, load reports.
mod observed;
/// Every answer against those recorded from a real vLLM.
mod recorded;
/// Routes that answer well.
mod routes;
/// Frames of streamed answers.
mod streaming;
mod support;
