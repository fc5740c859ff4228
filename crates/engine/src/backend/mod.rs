//! Who computes a step, how long does it take, and which tokens come out?
//!
//! The batch model decides *what* is computed; a [`Backend`] computes it. [`SimulatedBackend`] prices a step with a
//! documented formula and writes filler. A backend that really computes measures its own duration: it runs the step to
//! its end inside [`Backend::run`] and returns the time that took, so a caller on the real clock finds the step over as
//! soon as the call returns.

mod filler;
mod profile;
mod simulated;
mod step_time;

pub use filler::FillerVocabulary;
pub use profile::{Profile, ProfileError};
pub use simulated::{SimulatedBackend, SimulatedOptions};
pub use step_time::{StepLoad, StepTime};

use std::time::Duration;

use crate::model::{BlockId, Generation, RequestId};

/// Computes steps of an engine. It is only ever called through `&mut`; `Sync` lets a task hold an engine across an await.
pub trait Backend: Send + Sync {
    /// Computes one step: pushes to `sampled` one token for each sequence with
    /// [`samples`](SequenceStep::samples) set, in order, and returns the duration of the step.
    ///
    /// # Errors
    /// The step could not be computed; its requests end with an error, the engine goes on.
    fn run(&mut self, step: &Step<'_>, sampled: &mut Vec<u32>) -> Result<Duration, BackendError>;
}

/// What is computed together.
#[derive(Debug)]
pub struct Step<'a> {
    /// Steps before this one.
    pub number: u64,
    /// The sequences: running ones in order of admission, then the newly admitted.
    pub sequences: &'a [SequenceStep<'a>],
}

/// The part of one sequence in a step: tokens `computed_tokens .. computed_tokens + new_tokens` of
/// `prompt` followed by `output`.
#[derive(Debug)]
pub struct SequenceStep<'a> {
    /// The request.
    pub id: RequestId,
    /// Its prompt.
    pub prompt: &'a [u32],
    /// Its output so far.
    pub output: &'a [u32],
    /// Tokens whose keys and values are in the blocks already.
    pub computed_tokens: usize,
    /// Tokens to compute now; at least one.
    pub new_tokens: usize,
    /// Blocks holding its keys and values, in order, room for the new tokens included.
    pub block_table: &'a [BlockId],
    /// How its tokens are chosen.
    pub generation: &'a Generation,
    /// Whether the last known token is among the new ones, so that the next one can be sampled.
    pub samples: bool,
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the backend could not compute a step: {reason}")]
pub struct BackendError {
    /// What went wrong.
    pub reason: String,
}
