//! How is a large body read without holding up everyone else?
//!
//! Parsing and hashing run at memory speed, so a usual body is done within a tick of the runtime and read where it is. A
//! body of megabytes takes milliseconds, in which the requests of that thread would wait: the runtime hands them to
//! another thread first. So many large bodies are read at once as there are processors; further ones wait for their turn.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Bodies from this size on are large, bytes; about half a millisecond of work.
const LARGE_BYTES: usize = 1 << 20;

/// The turns of large bodies.
pub(crate) struct LargeBodies {
    turns: Semaphore,
}

impl LargeBodies {
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Semaphore::new(processors),
        }
    }

    /// Does `work` on a body of `bytes`.
    pub(crate) async fn read<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes < LARGE_BYTES {
            return work();
        }
        // Never closed, so that a turn always comes.
        let _turn = self.turns.acquire().await;
        match Handle::current().runtime_flavor() {
            // It has no other thread to hand anything to.
            RuntimeFlavor::CurrentThread => work(),
            _ => tokio::task::block_in_place(work),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// With a single worker thread, a small request gets its turn while a large one is read.
    #[test]
    fn a_large_body_holds_nobody_up() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let large = Arc::new(LargeBodies::new());
            let small_done = Arc::new(AtomicBool::new(false));
            let (reading, here) = tokio::sync::oneshot::channel();
            let (done, bodies) = (Arc::clone(&small_done), Arc::clone(&large));
            let slow = tokio::spawn(async move {
                let work = || {
                    reading.send(()).unwrap();
                    while !done.load(SeqCst) {
                        std::thread::yield_now();
                    }
                };
                bodies.read(LARGE_BYTES, work).await;
            });
            here.await.unwrap();
            let small = tokio::spawn(async move {
                large
                    .read(LARGE_BYTES - 1, || small_done.store(true, SeqCst))
                    .await;
            });
            small.await.unwrap();
            slow.await.unwrap();
        });
    }

    #[tokio::test]
    async fn one_thread_alone_reads_too() {
        assert_eq!(LargeBodies::new().read(LARGE_BYTES, || 7).await, 7);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_are_read_at_once_than_there_are_turns() {
        let large = Arc::new(LargeBodies {
            turns: Semaphore::new(2),
        });
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..8).map(|_| {
            let (large, inside, most) =
                (Arc::clone(&large), Arc::clone(&inside), Arc::clone(&most));
            tokio::spawn(async move {
                let work = || {
                    most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, SeqCst);
                };
                large.read(LARGE_BYTES, work).await;
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!((1..=2).contains(&most.load(SeqCst)));
    }
}
