//! Which requests does the gateway answer without any engine?

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_api::models::ModelCard;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;

use crate::error::Refusal;
use crate::flow;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::reply::Reply;
use crate::route::{Pool, Routes};

/// The answer to `inbound`, if it is ours to give. `pool` is the one its path names.
pub(crate) fn answer(
    gateway: &Gateway,
    routes: &Routes,
    pool: Option<&Arc<Pool>>,
    inbound: &Inbound,
) -> Option<Result<Response<Reply>, Refusal>> {
    let reads = matches!(inbound.method, Method::GET | Method::HEAD);
    let path = inbound.path();
    if inbound.method == Method::OPTIONS && inbound.uri.path() == "*" {
        return Some(Ok(allowed()));
    }
    if !reads {
        return None;
    }
    Some(Ok(match (pool, path) {
        (None, "/health") => status(StatusCode::OK),
        (Some(pool), "/health") => readiness(gateway, pool.fleet().view().has_ready()),
        (None, "/readyz") => readiness(gateway, gateway.is_ready()),
        (None, "/metrics") if gateway.config.metrics_on_data_port => metrics(gateway),
        (None, "/metrics") => return Some(Err(Refusal::NotFound)),
        (pool, "/v1/models") => models(gateway, &pools(routes, pool)),
        (pool, path) => {
            // Names have slashes, which some clients encode and others do not.
            let id = percent_decode_str(path.strip_prefix("/v1/models/")?).decode_utf8_lossy();
            return Some(one_model(gateway, &pools(routes, pool), &id));
        }
    }))
}

fn pools(routes: &Routes, named: Option<&Arc<Pool>>) -> Vec<Arc<Pool>> {
    match named {
        Some(pool) => vec![Arc::clone(pool)],
        None => routes.by_model.clone(),
    }
}

pub(crate) fn status(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::empty());
    *response.status_mut() = status;
    response
}

pub(crate) fn readiness(gateway: &Gateway, ready: bool) -> Response<Reply> {
    if ready {
        return status(StatusCode::OK);
    }
    let reason = match gateway.is_draining() {
        true => "draining",
        false => "no endpoint is ready",
    };
    let mut response = json_body(
        StatusCode::SERVICE_UNAVAILABLE,
        &json!({"ready": false, "reason": reason}),
    );
    let seconds = HeaderValue::from(gateway.config.retry_after_seconds);
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

pub(crate) fn metrics(gateway: &Gateway) -> Response<Reply> {
    let page = gateway.metrics.page(|page| {
        if let Some(picker) = gateway.picker.get() {
            picker.write_figures(page, gateway);
        }
        let routes = gateway.routes.load();
        flow::write_figures(page, routes.pools.iter().map(|pool| &**pool));
    });
    let mut response = Response::new(Reply::whole(page));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    response
}

pub(crate) fn json_body(status: StatusCode, body: &impl serde::Serialize) -> Response<Reply> {
    // Only values of our own are written here, and they have string keys throughout.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Reply::whole(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn allowed() -> Response<Reply> {
    let mut response = status(StatusCode::NO_CONTENT);
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(ALLOW, methods);
    response
}

fn models(gateway: &Gateway, pools: &[Arc<Pool>]) -> Response<Reply> {
    let cards = cards(gateway, pools);
    let cards: Vec<_> = cards.into_values().collect();
    json_body(StatusCode::OK, &json!({"object": "list", "data": cards}))
}

fn one_model(gateway: &Gateway, pools: &[Arc<Pool>], id: &str) -> Result<Response<Reply>, Refusal> {
    let mut cards = cards(gateway, pools);
    match cards.remove(id) {
        Some(card) => Ok(json_body(StatusCode::OK, &card)),
        None => Err(Refusal::UnknownModel {
            model: id.to_owned(),
            known: cards.into_keys().collect(),
        }),
    }
}

/// Every model once, by id; whoever lists it first describes it.
fn cards(gateway: &Gateway, pools: &[Arc<Pool>]) -> BTreeMap<String, serde_json::Value> {
    let mut cards = BTreeMap::new();
    for pool in pools {
        let view = pool.fleet().view();
        let listed = view
            .endpoints
            .iter()
            .flat_map(|endpoint| endpoint.models.iter());
        for card in listed.flat_map(|models| models.iter()) {
            cards
                .entry(card.id.clone())
                .or_insert_with(|| describe(gateway, card));
        }
        for id in pool.model_names() {
            let bare = ModelCard {
                id: id.clone(),
                parent: None,
                max_model_len: None,
            };
            cards.entry(id).or_insert_with(|| describe(gateway, &bare));
        }
    }
    cards
}

fn describe(gateway: &Gateway, card: &ModelCard) -> serde_json::Value {
    json!({
        "id": card.id,
        "object": "model",
        // Engines say the time of the request here; one that stays lets clients compare lists.
        "created": gateway.started_unix_seconds,
        "owned_by": "prefixgate",
        "root": card.parent.as_deref().unwrap_or(&card.id),
        "parent": card.parent,
        "max_model_len": card.max_model_len,
    })
}
