//! The batch model and its simulated compute, through their public interface only.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

/// One rule each, on a backend whose steps last a second.
mod behaviour;
/// Block names against digests computed elsewhere.
mod hashes;
/// Whatever is asked for, in whatever order: nothing leaks, nothing is lost, and it can be repeated.
mod properties;
/// Durations against the runs and tables the profiles come from.
mod timing;
/// Recorded behaviour, step by step.
mod vectors;
