//! What does the task that owns the batch model do?
//!
//! Lets the model advance to now, hands its events to the mailboxes, takes what was asked meanwhile, and
//! sleeps until the model has something to do.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::{Command, Endings, Mailbox, Submission};
use crate::clock::Clock;
use crate::fault::{Faults, Kind};
use crate::kv_events::KvEvents;
use crate::metrics::{Asked, Stats};
use crate::model::{BatchModel, Event, FinishReason, RequestId, RequestTimings};

/// Submissions taken in one go, before the model advances again.
const MAX_TAKEN: usize = 256;

/// A request in the model, seen from outside.
struct Live {
    mailbox: Arc<Mailbox>,
    sequence: usize,
    asked: Asked,
    timings: RequestTimings,
    lora: Option<Arc<str>>,
    scheduled: bool,
}

pub(super) struct Run {
    model: BatchModel,
    clock: Clock,
    faults: Arc<Faults>,
    stats: Arc<Mutex<Stats>>,
    endings: Arc<Endings>,
    live: HashMap<RequestId, Live>,
    events: Vec<Event>,
    asleep: bool,
    kv_events: Option<KvEvents>,
}

impl Run {
    pub(super) fn new(
        model: BatchModel,
        clock: Clock,
        faults: Arc<Faults>,
        stats: Arc<Mutex<Stats>>,
        endings: Arc<Endings>,
        kv_events: Option<KvEvents>,
    ) -> Self {
        Self {
            model,
            clock,
            faults,
            stats,
            endings,
            live: HashMap::new(),
            events: Vec::new(),
            asleep: false,
            kv_events,
        }
    }

    /// Until every sender is gone.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let endings = Arc::clone(&self.endings);
        let mut faults = self.faults.changes();
        loop {
            self.sleep_or_wake();
            self.advance();
            self.end_asked();
            self.publish();
            let due = self.due();
            tokio::select! {
                command = queue.recv() => match command {
                    Some(command) => self.take(command, &mut queue),
                    None => return,
                },
                () = endings.notify.notified() => {}
                () = due => {}
                () = changed(&mut faults) => {}
            }
        }
    }

    /// When the model, or the end of a sleep, has something to do.
    fn due(&self) -> impl Future<Output = ()> + use<> {
        let wake = if self.asleep {
            self.faults.ends_at(Kind::Sleep)
        } else {
            None
        };
        let at = self
            .model
            .next_wake()
            .into_iter()
            .chain(wake)
            .min()
            .map(|at| self.clock.instant(at));
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }

    fn sleep_or_wake(&mut self) {
        let now = self.clock.now();
        let asleep = self.faults.in_force(Kind::Sleep, now);
        if asleep != self.asleep {
            self.asleep = asleep;
            if asleep {
                self.model.pause()
            } else {
                self.model.resume(now)
            }
        }
    }

    fn advance(&mut self) {
        self.model.advance(self.clock.now(), &mut self.events);
        if self.events.is_empty() {
            return;
        }
        let mut events = std::mem::take(&mut self.events);
        let mut woken = Vec::new();
        for event in events.drain(..) {
            self.deliver(event, &mut woken);
        }
        // After all events: what one step gave a request is one piece for its reader.
        woken
            .iter()
            .for_each(|mailbox: &Arc<Mailbox>| mailbox.wake());
        self.events = events;
    }

    fn deliver(&mut self, event: Event, woken: &mut Vec<Arc<Mailbox>>) {
        let mut stats = self.stats.lock();
        match event {
            Event::Scheduled {
                id,
                at,
                cached_tokens,
            } => {
                let Some(live) = self.live.get_mut(&id) else {
                    return;
                };
                live.scheduled = true;
                live.timings.scheduled = at;
                live.timings.cached_tokens = cached_tokens;
                live.mailbox.scheduled(live.sequence, cached_tokens);
                stats.looked_up(live.timings.prompt_tokens, cached_tokens);
            }
            Event::Preempted { id, .. } => {
                if let Some(live) = self.live.get_mut(&id) {
                    live.timings.preemptions += 1;
                }
            }
            Event::Token { id, at, token, gap } => {
                let Some(live) = self.live.get_mut(&id) else {
                    return;
                };
                stats.token(gap, at.saturating_sub(live.timings.arrival));
                if gap.is_none() {
                    live.timings.first_token = at;
                }
                live.timings.output_tokens += 1;
                live.mailbox.token(live.sequence, token);
                woken.push(Arc::clone(&live.mailbox));
            }
            Event::Finished {
                id,
                reason,
                stop_token,
                timings,
                ..
            } => {
                let Some(live) = self.live.remove(&id) else {
                    return;
                };
                stats.finished(&timings, live.asked);
                live.mailbox.end(live.sequence, reason, stop_token);
                woken.push(live.mailbox);
            }
            Event::Step {
                at,
                iteration_tokens,
                ..
            } => {
                stats.iteration_tokens.observe(iteration_tokens as f64);
                let late = self.clock.now().saturating_sub(at);
                stats.step_lag.observe(late.as_secs_f64());
            }
            Event::Cache { at, events } => {
                if let Some(kv_events) = &mut self.kv_events {
                    kv_events.publish(self.clock.unix_s_at(at), &events);
                }
            }
        }
    }

    /// Takes a submission and those that wait behind it, so that they can share a step.
    fn take(&mut self, first: Command, queue: &mut mpsc::Receiver<Command>) {
        self.advance();
        self.obey(first);
        if self.model.config().max_num_queued_reqs.is_some() {
            // Whether the next one finds the queue full depends on who has left it by then.
            return;
        }
        for _ in 1..MAX_TAKEN {
            match queue.try_recv() {
                Ok(command) => self.obey(command),
                Err(_) => return,
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Submit(submission) => self.submit(submission),
            Command::ResetPrefixCache(reply) => {
                let _ = reply.send(self.model.reset_prefix_cache());
            }
        }
    }

    fn submit(&mut self, submission: Submission) {
        if submission.reply.is_closed() {
            return;
        }
        let now = self.clock.now();
        let Submission {
            requests,
            n,
            mailbox,
            reply,
        } = submission;
        let mut ids = Vec::with_capacity(requests.len());
        for (sequence, request) in requests.into_iter().enumerate() {
            let live = Live {
                mailbox: Arc::clone(&mailbox),
                sequence,
                asked: Asked {
                    max_tokens: request.max_tokens,
                    n,
                },
                timings: arrived(now, request.prompt.len()),
                lora: request.lora.as_ref().map(|lora| Arc::clone(&lora.name)),
                scheduled: false,
            };
            match self.model.submit(now, request) {
                Ok(id) => {
                    self.live.insert(id, live);
                    ids.push(id);
                }
                Err(rejected) => {
                    ids.into_iter().for_each(|id| self.drop_request(id));
                    let _ = reply.send(Err(rejected));
                    return;
                }
            }
        }
        if let Err(Ok(ids)) = reply.send(Ok(ids)) {
            // Its client left while it waited to be taken.
            ids.into_iter().for_each(|id| self.drop_request(id));
        }
    }

    fn drop_request(&mut self, id: RequestId) {
        self.live.remove(&id);
        self.model.abort(id);
    }

    /// Ends what was asked to end from outside.
    fn end_asked(&mut self) {
        if std::mem::take(&mut *self.endings.all.lock()) {
            for (id, live) in self.live.drain() {
                self.model.abort(id);
                live.mailbox.end(live.sequence, FinishReason::Abort, None);
                live.mailbox.wake();
            }
        }
        let asked = std::mem::take(&mut *self.endings.asked.lock());
        for (id, reason) in asked {
            self.model.abort(id);
            let Some(mut live) = self.live.remove(&id) else {
                continue;
            };
            if reason == FinishReason::Stop {
                live.timings.finished = self.clock.now();
                let mut stats = self.stats.lock();
                stats.stopped += 1;
                stats.finished(&live.timings, live.asked);
            }
        }
    }

    fn publish(&self) {
        let snapshot = self.model.snapshot();
        let mut stats = self.stats.lock();
        stats.snapshot = snapshot;
        stats.asleep = self.asleep;
        let names = |scheduled: bool| -> Vec<String> {
            let named = self
                .live
                .values()
                .filter(|live| live.scheduled == scheduled);
            let names: BTreeSet<&str> = named.filter_map(|live| live.lora.as_deref()).collect();
            names.into_iter().map(str::to_owned).collect()
        };
        if self.live.values().any(|live| live.lora.is_some()) {
            stats.running_loras = names(true);
            stats.waiting_loras = names(false);
        } else if !(stats.running_loras.is_empty() && stats.waiting_loras.is_empty()) {
            stats.running_loras.clear();
            stats.waiting_loras.clear();
        }
    }
}

fn arrived(now: Duration, prompt_tokens: usize) -> RequestTimings {
    RequestTimings {
        arrival: now,
        scheduled: now,
        first_token: now,
        finished: now,
        prompt_tokens,
        cached_tokens: 0,
        output_tokens: 0,
        preemptions: 0,
    }
}

/// A change of the faults; never, once nobody can change them.
async fn changed(faults: &mut watch::Receiver<u64>) {
    if faults.changed().await.is_err() {
        std::future::pending().await
    }
}
