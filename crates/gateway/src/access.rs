//! May this client use this pool, and as whom?

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::error::Refusal;
use crate::route::{ClientKey, Pool};

/// Checks the client's key where the pool asks for one; returns the `cache_salt` its bodies get, if any.
///
/// # Errors
/// [`Refusal::Unauthorized`] without a key that the pool knows.
pub(crate) fn cache_salt<'a>(
    pool: &'a Pool,
    headers: &HeaderMap,
) -> Result<Option<&'a str>, Refusal> {
    let common = pool.route.cache_salt.as_deref();
    if pool.route.client_keys.is_empty() {
        return Ok(common);
    }
    let shown = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .ok_or(Refusal::Unauthorized)?;
    let mut known: Option<&ClientKey> = None;
    // Every key is compared, and each in full, so that the time taken tells nothing.
    for key in &pool.route.client_keys {
        if same(key.key.as_bytes(), shown) {
            known = Some(key);
        }
    }
    let key = known.ok_or(Refusal::Unauthorized)?;
    Ok(key.cache_salt.as_deref().or(common))
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
