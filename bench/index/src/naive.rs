//! A set for each worker, walked block by block.

use std::collections::HashSet;

use crate::{WORKERS, names};

#[derive(Default)]
pub struct Naive {
    held: [HashSet<u64>; WORKERS],
}

impl Naive {
    /// Leading blocks of a prompt with these names that a worker holds.
    pub fn leading(&self, worker: usize, names: &[u64]) -> usize {
        let held = &self.held[worker];
        names.iter().take_while(|name| held.contains(name)).count()
    }

    pub fn store(&mut self, worker: usize, names: &[u64]) {
        self.held[worker].extend(names);
    }

    pub fn find(&self, prompt: &[u64]) -> [u32; WORKERS] {
        let names = names(prompt);
        std::array::from_fn(|worker| self.leading(worker, &names) as u32)
    }

    pub fn held(&self) -> usize {
        self.held.iter().map(HashSet::len).sum()
    }
}
