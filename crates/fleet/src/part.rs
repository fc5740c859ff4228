//! Which part of a request does an endpoint do, and who does the others?

use std::sync::Arc;
use std::time::Duration;

use kv_index::Slot;
use scheduler::{Ask, Beside, Candidates, NoEndpoint, Profile, Rng, Stage, StageKind};

use crate::pick::{RESCORES, Scratch, Size, claim, row_of};
use crate::view::Seat;
use crate::{End, Fleet, Outcome, Request, Reservation, View};

/// What is reserved at an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All of the request.
    #[default]
    Whole,
    /// Its prompt comes computed from elsewhere.
    Decode,
    /// This stage, until the first byte of the answer.
    Stage(StageKind),
}

impl Part {
    /// Whether the prompt is computed there, so that its load is there and the first byte teaches of it.
    pub(crate) fn prefills(self) -> bool {
        matches!(self, Self::Whole | Self::Stage(StageKind::Prefill))
    }

    /// Whether the prompt's blocks are there afterwards.
    pub(crate) fn holds_prompt(self) -> bool {
        self != Self::Stage(StageKind::Encode)
    }

    /// Whether the answer comes from there, so that its end says something of the endpoint.
    pub(crate) fn answers(self) -> bool {
        !matches!(self, Self::Stage(_))
    }

    /// What is left for the endpoint that answers.
    pub(crate) fn left_by(beside: &[Beside]) -> Self {
        let prefilled = |it: &Beside| it.stage == StageKind::Prefill && it.slot.is_some();
        match beside.iter().any(prefilled) {
            true => Self::Decode,
            false => Self::Whole,
        }
    }
}

/// A request whose destination is claimed, and what is needed to pick for its stages.
pub(crate) struct Claimed<'a> {
    pub(crate) view: &'a Arc<View>,
    pub(crate) request: &'a Request<'a>,
    pub(crate) size: Size,
    pub(crate) slot: Slot,
    pub(crate) now: Duration,
}

impl Fleet {
    /// Picks and claims an endpoint for every stage that goes elsewhere; reserves them.
    pub(crate) fn pick_stages(
        &self,
        profile: &Profile,
        with: &Claimed<'_>,
        scratch: &mut Scratch,
        rng: &mut Rng,
    ) -> (Vec<Beside>, Vec<Reservation>) {
        let (mut told, mut reserved) = (Vec::new(), Vec::new());
        for stage in profile.stages() {
            let (beside, reservation) = self.pick_stage(stage, with, scratch, rng);
            told.push(beside);
            reserved.extend(reservation);
        }
        (told, reserved)
    }

    fn pick_stage(
        &self,
        stage: &Stage,
        with: &Claimed<'_>,
        scratch: &mut Scratch,
        rng: &mut Rng,
    ) -> (Beside, Option<Reservation>) {
        let mut attempt = 0;
        loop {
            let ask = crate::pick::ask(with.request, with.size, with.now);
            let decode = row_of(with.view, &scratch.candidates, with.slot);
            let beside = stage.pick(&ask, &scratch.candidates, decode, rng);
            let Some(slot) = beside.slot else {
                return (beside, None);
            };
            let row = row_of(with.view, &scratch.candidates, slot);
            let seat = &with.view.seats[scratch.candidates.rows[row] as usize];
            let expected = scratch.candidates.active_requests[row] as u64;
            if claim(&seat.state, expected, attempt == RESCORES) {
                let part = Part::Stage(stage.kind());
                let reservation = self.reserved(
                    seat,
                    with.request,
                    with.size,
                    scratch.found(),
                    part,
                    with.now,
                );
                stage.profile().picked(&ask, &scratch.candidates, row);
                return (beside, Some(reservation));
            }
            attempt += 1;
            // Load moved there meanwhile; the others' is read anew with it. A fleet that lost its last endpoint since is
            // seen as it was.
            let _: Result<(), NoEndpoint> =
                self.gather(with.view, with.request, with.size, with.now, scratch);
        }
    }

    /// What would be picked for every stage; nothing is reserved.
    pub(crate) fn explain_stages(
        &self,
        profile: &Profile,
        ask: &Ask<'_>,
        candidates: &Candidates,
        decode: usize,
        rng: &mut Rng,
    ) -> Vec<Beside> {
        let stages = profile.stages().iter();
        stages
            .map(|stage| stage.pick(ask, candidates, decode, rng))
            .collect()
    }

    /// Reserves `slot` for a part, as [`Fleet::reserve`] does for the whole.
    pub fn reserve_part(
        &self,
        request: &Request<'_>,
        slot: Slot,
        part: Part,
        now: Duration,
    ) -> Option<Reservation> {
        let view = self.view.load();
        view.get(slot)
            .filter(|endpoint| endpoint.health.is_ready())?;
        let seat: &Seat = view.seat(slot)?;
        self.with_size(request, |request, size, scratch| {
            self.look_up(&view, request, scratch);
            claim(&seat.state, 0, true);
            Some(self.reserved(seat, request, size, scratch.found(), part, now))
        })
    }

    /// A stage is over: done where an answer `began`, else given up.
    pub fn finish_stage(&self, mut reservation: Reservation, began: bool, now: Duration) {
        if began {
            self.first_byte(&mut reservation, now);
        }
        let end = match began {
            true => End::Complete { status: 200 },
            false => End::ClientGone,
        };
        self.finish(reservation, Outcome { end, usage: None }, now);
    }
}
