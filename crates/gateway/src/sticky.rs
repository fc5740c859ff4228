//! Must this request go to the endpoint that holds its state?

use engine_api::openai::RequestView;

use crate::error::Refusal;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::route::Place;
use crate::stored::Home;

/// Segments after `/v1/responses/` that are routes, not ids.
static NOT_IDS: [&str; 2] = ["render", "compact"];

/// Where the stored response lives that `inbound` reads, cancels or continues; `None` for a request without state. By a
/// path that names a pool, only that pool's responses are found.
///
/// # Errors
/// [`Refusal::UnknownResponse`] for an id that never passed here, or is forgotten.
pub(crate) fn home(
    gateway: &Gateway,
    place: &Place,
    inbound: &Inbound,
    view: Option<&RequestView<'_>>,
) -> Result<Option<Home>, Refusal> {
    let continued = view.and_then(|view| view.previous_response_id.as_deref());
    let Some(id) = continued.or_else(|| id_in_path(inbound.path())) else {
        return Ok(None);
    };
    // Where rules lead to one of several pools by chance, no path has named it.
    let named = place.pool.as_ref().filter(|_| place.prefix_bytes > 0);
    let within = |home: &Home| named.is_none_or(|pool| pool.name == home.pool);
    match gateway.stored.home(id).filter(within) {
        Some(home) => Ok(Some(home)),
        None => Err(Refusal::UnknownResponse {
            id: id.chars().take(128).collect(),
        }),
    }
}

fn id_in_path(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v1/responses/")?;
    let id = rest.split('/').next()?;
    (!id.is_empty() && !NOT_IDS.contains(&id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_paths() {
        let cases = [
            ("/v1/responses/resp_1", Some("resp_1")),
            ("/v1/responses/resp_1/cancel", Some("resp_1")),
            ("/v1/responses/resp_1/input_items", Some("resp_1")),
            ("/v1/responses/", None),
            ("/v1/responses", None),
            ("/v1/responses/render", None),
            ("/v1/chat/completions", None),
        ];
        for (path, expected) in cases {
            assert_eq!(id_in_path(path), expected, "{path}");
        }
    }
}
