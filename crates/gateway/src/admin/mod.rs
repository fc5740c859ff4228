//! What may an operator ask and do?
//!
//! The address is meant for operators: nothing here asks for a key, so it is bound to the machine itself by default.

mod endpoints;
mod explain;
mod figures;
mod state;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use figures::collector;

use crate::body;
use crate::error::Refusal;
use crate::frontend::{self, Settings};
use crate::gateway::Gateway;
use crate::local;
use crate::reply::Reply;

/// Longest time for an operator's request to end after a stop was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Who may ask and change more than metrics and health.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trusted {
    Everyone,
    /// Only who is on this machine.
    Local,
}

/// Serves operators until `stop`.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    trusted: Trusted,
    stop: CancellationToken,
) {
    let settings = Settings::of(&gateway);
    let answer = move |request: Request<Incoming>, client: Option<IpAddr>| {
        let gateway = Arc::clone(&gateway);
        let is_local = client.is_some_and(|client| client.to_canonical().is_loopback());
        let barred =
            trusted == Trusted::Local && !is_local && request.uri().path().starts_with("/admin/");
        async move {
            let answered = match barred {
                true => Err(Refusal::NotFound),
                false => answer(&gateway, request).await,
            };
            answered.unwrap_or_else(|refusal| refusal.respond())
        }
    };
    frontend::connections(listener, settings, stop, DRAIN_TIMEOUT, answer).await;
}

async fn answer(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Refusal> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    match path {
        "/metrics" | "/healthz" | "/health" | "/readyz" | "/admin/state" if !reads => {
            Err(Refusal::Method { allow: "GET, HEAD" })
        }
        "/metrics" => Ok(local::metrics(gateway)),
        "/healthz" | "/health" => Ok(local::status(StatusCode::OK)),
        "/readyz" => Ok(local::readiness(gateway, gateway.is_ready())),
        "/admin/state" => Ok(state::answer(gateway)),
        _ => {
            let rest = path.strip_prefix("/admin/").ok_or(Refusal::NotFound)?;
            if rest != "explain" && !rest.starts_with("endpoints/") {
                return Err(Refusal::NotFound);
            }
            if parts.method != Method::POST {
                return Err(Refusal::Method { allow: "POST" });
            }
            let body = body::collect(&parts.headers, body, gateway.body_limits()).await?;
            match rest.strip_prefix("endpoints/") {
                Some(named) => endpoints::answer(gateway, named),
                None => explain::answer(gateway, parts.uri.query(), &parts.headers, &body).await,
            }
        }
    }
}
