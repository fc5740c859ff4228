//! How much of a request body do we wait for?

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::error::Refusal;
use crate::wire::{Bounds, Payload, Streamed};

/// Room made in advance for an announced length, bytes; a lie costs no more than this.
const MAX_RESERVED_BYTES: u64 = 1 << 20;

/// What bounds a request body.
#[derive(Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: u64,
    pub(crate) silence: Duration,
    /// Of a body that nobody looks into, this much is kept, so that it can go to a second endpoint.
    pub(crate) max_kept_bytes: u64,
}

/// Reads a whole body.
///
/// # Errors
/// Too large, too slow, or broken off.
pub(crate) async fn collect(
    headers: &HeaderMap,
    mut body: Incoming,
    limits: BodyLimits,
) -> Result<Bytes, Refusal> {
    let announced = announced_bytes(headers);
    check_announced(announced, limits)?;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let Some(first) = next(&mut body, limits).await? else {
        return Ok(Bytes::new());
    };
    if announced == Some(first.len() as u64) {
        return Ok(first);
    }
    let reserve = announced.unwrap_or(0).clamp(
        first.len() as u64,
        MAX_RESERVED_BYTES.max(first.len() as u64),
    );
    let mut whole = BytesMut::with_capacity(usize::try_from(reserve).unwrap_or(first.len()));
    whole.extend_from_slice(&first);
    loop {
        if whole.len() as u64 > limits.max_bytes {
            return Err(too_large(limits));
        }
        match next(&mut body, limits).await? {
            Some(piece) => whole.extend_from_slice(&piece),
            None => return Ok(whole.freeze()),
        }
    }
}

/// Takes a body that nobody looks into: collected while small, else passed on as it comes, with what was passed on
/// kept while that is not much.
///
/// # Errors
/// As [`collect`].
pub(crate) async fn pass(
    headers: &HeaderMap,
    body: Incoming,
    limits: BodyLimits,
) -> Result<Payload, Refusal> {
    let announced = announced_bytes(headers);
    check_announced(announced, limits)?;
    let small = announced.is_some_and(|bytes| bytes <= limits.max_kept_bytes);
    if small || body.is_end_stream() {
        return collect(headers, body, limits).await.map(Payload::Whole);
    }
    Ok(Payload::Stream(Box::new(Streamed::new(
        body,
        Bounds {
            length_bytes: announced,
            max_bytes: limits.max_bytes,
            max_kept_bytes: limits.max_kept_bytes,
            silence: limits.silence,
        },
    ))))
}

/// The next piece with any bytes; `None` at the end.
async fn next(body: &mut Incoming, limits: BodyLimits) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = tokio::time::timeout(limits.silence, body.frame())
            .await
            .map_err(|_| Refusal::BodySlow)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Refusal::BodyBroken),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                // Trailers concern nobody here.
                Err(_) => {}
            },
        }
    }
}

fn announced_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_announced(announced: Option<u64>, limits: BodyLimits) -> Result<(), Refusal> {
    match announced {
        Some(bytes) if bytes > limits.max_bytes => Err(too_large(limits)),
        _ => Ok(()),
    }
}

pub(crate) fn too_large(limits: BodyLimits) -> Refusal {
    Refusal::BodyTooLarge {
        max_bytes: limits.max_bytes,
    }
}

/// Whether the body is encoded (compressed), so that nothing can be read of it here.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether the content type is JSON; an absent one is for the engine to judge.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let text = value.to_str().unwrap_or_default();
    let media = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}
