//! What do we remember of an endpoint beside its live counters?

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use engine_api::models::ModelCard;
use kv_index::Slot;

use crate::{EndpointSpec, EndpointView, FleetConfig, Health, KvMode, SlotState};

/// Which models an endpoint qualifies for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Models {
    /// Its list was not read yet.
    #[default]
    Unread,
    /// It has no list: any.
    Any,
    Listed(Arc<[ModelCard]>),
}

/// The engine's cache counters at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HitSample {
    pub(crate) at: Duration,
    pub(crate) queries_tokens: f64,
    pub(crate) hits_tokens: f64,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) slot: Slot,
    pub(crate) spec: Arc<EndpointSpec>,
    pub(crate) source: Arc<str>,
    /// What other sources said of the same name before, latest last; the last takes over when `source` no longer
    /// lists it.
    others: Vec<(Arc<str>, Arc<EndpointSpec>)>,
    pub(crate) state: Arc<SlotState>,
    pub(crate) models: Models,
    pub(crate) draining: bool,
    pub(crate) probed: bool,
    /// Why it does not answer; `None` while it does.
    pub(crate) down: Option<String>,
    pub(crate) failed_probes: u32,
    pub(crate) ejected: Option<(Duration, String)>,
    /// Ejections in a row, for the doubling.
    pub(crate) ejections: u32,
    pub(crate) scrape_error: Option<String>,
    pub(crate) process_start_seconds: Option<f64>,
    /// Once a second over the last minute, oldest first.
    pub(crate) hits: VecDeque<HitSample>,
    /// First and latest sample since the engine started.
    pub(crate) first_hits: Option<HitSample>,
    pub(crate) last_hits: Option<HitSample>,
    pub(crate) restarts: u64,
    /// Cache size last told to the index, canonical blocks.
    pub(crate) capacity_blocks: u32,
    pub(crate) kv_mode: KvMode,
}

impl Member {
    fn new(slot: Slot, spec: Arc<EndpointSpec>, source: Arc<str>) -> Self {
        Self {
            slot,
            spec,
            source,
            others: Vec::new(),
            state: Arc::default(),
            models: Models::Unread,
            draining: false,
            probed: false,
            down: None,
            failed_probes: 0,
            ejected: None,
            ejections: 0,
            scrape_error: None,
            process_start_seconds: None,
            hits: VecDeque::new(),
            first_hits: None,
            last_hits: None,
            restarts: 0,
            capacity_blocks: 0,
            kv_mode: KvMode::default(),
        }
    }

    pub(crate) fn health(&self, config: &FleetConfig) -> Health {
        if self.draining {
            Health::Draining
        } else if let Some(reason) = &self.down {
            Health::Unready {
                reason: reason.clone(),
            }
        } else if let Some((until, reason)) = &self.ejected {
            Health::Ejected {
                until: *until,
                reason: reason.clone(),
            }
        } else if config.require_probe && (!self.probed || self.models == Models::Unread) {
            Health::Unknown
        } else {
            Health::Ready
        }
    }

    fn view(&self, config: &FleetConfig) -> EndpointView {
        EndpointView {
            slot: self.slot,
            spec: Arc::clone(&self.spec),
            source: Arc::clone(&self.source),
            health: self.health(config),
            models: match &self.models {
                Models::Listed(cards) => Some(Arc::clone(cards)),
                Models::Unread | Models::Any => None,
            },
            state: Arc::clone(&self.state),
            kv_mode: self.kv_mode.clone(),
        }
    }
}

/// All endpoints by name, and the slots they live in.
#[derive(Debug, Default)]
pub(crate) struct Members {
    by_name: BTreeMap<Arc<str>, Member>,
    names: Vec<Option<Arc<str>>>,
    generations: Vec<u16>,
}

impl Members {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_name.values()
    }

    pub(crate) fn by_slot(&mut self, slot: Slot) -> Option<&mut Member> {
        let name = self.names.get(slot.index())?.as_ref()?;
        self.by_name
            .get_mut(name)
            .filter(|member| member.slot == slot)
    }

    pub(crate) fn by_name(&mut self, name: &str) -> Option<&mut Member> {
        self.by_name.get_mut(name)
    }

    pub(crate) fn views(&self, config: &FleetConfig) -> Vec<EndpointView> {
        self.by_name
            .values()
            .map(|member| member.view(config))
            .collect()
    }

    /// Names that `source` lists, whichever source they are taken from now.
    pub(crate) fn names_of(&self, source: &str) -> Vec<Arc<str>> {
        let of_source = self.by_name.values().filter(|member| {
            &*member.source == source || member.others.iter().any(|(other, _)| &**other == source)
        });
        of_source
            .map(|member| Arc::clone(&member.spec.name))
            .collect()
    }

    /// Enters or changes an endpoint; the source that spoke last counts. A changed address, rank or URL is another
    /// endpoint under an old name: it gets a slot of its own, and the old one is returned so that its index entries
    /// can go.
    pub(crate) fn upsert(&mut self, source: &Arc<str>, spec: EndpointSpec) -> Option<Slot> {
        let spec = Arc::new(spec);
        let mut others = Vec::new();
        if let Some(member) = self.by_name.get_mut(&spec.name) {
            others = std::mem::take(&mut member.others);
            others.retain(|(other, _)| other != source);
            if &member.source != source {
                others.push((Arc::clone(&member.source), Arc::clone(&member.spec)));
            }
        }
        self.settle(Arc::clone(source), spec, others)
    }

    /// Removes what `source` said of `name`; the endpoint leaves when no other source lists it.
    pub(crate) fn remove(&mut self, source: &str, name: &str) -> Option<Slot> {
        let member = self.by_name.get_mut(name)?;
        member.others.retain(|(other, _)| &**other != source);
        if &*member.source != source {
            return None;
        }
        let mut others = std::mem::take(&mut member.others);
        match others.pop() {
            Some((other, spec)) => self.settle(other, spec, others),
            None => self.free(name),
        }
    }

    /// `source`'s word is the one in force; the slot given up for it, where the endpoint is another one now.
    fn settle(
        &mut self,
        source: Arc<str>,
        spec: Arc<EndpointSpec>,
        others: Vec<(Arc<str>, Arc<EndpointSpec>)>,
    ) -> Option<Slot> {
        if let Some(member) = self.by_name.get_mut(&spec.name)
            && member.spec.url == spec.url
            && member.spec.rank == spec.rank
        {
            member.source = source;
            member.spec = spec;
            member.others = others;
            return None;
        }
        let left = self.free(&spec.name);
        let slot = self.free_slot()?;
        let name = Arc::clone(&spec.name);
        self.names[slot.index()] = Some(Arc::clone(&name));
        let mut member = Member::new(slot, spec, source);
        member.others = others;
        self.by_name.insert(name, member);
        left
    }

    fn free(&mut self, name: &str) -> Option<Slot> {
        let member = self.by_name.remove(name)?;
        self.names[member.slot.index()] = None;
        Some(member.slot)
    }

    /// The lowest free index under a new generation; `None` when all 65,535 are taken.
    fn free_slot(&mut self) -> Option<Slot> {
        let index = match self.names.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.names.push(None);
                self.generations.push(0);
                self.names.len() - 1
            }
        };
        let generation = self.generations[index].wrapping_add(1);
        self.generations[index] = generation;
        Some(Slot::new(u16::try_from(index).ok()?, generation))
    }

    /// Ends ejections whose time is up; whether there were any.
    pub(crate) fn end_ejections(&mut self, now: Duration) -> bool {
        let mut any = false;
        for member in self.by_name.values_mut() {
            if member
                .ejected
                .as_ref()
                .is_some_and(|(until, _)| *until <= now)
            {
                member.ejected = None;
                any = true;
            }
        }
        any
    }

    /// Endpoints that may be picked, but for `slot`.
    pub(crate) fn others_ready(&self, slot: Slot, config: &FleetConfig) -> usize {
        self.by_name
            .values()
            .filter(|member| member.slot != slot && member.health(config).is_ready())
            .count()
    }
}
