//! The batch model and its simulated compute, through their public interface only.

/// Block names against digests computed elsewhere.
mod hashes;
/// Durations against the runs and tables the profiles come from.
mod timing;
/// Recorded behaviour, step by step.
mod vectors;
