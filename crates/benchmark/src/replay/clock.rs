//! What happens next? One queue of events on one virtual clock.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use engine::model::CacheEvent;

use super::router::Gauges;
use crate::workload::jobs::Job;

/// Names of things in a run.
pub(crate) type RequestNumber = u64;
pub(crate) type Replica = usize;
pub(crate) type GatewayNumber = usize;

/// Something that happens.
#[derive(Debug)]
pub(crate) enum What {
    /// A client's request reaches its gateway.
    Arrival(Box<Job>),
    /// A forwarded request reaches its engine.
    Delivery(RequestNumber),
    /// An engine has something to do.
    Step(Replica),
    /// The first token reaches the gateway.
    FirstToken(RequestNumber),
    /// The end of a response reaches the gateway.
    End(RequestNumber),
    /// A gateway asks an engine for its metrics. Out of date when `turn` is not the current one.
    ScrapeSent {
        gateway: GatewayNumber,
        replica: Replica,
        turn: u64,
    },
    /// The engine writes its metrics page.
    ScrapeWritten {
        gateway: GatewayNumber,
        replica: Replica,
    },
    /// The page reaches the gateway.
    ScrapeRead {
        gateway: GatewayNumber,
        replica: Replica,
        page: Box<Gauges>,
    },
    /// The gateway's index writer wakes up.
    Chores(GatewayNumber),
    /// A batch of cache events reaches the gateway.
    CacheNews {
        gateway: GatewayNumber,
        replica: Replica,
        events: std::sync::Arc<[CacheEvent]>,
    },
}

impl What {
    /// A number for its kind and those it is about, for the hash over all events.
    pub(crate) fn code(&self) -> [u64; 2] {
        match self {
            Self::Arrival(job) => [0, job.session],
            Self::Delivery(number) => [1, *number],
            Self::Step(replica) => [2, *replica as u64],
            Self::FirstToken(number) => [3, *number],
            Self::End(number) => [4, *number],
            Self::ScrapeSent {
                gateway, replica, ..
            } => [5 | (*gateway as u64) << 8, *replica as u64],
            Self::ScrapeWritten { gateway, replica } => {
                [6 | (*gateway as u64) << 8, *replica as u64]
            }
            Self::ScrapeRead {
                gateway, replica, ..
            } => [7 | (*gateway as u64) << 8, *replica as u64],
            Self::Chores(gateway) => [8, *gateway as u64],
            Self::CacheNews {
                gateway, replica, ..
            } => [9 | (*gateway as u64) << 8, *replica as u64],
        }
    }
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    sequence: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// Events to come, the earliest first; those of one moment in the order in which they were entered.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: BinaryHeap<Reverse<Entry>>,
    entered: u64,
}

impl Agenda {
    pub(crate) fn at(&mut self, at: Duration, what: What) {
        let sequence = self.entered;
        self.entered += 1;
        self.entries.push(Reverse(Entry { at, sequence, what }));
    }

    pub(crate) fn next(&mut self) -> Option<(Duration, What)> {
        self.entries
            .pop()
            .map(|Reverse(entry)| (entry.at, entry.what))
    }
}

/// One number for everything that happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventHash {
    state: u64,
    pub(crate) count: u64,
}

impl EventHash {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: seed ^ 0x9e37_79b9_7f4a_7c15,
            count: 0,
        }
    }

    /// Takes in one event.
    pub(crate) fn event(&mut self, at: Duration, parts: [u64; 3]) {
        self.count += 1;
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        for part in [nanos, parts[0], parts[1], parts[2]] {
            let mut z = (self.state.rotate_left(5) ^ part).wrapping_mul(0x9fb2_1c65_1e98_df25);
            z ^= z >> 35;
            self.state = z;
        }
    }

    /// The hash so far.
    pub(crate) fn value(&self) -> u64 {
        let z = (self.state ^ self.count).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first_and_ties_in_order_of_entry() {
        let mut agenda = Agenda::default();
        for (at, number) in [(5, 1), (3, 2), (5, 3), (1, 4), (3, 5)] {
            agenda.at(Duration::from_secs(at), What::Delivery(number));
        }
        let mut seen = Vec::new();
        while let Some((_, What::Delivery(number))) = agenda.next() {
            seen.push(number);
        }
        assert_eq!(seen, [4, 2, 5, 1, 3]);
    }

    #[test]
    fn the_hash_tells_order_time_and_content_apart() {
        let hash = |events: &[(u64, [u64; 3])]| {
            let mut hash = EventHash::new(1);
            for (at, parts) in events {
                hash.event(Duration::from_nanos(*at), *parts);
            }
            hash.value()
        };
        let (a, b) = ((1, [1, 2, 3]), (2, [1, 2, 4]));
        let all = [
            hash(&[a, b]),
            hash(&[b, a]),
            hash(&[a]),
            hash(&[a, a]),
            hash(&[a, (3, b.1)]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one));
        }
        assert_eq!(hash(&[a, b]), all[0]);
    }
}
