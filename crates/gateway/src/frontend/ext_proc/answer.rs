//! What is said to a data plane?

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::ProcessingMode;
use envoy_types::pb::envoy::service::ext_proc::v3 as ext;
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use ext::processing_response::Response as Said;
use http::{HeaderMap, HeaderValue};

use super::head::LB_NAMESPACE;
use crate::reply::Reply;

/// The destination, in a header and in metadata alike.
pub(super) const DESTINATION: &str = "x-gateway-destination-endpoint";
/// Scores of the candidates, in metadata.
const SCORES: &str = "x-gateway-destination-endpoint-scores";
/// Why a request was turned away.
pub(super) const DROPPED_REASON: &str = "x-llm-d-request-dropped-reason";

/// Largest piece of a body in one message, bytes; what the field's data planes are used to.
pub(super) const MAX_PIECE_BYTES: usize = 62_000;

pub(super) type Response = ext::ProcessingResponse;

fn said(said: Said) -> Response {
    Response {
        response: Some(said),
        ..Response::default()
    }
}

fn header(name: &str, value: &[u8]) -> core::HeaderValueOption {
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: name.to_owned(),
            raw_value: value.to_vec(),
            ..core::HeaderValue::default()
        }),
        append_action: core::header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
        ..core::HeaderValueOption::default()
    }
}

/// Where the request goes, and how its headers change on the way.
#[derive(Default)]
pub(super) struct Destination {
    /// `ip:port[,ip:port…]`, the first one meant, the rest for retries in that order.
    pub(super) endpoints: String,
    /// Headers to set.
    pub(super) set: Vec<(&'static str, HeaderValue)>,
    /// Headers of the client's that end here.
    pub(super) remove: Vec<String>,
    /// Per endpoint; empty where nobody asked.
    pub(super) scores: Vec<(String, f64)>,
}

impl Destination {
    /// Tells the endpoint who does other stages; whatever a client wrote there is overwritten.
    pub(super) fn name_stages(&mut self, stages: Vec<(&'static str, HeaderValue)>) {
        self.remove
            .retain(|name| stages.iter().all(|(set, _)| set != name));
        self.set.extend(stages);
    }

    fn mutation(&self) -> ext::HeaderMutation {
        let mut set_headers = vec![header(DESTINATION, self.endpoints.as_bytes())];
        let further = self.set.iter();
        set_headers.extend(further.map(|(name, value)| header(name, value.as_bytes())));
        ext::HeaderMutation {
            set_headers,
            remove_headers: self.remove.clone(),
        }
    }

    fn metadata(&self) -> Struct {
        let value = |kind| Value { kind: Some(kind) };
        let mut fields = std::collections::HashMap::new();
        let endpoints = Kind::StringValue(self.endpoints.clone());
        fields.insert(DESTINATION.to_owned(), value(endpoints));
        if !self.scores.is_empty() {
            let scores = self.scores.iter();
            let scores =
                scores.map(|(name, score)| (name.clone(), value(Kind::NumberValue(*score))));
            let scores = Kind::StructValue(Struct {
                fields: scores.collect(),
            });
            fields.insert(SCORES.to_owned(), value(scores));
        }
        let lb = value(Kind::StructValue(Struct { fields }));
        Struct {
            fields: [(LB_NAMESPACE.to_owned(), lb)].into(),
        }
    }

    fn common(&self, body: Option<ext::body_mutation::Mutation>) -> ext::CommonResponse {
        ext::CommonResponse {
            header_mutation: Some(self.mutation()),
            body_mutation: body.map(|mutation| ext::BodyMutation {
                mutation: Some(mutation),
            }),
            clear_route_cache: true,
            ..ext::CommonResponse::default()
        }
    }

    /// In answer to request headers.
    pub(super) fn in_headers(&self) -> Response {
        Response {
            dynamic_metadata: Some(self.metadata()),
            ..said(Said::RequestHeaders(ext::HeadersResponse {
                response: Some(self.common(None)),
            }))
        }
    }

    /// In answer to a buffered body, with another body where it was rewritten.
    pub(super) fn in_body(&self, rewritten: Option<Bytes>) -> Response {
        let body = rewritten.map(|body| ext::body_mutation::Mutation::Body(body.into()));
        Response {
            dynamic_metadata: Some(self.metadata()),
            ..said(Said::RequestBody(ext::BodyResponse {
                response: Some(self.common(body)),
            }))
        }
    }
}

/// Go on with the request as it is, for now.
pub(super) fn request_headers(mode: Option<ProcessingMode>) -> Response {
    Response {
        mode_override: mode,
        ..said(Said::RequestHeaders(ext::HeadersResponse::default()))
    }
}

/// Go on with the response, with these headers added.
pub(super) fn response_headers(
    set: &[(String, HeaderValue)],
    remove: Vec<String>,
    mode: Option<ProcessingMode>,
) -> Response {
    let set_headers = set
        .iter()
        .map(|(name, value)| header(name, value.as_bytes()));
    let mutation = ext::HeaderMutation {
        set_headers: set_headers.collect(),
        remove_headers: remove,
    };
    let common = ext::CommonResponse {
        header_mutation: Some(mutation),
        ..ext::CommonResponse::default()
    };
    Response {
        mode_override: mode,
        ..said(Said::ResponseHeaders(ext::HeadersResponse {
            response: Some(common),
        }))
    }
}

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

impl Direction {
    fn body(self, response: Option<ext::CommonResponse>) -> Response {
        let body = ext::BodyResponse { response };
        said(match self {
            Self::Request => Said::RequestBody(body),
            Self::Response => Said::ResponseBody(body),
        })
    }

    /// Go on with this piece as it is.
    pub(super) fn go_on(self) -> Response {
        self.body(None)
    }

    /// This piece instead of the one that came.
    pub(super) fn replace(self, piece: Vec<u8>) -> Response {
        self.mutated(ext::body_mutation::Mutation::Body(piece))
    }

    fn mutated(self, mutation: ext::body_mutation::Mutation) -> Response {
        self.body(Some(ext::CommonResponse {
            body_mutation: Some(ext::BodyMutation {
                mutation: Some(mutation),
            }),
            ..ext::CommonResponse::default()
        }))
    }

    fn streamed(self, body: Vec<u8>, end_of_stream: bool) -> Response {
        let piece = ext::StreamedBodyResponse {
            body,
            end_of_stream,
            ..ext::StreamedBodyResponse::default()
        };
        self.mutated(ext::body_mutation::Mutation::StreamedResponse(piece))
    }

    /// These bytes, in pieces; with `end` the last is marked as the end, even when there are none.
    pub(super) fn pieces(self, pieces: Vec<Vec<u8>>, end: bool, mut give: impl FnMut(Response)) {
        let mut pieces = pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .peekable();
        if pieces.peek().is_none() && end {
            give(self.streamed(Vec::new(), true));
        }
        while let Some(piece) = pieces.next() {
            let is_last = end && pieces.peek().is_none();
            if piece.len() <= MAX_PIECE_BYTES {
                give(self.streamed(piece, is_last));
                continue;
            }
            let mut cuts = piece.chunks(MAX_PIECE_BYTES).peekable();
            while let Some(cut) = cuts.next() {
                give(self.streamed(cut.to_vec(), is_last && cuts.peek().is_none()));
            }
        }
    }

    pub(super) fn trailers(self) -> Response {
        said(match self {
            Self::Request => Said::RequestTrailers(ext::TrailersResponse::default()),
            Self::Response => Said::ResponseTrailers(ext::TrailersResponse::default()),
        })
    }
}

/// The whole answer to a request that goes nowhere.
pub(super) fn immediate(
    response: http::Response<Reply>,
    reason: Option<&'static str>,
    details: &str,
) -> Response {
    let (parts, body) = response.into_parts();
    let body = match body {
        Reply::Whole(body) => body.unwrap_or_default().to_vec(),
        Reply::Passing(_) => Vec::new(),
    };
    let status = i32::from(parts.status.as_u16());
    let mut set_headers = listed(&parts.headers);
    set_headers.extend(reason.map(|reason| header(DROPPED_REASON, reason.as_bytes())));
    said(Said::ImmediateResponse(ext::ImmediateResponse {
        status: Some(HttpStatus { code: status }),
        headers: Some(ext::HeaderMutation {
            set_headers,
            ..ext::HeaderMutation::default()
        }),
        body,
        details: details.to_owned(),
        ..ext::ImmediateResponse::default()
    }))
}

fn listed(headers: &HeaderMap) -> Vec<core::HeaderValueOption> {
    let headers = headers.iter();
    headers
        .map(|(name, value)| header(name.as_str(), value.as_bytes()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[usize], end: bool) -> Vec<(usize, bool)> {
        let pieces = pieces.iter().map(|bytes| vec![b'x'; *bytes]).collect();
        let mut seen = Vec::new();
        Direction::Request.pieces(pieces, end, |response| {
            let Some(Said::RequestBody(body)) = response.response else {
                panic!("no body")
            };
            let mutation = body.response.and_then(|common| common.body_mutation);
            let Some(ext::body_mutation::Mutation::StreamedResponse(piece)) =
                mutation.and_then(|mutation| mutation.mutation)
            else {
                panic!("no piece")
            };
            seen.push((piece.body.len(), piece.end_of_stream));
        });
        seen
    }

    #[test]
    fn a_body_ends_once() {
        for (pieces, end, expected) in [
            (&[][..], true, vec![(0, true)]),
            (&[], false, vec![]),
            (&[0, 0], true, vec![(0, true)]),
            (&[5], true, vec![(5, true)]),
            (&[5, 0], true, vec![(5, true)]),
            (&[5, 7], false, vec![(5, false), (7, false)]),
            (&[62_000, 1], true, vec![(62_000, false), (1, true)]),
            (
                &[124_001],
                true,
                vec![(62_000, false), (62_000, false), (1, true)],
            ),
            (&[124_000], true, vec![(62_000, false), (62_000, true)]),
            (
                &[70_000, 3],
                true,
                vec![(62_000, false), (8_000, false), (3, true)],
            ),
        ] {
            assert_eq!(cut(pieces, end), expected, "{pieces:?} {end}");
        }
    }
}
