//! How far is it?

use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::driver::Progress;

/// A bar on standard error, hidden when that is not a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(crate) fn new(name: &str, requests: usize) -> Self {
        // indicatif draws to standard error, and draws nothing where that is no terminal
        let bar = ProgressBar::new(requests as u64);
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:14} [{bar:32}] {pos}/{len} {elapsed_precise} left {eta} {msg}",
        ) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_owned());
        Self { bar }
    }

    /// What the drivers call for each finished request.
    pub(crate) fn progress(&self) -> Progress {
        let bar = self.bar.clone();
        Arc::new(move |sample| {
            if let Some(failure) = &sample.failure {
                bar.set_message(
                    format!("failed: {failure}")
                        .chars()
                        .take(60)
                        .collect::<String>(),
                );
            }
            bar.inc(1);
        })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
