//! When is the prefix index brought up to date, and by whom?
//!
//! One write of a long prompt takes up to a millisecond, which no request may wait for: writes are done on a thread of
//! their own. It is there only while there is traffic; a pool without any costs neither a thread nor a timer, however
//! many of them stand side by side.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fleet::Fleet;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Pause of the writer when nothing is left to write: what comes within it is written in one go.
const WRITE_EVERY: Duration = Duration::from_millis(5);

/// Writes between two looks at whether to stop.
const WRITES_AT_ONCE: usize = 256;

/// Looks in a row that found nothing, after which the thread is given back.
const LOOKS: u32 = 20;

/// After so long it is given back in any case, and asked for anew: others may wait for one.
const LONGEST_SHIFT: Duration = Duration::from_secs(5);

/// Writes whenever there is something to write; never ends by itself.
pub(crate) async fn run(fleet: &Arc<Fleet>, stop: &CancellationToken) {
    let bell = Arc::new(Notify::new());
    let rung = Arc::clone(&bell);
    fleet.on_index_work(move || rung.notify_one());
    loop {
        if fleet.arm_index() {
            bell.notified().await;
        }
        let (fleet, stop) = (Arc::clone(fleet), stop.clone());
        let shift = tokio::task::spawn_blocking(move || shift(&fleet, &stop));
        if let Err(error) = shift.await {
            tracing::error!(%error, "the prefix index was not brought up to date");
            tokio::time::sleep(WRITE_EVERY).await;
        }
    }
}

/// Writes until nothing came for a while.
fn shift(fleet: &Fleet, stop: &CancellationToken) {
    let begun = Instant::now();
    let mut empty = 0;
    while empty < LOOKS && !stop.is_cancelled() && begun.elapsed() < LONGEST_SHIFT {
        if fleet.write_index(WRITES_AT_ONCE) == 0 {
            empty += 1;
            thread::park_timeout(WRITE_EVERY);
        } else {
            empty = 0;
        }
    }
}
