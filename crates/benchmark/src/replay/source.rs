//! Where do the jobs of a run come from, and at which speed?

use std::path::PathBuf;

use crate::workload::jobs::Jobs;
use crate::workload::jobs::generate::{GenerateOptions, Generated};
use crate::workload::jobs::mooncake::{Mooncake, TraceOptions};
use crate::workload::jobs::shuffle::Shuffled;
use crate::workload::jobs::stages::{Stages, StagesOptions};

/// A source that can be opened as often as there are arms.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Trace {
        path: PathBuf,
        options: TraceOptions,
    },
    Made(GenerateOptions),
    Stages(StagesOptions),
    /// The same with nothing in common between prompts.
    Shuffled(Box<Source>, u64),
}

impl Source {
    /// Jobs from the start.
    ///
    /// # Errors
    /// The trace cannot be opened.
    pub(crate) fn open(&self) -> anyhow::Result<Box<dyn Jobs>> {
        Ok(match self {
            Self::Trace { path, options } => Box::new(Mooncake::open(path, *options)?),
            Self::Made(options) => Box::new(Generated::new(*options)),
            Self::Stages(options) => Box::new(Stages::new(options.clone())),
            Self::Shuffled(source, seed) => Box::new(Shuffled::new(source.open()?, *seed)),
        })
    }

    /// The same with arrivals `factor` times as fast.
    pub(crate) fn sped_up(&self, factor: f64) -> Self {
        match self {
            Self::Trace { path, options } => Self::Trace {
                path: path.clone(),
                options: TraceOptions {
                    speed: options.speed * factor,
                    ..*options
                },
            },
            Self::Made(options) => Self::Made(options.at_rate(options.rate_per_s * factor)),
            Self::Stages(options) => Self::Stages(StagesOptions {
                stages: options
                    .stages
                    .iter()
                    .map(|(rate, requests)| (rate * factor, *requests))
                    .collect(),
                ..options.clone()
            }),
            Self::Shuffled(source, seed) => Self::Shuffled(Box::new(source.sped_up(factor)), *seed),
        }
    }

    /// In words.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Trace { path, options } => {
                format!("trace {}, speed {:.3}", path.display(), options.speed)
            }
            Self::Made(options) => format!(
                "{} workload, {:.3} arrivals/s",
                options.kind.name(),
                options.rate_per_s
            ),
            Self::Stages(options) => format!(
                "{} x {} prompts in {} stages",
                options.groups,
                options.prompts_per_group,
                options.stages.len()
            ),
            Self::Shuffled(source, _) => format!("{}, prefixes shuffled apart", source.describe()),
        }
    }
}
