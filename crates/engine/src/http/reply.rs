//! What does an answer look like, good or bad?

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::body::Body;
use crate::core::CoreError;
use crate::model::Rejected;

/// A request that gets no answer but an error.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    status: StatusCode,
    kind: &'static str,
    message: String,
    param: Option<&'static str>,
}

impl Failure {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            param: None,
        }
    }

    /// The body is not what the route reads at all.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad Request", message)
    }

    /// The body is readable and asks for something that cannot be.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestError", message)
    }

    pub(crate) fn param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    pub(crate) fn unknown_model(name: &str, known: &[String]) -> Self {
        let known = known.join(", ");
        Self::not_found(format!(
            "The model `{name}` does not exist. Served here: {known}."
        ))
        .param("model")
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFoundError", message)
    }

    /// A control route was asked for what cannot be.
    pub(crate) fn user_input(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidUserInput", message)
    }

    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        let message = format!("the request body is larger than {limit_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Bad Request", message)
    }

    pub(crate) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "PermissionDeniedError", message)
    }

    pub(crate) fn internal(message: &str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            message,
        )
    }

    /// A fault's status.
    pub(crate) fn injected(code: u16) -> Self {
        let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = match code {
            503 => "Service Unavailable",
            _ if status.is_client_error() => "BadRequestError",
            _ => "InternalServerError",
        };
        Self::new(status, kind, "injected fault")
    }

    /// What a stopping engine answers to new requests.
    pub(crate) fn draining() -> Self {
        Self::internal("cannot schedule new futures after shutdown")
    }

    fn json(&self) -> Value {
        serde_json::json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.status.as_u16(),
        }})
    }

    pub(crate) fn response(&self) -> Response<Body> {
        json(self.status, &self.json())
    }
}

impl From<CoreError> for Failure {
    fn from(error: CoreError) -> Self {
        match &error {
            CoreError::Rejected(
                Rejected::TooManyQueuedRequests { .. } | Rejected::TooManyQueuedTokens { .. },
            ) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Service Unavailable",
                error.to_string(),
            ),
            CoreError::Rejected(Rejected::PromptTooLong { .. }) => {
                Self::invalid(error.to_string()).param("input_tokens")
            }
            CoreError::Rejected(_) => Self::invalid(error.to_string()),
            CoreError::Gone => Self::draining(),
        }
    }
}

/// The event that reports a failure inside a stream; unlike all others its JSON has spaces.
pub(crate) fn error_event() -> Bytes {
    Bytes::from_static(
        b"data: {\"error\": {\"message\": \"EngineCore encountered an issue (injected fault).\", \"type\": \
          \"InternalServerError\", \"param\": null, \"code\": 500}}\n\n",
    )
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_type(status, "application/json", bytes),
        Err(error) => Failure::internal(&error.to_string()).response(),
    }
}

/// What the framework, rather than a route, says.
pub(crate) fn detail(status: StatusCode, detail: &str) -> Response<Body> {
    json(status, &serde_json::json!({ "detail": detail }))
}

/// Missing or wrong API key: here the error is a bare text.
pub(crate) fn unauthorized() -> Response<Body> {
    json(
        StatusCode::UNAUTHORIZED,
        &serde_json::json!({"error": "Unauthorized"}),
    )
}

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// Plain words without a content type.
pub(crate) fn bare(status: StatusCode, words: String) -> Response<Body> {
    let mut response = Response::new(Body::full(words.into()));
    *response.status_mut() = status;
    response
}

pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::full(bytes.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
