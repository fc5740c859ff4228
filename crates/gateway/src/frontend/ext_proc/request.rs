//! How does a request become a destination?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_api::openai::{self, Route};
use envoy_types::pb::envoy::service::ext_proc::v3 as ext;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use scheduler::Decision;
use tokio::time::Instant;

use super::answer::{self, Destination, Response};
use super::head;
use super::picker::Picker;
use super::response::{Flying, Takeoff, Undo};
use super::tally::Tally;
use crate::attempt::Attempt;
use crate::body;
use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::headers;
use crate::inbound::Inbound;
use crate::path::{self, Decided, Entered, Terms};
use crate::pick::Among;
use crate::record::Record;
use crate::splice;
use crate::wire::Payload;
use crate::{parse, scores};

/// Preference (RFC 7240) of a request that is to be answered where its prompt is held, or not at all.
const IF_AVAILABLE: &str = "if-available";

/// A request whose body is still coming in.
pub(super) struct Collecting {
    gateway: Arc<Gateway>,
    picker: Arc<Picker>,
    inbound: Inbound,
    entered: Entered,
    route: Route,
    record: Box<Record>,
    tally: Tally,
    among: Among,
    pieces: Vec<Vec<u8>>,
    bytes: u64,
    /// For its turn.
    waited: Duration,
}

/// A request that goes nowhere.
pub(super) struct Turned {
    refusal: Refusal,
    record: Box<Record>,
    tally: Tally,
}

/// A request that goes somewhere.
pub(super) struct Sent {
    pub(super) destination: Destination,
    /// The body as it goes on, where it is not the one that came.
    pub(super) rewritten: Option<Bytes>,
    /// The body as it came.
    came: Vec<Vec<u8>>,
    pub(super) flying: Box<Flying>,
}

/// What becomes of the body.
struct Outgoing {
    rewritten: Option<Bytes>,
    came: Vec<Vec<u8>>,
    undo: Option<Undo>,
}

impl Sent {
    /// The body as it goes on.
    pub(super) fn take_pieces(&mut self) -> Vec<Vec<u8>> {
        match self.rewritten.take() {
            Some(body) => vec![body.into()],
            None => std::mem::take(&mut self.came),
        }
    }
}

impl Turned {
    pub(super) fn immediate(self: Box<Self>) -> Response {
        let status = self.refusal.status().as_u16();
        let reason = self.refusal.dropped_reason();
        self.tally.refused(status);
        let response = self.record.answer(self.refusal.respond());
        // Envoy keeps details for its own log; they may not hold blanks.
        answer::immediate(response, reason, reason.unwrap_or("refused"))
    }
}

impl Collecting {
    /// # Errors
    /// What is refused whatever its body says.
    pub(super) fn begin(
        gateway: &Arc<Gateway>,
        picker: &Arc<Picker>,
        message: &ext::HttpHeaders,
        among: Among,
    ) -> Result<Self, Box<Turned>> {
        let mut tally = Tally::begin(picker);
        let turned = |refusal, record, tally| {
            Box::new(Turned {
                refusal,
                record,
                tally,
            })
        };
        let mut inbound = match head::inbound(message) {
            Ok(inbound) => inbound,
            Err(refusal) => {
                let nothing = http::Uri::from_static("/");
                let id = HeaderValue::from_static("");
                let record = Record::begin(gateway, &http::Method::POST, &nothing, id);
                return Err(turned(refusal, record, tally));
            }
        };
        let fairness = inbound.headers.get(headers::FAIRNESS_ID);
        if let Some(id) = fairness.and_then(|id| id.to_str().ok()) {
            tally.fairness(id);
        }
        let id = inbound.request_id.clone();
        let record = Record::begin(gateway, &inbound.method, &inbound.uri, id);
        let entered = path::enter(gateway, &mut inbound).and_then(|entered| {
            path::may_pass(gateway, &inbound)?;
            Ok(entered)
        });
        let entered = match entered {
            Ok(entered) => entered,
            Err(refusal) => return Err(turned(refusal, record, tally)),
        };
        Ok(Self {
            route: parse::route(&inbound),
            among: match picker.config.subset_hint {
                true => among,
                false => Among::All,
            },
            gateway: Arc::clone(gateway),
            picker: Arc::clone(picker),
            inbound,
            entered,
            record,
            tally,
            pieces: Vec::new(),
            bytes: 0,
            waited: Duration::ZERO,
        })
    }

    /// The body is not, or not wholly, to be seen: nothing is read of it.
    pub(super) fn unread(mut self: Box<Self>) -> Box<Self> {
        self.route = Route::Other;
        self
    }

    /// # Errors
    /// The body grows too large.
    pub(super) fn push(&mut self, piece: Vec<u8>) -> Result<(), Refusal> {
        self.bytes += piece.len() as u64;
        let limits = self.gateway.body_limits();
        if self.bytes > limits.max_bytes {
            return Err(body::too_large(limits));
        }
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
        Ok(())
    }

    pub(super) fn turn(self, refusal: Refusal) -> Box<Turned> {
        Box::new(Turned {
            refusal,
            record: self.record,
            tally: self.tally,
        })
    }

    /// Decides; with `announce` the body's length goes along, as it is sent on whole.
    ///
    /// # Errors
    /// Every reason not to send the request anywhere.
    pub(super) async fn decide(mut self: Box<Self>, announce: bool) -> Result<Sent, Box<Turned>> {
        let begun = Instant::now();
        let (decided, body) = match self.try_decide().await {
            Ok(decided) => decided,
            Err(refusal) => return Err(self.turn(refusal)),
        };
        let waited = self.waited;
        let bytes = body.rewritten.as_ref().map(|body| body.len() as u64);
        let length = bytes.or_else(|| announce.then_some(self.bytes));
        let sent = self.send(decided, body, length);
        sent.flying
            .decided_in(begun.elapsed().saturating_sub(waited));
        Ok(sent)
    }

    async fn try_decide(&mut self) -> Result<(Decided, Outgoing), Refusal> {
        if self.route != Route::Other && !body::is_json(&self.inbound.headers) {
            return Err(Refusal::ContentType);
        }
        let (whole, pieces) = self.payload();
        let asked = self.asked_rewrite(&whole)?;
        let (payload, undo) = match asked {
            Some((body, undo)) => (Payload::Whole(body), Some(undo)),
            None => (Payload::Whole(whole.clone()), None),
        };
        let view = parse::view(self.route, &payload)?;
        let turn = path::turn(
            &self.gateway,
            &self.entered,
            &self.inbound,
            view.as_ref(),
            self.bytes,
        )
        .await?;
        self.waited = turn.as_ref().map(|turn| turn.waited).unwrap_or_default();
        let terms = Terms {
            among: self.among.clone(),
            model_required: true,
            explain: self.picker.config.emit_scores,
            held_only: headers::prefers(&self.inbound.headers, IF_AVAILABLE),
            prompts: path::tokenize(
                &self.gateway,
                &self.entered,
                &self.inbound,
                self.route,
                view.as_ref(),
                &payload,
            )
            .await,
        };
        let decided = path::decide(
            &self.gateway,
            &self.entered,
            &self.inbound,
            self.route,
            view.as_ref(),
            &payload,
            &terms,
            &mut self.record,
        )?;
        drop(turn);
        drop(view);
        let spliced = match payload {
            Payload::Whole(body) if undo.is_some() => Some(body),
            _ => None,
        };
        let rewritten = decided.rewritten.clone().or(spliced);
        // A body in one piece was lent for reading; here it comes back, unmoved.
        let came = match &rewritten {
            Some(_) => Vec::new(),
            None => pieces.unwrap_or_else(|| vec![whole.into()]),
        };
        Ok((
            decided,
            Outgoing {
                rewritten,
                came,
                undo,
            },
        ))
    }

    /// The whole body in one, and its pieces where it came in several.
    fn payload(&mut self) -> (Bytes, Option<Vec<Vec<u8>>>) {
        let mut pieces = std::mem::take(&mut self.pieces);
        if pieces.len() <= 1 {
            return (pieces.pop().map(Bytes::from).unwrap_or_default(), None);
        }
        if self.route == Route::Other {
            return (Bytes::new(), Some(pieces));
        }
        (Bytes::from(pieces.concat()), Some(pieces))
    }

    /// The body with the model that a header asks for, and how to undo it in the response.
    fn asked_rewrite(&self, body: &Bytes) -> Result<Option<(Bytes, Undo)>, Refusal> {
        let asked = self.inbound.headers.get(headers::MODEL_REWRITE);
        let Some(target) = asked.and_then(|value| value.to_str().ok()) else {
            return Ok(None);
        };
        if self.route == Route::Other || target.is_empty() {
            return Ok(None);
        }
        let view = openai::parse(self.route, body)?;
        let model = view.model.as_deref().unwrap_or_default();
        if model.is_empty() || model == target {
            return Ok(None);
        }
        let undo = Undo::new(target, model);
        Ok(splice::set(body, "model", target).map(|body| (body, undo)))
    }

    fn send(mut self: Box<Self>, decided: Decided, body: Outgoing, length: Option<u64>) -> Sent {
        let Decided {
            pool,
            fingerprint,
            picked,
            stream,
            ..
        } = decided;
        let undo = body.undo.or_else(|| {
            let asked = self.record.model.as_str();
            let target = pool.engine_model(asked);
            (target != asked && !asked.is_empty()).then(|| Undo::new(target, asked))
        });
        let slot = picked.reservation.slot;
        let destination = self.destination(&pool, slot, &picked.decision, length);
        let view = pool.fleet().view();
        self.record.endpoint = view.get(slot).map(|e| Arc::clone(&e.spec.name));
        self.record.attempts = 1;
        self.record.predicted_cached_tokens = picked.reservation.predicted_cached_tokens;
        self.tally.priority(fingerprint.priority);
        self.tally.stages(&picked.decision.beside);
        self.tally.picked(
            &self.record,
            &fingerprint.model,
            &picked.reservation,
            self.bytes,
        );
        let picked_at = picked.reservation.picked_at;
        let clock = self.gateway.clock.clone();
        let attempt =
            Attempt::new(Arc::clone(pool.fleet()), clock, picked.reservation).with(picked.beside);
        let mut destination = destination;
        destination.name_stages(attempt.stage_headers());
        let flying = Flying::new(Takeoff {
            gateway: Arc::clone(&self.gateway),
            picker: Arc::clone(&self.picker),
            pool,
            fingerprint,
            decision: picked.decision,
            picked_at,
            attempt,
            record: self.record,
            tally: self.tally,
            undo,
            stream,
        });
        Sent {
            destination,
            rewritten: body.rewritten,
            came: body.came,
            flying: Box::new(flying),
        }
    }

    fn destination(
        &self,
        pool: &crate::route::Pool,
        slot: kv_index::Slot,
        decision: &Decision,
        length: Option<u64>,
    ) -> Destination {
        let view = pool.fleet().view();
        let most = self.picker.config.max_endpoints.unwrap_or(usize::MAX);
        let others = decision.preferences.iter().filter(|other| **other != slot);
        let barred = self.among.barred(pool);
        let order = std::iter::once(&slot).chain(others.filter(|other| !barred.contains(other)));
        let addresses = order.take(most.max(1)).filter_map(|slot| view.get(*slot));
        let addresses: Vec<&str> = addresses.map(|e| &*e.spec.address).collect();
        let mut set: Vec<(&'static str, HeaderValue)> = Vec::new();
        let came = &self.inbound.headers;
        if !came.contains_key(headers::REQUEST_ID) {
            set.push(("x-request-id", self.inbound.request_id.clone()));
        }
        let mut remove = headers::system_owned(came);
        if let Some(rank) = view.get(slot).and_then(|endpoint| endpoint.spec.rank) {
            set.push(("x-data-parallel-rank", HeaderValue::from(rank)));
        }
        match &pool.engine_authorization {
            Some(key) => set.push(("authorization", key.clone())),
            None if !pool.route.pass_client_authorization && came.contains_key(AUTHORIZATION) => {
                remove.push("authorization".to_owned());
            }
            None => {}
        }
        if let Some(bytes) = length.filter(|bytes| *bytes > 0) {
            set.push(("content-length", HeaderValue::from(bytes)));
        }
        if self.inbound.prefix_bytes > 0
            && let Ok(path) = HeaderValue::try_from(&*self.inbound.path_and_query())
        {
            set.push((":path", path));
        }
        remove.retain(|name| name != answer::DESTINATION && !set.iter().any(|(n, _)| n == name));
        Destination {
            endpoints: addresses.join(","),
            set,
            remove,
            scores: match self.picker.config.emit_scores {
                true => scores::totals(&decision.reasons),
                false => Vec::new(),
            },
        }
    }
}
