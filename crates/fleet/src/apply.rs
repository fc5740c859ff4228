//! How does an observation change what we believe?

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use engine_api::metrics::EngineMetrics;
use kv_index::Slot;

use crate::member::{Member, Models};
use crate::{Change, Event, Failure, Fleet, ScrapeMark, View};

impl Fleet {
    /// Takes in one observation.
    pub fn apply(&self, event: Event, now: Duration) {
        match event {
            Event::Change(change) => self.change(change, now),
            Event::Scrape { slot, mark, result } => self.scraped(slot, mark, result, now),
            Event::Probe { slot, result } => self.probed(slot, result, now),
            Event::Models { slot, cards } => {
                let models = cards.map_or(Models::Any, |cards| Models::Listed(cards.into()));
                self.edit(slot, now, |member| {
                    std::mem::replace(&mut member.models, models.clone()) != models
                });
            }
            Event::KvMode { slot, mode } => self.set_kv_mode(slot, mode, now),
            Event::Restarted { slot } => {
                self.index.clear(slot);
                self.exact_writer.lock().restarted(slot, now);
                self.edit(slot, now, |member| {
                    member.restarted();
                    false
                });
            }
        }
    }

    fn change(&self, change: Change, now: Duration) {
        let mut left = Vec::new();
        {
            let mut members = self.members.lock();
            match change {
                Change::Resync { source, endpoints } => {
                    for name in members.names_of(&source) {
                        if !endpoints.iter().any(|endpoint| endpoint.name == name) {
                            left.extend(members.remove(&source, &name));
                        }
                    }
                    for endpoint in endpoints {
                        left.extend(members.upsert(&source, endpoint));
                    }
                }
                Change::Upsert { source, endpoint } => {
                    left.extend(members.upsert(&source, endpoint))
                }
                Change::Remove { source, name } => left.extend(members.remove(&source, &name)),
                Change::Drain { name, draining } => {
                    if let Some(member) = members.by_name(&name) {
                        member.draining = draining;
                    }
                }
            }
        }
        for slot in left {
            self.index.clear(slot);
            self.exact_writer.lock().close(slot);
        }
        self.publish(now);
    }

    fn probed(&self, slot: Slot, result: Result<(), String>, now: Duration) {
        let limit = self.config.unready_after_probes;
        self.edit(slot, now, |member| {
            let before = (member.probed, member.down.clone());
            match result {
                Ok(()) => {
                    member.probed = true;
                    member.failed_probes = 0;
                    member.down = None;
                }
                Err(reason) => {
                    member.failed_probes += 1;
                    // One that was never seen well has nothing to lose: say why at once.
                    if member.failed_probes >= limit || !member.probed || member.down.is_some() {
                        member.down = Some(reason);
                    }
                }
            }
            before != (member.probed, member.down.clone())
        });
    }

    fn scraped(
        &self,
        slot: Slot,
        mark: ScrapeMark,
        result: Result<EngineMetrics, String>,
        now: Duration,
    ) {
        let mut restarted = false;
        let mut capacity = None;
        let bytes_per_token = self.typical_bytes_per_token(slot);
        {
            let mut members = self.members.lock();
            let Some(member) = members.by_slot(slot) else {
                return;
            };
            match result {
                Err(reason) => member.scrape_error = Some(reason),
                Ok(metrics) => {
                    member.scrape_error = None;
                    restarted = member.is_restart(&metrics);
                    if restarted {
                        member.restarted();
                    }
                    member.process_start_seconds = metrics
                        .process_start_seconds
                        .or(member.process_start_seconds);
                    member.sample_hits(&metrics, now);
                    member.state.store_scrape(mark, &metrics, now);
                    if self.config.wiring.prefix.auto_tune {
                        capacity = member.new_capacity(bytes_per_token);
                    }
                }
            }
        }
        if restarted {
            self.index.clear(slot);
            self.exact_writer.lock().restarted(slot, now);
        }
        if let Some(blocks) = capacity {
            self.index.set_capacity(slot, blocks);
        }
        self.relieved();
    }

    /// Bytes per token of the first model the endpoint lists; its adapters share the tokenizer.
    fn typical_bytes_per_token(&self, slot: Slot) -> f64 {
        let view = self.view.load();
        let model = view.get(slot).and_then(|endpoint| {
            endpoint
                .models
                .as_ref()?
                .first()
                .map(|card| card.id.clone())
        });
        self.ratios.bytes_per_token(model.as_deref().unwrap_or(""))
    }

    /// Out at once; the next good probe brings it back. `cache_lost` where the process must be gone.
    pub(crate) fn take_out(&self, slot: Slot, reason: &str, cache_lost: bool, now: Duration) {
        if cache_lost {
            self.index.clear(slot);
            self.exact_writer.lock().restarted(slot, now);
        }
        self.edit(slot, now, |member| {
            member.down.replace(reason.to_owned()).is_none()
        });
    }

    /// Counts a failure of an endpoint that still answers probes; ejects it after several in a row, but never the
    /// last one that could be picked: a doubtful endpoint beats none.
    pub(crate) fn count_failure(&self, slot: Slot, failure: Failure, now: Duration) {
        let mut changed = false;
        {
            let mut members = self.members.lock();
            let others = members.others_ready(slot, &self.config);
            if let Some(member) = members.by_slot(slot) {
                let failures = member.state.consecutive_failures.fetch_add(1, Relaxed) + 1;
                if failures >= self.config.eject_after_failures
                    && others > 0
                    && member.ejected.is_none()
                {
                    let doublings = member.ejections.min(16);
                    let length = self
                        .config
                        .eject_base
                        .saturating_mul(1 << doublings)
                        .min(self.config.eject_max);
                    member.ejections += 1;
                    member.ejected = Some((
                        now + length,
                        format!("{failures} failures in a row, last: {failure}"),
                    ));
                    changed = true;
                }
            }
        }
        if changed {
            self.publish(now);
        }
    }

    /// A request went through: the row of failures is over.
    pub(crate) fn recovered(&self, slot: Slot, now: Duration) {
        self.edit(slot, now, |member| {
            member.state.consecutive_failures.store(0, Relaxed);
            member.ejections = 0;
            false
        });
    }

    /// Changes one member under the lock and publishes when `change` says that others can see it.
    pub(crate) fn edit(&self, slot: Slot, now: Duration, change: impl FnOnce(&mut Member) -> bool) {
        let visible = {
            let mut members = self.members.lock();
            members.by_slot(slot).is_some_and(change)
        };
        if visible {
            self.publish(now);
        }
    }

    /// Membership and health go out in one piece. The lock is held while the piece is swapped in, so that an older
    /// one can never replace a newer.
    pub(crate) fn publish(&self, _now: Duration) {
        {
            let members = self.members.lock();
            self.view
                .store(Arc::new(View::of(members.views(&self.config))));
        }
        self.relieved();
    }
}
