//! What does a request say before its body is looked at?

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use hyper::body::Incoming;

use crate::error::Refusal;
use crate::headers;

/// Methods answered at all.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// A request's head, whichever frontend it came through.
pub(crate) struct Inbound {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// The client's address.
    pub(crate) client: Option<IpAddr>,
    pub(crate) request_id: HeaderValue,
    /// Bytes of the path that named a pool and are not forwarded.
    pub(crate) prefix_bytes: usize,
}

impl Inbound {
    pub(crate) fn of(request: Request<Incoming>, client: Option<IpAddr>) -> (Self, Incoming) {
        let (parts, body) = request.into_parts();
        let inbound = Self {
            request_id: headers::request_id(&parts.headers),
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            client,
            prefix_bytes: 0,
        };
        (inbound, body)
    }

    /// Refuses what no engine should see.
    ///
    /// # Errors
    /// Tunnels, echoes, and upgrades of the protocol.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.method == Method::CONNECT || self.method == Method::TRACE {
            return Err(Refusal::Method { allow: ALLOWED });
        }
        let asks = self
            .headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(headers::tokens)
            .any(|token| token.eq_ignore_ascii_case("upgrade"));
        let to = self.headers.get(UPGRADE).map(HeaderValue::as_bytes);
        match to {
            // A client that offers HTTP/2 goes on in HTTP/1.1 when the offer is not taken up.
            Some(to) if asks && !to.eq_ignore_ascii_case(b"h2c") => Err(Refusal::Upgrade),
            _ => Ok(()),
        }
    }

    /// Path without what named a pool; at least `/`.
    pub(crate) fn path(&self) -> &str {
        match &self.uri.path()[self.prefix_bytes..] {
            "" => "/",
            path => path,
        }
    }

    /// The same with the query, as it is forwarded.
    pub(crate) fn path_and_query(&self) -> Cow<'_, str> {
        let whole = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let rest = whole.get(self.prefix_bytes..).unwrap_or_default();
        if rest.starts_with('/') {
            Cow::Borrowed(rest)
        } else {
            Cow::Owned(format!("/{rest}"))
        }
    }

    /// Whether the client wants all scores in a response header.
    pub(crate) fn wants_explanation(&self) -> bool {
        self.headers
            .get(headers::EXPLAIN)
            .is_some_and(|value| value.as_bytes() == b"1")
    }
}
