//! How does an error become HTTP?
//!
//! The only place where something that went wrong gets a status and words for the client. A message names what a
//! client can do something about; it never holds prompt text, keys or addresses.

use engine_api::error_body;
use engine_api::openai::BodyError;
use fleet::Failure;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use scheduler::NoEndpoint;

use crate::flow::Rejected;
use crate::reply::Reply;

/// Why the gateway answers a request itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("the request body ended before it was complete")]
    BodyBroken,
    #[error("model not found in request body")]
    ModelMissing,
    #[error("send the body as `content-type: application/json`")]
    ContentType,
    #[error("the request body is larger than {max_bytes} bytes")]
    BodyTooLarge { max_bytes: u64 },
    #[error("the request body did not arrive in time")]
    BodySlow,
    #[error("the request's head did not arrive in time")]
    HeadSlow,
    #[error("a valid API key is required: `authorization: Bearer …`")]
    Unauthorized,
    #[error("the model `{model}` does not exist; known models: {}", listed(known))]
    UnknownModel { model: String, known: Vec<String> },
    /// No list that could be read has it, but some pool's could not be read yet.
    #[error(
        "no endpoint is ready that could serve the model `{model}`; known models: {}; those of pool {pool} are not \
         known yet",
        listed(known)
    )]
    UnseenModel {
        model: String,
        known: Vec<String>,
        pool: String,
        retry_after_seconds: u64,
    },
    #[error("no stored response has the id `{id}`")]
    UnknownResponse { id: String },
    #[error(
        "this path controls an engine and is not forwarded; an operator can list it in `forward_paths`"
    )]
    ControlPath,
    #[error(
        "no parser of this pool's scheduling document claims this path; list `passthrough-parser` to forward it unread"
    )]
    Unclaimed,
    #[error("the endpoint that stored this response has left")]
    LostResponse,
    #[error("nothing is served at this path")]
    NotFound,
    #[error("the route of this path leads to nothing that exists; its status says what is missing")]
    RouteTarget,
    #[error("the method is not allowed here")]
    Method { allow: &'static str },
    #[error("protocol upgrades are not supported")]
    Upgrade,
    #[error("too many requests in flight; try again")]
    Shed { retry_after_seconds: u64 },
    #[error("too many connections; try again")]
    Connections { retry_after_seconds: u64 },
    #[error("{reason}")]
    NoEndpoint {
        reason: NoEndpoint,
        retry_after_seconds: u64,
    },
    #[error("no endpoint holds a beginning of this prompt, and the request asks for one that does")]
    NothingHeld,
    #[error("{}", queue_words(*why))]
    Queue {
        why: Rejected,
        retry_after_seconds: u64,
    },
    /// Every endpoint that was tried failed before a byte; the last one like this.
    #[error("{}{}", all_failed(*last), not_again(*kept_bytes))]
    AllFailed {
        last: Failure,
        /// Set when the body was longer than what is kept of one, and so could not be sent again.
        kept_bytes: Option<u64>,
        retry_after_seconds: u64,
    },
    #[error("the request took longer than {limit_ms} ms")]
    TotalTimeout { limit_ms: u64 },
}

fn queue_words(why: Rejected) -> &'static str {
    match why {
        Rejected::Full => "too many requests wait for this pool; try again",
        Rejected::Expired => "the pool had no room for this request in the time that it may wait",
        Rejected::NobodyReady => "no endpoint of the pool is ready",
    }
}

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    known.join(", ")
}

fn all_failed(last: Failure) -> &'static str {
    match last {
        Failure::ConnectRefused | Failure::ConnectTimeout => "no engine could be reached",
        Failure::FirstByteTimeout | Failure::IdleTimeout => "the engine did not answer in time",
        Failure::Reset => "the engine closed the connection before it answered",
        Failure::Protocol => "the engine's answer was not HTTP",
        Failure::Tls => {
            "no secure connection to the engine could be made: its certificate is not trusted, or it speaks no TLS"
        }
        Failure::Status(_) | Failure::InBand => "the engine failed",
    }
}

fn not_again(kept_bytes: Option<u64>) -> String {
    let Some(bytes) = kept_bytes else {
        return String::new();
    };
    format!(
        "; no other was tried, since the body was passed on as it came and only {bytes} bytes of one are kept \
         (`max_replay_bytes`)"
    )
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) | Self::BodyBroken | Self::ModelMissing => StatusCode::BAD_REQUEST,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodySlow | Self::HeadSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::UnknownModel { .. }
            | Self::UnknownResponse { .. }
            | Self::LostResponse
            | Self::NotFound => StatusCode::NOT_FOUND,
            Self::ControlPath => StatusCode::FORBIDDEN,
            Self::NothingHeld => StatusCode::PRECONDITION_FAILED,
            Self::Unclaimed => StatusCode::BAD_REQUEST,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade => StatusCode::NOT_IMPLEMENTED,
            Self::Shed { .. } | Self::Connections { .. } => StatusCode::TOO_MANY_REQUESTS,
            // What filters leave out is there, but has no room.
            Self::NoEndpoint {
                reason: NoEndpoint::AllFiltered { .. } | NoEndpoint::NotAdmitted { .. },
                ..
            } => StatusCode::TOO_MANY_REQUESTS,
            Self::Queue {
                why: Rejected::Full | Rejected::Expired,
                ..
            } => StatusCode::TOO_MANY_REQUESTS,
            Self::Queue { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoEndpoint { .. } | Self::UnseenModel { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::AllFailed { last, .. } => match last {
                Failure::ConnectRefused | Failure::ConnectTimeout => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                Failure::FirstByteTimeout | Failure::IdleTimeout => StatusCode::GATEWAY_TIMEOUT,
                Failure::Reset
                | Failure::Protocol
                | Failure::Tls
                | Failure::Status(_)
                | Failure::InBand => StatusCode::BAD_GATEWAY,
            },
            Self::TotalTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::RouteTarget => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The error's `type`, in the words engines use.
    fn kind(&self) -> &'static str {
        match self.status() {
            StatusCode::BAD_REQUEST => "BadRequestError",
            StatusCode::UNAUTHORIZED => "AuthenticationError",
            StatusCode::FORBIDDEN => "PermissionDeniedError",
            StatusCode::NOT_FOUND => "NotFoundError",
            StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowedError",
            StatusCode::REQUEST_TIMEOUT => "RequestTimeoutError",
            StatusCode::PRECONDITION_FAILED => "PreconditionFailedError",
            StatusCode::PAYLOAD_TOO_LARGE => "PayloadTooLargeError",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "UnsupportedMediaTypeError",
            StatusCode::TOO_MANY_REQUESTS => "RateLimitError",
            StatusCode::NOT_IMPLEMENTED => "NotImplementedError",
            StatusCode::BAD_GATEWAY => "BadGatewayError",
            StatusCode::GATEWAY_TIMEOUT => "GatewayTimeoutError",
            StatusCode::INTERNAL_SERVER_ERROR => "InternalServerError",
            _ => "ServiceUnavailableError",
        }
    }

    /// The field of the request that is to blame.
    fn param(&self) -> Option<&'static str> {
        match self {
            Self::Body(BodyError::Type { field, .. } | BodyError::Missing { field }) => Some(field),
            Self::UnknownModel { .. } | Self::UnseenModel { .. } | Self::ModelMissing => {
                Some("model")
            }
            Self::UnknownResponse { .. } | Self::LostResponse => Some("response_id"),
            _ => None,
        }
    }

    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Shed {
                retry_after_seconds,
            }
            | Self::Connections {
                retry_after_seconds,
            }
            | Self::NoEndpoint {
                retry_after_seconds,
                ..
            }
            | Self::Queue {
                retry_after_seconds,
                ..
            }
            | Self::UnseenModel {
                retry_after_seconds,
                ..
            } => Some(*retry_after_seconds),
            Self::AllFailed {
                retry_after_seconds,
                ..
            } if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some(*retry_after_seconds),
            _ => None,
        }
    }

    /// Why the request was dropped, in the words data planes and dashboards of the field know; `None` for one that
    /// was itself at fault.
    pub(crate) fn dropped_reason(&self) -> Option<&'static str> {
        match self {
            Self::Shed { .. } | Self::Connections { .. } => Some("rejected-saturated"),
            Self::NoEndpoint {
                reason: NoEndpoint::AllFiltered { .. } | NoEndpoint::NotAdmitted { .. },
                ..
            } => Some("rejected-saturated"),
            Self::Queue { why, .. } => Some(match why {
                Rejected::Full => "rejected-saturated",
                Rejected::Expired => "rejected-ttl-expired",
                Rejected::NobodyReady => "rejected-no-endpoints",
            }),
            Self::NoEndpoint { .. } | Self::UnseenModel { .. } => Some("rejected-no-endpoints"),
            _ => None,
        }
    }

    fn body(&self) -> Vec<u8> {
        let status = self.status().as_u16();
        error_body::write(&self.to_string(), self.kind(), self.param(), status)
    }

    /// The whole response as HTTP/1.1 on a connection that is then closed, for who is not let in at all.
    pub(crate) fn write_http1(&self) -> Vec<u8> {
        let body = self.body();
        let retry = match self.retry_after_seconds() {
            Some(seconds) => format!("retry-after: {seconds}\r\n"),
            None => String::new(),
        };
        let mut out = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/json\r\n{retry}connection: close\r\ncontent-length: {}\r\n\r\n",
            self.status(),
            body.len()
        )
        .into_bytes();
        out.extend_from_slice(&body);
        out
    }

    /// The whole response.
    pub(crate) fn respond(&self) -> Response<Reply> {
        let status = self.status();
        let mut response = Response::new(Reply::whole(self.body()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::Method { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// The last two events of a stream that broke after its first byte.
pub(crate) fn in_band(failure: Failure) -> Vec<u8> {
    let (message, status) = match failure {
        Failure::IdleTimeout => (
            "the engine did not finish in time",
            StatusCode::GATEWAY_TIMEOUT,
        ),
        _ => ("the engine broke off its stream", StatusCode::BAD_GATEWAY),
    };
    let mut event = b"data: ".to_vec();
    event.extend_from_slice(&error_body::write(
        message,
        "InternalServerError",
        None,
        status.as_u16(),
    ));
    event.extend_from_slice(b"\n\ndata: [DONE]\n\n");
    event
}
