//! How does an operator take an endpoint out of rotation, and put it back?

use std::sync::Arc;

use fleet::{Change, Event};
use http::{Response, StatusCode};
use serde_json::json;

use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::local;
use crate::reply::Reply;

/// `POST /admin/endpoints/{name}/drain` and `/undrain`; a name may hold slashes, encoded or not.
pub(super) fn answer(gateway: &Gateway, named: &str) -> Result<Response<Reply>, Refusal> {
    let (name, draining) = match named.rsplit_once('/') {
        Some((name, "drain")) => (name, true),
        Some((name, "undrain")) => (name, false),
        _ => return Err(Refusal::NotFound),
    };
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    let now = gateway.clock.now();
    let mut found = false;
    for pool in &gateway.routes.load().pools {
        if pool.fleet().view().by_name(&name).is_none() {
            continue;
        }
        found = true;
        let change = Change::Drain {
            name: Arc::from(&*name),
            draining,
        };
        pool.fleet().apply(Event::Change(change), now);
    }
    if !found {
        return Err(Refusal::NotFound);
    }
    tracing::info!(endpoint = &*name, draining, "operator changed an endpoint");
    let body = json!({"endpoint": name, "draining": draining});
    Ok(local::json_body(StatusCode::OK, &body))
}
