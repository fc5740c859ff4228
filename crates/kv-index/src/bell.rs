//! How does the writer learn that there is something to write, without looking again and again?
//!
//! Many pools stand idle side by side; a thread or a timer for each would cost for nothing. The writer arms the bell,
//! looks once more, and sleeps; the first one with work for it rings, and only that one pays for it.

use std::sync::atomic::{AtomicBool, Ordering, fence};

use parking_lot::RwLock;

type Ring = Box<dyn Fn() + Send + Sync>;

/// Rung at most once each time it was armed.
#[derive(Default)]
pub(crate) struct Bell {
    armed: AtomicBool,
    ring: RwLock<Option<Ring>>,
}

impl Bell {
    /// What ringing does; it is called by whoever has work, and must not wait.
    pub(crate) fn set(&self, ring: Ring) {
        *self.ring.write() = Some(ring);
    }

    /// From now on the next [`Bell::ring`] rings. Look for work after this, not before.
    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// There is work, put where the writer looks for it.
    pub(crate) fn ring(&self) {
        // Against the one in `arm`: either this sees the bell armed, or the look after arming sees the work.
        fence(Ordering::SeqCst);
        if self.armed.load(Ordering::Relaxed)
            && self.armed.swap(false, Ordering::Relaxed)
            && let Some(ring) = &*self.ring.read()
        {
            ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn it_rings_once_each_time_it_was_armed() {
        let (bell, rung) = (Bell::default(), Arc::new(AtomicU32::new(0)));
        bell.arm();
        bell.ring();
        let count = Arc::clone(&rung);
        bell.set(Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        for (arm, rings, expected) in [(false, 2, 0), (true, 0, 0), (false, 3, 1), (true, 1, 2)] {
            if arm {
                bell.arm();
            }
            (0..rings).for_each(|_| bell.ring());
            assert_eq!(rung.load(Ordering::Relaxed), expected, "{arm} {rings}");
        }
    }
}
