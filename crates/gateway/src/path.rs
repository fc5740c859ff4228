//! Which way does every request go? Parse, admit, fingerprint, pick, forward.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engine_api::openai::{self, RequestView, Route};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::error::Refusal;
use crate::fingerprint::Fingerprint;
use crate::forward::{self, Landed, Trip};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::record::Record;
use crate::reply::Reply;
use crate::route::{Place, Pool, Routes};
use crate::stored::Home;
use crate::wire::Payload;
use crate::{access, body, headers, local, pick, splice, sticky};

/// Where a request came out.
enum Passage {
    Local(Response<Reply>),
    Forwarded(Box<Landed>),
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
    inbound.check()?;
    let routes = gateway.routes.load_full();
    let place = routes.place(inbound.uri.path());
    inbound.prefix_bytes = place.prefix_bytes;
    if let Some(answer) = local::answer(gateway, &routes, place.pool.as_ref(), &inbound) {
        return answer.map(Passage::Local);
    }
    if gateway.control.refuses(inbound.path()) {
        return Err(Refusal::ControlPath);
    }
    gateway.shed_early()?;

    let route = readable_route(&inbound);
    let mut payload = receive(gateway, &inbound, route, body).await?;
    let view = parse(route, &payload)?;
    let home = sticky::home(gateway, &inbound, view.as_ref())?;
    let pool = choose(&routes, &place, &inbound, view.as_ref(), home.as_ref())?;
    let salt = access::cache_salt(&pool, &inbound.headers)?;
    record.about(&pool, route, view.as_ref());

    record.permit = Some(gateway.admit()?);

    let begun = gateway.clock.now();
    let mut fingerprint = Fingerprint::of(view.as_ref(), &pool, salt, &inbound.headers);
    fingerprint.explain = gateway.config.response_headers && inbound.wants_explanation();
    if let Some(rewritten) = rewrite(&pool, view.as_ref(), salt, &payload)? {
        payload = Payload::Whole(rewritten);
    }

    let picked = pick::pick(gateway, &pool, &fingerprint, home.as_ref())?;
    record.decided(&picked, gateway.clock.now().saturating_sub(begun));

    let trip = Trip::new(gateway, pool, inbound, fingerprint, payload, deadline);
    let landed = forward::forward(trip, picked, record).await?;
    Ok(Passage::Forwarded(Box::new(landed)))
}

/// The route by whose rules the body is read; [`Route::Other`] for what is passed on unread.
fn readable_route(inbound: &Inbound) -> Route {
    if inbound.method != Method::POST || body::is_encoded(&inbound.headers) {
        return Route::Other;
    }
    Route::of(inbound.path())
}

async fn receive(
    gateway: &Gateway,
    inbound: &Inbound,
    route: Route,
    body: Incoming,
) -> Result<Payload, Refusal> {
    let limits = gateway.body_limits();
    if route == Route::Other {
        return body::pass(&inbound.headers, body, limits).await;
    }
    if !body::is_json(&inbound.headers) {
        return Err(Refusal::ContentType);
    }
    let whole = body::collect(&inbound.headers, body, limits).await?;
    Ok(Payload::Whole(whole))
}

fn parse(route: Route, payload: &Payload) -> Result<Option<RequestView<'_>>, Refusal> {
    match payload {
        Payload::Whole(body) if route != Route::Other => Ok(Some(openai::parse(route, body)?)),
        _ => Ok(None),
    }
}

/// The pool this request belongs to: where its state is, else the one its path names, else its model's.
fn choose(
    routes: &Routes,
    place: &Place,
    inbound: &Inbound,
    view: Option<&RequestView<'_>>,
    home: Option<&Home>,
) -> Result<Arc<Pool>, Refusal> {
    if let Some(pool) = home.and_then(|home| routes.by_name(&home.pool)) {
        return Ok(Arc::clone(pool));
    }
    let model = view
        .and_then(|view| view.model.as_deref())
        .unwrap_or_default();
    let chosen = routes.for_model(model, place.pool.as_ref());
    match chosen {
        // Outside the OpenAI paths a model's name is not ours to judge.
        Err(Refusal::UnknownModel { .. }) if !inbound.path().starts_with("/v1/") => {
            match &place.pool {
                Some(pool) => Ok(Arc::clone(pool)),
                None => routes.default_pool().cloned(),
            }
        }
        chosen => chosen,
    }
}

/// The body as the operator wants engines to see it; `None` where that is how it came.
fn rewrite(
    pool: &Pool,
    view: Option<&RequestView<'_>>,
    salt: Option<&str>,
    payload: &Payload,
) -> Result<Option<bytes::Bytes>, Refusal> {
    let (Some(view), Payload::Whole(body)) = (view, payload) else {
        return Ok(None);
    };
    let mut rewritten = None;
    let asked = view.model.as_deref().unwrap_or_default();
    let model = pool.engine_model(asked);
    if model != asked {
        rewritten = splice::set(body, "model", model);
    }
    if let Some(salt) = salt {
        rewritten = splice::set(rewritten.as_ref().unwrap_or(body), "cache_salt", salt);
    }
    Ok(rewritten)
}
