//! Which way does every request go? Parse, admit, fingerprint, pick, forward.
//!
//! [`enter`] and [`decide`] are the same for every frontend. What follows differs: the HTTP frontend forwards to
//! the picked endpoint, the endpoint picker tells its data plane where to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engine_api::openai::{RequestView, Route};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::error::Refusal;
use crate::fingerprint::Fingerprint;
use crate::flow::{Entrant, Turn};
use crate::forward::{self, Landed, Trip};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::pick::{Among, Picked};
use crate::record::Record;
use crate::reply::Reply;
use crate::route::{Place, Pool, Routes};
use crate::tokens::{self, Prompts};
use crate::wire::Payload;
use crate::{access, headers, local, parse, pick, sticky};

/// Where a request came out.
enum Passage {
    Local(Response<Reply>),
    Forwarded(Box<Landed>),
}

/// What a request's path says.
pub(crate) struct Entered {
    pub(crate) routes: Arc<Routes>,
    pub(crate) place: Place,
}

/// What a frontend asks for beside what the request says.
#[derive(Default)]
pub(crate) struct Terms {
    pub(crate) among: Among,
    /// A body that is read must name its model.
    pub(crate) model_required: bool,
    /// Keep every candidate's scores.
    pub(crate) explain: bool,
    /// Go on only where some of the prompt is held.
    pub(crate) held_only: bool,
    /// The prompts as tokens, where that is of use.
    pub(crate) prompts: Prompts,
}

/// A request with its endpoint reserved; nothing has been sent.
pub(crate) struct Decided {
    pub(crate) pool: Arc<Pool>,
    pub(crate) fingerprint: Fingerprint,
    /// Set where the body must go out other than it came.
    pub(crate) rewritten: Option<bytes::Bytes>,
    /// The client's name for the model, where engines know it by another.
    pub(crate) asked: Option<String>,
    pub(crate) picked: Picked,
    /// The response is asked for as a stream.
    pub(crate) stream: bool,
}

/// Carries one request to its response; every error is a response too.
pub(crate) async fn carry(
    gateway: Arc<Gateway>,
    request: Request<Incoming>,
    client: Option<IpAddr>,
) -> Response<Reply> {
    let (inbound, body) = Inbound::of(request, client);
    let id = inbound.request_id.clone();
    let mut record = Record::begin(&gateway, &inbound.method, &inbound.uri, id.clone());
    let mut response = match travel(&gateway, inbound, body, &mut record).await {
        Ok(Passage::Forwarded(landed)) => landed.board(record),
        Ok(Passage::Local(response)) => record.answer(response),
        Err(refusal) => record.answer(refusal.respond()),
    };
    response
        .headers_mut()
        .entry(headers::REQUEST_ID)
        .or_insert(id);
    response
}

async fn travel(
    gateway: &Arc<Gateway>,
    mut inbound: Inbound,
    body: Incoming,
    record: &mut Record,
) -> Result<Passage, Refusal> {
    let deadline = Instant::now() + Duration::from_millis(gateway.config.total_timeout_ms);
    let entered = enter(gateway, &mut inbound)?;
    let Entered { routes, place } = &entered;
    if let Some(answer) = local::answer(gateway, routes, place.pool.as_ref(), &inbound) {
        return answer.map(Passage::Local);
    }
    may_pass(gateway, &inbound)?;

    let route = parse::route(&inbound);
    let receiving = parse::receive(gateway, &inbound, route, body);
    let mut payload = tokio::time::timeout_at(deadline, receiving)
        .await
        .unwrap_or(Err(Refusal::BodySlow))?;
    let decided = {
        let bytes = parse::read_bytes(route, &payload);
        let view = gateway.large.read(bytes, || parse::view(route, &payload));
        let view = view.await?;
        let view = view.as_ref();
        // Held until the request is placed.
        let body_bytes = payload.length_bytes().unwrap_or(0);
        let _turn = turn(gateway, &entered, &inbound, view, body_bytes).await?;
        let terms = Terms {
            prompts: tokenize(gateway, &entered, &inbound, route, view, &payload).await,
            ..Terms::default()
        };
        let decide = || {
            decide(
                gateway, &entered, &inbound, route, view, &payload, &terms, record,
            )
        };
        gateway.large.read(bytes, decide).await?
    };
    if let Some(rewritten) = decided.rewritten {
        payload = Payload::Whole(rewritten);
    }

    let trip = Trip::new(
        gateway,
        decided.pool,
        inbound,
        decided.fingerprint,
        payload,
        decided.asked,
        deadline,
    );
    let landed = forward::forward(trip, decided.picked, record).await?;
    Ok(Passage::Forwarded(Box::new(landed)))
}

/// Looks at what a request says before its body.
///
/// # Errors
/// What no engine should see: tunnels, echoes, upgrades.
pub(crate) fn enter(gateway: &Gateway, inbound: &mut Inbound) -> Result<Entered, Refusal> {
    inbound.check()?;
    let routes = gateway.routes.load_full();
    let place = routes.enter(inbound, || gateway.chance_of_share())?;
    inbound.prefix_bytes = place.prefix_bytes;
    Ok(Entered { routes, place })
}

/// Refuses, before a body is read, what would be refused whatever it says.
///
/// # Errors
/// [`Refusal::ControlPath`], or [`Refusal::Shed`] while there is no room.
pub(crate) fn may_pass(gateway: &Gateway, inbound: &Inbound) -> Result<(), Refusal> {
    if gateway.control.refuses(inbound.path()) {
        return Err(Refusal::ControlPath);
    }
    gateway.shed_early()
}

/// The prompts as tokens, where some endpoint's engine tells what it holds. What is wrong with a request is for
/// [`decide`] to say.
pub(crate) async fn tokenize(
    gateway: &Gateway,
    entered: &Entered,
    inbound: &Inbound,
    route: Route,
    view: Option<&RequestView<'_>>,
    payload: &Payload,
) -> Prompts {
    let Entered { routes, place } = entered;
    let (Payload::Whole(body), Some(view)) = (payload, view) else {
        return Prompts::default();
    };
    if !routes.pools.iter().any(|pool| tokens::wanted(pool)) {
        return Prompts::default();
    }
    let Ok(home) = sticky::home(gateway, place, inbound, Some(view)) else {
        return Prompts::default();
    };
    match parse::choose(routes, place, inbound.path(), Some(view), home.as_ref()) {
        Ok(pool) if tokens::wanted(&pool) => tokens::of(gateway, &pool, view, route, body).await,
        _ => Prompts::default(),
    }
}

/// The request's turn, where its pool has flow control; it is to be held until the request is placed.
///
/// # Errors
/// [`Refusal::Queue`]. What else is wrong with a request is for [`decide`] to say, at once.
pub(crate) async fn turn(
    gateway: &Gateway,
    entered: &Entered,
    inbound: &Inbound,
    view: Option<&RequestView<'_>>,
    bytes: u64,
) -> Result<Option<Turn>, Refusal> {
    let Entered { routes, place } = entered;
    if routes.pools.iter().all(|pool| pool.route.flow.is_none()) {
        return Ok(None);
    }
    let pool = sticky::home(gateway, place, inbound, view)
        .and_then(|home| parse::choose(routes, place, inbound.path(), view, home.as_ref()));
    let Some(flow) = pool.ok().and_then(|pool| pool.route.flow.clone()) else {
        return Ok(None);
    };
    let said = |name: &http::HeaderName| headers::spelt(&inbound.headers, name.as_str());
    let ttft_ms = said(&headers::SLO_TTFT).and_then(|ms| ms.trim().parse().ok());
    let entrant = Entrant {
        priority: gateway.priority(&inbound.headers),
        fairness: said(&headers::FAIRNESS_ID).unwrap_or(headers::DEFAULT_FLOW),
        ttft: ttft_ms.and_then(|ms: f64| Duration::try_from_secs_f64(ms / 1e3).ok()),
        bytes,
    };
    let turn = flow.enter(&entrant).await;
    turn.map_err(|why| Refusal::Queue {
        why,
        retry_after_seconds: gateway.config.retry_after_seconds,
    })
}

/// Admit, fingerprint, pick: everything between a request that was read and the endpoint it goes to.
///
/// # Errors
/// Every reason not to send it anywhere.
pub(crate) fn decide(
    gateway: &Arc<Gateway>,
    entered: &Entered,
    inbound: &Inbound,
    route: Route,
    view: Option<&RequestView<'_>>,
    payload: &Payload,
    terms: &Terms,
    record: &mut Record,
) -> Result<Decided, Refusal> {
    let Entered { routes, place } = entered;
    if terms.model_required
        && let Some(view) = view
        && view.model.as_deref().unwrap_or_default().is_empty()
    {
        return Err(Refusal::ModelMissing);
    }
    let home = sticky::home(gateway, place, inbound, view)?;
    let pool = parse::choose(routes, place, inbound.path(), view, home.as_ref())?;
    if pool.route.parsers.claim(inbound.path()).is_none() {
        return Err(Refusal::Unclaimed);
    }
    let salt = access::cache_salt(&pool, &inbound.headers)?;
    record.about(&pool, route, view);

    record.permit = Some(gateway.admit()?);

    let begun = gateway.clock.now();
    let mut fingerprint = Fingerprint::of(view, &pool, salt, &inbound.headers, &terms.prompts);
    let shown = gateway.config.response_headers && inbound.wants_explanation();
    fingerprint.explain = shown || terms.explain;
    fingerprint.priority = gateway.priority(&inbound.headers);
    let rewritten = parse::rewrite(&pool, view, salt, payload)?;
    let asked = parse::renamed(&pool, view).map(str::to_owned);

    let picked = pick::pick(gateway, &pool, &fingerprint, home.as_ref(), &terms.among)
        .map_err(|refusal| parse::unseen(routes, place, view, &pool, refusal))?;
    if terms.held_only && picked.reservation.matched_blocks == 0 {
        pick::give_back(gateway, &pool, picked);
        return Err(Refusal::NothingHeld);
    }
    record.decided(&picked, gateway.clock.now().saturating_sub(begun));
    Ok(Decided {
        stream: view.is_some_and(|view| view.stream),
        pool,
        fingerprint,
        rewritten,
        asked,
        picked,
    })
}
