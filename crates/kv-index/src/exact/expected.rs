//! Which blocks are about to be stored, by requests that we sent?
//!
//! Between a request's leaving and its engine's word on the blocks it stored, the next prompt must already see them.
//! They are entered when the request is sent, and leave when an event names the last of them, when the request
//! fails, or when their time is up.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::runs::Lane;
use crate::recent::{Recent, Ticket};
use crate::{BlockHash, Chain};

/// Blocks of one event that are looked for under one lock.
const BLOCKS_AT_ONCE: usize = 64;

/// All expectations.
pub(crate) struct Expected {
    /// What lookups see.
    recent: Recent,
    /// Expectations that were not met yet; so that the writer need not lock for nothing.
    open: AtomicUsize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    entries: HashMap<Ticket, Entry>,
    by_last_block: HashMap<(Lane, BlockHash), Vec<Ticket>>,
    by_deadline: BTreeSet<(Duration, Ticket)>,
}

struct Entry {
    lane: Lane,
    chain: Chain,
    deadline: Duration,
}

impl Book {
    fn remove(&mut self, ticket: Ticket) -> Option<Entry> {
        let entry = self.entries.remove(&ticket)?;
        self.by_deadline.remove(&(entry.deadline, ticket));
        if let Some(last) = entry.chain.marks.last() {
            let key = (entry.lane, *last);
            if let Some(tickets) = self.by_last_block.get_mut(&key) {
                tickets.retain(|other| *other != ticket);
                if tickets.is_empty() {
                    self.by_last_block.remove(&key);
                }
            }
        }
        Some(entry)
    }
}

impl Expected {
    /// Chains take up at most `max_bytes`; the oldest leave first.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            recent: Recent::new(max_bytes),
            open: AtomicUsize::new(0),
            book: Mutex::default(),
        }
    }

    /// Expectations that were not met yet.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Bytes of what lookups see.
    pub(crate) fn bytes(&self) -> usize {
        self.recent.bytes()
    }

    /// Enters a chain; 0 if it has no block.
    pub(crate) fn add(&self, lane: Lane, chain: &Chain, deadline: Duration) -> Ticket {
        let Some(last) = chain.marks.last() else {
            return 0;
        };
        let ticket = self.recent.add(lane, chain);
        let mut book = self.book.lock();
        book.by_last_block
            .entry((lane, *last))
            .or_default()
            .push(ticket);
        book.by_deadline.insert((deadline, ticket));
        let entry = Entry {
            lane,
            chain: chain.clone(),
            deadline,
        };
        book.entries.insert(ticket, entry);
        self.open.store(book.entries.len(), Relaxed);
        ticket
    }

    /// No longer than until `deadline`.
    pub(crate) fn hasten(&self, ticket: Ticket, deadline: Duration) {
        let book = &mut *self.book.lock();
        if let Some(entry) = book.entries.get_mut(&ticket)
            && entry.deadline > deadline
        {
            book.by_deadline.remove(&(entry.deadline, ticket));
            entry.deadline = deadline;
            book.by_deadline.insert((deadline, ticket));
        }
    }

    /// The request failed.
    pub(crate) fn forget(&self, ticket: Ticket) {
        let gone = {
            let mut book = self.book.lock();
            let gone = book.remove(ticket);
            self.open.store(book.entries.len(), Relaxed);
            gone
        };
        self.drop_all(gone.map(|entry| (ticket, entry)));
    }

    /// `lane` stored these blocks, which lookups find where they belong: what waited for one of them is over.
    pub(crate) fn confirm(&self, lane: Lane, blocks: &[BlockHash]) {
        if self.open() == 0 {
            return;
        }
        for some in blocks.chunks(BLOCKS_AT_ONCE) {
            let met: Vec<_> = {
                let book = &mut *self.book.lock();
                let tickets: Vec<Ticket> = some
                    .iter()
                    .filter_map(|block| book.by_last_block.get(&(lane, *block)))
                    .flatten()
                    .copied()
                    .collect();
                let met = tickets.iter();
                let met = met
                    .filter_map(|ticket| Some((*ticket, book.remove(*ticket)?)))
                    .collect();
                self.open.store(book.entries.len(), Relaxed);
                met
            };
            self.drop_all(met);
        }
    }

    /// Ends those whose time is up.
    pub(crate) fn expire(&self, now: Duration) {
        if self.open() == 0 {
            return;
        }
        let late: Vec<_> = {
            let book = &mut *self.book.lock();
            let mut late = Vec::new();
            while let Some((deadline, ticket)) = book.by_deadline.first().copied()
                && deadline <= now
            {
                late.extend(book.remove(ticket).map(|entry| (ticket, entry)));
            }
            self.open.store(book.entries.len(), Relaxed);
            late
        };
        self.drop_all(late);
    }

    /// Takes out everything of `lane`.
    pub(crate) fn remove_lane(&self, lane: Lane) {
        {
            let book = &mut *self.book.lock();
            let of_lane = book.entries.iter().filter(|(_, entry)| entry.lane == lane);
            let tickets: Vec<Ticket> = of_lane.map(|(ticket, _)| *ticket).collect();
            for ticket in tickets {
                book.remove(ticket);
            }
            self.open.store(book.entries.len(), Relaxed);
        }
        self.recent.remove_lane(lane);
    }

    /// Raises `runs`, by lane, to the leading blocks of `chain` that are expected there.
    pub(crate) fn raise_runs(&self, chain: &Chain, runs: &mut [u32]) {
        if self.open() > 0 {
            self.recent.raise_runs(chain, runs);
        }
    }

    fn drop_all(&self, gone: impl IntoIterator<Item = (Ticket, Entry)>) {
        for (ticket, entry) in gone {
            self.recent.remove(ticket, &entry.chain);
        }
    }
}
