//! Which LoRA adapters does an engine run, and is there room for another?

use engine_api::metrics::EngineMetrics;
use scheduler::AdapterFit;

/// What the last good scrape said of adapters.
#[derive(Debug, Default)]
pub(crate) struct Adapters {
    running: Vec<String>,
    waiting: Vec<String>,
    /// Adapters that can run at once; 0 where the engine does not say.
    slots: usize,
}

impl Adapters {
    pub(crate) fn set(&mut self, metrics: &EngineMetrics) {
        self.running.clone_from(&metrics.running_loras);
        self.waiting.clone_from(&metrics.waiting_loras);
        self.slots = metrics.max_loras.unwrap_or(0) as usize;
    }

    /// How the adapter called `model` stands; a base model's name is one that never runs as an adapter.
    pub(crate) fn fit(&self, model: &str) -> AdapterFit {
        let names = |list: &[String]| list.iter().any(|name| name == model);
        if names(&self.running) {
            AdapterFit::Running
        } else if self.running.len() + self.waiting.len() < self.slots {
            AdapterFit::FreeSlot
        } else if names(&self.waiting) {
            AdapterFit::Waiting
        } else {
            AdapterFit::Full
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_runs_or_fits_or_waits() {
        let check = |running: &[&str], waiting: &[&str], slots, expected: AdapterFit| {
            let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
            let mut adapters = Adapters::default();
            adapters.set(&EngineMetrics {
                running_loras: names(running),
                waiting_loras: names(waiting),
                max_loras: slots,
                ..EngineMetrics::default()
            });
            assert_eq!(adapters.fit("sql"), expected, "{running:?} {waiting:?}");
        };
        check(&["sql"], &["chat"], Some(1), AdapterFit::Running);
        check(&["chat"], &[], Some(2), AdapterFit::FreeSlot);
        check(&["chat"], &["sql"], Some(2), AdapterFit::Waiting);
        check(&["chat"], &["code"], Some(2), AdapterFit::Full);
        check(&[], &[], None, AdapterFit::Full);
    }
}
