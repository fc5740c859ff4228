//! Does a request go on now, or does it wait for its turn?
//!
//! With flow control in a pool's scheduling document, requests wait in front of scheduling while the pool is full. One at
//! a time is let through: the next one only once its load is booked, so that a moment of room is not given to many. Who
//! waits is let through by news, never by a clock: an attempt ended, a scrape came, an endpoint turned ready, or the one
//! before has been placed.

mod figures;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fleet::Fleet;
use parking_lot::Mutex;
use pool::Clock;
use scheduler::{FlowSettings, Order};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) use figures::write as write_figures;

use figures::{Figures, Outcome};
use queue::{Key, Queue};

/// Flow control of one pool; shared by all its requests, and kept over changes of its settings.
pub struct Flow {
    fleet: Arc<Fleet>,
    clock: Clock,
    settings: ArcSwapOption<FlowSettings>,
    state: Mutex<State>,
    figures: Figures,
}

#[derive(Default)]
struct State {
    queue: Queue<oneshot::Sender<()>>,
    /// Whose turn it is: let through, and not placed yet.
    turn: Option<u64>,
    next: u64,
}

/// What of a request counts for its place.
pub(crate) struct Entrant<'a> {
    pub(crate) priority: i32,
    /// Whom it counts for.
    pub(crate) fairness: &'a str,
    /// Longest time to the first token that it asks for.
    pub(crate) ttft: Option<Duration>,
    pub(crate) bytes: u64,
}

/// Why a request did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// Too many wait, or too many bytes of them.
    Full,
    /// It waited as long as it may.
    Expired,
    /// The same of a pool where nobody is ready.
    NobodyReady,
}

/// A place in the queue, or a turn; given back when dropped.
pub(crate) struct Turn {
    flow: Arc<Flow>,
    id: u64,
    begun: Instant,
    pub(crate) waited: Duration,
    counted: bool,
}

impl Flow {
    /// Of `fleet`, which it has tell of every relief; `None` lets everyone through.
    pub fn new(settings: Option<FlowSettings>, fleet: Arc<Fleet>, clock: Clock) -> Arc<Self> {
        let flow = Arc::new(Self {
            fleet,
            clock,
            settings: ArcSwapOption::from_pointee(settings),
            state: Mutex::default(),
            figures: Figures::default(),
        });
        let weak = Arc::downgrade(&flow);
        flow.fleet.on_relief(Box::new(move || {
            if let Some(flow) = weak.upgrade() {
                flow.relieved();
            }
        }));
        flow
    }

    /// Replaces the settings; who waits does so by the new ones.
    pub fn set(&self, settings: Option<FlowSettings>) {
        self.settings.store(settings.map(Arc::new));
        self.relieved();
    }

    /// Saturation and ready endpoints.
    fn saturation(&self, settings: &FlowSettings) -> (f64, usize) {
        self.fleet.saturation(&settings.detector, self.clock.now())
    }

    fn has_room(&self) -> bool {
        match self.settings.load().as_deref() {
            None => true,
            Some(settings) => self.saturation(settings).0 < settings.ceiling,
        }
    }

    fn relieved(&self) {
        self.let_through(&mut self.state.lock());
    }

    /// Gives the turn to the first of the queue while there is room.
    fn let_through(&self, state: &mut State) {
        while state.turn.is_none() && !state.queue.is_empty() && self.has_room() {
            let Some((id, wake)) = state.queue.pop() else {
                return;
            };
            // One that left in this moment takes nothing along.
            if wake.send(()).is_ok() {
                state.turn = Some(id);
            }
        }
    }

    /// Waits for a turn; the request must be placed before it is dropped.
    ///
    /// # Errors
    /// [`Rejected`]; a caller that stops waiting leaves the queue.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        entrant: &Entrant<'_>,
    ) -> Result<Option<Turn>, Rejected> {
        let Some(settings) = self.settings.load_full() else {
            return Ok(None);
        };
        let (turn, wake, limit) = {
            let mut state = self.state.lock();
            let id = state.next;
            state.next += 1;
            let turn = Turn {
                flow: Arc::clone(self),
                id,
                begun: Instant::now(),
                waited: Duration::ZERO,
                counted: false,
            };
            let (saturation, ready) = self.saturation(&settings);
            let alone = state.turn.is_none() && state.queue.is_empty();
            if alone && saturation < settings.ceiling {
                state.turn = Some(id);
                drop(state);
                return Ok(Some(self.passed(turn)));
            }
            let limit = match ready {
                0 => settings.no_endpoint_ttl,
                _ => settings.request_ttl,
            };
            let (wake, woken) = oneshot::channel();
            let key = self.key(&settings, entrant, limit, id);
            let pushed = state.queue.push(
                &settings,
                entrant.priority,
                entrant.fairness,
                key,
                entrant.bytes,
                wake,
            );
            if !pushed {
                drop(state);
                return Err(self.rejected(turn, Rejected::Full, ready));
            }
            self.let_through(&mut state);
            (turn, woken, limit)
        };
        match tokio::time::timeout_at(turn.begun + limit, wake).await {
            Ok(Ok(())) => Ok(Some(self.passed(turn))),
            _ => {
                let ready = self.saturation(&settings).1;
                Err(self.rejected(turn, Rejected::Expired, ready))
            }
        }
    }

    fn key(&self, settings: &FlowSettings, entrant: &Entrant<'_>, limit: Duration, id: u64) -> Key {
        let now = self.clock.now();
        let at = match settings.band(entrant.priority).order {
            Order::Arrival => Duration::ZERO,
            Order::Deadline => now + limit,
            Order::SloDeadline => entrant.ttft.map_or(Duration::MAX, |ttft| now + ttft),
        };
        Key { at, id }
    }

    fn passed(&self, mut turn: Turn) -> Turn {
        turn.waited = turn.begun.elapsed();
        turn.counted = true;
        self.figures.count(Outcome::Dispatched, turn.waited);
        turn
    }

    fn rejected(&self, mut turn: Turn, why: Rejected, ready: usize) -> Rejected {
        turn.counted = true;
        let outcome = match why {
            Rejected::Full => Outcome::RejectedCapacity,
            _ => Outcome::EvictedTtl,
        };
        self.figures.count(outcome, turn.begun.elapsed());
        match ready {
            0 => Rejected::NobodyReady,
            _ => why,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let flow = &self.flow;
        if !self.counted {
            let waited = self.begun.elapsed();
            flow.figures.count(Outcome::EvictedCancelled, waited);
        }
        let mut state = flow.state.lock();
        match state.turn {
            Some(id) if id == self.id => state.turn = None,
            _ => state.queue.remove(self.id),
        }
        flow.let_through(&mut state);
    }
}
