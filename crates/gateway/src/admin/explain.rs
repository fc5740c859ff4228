//! Where would this request go, and why?
//!
//! The same parse, pool choice and fingerprint as a real request's, and the fleet's own decision; nothing is sent,
//! reserved or remembered.

use bytes::Bytes;
use engine_api::openai::Route;
use fleet::{EndpointView, Explanation, View};
use http::{HeaderMap, Response, StatusCode};
use scheduler::{CandidateReason, explain_words};
use serde::Serialize;

use crate::error::Refusal;
use crate::fingerprint::Fingerprint;
use crate::gateway::Gateway;
use crate::reply::Reply;
use crate::tokens::{self, Prompts};
use crate::wire::Payload;
use crate::{local, parse};

/// Path assumed where the query names none.
const DEFAULT_PATH: &str = "/v1/chat/completions";

#[derive(Serialize)]
struct Explained<'a> {
    pool: &'a str,
    model: &'a str,
    prompt_tokens: u32,
    /// Its tokens are known, so that endpoints in exact mode were matched exactly.
    tokenized: bool,
    predicted_cached_tokens: u32,
    endpoint: &'a str,
    preferences: Vec<&'a str>,
    words: String,
    candidates: Vec<Candidate<'a>>,
    /// Stages that may go to endpoints of their own.
    stages: Vec<Stage<'a>>,
}

#[derive(Serialize)]
struct Stage<'a> {
    stage: &'static str,
    /// `None` where the endpoint above does it.
    endpoint: Option<&'a str>,
    words: &'a str,
    candidates: Vec<Candidate<'a>>,
}

#[derive(Serialize)]
struct Candidate<'a> {
    endpoint: &'a str,
    url: &'a str,
    total: f32,
    scores: Vec<Score<'a>>,
    removed: Option<Removed<'a>>,
    words: String,
    /// What its match rests on: `exact`, `approximate`, `stale`, and why it is stale.
    kv_mode: &'static str,
    kv_reason: Option<String>,
}

#[derive(Serialize)]
struct Score<'a> {
    scorer: &'a str,
    raw: f64,
    unit: &'static str,
    score: f32,
    weight: f32,
}

#[derive(Serialize)]
struct Removed<'a> {
    filter: &'a str,
    reason: &'a str,
}

pub(super) async fn answer(
    gateway: &Gateway,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response<Reply>, Refusal> {
    let path = path_in(query);
    let routes = gateway.routes.load_full();
    let place = routes.place(&path);
    let rest = match &path[place.prefix_bytes..] {
        "" => "/",
        rest => rest,
    };
    let payload = Payload::Whole(body.clone());
    let view = match body.is_empty() {
        true => None,
        false => parse::view(Route::of(rest), &payload)?,
    };
    let pool = parse::choose(&routes, &place, rest, view.as_ref(), None)?;
    let salt = pool.route.cache_salt.as_deref();
    let prompts = match &view {
        Some(view) if tokens::wanted(&pool) => {
            tokens::of(gateway, &pool, view, Route::of(rest), body).await
        }
        _ => Prompts::default(),
    };
    let mut fingerprint = Fingerprint::of(view.as_ref(), &pool, salt, headers, &prompts);
    fingerprint.priority = gateway.priority(headers);
    let now = gateway.clock.now();
    let mut rng = gateway.rng();
    let explained =
        fingerprint.with_request(&[], |request| pool.fleet().explain(request, now, &mut rng));
    let explained = explained.map_err(|reason| gateway.no_endpoint(reason))?;
    let view = pool.fleet().view();
    let body = describe(&pool.name, &fingerprint.model, &explained, &view);
    Ok(local::json_body(StatusCode::OK, &body))
}

fn path_in(query: Option<&str>) -> String {
    let pairs = query.unwrap_or_default().split('&');
    let path = pairs.filter_map(|pair| pair.strip_prefix("path=")).next();
    let decoded = path.map(|path| percent_encoding::percent_decode_str(path).decode_utf8_lossy());
    decoded.map_or_else(|| DEFAULT_PATH.to_owned(), |path| path.into_owned())
}

fn describe<'a>(
    pool: &'a str,
    model: &'a str,
    explained: &'a Explanation,
    view: &'a View,
) -> Explained<'a> {
    let decision = &explained.decision;
    let name = |slot| view.get(slot).map_or("", |endpoint| &*endpoint.spec.name);
    let preferences: Vec<&str> = decision
        .preferences
        .iter()
        .map(|slot| name(*slot))
        .collect();
    let tokens = explained.prompt_tokens as f32;
    Explained {
        pool,
        model,
        prompt_tokens: explained.prompt_tokens,
        tokenized: explained.tokenized,
        predicted_cached_tokens: explained.predicted_cached_tokens,
        endpoint: preferences.first().copied().unwrap_or_default(),
        words: decision.words(tokens),
        candidates: decision
            .reasons
            .iter()
            .map(|reason| candidate(reason, view.get(reason.slot), tokens))
            .collect(),
        stages: decision
            .beside
            .iter()
            .map(|beside| Stage {
                stage: beside.stage.name(),
                endpoint: beside.slot.map(name),
                words: &beside.words,
                candidates: beside
                    .reasons
                    .iter()
                    .map(|reason| candidate(reason, view.get(reason.slot), tokens))
                    .collect(),
            })
            .collect(),
        preferences,
    }
}

fn candidate<'a>(
    reason: &'a CandidateReason,
    endpoint: Option<&'a EndpointView>,
    prompt_tokens: f32,
) -> Candidate<'a> {
    let scores = reason.scores.iter().map(|score| Score {
        scorer: &score.scorer,
        raw: score.raw,
        unit: score.unit,
        score: score.score,
        weight: score.weight,
    });
    let removed = reason.removed.as_ref();
    let mode = endpoint
        .map(|endpoint| endpoint.kv_mode.clone())
        .unwrap_or_default();
    Candidate {
        endpoint: &reason.name,
        url: endpoint.map_or("", |endpoint| &*endpoint.spec.url),
        total: reason.total,
        scores: scores.collect(),
        removed: removed.map(|(filter, reason)| Removed { filter, reason }),
        words: explain_words(reason, prompt_tokens, None),
        kv_mode: mode.name(),
        kv_reason: mode.reason().map(str::to_owned),
    }
}
