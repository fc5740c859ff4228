//! How far is it, and what time is it in the simulation?

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Steps of a bar.
const STEPS: u64 = 1_000;

/// Bars on standard error, one per arm that runs; nothing where that is no terminal.
pub(crate) struct Progress {
    bars: MultiProgress,
}

impl Progress {
    /// Says the seed before anything runs.
    pub(crate) fn new(seed: u64) -> Self {
        let bars = MultiProgress::new();
        // Written whether or not there is a terminal: a run that fails must still be repeatable.
        tell_seed(seed);
        Self { bars }
    }

    /// The bar of one run; it goes when the value does.
    pub(crate) fn arm(&self, name: &str) -> Bar {
        let bar = self.bars.add(ProgressBar::new(STEPS));
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:24} [{bar:32}] {percent:>3} % {elapsed_precise} simulated {msg}",
        ) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_owned());
        Bar { bar }
    }
}

#[allow(
    clippy::print_stderr,
    reason = "standard output is for the report alone"
)]
fn tell_seed(seed: u64) {
    eprintln!("seed {seed}");
}

/// How far one run is.
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(crate) fn tell(&self, now: Duration, share: f64) {
        self.bar.set_position((share * STEPS as f64) as u64);
        self.bar.set_message(format!("{:.0} s", now.as_secs_f64()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
