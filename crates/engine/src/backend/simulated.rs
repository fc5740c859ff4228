//! How does an engine behave on an accelerator that is not there?
//!
//! Steps last what [`StepTime`] says for the profile, times `time_scale`; the text is filler or echo. Everything that
//! shows figures of such an engine must say that they are simulated.

use std::collections::HashSet;
use std::time::Duration;

use super::filler::next_token;
use super::{Backend, BackendError, FillerVocabulary, Profile, Step, StepLoad, StepTime};

/// What can be chosen about a simulation beside the profile.
#[derive(Debug, Clone)]
pub struct SimulatedOptions {
    /// Factor on every duration: 0.1 runs ten times as fast, 0 takes no time.
    pub time_scale: f64,
    /// Start without compiled shapes: the first step of each shape compiles it. No effect where nothing is compiled.
    pub cold: bool,
    /// Seed of the filler text.
    pub seed: u64,
    /// Token ids that filler is made of.
    pub vocabulary: FillerVocabulary,
}

impl Default for SimulatedOptions {
    fn default() -> Self {
        Self {
            time_scale: 1.0,
            cold: false,
            seed: 0,
            vocabulary: FillerVocabulary::default(),
        }
    }
}

/// A backend that takes the time an accelerator would and computes nothing.
#[derive(Debug)]
pub struct SimulatedBackend {
    profile: Profile,
    options: SimulatedOptions,
    /// Shapes compiled so far: padded tokens and sequences. Both are powers of two, so there are few.
    compiled: HashSet<(usize, usize)>,
}

impl SimulatedBackend {
    /// A simulation of that accelerator. A `time_scale` that is negative or not finite counts as 1.
    #[must_use]
    pub fn new(profile: Profile, mut options: SimulatedOptions) -> Self {
        if !(options.time_scale.is_finite() && options.time_scale >= 0.0) {
            options.time_scale = 1.0;
        }
        Self {
            profile,
            options,
            compiled: HashSet::new(),
        }
    }

    /// The accelerator simulated.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Compile time of this shape, when it is new.
    fn compile(&mut self, load: StepLoad) -> Duration {
        match &self.profile.padding {
            Some(padding)
                if self.options.cold && self.compiled.insert((load.tokens, load.sequences)) =>
            {
                Duration::from_secs_f64(padding.compile_ms / 1e3)
            }
            _ => Duration::ZERO,
        }
    }
}

impl Backend for SimulatedBackend {
    fn run(&mut self, step: &Step<'_>, sampled: &mut Vec<u32>) -> Result<Duration, BackendError> {
        for sequence in step.sequences.iter().filter(|sequence| sequence.samples) {
            sampled.push(next_token(
                &self.options.vocabulary,
                self.options.seed,
                sequence,
            ));
        }
        let load = StepLoad::of(step.sequences).padded(&self.profile);
        let duration = StepTime::of(&self.profile, load).total() + self.compile(load);
        Ok(duration.mul_f64(self.options.time_scale))
    }
}
