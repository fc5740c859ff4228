//! Which endpoint is tried first, and which next?

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use fleet::{Fleet, Part, Reservation};
use kv_index::Slot;
use rand::SeedableRng;
use scheduler::{Beside, Decision, NoEndpoint, Rng, StageKind};

use crate::attempt::Attempt;
use crate::error::Refusal;
use crate::fingerprint::Fingerprint;
use crate::gateway::Gateway;
use crate::route::Pool;
use crate::stored::Home;

/// The first endpoint, reserved, and what comes after it.
pub(crate) struct Picked {
    pub(crate) reservation: Reservation,
    /// Stages done elsewhere.
    pub(crate) beside: Vec<Reservation>,
    pub(crate) decision: Decision,
    /// The state is there and nowhere else: no other endpoint may be tried.
    pub(crate) pinned: bool,
}

/// Which endpoints of its pool a request may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Among {
    #[default]
    All,
    /// Those with one of these addresses: `ip:port`, or `ip` for every port of it.
    Listed(Vec<String>),
}

impl Among {
    /// The pool's endpoints that are left out.
    pub(crate) fn barred(&self, pool: &Pool) -> Vec<Slot> {
        let Self::Listed(addresses) = self else {
            return Vec::new();
        };
        let view = pool.fleet().view();
        let listed = |address: &str| {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            addresses
                .iter()
                .any(|listed| listed == address || listed == host || listed == bare)
        };
        let out = view
            .endpoints
            .iter()
            .filter(|endpoint| !listed(&endpoint.spec.address));
        out.map(|endpoint| endpoint.slot).collect()
    }
}

/// Decides and reserves; for a request with state, reserves where the state is.
///
/// # Errors
/// [`Refusal::NoEndpoint`], or [`Refusal::LostResponse`] when the endpoint that held the state has left.
pub(crate) fn pick(
    gateway: &Gateway,
    pool: &Arc<Pool>,
    fingerprint: &Fingerprint,
    home: Option<&Home>,
    among: &Among,
) -> Result<Picked, Refusal> {
    let now = gateway.clock.now();
    let fleet = pool.fleet();
    let Some(home) = home else {
        let mut rng = gateway.rng();
        let barred = among.barred(pool);
        let picked =
            fingerprint.with_request(&barred, |request| fleet.pick(request, now, &mut rng));
        let picked = picked.map_err(|reason| match reason {
            NoEndpoint::Exhausted if !barred.is_empty() => {
                gateway.no_endpoint(NoEndpoint::NoneReady {
                    pool: format!("{} among those that the subset hint names", pool.name),
                })
            }
            reason => gateway.no_endpoint(reason),
        })?;
        return Ok(Picked {
            reservation: picked.reservation,
            beside: picked.beside,
            decision: picked.decision,
            pinned: false,
        });
    };
    let reservation =
        fingerprint.with_request(&[], |request| fleet.reserve(request, home.slot, now));
    match reservation {
        Some(reservation) => Ok(Picked {
            reservation,
            beside: Vec::new(),
            decision: Decision::default(),
            pinned: true,
        }),
        None if fleet.view().get(home.slot).is_none() => Err(Refusal::LostResponse),
        None => Err(gateway.no_endpoint(NoEndpoint::NoneReady {
            pool: pool.name.to_string(),
        })),
    }
}

/// The next endpoint after those in `tried`, reserved: the decision's own order first, then a new decision among
/// what is left.
pub(crate) fn next(
    gateway: &Gateway,
    pool: &Arc<Pool>,
    fingerprint: &Fingerprint,
    decision: &mut Decision,
    tried: &[Slot],
) -> Result<(Reservation, Vec<Reservation>), NoEndpoint> {
    let now = gateway.clock.now();
    let fleet = pool.fleet();
    for slot in &decision.preferences {
        if tried.contains(slot) {
            continue;
        }
        if let Some(reserved) = again(fleet, fingerprint, decision, *slot, now) {
            return Ok(reserved);
        }
    }
    let mut rng = gateway.rng();
    let picked = fingerprint.with_request(tried, |request| fleet.pick(request, now, &mut rng))?;
    *decision = picked.decision;
    Ok((picked.reservation, picked.beside))
}

/// Nothing comes of what was picked.
pub(crate) fn give_back(gateway: &Gateway, pool: &Pool, picked: Picked) {
    let fleet = Arc::clone(pool.fleet());
    let attempt = Attempt::new(fleet, gateway.clock.clone(), picked.reservation);
    // Dropped without an answer, it says that the client has left.
    drop(attempt.with(picked.beside));
}

/// What plugins of other stages' profiles say to the client about the endpoints that do them.
pub(crate) fn stage_response_headers(fleet: &Fleet, decision: &Decision) -> Vec<(String, String)> {
    if decision.beside.is_empty() {
        return Vec::new();
    }
    let (profile, view) = (fleet.profile(), fleet.view());
    let told = decision.beside.iter().filter_map(|beside| {
        let stages = profile.stages().iter();
        let stage = stages.into_iter().find(|it| it.kind() == beside.stage)?;
        let row = view.row_of.get(beside.slot?.index()).copied().flatten()?;
        let info = view.infos.get(row as usize)?;
        Some(stage.profile().response_headers(info))
    });
    told.flatten().collect()
}

/// Reserves `slot`, and the stages where `decision` placed them; `None` where it is not ready or gone. A stage whose
/// endpoint is, or is `slot` itself, is left to `slot`.
pub(crate) fn again(
    fleet: &Fleet,
    fingerprint: &Fingerprint,
    decision: &Decision,
    slot: Slot,
    now: Duration,
) -> Option<(Reservation, Vec<Reservation>)> {
    fingerprint.with_request(&[], |request| {
        let elsewhere = |it: &Beside| Some((it.stage, it.slot.filter(|at| *at != slot)?));
        let stages = decision.beside.iter().filter_map(elsewhere);
        let beside: Vec<Reservation> = stages
            .filter_map(|(stage, at)| fleet.reserve_part(request, at, Part::Stage(stage), now))
            .collect();
        let prefilled = Part::Stage(StageKind::Prefill);
        let part = match beside.iter().any(|stage| stage.part == prefilled) {
            true => Part::Decode,
            false => Part::Whole,
        };
        let reserved = fleet.reserve_part(request, slot, part, now);
        match reserved {
            Some(reservation) => Some((reservation, beside)),
            None => {
                for stage in beside {
                    fleet.finish_stage(stage, false, now);
                }
                None
            }
        }
    })
}

/// Chance, one stream per request, so that a seed fixes the whole run.
pub(crate) struct Chance {
    seed: u64,
    drawn: std::sync::atomic::AtomicU64,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            drawn: std::sync::atomic::AtomicU64::new(0),
        }
    }

    pub(crate) fn rng(&self) -> Rng {
        Rng::seed_from_u64(self.seed.wrapping_add(self.drawn.fetch_add(1, Relaxed)))
    }
}
