//! How does a test make the engine misbehave, and follow what it saw?
//!
//! These routes have no lock and are never struck by a fault.

use http::{Response, StatusCode};
use serde_json::json;

use super::body::Body;
use super::reply::{self, Failure};
use super::request::parse;
use super::shell::Shell;
use crate::fault::Fault;

pub(crate) fn arm(shell: &Shell, body: &[u8]) -> Result<Response<Body>, Failure> {
    let fault: Fault = parse(body)?;
    let fault = fault.checked().map_err(Failure::invalid)?;
    shell
        .faults
        .arm(fault, shell.clock.now())
        .map_err(Failure::invalid)?;
    Ok(list(shell))
}

pub(crate) fn clear(shell: &Shell) -> Response<Body> {
    shell.faults.clear();
    list(shell)
}

pub(crate) fn list(shell: &Shell) -> Response<Body> {
    let armed = shell.faults.list(shell.clock.now()).into_iter();
    let armed: Vec<_> = armed
        .map(|(fault, struck)| json!({"fault": fault, "struck": struck}))
        .collect();
    reply::json(StatusCode::OK, &json!({ "faults": armed }))
}

/// The last requests seen, oldest first.
pub(crate) fn requests(shell: &Shell) -> Response<Body> {
    reply::json(StatusCode::OK, &json!({"requests": shell.seen.list()}))
}
