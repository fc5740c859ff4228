//! How does a request reach an engine that answers?
//!
//! Until the first byte of a response body nothing has been passed on, so the request can go to its next
//! preference, never to the same endpoint twice. A connection that had carried a request before and breaks before
//! a byte of the answer says nothing about the engine: one fresh connection is tried to the same endpoint.

use std::sync::Arc;
use std::time::Duration;

use fleet::{EndpointView, Failure, Reservation};
use http::{HeaderValue, Response, StatusCode};
use kv_index::Slot;
use scheduler::{Decision, NoEndpoint};
use tokio::time::Instant;

use crate::attempt::Attempt;
use crate::body::too_large;
use crate::error::Refusal;
use crate::fingerprint::Fingerprint;
use crate::flight::{Flight, Limits};
use crate::gateway::Gateway;
use crate::headers::{self, Additions};
use crate::inbound::Inbound;
use crate::metrics::{FailureLabels, kind};
use crate::pick::{self, Picked};
use crate::record::Record;
use crate::reply::Reply;
use crate::route::Pool;
use crate::scores;
use crate::wire::{
    BodyFault, ConnectError, Connection, Payload, RequestHead, ResponseHead, Target, Tls, WireError,
};

/// What goes out, to whichever endpoint.
pub(crate) struct Trip {
    gateway: Arc<Gateway>,
    pool: Arc<Pool>,
    inbound: Inbound,
    fingerprint: Fingerprint,
    payload: Payload,
    /// The client's name for the model, where engines were given another.
    asked: Option<String>,
    /// End of the whole request.
    deadline: Instant,
}

/// A response of which a byte is at hand, or that has none.
pub(crate) struct Landed {
    endpoint: Arc<str>,
    head: ResponseHead,
    flight: Box<Flight>,
    /// Headers of ours.
    extra: Vec<(http::HeaderName, HeaderValue)>,
}

/// How an attempt did not become the answer.
enum Missed {
    Failed(Failure),
    /// The engine's own word on it, to be passed on if no other endpoint does better.
    Answered(Failure, Box<Landed>),
    /// No endpoint is to blame, and none can help.
    Refused(Refusal),
}

impl Trip {
    pub(crate) fn new(
        gateway: &Arc<Gateway>,
        pool: Arc<Pool>,
        mut inbound: Inbound,
        fingerprint: Fingerprint,
        payload: Payload,
        asked: Option<String>,
        deadline: Instant,
    ) -> Self {
        headers::to_engine(
            &mut inbound.headers,
            &Additions {
                request_id: &inbound.request_id,
                client: inbound.client,
                engine_authorization: pool.engine_authorization.as_ref(),
                pass_client_authorization: pool.route.pass_client_authorization,
            },
        );
        Self {
            gateway: Arc::clone(gateway),
            pool,
            inbound,
            fingerprint,
            payload,
            asked,
            deadline,
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            idle: Duration::from_millis(self.gateway.config.idle_timeout_ms),
            deadline: self.deadline,
            max_idle_connections: self.gateway.config.max_idle_connections_per_endpoint,
        }
    }

    /// When an attempt that begins now has taken too long. Over a body that still comes in, the client's own pace
    /// is no fault of the engine, so only the whole request's end counts.
    fn first_byte_due(&self) -> Instant {
        match (self.gateway.config.first_byte_timeout_ms, &self.payload) {
            (Some(ms), Payload::Whole(_)) => self
                .deadline
                .min(Instant::now() + Duration::from_millis(ms)),
            _ => self.deadline,
        }
    }

    /// Whether the body can be sent once more.
    fn can_resend(&self) -> bool {
        self.payload.can_be_sent()
    }
}

/// Tries endpoints until one answers.
///
/// # Errors
/// [`Refusal`] when none did; an engine's own 5xx or 429 is passed on instead, unchanged, where there was one.
pub(crate) async fn forward(
    mut trip: Trip,
    picked: Picked,
    record: &mut Record,
) -> Result<Landed, Refusal> {
    let Picked {
        mut reservation,
        mut beside,
        mut decision,
        pinned,
    } = picked;
    let mut tried: Vec<Slot> = Vec::new();
    let mut held = None;
    loop {
        let slot = reservation.slot;
        record.attempts += 1;
        let missed = match attempt(&mut trip, reservation, beside, &decision, record).await {
            Ok(landed) => return Ok(landed),
            Err(missed) => missed,
        };
        tried.push(slot);
        let last = match missed {
            Missed::Refused(refusal) => return Err(refusal),
            Missed::Failed(failure) => failure,
            Missed::Answered(failure, landed) => {
                held = Some(landed);
                failure
            }
        };
        let may_go_on = !pinned
            && record.attempts < trip.gateway.config.max_attempts
            && trip.can_resend()
            && Instant::now() < trip.deadline;
        let next = if may_go_on {
            pick::next(
                &trip.gateway,
                &trip.pool,
                &trip.fingerprint,
                &mut decision,
                &tried,
            )
        } else {
            Err(NoEndpoint::Exhausted)
        };
        (reservation, beside) = match (next, held.take()) {
            (Ok(reserved), answer) => {
                held = answer;
                reserved
            }
            (Err(_), Some(landed)) => return Ok(*landed),
            (Err(NoEndpoint::Exhausted), None) => {
                let sent_once = !trip.can_resend();
                return Err(trip.gateway.all_failed(last, sent_once));
            }
            (Err(reason), None) => return Err(trip.gateway.no_endpoint(reason)),
        };
    }
}

/// One endpoint's turn.
async fn attempt(
    trip: &mut Trip,
    reservation: Reservation,
    beside: Vec<Reservation>,
    decision: &Decision,
    record: &mut Record,
) -> Result<Landed, Missed> {
    let fleet = Arc::clone(trip.pool.fleet());
    let view = fleet.view();
    let endpoint = view.get(reservation.slot).cloned();
    let mut attempt = Attempt::new(fleet, trip.gateway.clock.clone(), reservation).with(beside);
    if !decision.beside.is_empty() {
        headers::set_stages(&mut trip.inbound.headers, &attempt.stage_headers());
    }
    let target = endpoint
        .as_ref()
        .and_then(|endpoint| trip.gateway.connections.target(&endpoint.spec.url));
    let (Some(endpoint), Some(target)) = (endpoint, target) else {
        // It left between the pick and now; that is nobody's failure, and the guard says so.
        return Err(Missed::Failed(Failure::ConnectRefused));
    };
    record.endpoint = Some(Arc::clone(&endpoint.spec.name));
    let due = trip.first_byte_due();
    let arrival = tokio::time::timeout_at(due, arrive(trip, &endpoint, &target)).await;
    let (connection, head) = match arrival {
        Ok(Ok(arrived)) => arrived,
        Ok(Err(Fault::Engine(failure))) => {
            return Err(failed(trip, &endpoint, &mut attempt, failure));
        }
        Ok(Err(Fault::Client(fault))) => return Err(Missed::Refused(client_fault(trip, fault))),
        Err(_) => return Err(overdue(trip, &endpoint, &mut attempt)),
    };
    let mut landed = land(trip, &endpoint, target, connection, head, attempt, decision);
    let status = landed.head.status;
    if is_for_others(status) {
        let failure = Failure::Status(status.as_u16());
        match status {
            // Busy is not broken.
            StatusCode::TOO_MANY_REQUESTS => landed.flight.attempt.complete(status.as_u16()),
            _ => {
                count(trip, &endpoint, failure);
                landed.flight.attempt.failed_before(failure);
            }
        }
        return Err(Missed::Answered(failure, Box::new(landed)));
    }
    match tokio::time::timeout_at(due, landed.flight.first_byte()).await {
        Ok(Ok(())) => Ok(landed),
        Ok(Err(failure)) => {
            let missed = failed(trip, &endpoint, &mut landed.flight.attempt, failure);
            match failure {
                Failure::InBand => Err(Missed::Answered(failure, Box::new(landed))),
                _ => Err(missed),
            }
        }
        Err(_) => Err(overdue(trip, &endpoint, &mut landed.flight.attempt)),
    }
}

/// Whether another endpoint may do better than one that answers `status`.
fn is_for_others(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
    )
}

/// Why no head arrived.
enum Fault {
    Engine(Failure),
    Client(BodyFault),
}

/// Sends the request on an idle connection, or a fresh one, and reads the head of the response.
async fn arrive(
    trip: &mut Trip,
    endpoint: &EndpointView,
    target: &Arc<Target>,
) -> Result<(Connection, ResponseHead), Fault> {
    headers::set_rank(&mut trip.inbound.headers, endpoint.spec.rank);
    let mut idle = target.reuse();
    loop {
        let mut connection = match idle.take() {
            Some(connection) => connection,
            None => connect(trip, target).await.map_err(Fault::Engine)?,
        };
        let path = trip.inbound.path_and_query();
        let head = RequestHead {
            method: &trip.inbound.method,
            path: &path,
            base_path: &target.base_path,
            host: &target.authority,
            headers: &trip.inbound.headers,
            body_bytes: trip.payload.length_bytes(),
        };
        let head = head.write();
        let exchanged = connection
            .exchange(&trip.inbound.method, head, &mut trip.payload)
            .await;
        match exchanged {
            Ok(head) => return Ok((connection, head)),
            Err(WireError::Client(fault)) => return Err(Fault::Client(fault)),
            Err(WireError::Closed)
                if connection.reused && !connection.answered && trip.can_resend() => {}
            Err(WireError::Closed) => return Err(Fault::Engine(Failure::Reset)),
            Err(WireError::Protocol) => return Err(Fault::Engine(Failure::Protocol)),
        }
    }
}

async fn connect(trip: &Trip, target: &Target) -> Result<Connection, Failure> {
    let timeout = Duration::from_millis(trip.gateway.config.connect_timeout_ms);
    let route = &trip.pool.route;
    let tls = route.tls.as_ref().map(|config| Tls {
        config,
        server_name: route.tls_server_name.as_deref(),
    });
    let opened = target.connect(timeout, tls).await;
    opened.map_err(|error| match error {
        ConnectError::Refused => Failure::ConnectRefused,
        ConnectError::Unreachable => Failure::ConnectTimeout,
        ConnectError::Tls => Failure::Tls,
    })
}

fn failed(trip: &Trip, endpoint: &EndpointView, attempt: &mut Attempt, failure: Failure) -> Missed {
    count(trip, endpoint, failure);
    attempt.failed_before(failure);
    Missed::Failed(failure)
}

/// No first byte in time: the endpoint's failure if it had its full time, else only the request's end.
fn overdue(trip: &Trip, endpoint: &EndpointView, attempt: &mut Attempt) -> Missed {
    let missed = failed(trip, endpoint, attempt, Failure::FirstByteTimeout);
    if Instant::now() < trip.deadline {
        return missed;
    }
    Missed::Refused(Refusal::TotalTimeout {
        limit_ms: trip.gateway.config.total_timeout_ms,
    })
}

fn client_fault(trip: &Trip, fault: BodyFault) -> Refusal {
    match fault {
        BodyFault::Broken => Refusal::BodyBroken,
        BodyFault::Slow => Refusal::BodySlow,
        BodyFault::TooLarge => too_large(trip.gateway.body_limits()),
    }
}

fn count(trip: &Trip, endpoint: &EndpointView, failure: Failure) {
    let labels = FailureLabels {
        pool: Arc::clone(&trip.pool.name),
        endpoint: Arc::clone(&endpoint.spec.name),
        kind: kind(failure),
    };
    trip.gateway.metrics.failures.get_or_create(&labels).inc();
    tracing::debug!(endpoint = &*endpoint.spec.name, %failure, "attempt failed");
}

/// What plugins say to the client about the endpoint that answered.
fn plugin_headers(trip: &Trip, slot: Slot) -> Vec<(String, String)> {
    let fleet = trip.pool.fleet();
    let view = fleet.view();
    let row = view.row_of.get(slot.index()).copied().flatten();
    let info = row.and_then(|row| view.infos.get(row as usize));
    info.map(|info| fleet.profile().response_headers(info))
        .unwrap_or_default()
}

fn land(
    trip: &Trip,
    endpoint: &EndpointView,
    target: Arc<Target>,
    connection: Connection,
    mut head: ResponseHead,
    attempt: Attempt,
    decision: &Decision,
) -> Landed {
    let mut extra = Vec::new();
    let of_stages = pick::stage_response_headers(trip.pool.fleet(), decision);
    for (name, value) in plugin_headers(trip, endpoint.slot)
        .into_iter()
        .chain(of_stages)
    {
        if let (Ok(name), Ok(value)) = (name.parse(), HeaderValue::try_from(value)) {
            extra.push((name, value));
        }
    }
    if trip.gateway.config.response_headers {
        let cached = attempt.predicted_cached_tokens();
        extra.extend(
            HeaderValue::from_str(&endpoint.spec.name).map(|name| (headers::ENDPOINT, name)),
        );
        extra.push((headers::CACHED_TOKENS, HeaderValue::from(cached)));
        if trip.fingerprint.explain {
            let all = HeaderValue::try_from(scores::compact(&decision.reasons));
            extra.extend(all.map(|all| (headers::SCORES, all)));
        }
    }
    let asked = trip.asked.as_deref();
    let flight = Flight::new(connection, target, &mut head, attempt, trip.limits(), asked);
    Landed {
        endpoint: Arc::clone(&endpoint.spec.name),
        head,
        flight: Box::new(flight),
        extra,
    }
}

impl Landed {
    /// The response as the client gets it; `record` goes along until its end.
    pub(crate) fn board(mut self, mut record: Box<Record>) -> Response<Reply> {
        record.endpoint = Some(self.endpoint);
        self.flight.board(record);
        let mut response = Response::new(Reply::Passing(self.flight));
        *response.status_mut() = self.head.status;
        let headers = response.headers_mut();
        *headers = self.head.headers;
        for (name, value) in self.extra {
            headers.insert(name, value);
        }
        response
    }
}
