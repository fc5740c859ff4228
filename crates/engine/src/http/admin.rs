//! How does a test make the engine misbehave, and follow what it saw?
//!
//! These routes have no lock and are never struck by a fault.

use http::{Response, StatusCode};
use serde_json::json;

use super::body::Body;
use super::reply::{self, Failure};
use super::request::parse;
use super::shell::Shell;
use crate::fault::{Fault, Kind};

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

/// Takes no step until woken: health is fine, requests wait.
pub(crate) fn sleep(shell: &Shell, query: Option<&str>) -> Result<Response<Body>, Failure> {
    let words = query.unwrap_or_default().split('&');
    let level = words
        .filter_map(|word| word.strip_prefix("level="))
        .next_back();
    let level = match level.unwrap_or("1").parse() {
        Ok(level @ 0..=2_u8) => level,
        _ => return Err(Failure::invalid("level must be 0, 1 or 2").param("level")),
    };
    let now = shell.clock.now();
    if !shell.faults.in_force(Kind::Sleep, now) {
        shell
            .faults
            .arm(Fault::new(Kind::Sleep), now)
            .map_err(Failure::invalid)?;
    }
    let answer = json!({"status": "sleeping", "level": level});
    Ok(reply::json(StatusCode::OK, &answer))
}

pub(crate) fn wake_up(shell: &Shell) -> Response<Body> {
    shell.faults.disarm(Kind::Sleep);
    reply::json(StatusCode::OK, &json!({"status": "awake", "tags": null}))
}

pub(crate) fn is_sleeping(shell: &Shell) -> Response<Body> {
    let asleep = shell.faults.in_force(Kind::Sleep, shell.clock.now());
    reply::json(StatusCode::OK, &json!({ "is_sleeping": asleep }))
}

/// The last requests seen, oldest first.
pub(crate) fn requests(shell: &Shell) -> Response<Body> {
    reply::json(StatusCode::OK, &json!({"requests": shell.seen.list()}))
}
