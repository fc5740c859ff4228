//! Where do an engine's log lines go?

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

/// Lines that may wait for a slow reader before further ones are dropped.
const MAX_WAITING_LINES: usize = 10_000;

/// Takes whole lines and never blocks the engine.
#[derive(Clone)]
pub struct Log(Arc<dyn Fn(String) + Send + Sync>);

impl Log {
    /// Lines become `tracing` events at info level.
    pub fn tracing() -> Self {
        Self(Arc::new(|line| tracing::info!(target: "engine", "{line}")))
    }

    /// Lines go to `sink`.
    pub fn to(sink: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Lines go to `out` through a thread of their own. Where nobody reads the other end of a pipe, up to
    /// 10,000 lines wait and later ones are dropped.
    pub fn writer(out: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = sync_channel::<String>(MAX_WAITING_LINES);
        let mut out = out;
        let copy = move || {
            for line in waiting {
                if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        };
        let spawned = std::thread::Builder::new()
            .name("engine-log".to_owned())
            .spawn(copy);
        if let Err(error) = spawned {
            tracing::warn!(%error, "the engine's log has no thread and goes to tracing");
            return Self::tracing();
        }
        Self::to(dropping(lines))
    }

    pub(crate) fn line(&self, line: String) {
        (self.0)(line);
    }
}

fn dropping(lines: SyncSender<String>) -> impl Fn(String) + Send + Sync + 'static {
    move |line| {
        let _ = lines.try_send(line);
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}
