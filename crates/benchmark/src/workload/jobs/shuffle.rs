//! What if prompts shared nothing? The same jobs with every piece made unlike all others.

use super::{Job, Jobs, key};

/// Jobs with their prefixes shuffled apart: same lengths, same times, nothing in common.
pub struct Shuffled<J> {
    jobs: J,
    seed: u64,
    number: u64,
}

impl<J: Jobs> Shuffled<J> {
    pub fn new(jobs: J, seed: u64) -> Self {
        Self {
            jobs,
            seed,
            number: 0,
        }
    }
}

impl<J: Jobs> Jobs for Shuffled<J> {
    fn next_job(&mut self) -> anyhow::Result<Option<Job>> {
        let Some(mut job) = self.jobs.next_job()? else {
            return Ok(None);
        };
        self.number += 1;
        for piece in &mut job.prompt {
            piece.key = key(&[4, self.seed, self.number, piece.key]);
        }
        Ok(Some(job))
    }

    fn progress(&self) -> f64 {
        self.jobs.progress()
    }
}
