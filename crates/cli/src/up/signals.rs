//! When are we asked to stop, and when to hurry?

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at the first Ctrl-C or SIGTERM.
pub(crate) async fn stop_requested() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(error) => {
                tracing::warn!(
                    "SIGTERM cannot be watched: {error}; only Ctrl-C stops this process"
                );
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// What a process that a second Ctrl-C ended says: 128 and the number of SIGINT, as shells do.
pub(crate) fn hurried_exit() -> ExitCode {
    ExitCode::from(130)
}

/// Waits for `stopping` until the next Ctrl-C or SIGTERM; whether it came to its own end.
pub(crate) async fn unless_hurried(stopping: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = stopping => true,
        () = stop_requested() => false,
    }
}
