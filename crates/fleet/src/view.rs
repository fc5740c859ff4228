//! What does everyone see of the fleet at one moment?

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine_api::models::ModelCard;
use kv_index::Slot;
use scheduler::EndpointInfo;

use crate::{EndpointSpec, KvMode, SlotState};

/// Whether an endpoint may be picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not probed yet.
    Unknown,
    Ready,
    /// Does not answer, or answers that it is not healthy.
    Unready {
        reason: String,
    },
    /// Answers probes but fails requests; not picked before `until`.
    Ejected {
        until: Duration,
        reason: String,
    },
    Draining,
}

impl Health {
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Lower-case name, for metrics and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ready => "ready",
            Self::Unready { .. } => "unready",
            Self::Ejected { .. } => "ejected",
            Self::Draining => "draining",
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Unready { reason } | Self::Ejected { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

/// One endpoint as published.
#[derive(Clone, Debug)]
pub struct EndpointView {
    pub slot: Slot,
    pub spec: Arc<EndpointSpec>,
    pub source: Arc<str>,
    pub health: Health,
    /// Its own `/v1/models`; `None` before it was read or where there is none.
    pub models: Option<Arc<[ModelCard]>>,
    /// Live counters; not part of the swap.
    pub state: Arc<SlotState>,
    /// What matches here rest on.
    pub kv_mode: KvMode,
}

/// What a decision reads of an endpoint besides its live counters, side by side in memory.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) state: Arc<SlotState>,
    pub(crate) slot: Slot,
    /// [`KvMode::is_exact`]
    pub(crate) exact: bool,
}

/// Membership and health in one immutable piece, replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub endpoints: Arc<[EndpointView]>,
    /// Same order as `endpoints`.
    pub infos: Arc<[EndpointInfo]>,
    /// Same order as `endpoints`.
    pub(crate) seats: Arc<[Seat]>,
    /// Rows of ready endpoints, all models.
    pub ready: Arc<[u32]>,
    /// Per model that at least one endpoint (ready or not) lists: the ready rows that qualify for it.
    pub by_model: BTreeMap<String, Arc<[u32]>>,
    /// Ready rows of endpoints whose models are not known: they qualify for any.
    pub any_model: Arc<[u32]>,
    /// Slot index -> row.
    pub row_of: Vec<Option<u32>>,
}

impl View {
    /// Builds every derived list from `endpoints`.
    pub(crate) fn of(endpoints: Vec<EndpointView>) -> Self {
        let infos = endpoints.iter().map(info).collect();
        let rows_where = |qualifies: &dyn Fn(&EndpointView) -> bool| -> Arc<[u32]> {
            let rows = endpoints
                .iter()
                .enumerate()
                .filter(|(_, endpoint)| endpoint.health.is_ready() && qualifies(endpoint));
            rows.map(|(row, _)| row as u32).collect()
        };
        let mut by_model = BTreeMap::new();
        for endpoint in &endpoints {
            for card in endpoint.models.iter().flat_map(|models| models.iter()) {
                if !by_model.contains_key(&card.id) {
                    by_model.insert(
                        card.id.clone(),
                        rows_where(&|endpoint| serves(endpoint, &card.id)),
                    );
                }
            }
        }
        let slots = endpoints
            .iter()
            .map(|endpoint| endpoint.slot.index() + 1)
            .max()
            .unwrap_or(0);
        let mut row_of = vec![None; slots];
        for (row, endpoint) in endpoints.iter().enumerate() {
            row_of[endpoint.slot.index()] = Some(row as u32);
        }
        Self {
            infos,
            seats: endpoints.iter().map(seat).collect(),
            ready: rows_where(&|_| true),
            any_model: rows_where(&|endpoint| endpoint.models.is_none()),
            by_model,
            row_of,
            endpoints: endpoints.into(),
        }
    }

    /// Ready rows that qualify for `model`; every ready row for an empty name.
    pub fn rows_for(&self, model: &str) -> &[u32] {
        if model.is_empty() {
            return &self.ready;
        }
        self.by_model.get(model).unwrap_or(&self.any_model)
    }

    /// The endpoint now living in `slot`; `None` once it has left.
    pub fn get(&self, slot: Slot) -> Option<&EndpointView> {
        let row = (*self.row_of.get(slot.index())?)?;
        let endpoint = &self.endpoints[row as usize];
        (endpoint.slot == slot).then_some(endpoint)
    }

    /// As [`View::get`].
    pub(crate) fn seat(&self, slot: Slot) -> Option<&Seat> {
        let row = (*self.row_of.get(slot.index())?)?;
        let seat = &self.seats[row as usize];
        (seat.slot == slot).then_some(seat)
    }

    pub fn by_name(&self, name: &str) -> Option<&EndpointView> {
        self.endpoints
            .iter()
            .find(|endpoint| &*endpoint.spec.name == name)
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Models listed by any endpoint, sorted, each once.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.by_model.keys().map(String::as_str)
    }
}

fn serves(endpoint: &EndpointView, model: &str) -> bool {
    match &endpoint.models {
        Some(models) => models.iter().any(|card| card.id == model),
        None => true,
    }
}

fn seat(endpoint: &EndpointView) -> Seat {
    Seat {
        state: Arc::clone(&endpoint.state),
        slot: endpoint.slot,
        exact: endpoint.kv_mode.is_exact(),
    }
}

fn info(endpoint: &EndpointView) -> EndpointInfo {
    EndpointInfo {
        slot: endpoint.slot,
        name: Arc::clone(&endpoint.spec.name),
        address: Arc::clone(&endpoint.spec.address),
        labels: endpoint.spec.labels.clone(),
    }
}
