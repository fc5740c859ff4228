//! What does a request's body say, and which pool is it for?

use std::sync::Arc;

use engine_api::openai::{self, RequestView, Route};
use http::Method;
use hyper::body::Incoming;
use scheduler::NoEndpoint;

use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::route::{Place, Pool, Routes, short_name};
use crate::stored::Home;
use crate::wire::Payload;
use crate::{body, splice};

/// The route by whose rules the body is read; [`Route::Other`] for what is passed on unread.
pub(crate) fn route(inbound: &Inbound) -> Route {
    if inbound.method != Method::POST || body::is_encoded(&inbound.headers) {
        return Route::Other;
    }
    Route::of(inbound.path())
}

/// Takes the body in, as far as its route needs it.
///
/// # Errors
/// A content type that is not JSON where JSON is read; too large, too slow, broken off.
pub(crate) async fn receive(
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

/// How much of the body is read.
pub(crate) fn read_bytes(route: Route, payload: &Payload) -> usize {
    match payload {
        Payload::Whole(body) if route != Route::Other => body.len(),
        _ => 0,
    }
}

/// What the body says; `None` for one that is passed on unread.
///
/// # Errors
/// No engine would accept it.
pub(crate) fn view(route: Route, payload: &Payload) -> Result<Option<RequestView<'_>>, Refusal> {
    match payload {
        Payload::Whole(body) if route != Route::Other => Ok(Some(openai::parse(route, body)?)),
        _ => Ok(None),
    }
}

/// The pool this request belongs to: where its state is, else the one its path names, else its model's.
pub(crate) fn choose(
    routes: &Routes,
    place: &Place,
    path: &str,
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
        Err(Refusal::UnknownModel { .. }) if !path.starts_with("/v1/") => match &place.pool {
            Some(pool) => Ok(Arc::clone(pool)),
            None => routes.default_pool().cloned(),
        },
        chosen => chosen,
    }
}

/// `refusal`, or what is truer where its pool was only guessed: that no list of models that could be read has this one.
pub(crate) fn unseen(
    routes: &Routes,
    place: &Place,
    view: Option<&RequestView<'_>>,
    pool: &Pool,
    refusal: Refusal,
) -> Refusal {
    let model = view.and_then(|view| view.model.as_deref());
    let model = model.filter(|model| !model.is_empty() && !pool.knows(model));
    let (
        Some(model),
        Refusal::NoEndpoint {
            reason: NoEndpoint::NoneReady { .. },
            retry_after_seconds,
        },
    ) = (model, &refusal)
    else {
        return refusal;
    };
    let known = routes.known_models(place.pool.as_ref());
    if known.is_empty() {
        return refusal;
    }
    Refusal::UnseenModel {
        model: short_name(model),
        known,
        pool: pool.name.to_string(),
        retry_after_seconds: *retry_after_seconds,
    }
}

/// The client's name for its model, where the pool's engines know it by another.
pub(crate) fn renamed<'v>(pool: &Pool, view: Option<&'v RequestView<'_>>) -> Option<&'v str> {
    let asked = view?.model.as_deref()?;
    (pool.engine_model(asked) != asked).then_some(asked)
}

/// The body as the operator wants engines to see it; `None` where that is how it came.
pub(crate) fn rewrite(
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
