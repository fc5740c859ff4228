//! Which way does every request go? Parse, admit, fingerprint, pick, forward.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::error::Refusal;
use crate::fingerprint::Fingerprint;
use crate::forward::{self, Landed, Trip};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::record::Record;
use crate::reply::Reply;
use crate::wire::Payload;
use crate::{access, headers, local, parse, pick, sticky};

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

    let route = parse::route(&inbound);
    let receiving = parse::receive(gateway, &inbound, route, body);
    let mut payload = tokio::time::timeout_at(deadline, receiving)
        .await
        .unwrap_or(Err(Refusal::BodySlow))?;
    let view = parse::view(route, &payload)?;
    let home = sticky::home(gateway, &inbound, view.as_ref())?;
    let pool = parse::choose(
        &routes,
        &place,
        inbound.path(),
        view.as_ref(),
        home.as_ref(),
    )?;
    if pool.route.parsers.claim(inbound.path()).is_none() {
        return Err(Refusal::Unclaimed);
    }
    let salt = access::cache_salt(&pool, &inbound.headers)?;
    record.about(&pool, route, view.as_ref());

    record.permit = Some(gateway.admit()?);

    let begun = gateway.clock.now();
    let mut fingerprint = Fingerprint::of(view.as_ref(), &pool, salt, &inbound.headers);
    fingerprint.explain = gateway.config.response_headers && inbound.wants_explanation();
    if let Some(rewritten) = parse::rewrite(&pool, view.as_ref(), salt, &payload)? {
        payload = Payload::Whole(rewritten);
    }

    let picked = pick::pick(gateway, &pool, &fingerprint, home.as_ref())?;
    record.decided(&picked, gateway.clock.now().saturating_sub(begun));

    let trip = Trip::new(gateway, pool, inbound, fingerprint, payload, deadline);
    let landed = forward::forward(trip, picked, record).await?;
    Ok(Passage::Forwarded(Box::new(landed)))
}
