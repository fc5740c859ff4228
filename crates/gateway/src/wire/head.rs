//! What does the head of a message say?

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Framing, WireError};

/// Largest response head accepted, bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most header lines accepted in a response.
const MAX_HEADERS: usize = 128;

/// A request's head as it goes out; headers are end-to-end ones only, framing is added here.
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    /// Path and query, after the endpoint's base path.
    pub(crate) path: &'a str,
    pub(crate) base_path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// Bytes of the body; `None` for one of unknown length.
    pub(crate) body_bytes: Option<u64>,
}

impl RequestHead<'_> {
    /// Writes the head, blank line included.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        for piece in [self.method.as_str(), " ", self.base_path, self.path] {
            out.extend_from_slice(piece.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        out.extend_from_slice(self.host.as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in self.headers {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        self.write_framing(&mut out);
        out.extend_from_slice(b"\r\n");
        out
    }

    fn write_framing(&self, out: &mut Vec<u8>) {
        let Some(bytes) = self.body_bytes else {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            return;
        };
        // A method that usually has a body says so when it has none; others stay silent.
        let expects_body = matches!(*self.method, Method::POST | Method::PUT | Method::PATCH);
        if bytes > 0 || expects_body {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A response's head as it came in, hop-by-hop headers removed.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
    /// Whether the connection may carry another request once the body has ended.
    pub(crate) keep_alive: bool,
}

impl ResponseHead {
    /// Takes a whole final head off the front of `buffer`; `None` when more bytes are needed. Interim (1xx) heads
    /// are passed over.
    pub(crate) fn take(
        buffer: &mut BytesMut,
        method: &Method,
    ) -> Result<Option<ResponseHead>, WireError> {
        loop {
            let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut parsed = httparse::Response::new(&mut slots);
            let length = match parsed.parse(buffer) {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD_BYTES => return Ok(None),
                Ok(httparse::Status::Partial) | Err(_) => return Err(WireError::Protocol),
            };
            let status = parsed.code.unwrap_or_default();
            if (100..200).contains(&status) {
                // 101 would hand the connection over to another protocol; nothing here ever asks for one.
                if status == 101 {
                    return Err(WireError::Protocol);
                }
                let _interim = buffer.split_to(length);
                continue;
            }
            let http11 = parsed.version == Some(1);
            let base = buffer.as_ptr() as usize;
            let lines: Vec<(HeaderName, std::ops::Range<usize>)> = parsed
                .headers
                .iter()
                .map(|line| {
                    let name = HeaderName::from_bytes(line.name.as_bytes())
                        .map_err(|_| WireError::Protocol)?;
                    let start = if line.value.is_empty() {
                        0
                    } else {
                        line.value.as_ptr() as usize - base
                    };
                    Ok((name, start..start + line.value.len()))
                })
                .collect::<Result<_, WireError>>()?;
            let head = buffer.split_to(length).freeze();
            return read(status, http11, lines, &head, method).map(Some);
        }
    }
}

fn read(
    status: u16,
    http11: bool,
    lines: Vec<(HeaderName, std::ops::Range<usize>)>,
    head: &Bytes,
    method: &Method,
) -> Result<ResponseHead, WireError> {
    let status = StatusCode::from_u16(status).map_err(|_| WireError::Protocol)?;
    let mut headers = HeaderMap::with_capacity(lines.len() + 4);
    for (name, range) in lines {
        let value =
            HeaderValue::from_maybe_shared(head.slice(range)).map_err(|_| WireError::Protocol)?;
        headers.append(name, value);
    }
    let mut keep_alive = http11;
    for value in headers.get_all(CONNECTION) {
        for token in crate::headers::tokens(value) {
            if token.eq_ignore_ascii_case("close") {
                keep_alive = false;
            } else if token.eq_ignore_ascii_case("keep-alive") {
                keep_alive = true;
            }
        }
    }
    let framing = framing(status, &headers, method)?;
    if matches!(framing, Framing::UntilClose) {
        keep_alive = false;
    }
    // Both framings at once is how requests are smuggled; the connection is not trusted with another.
    if headers.contains_key(TRANSFER_ENCODING) && headers.remove(CONTENT_LENGTH).is_some() {
        keep_alive = false;
    }
    crate::headers::remove_hop_by_hop(&mut headers);
    Ok(ResponseHead {
        status,
        headers,
        framing,
        keep_alive,
    })
}

/// How long the body is, RFC 9112 section 6.3.
fn framing(status: StatusCode, headers: &HeaderMap, method: &Method) -> Result<Framing, WireError> {
    if *method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        return Ok(Framing::Length(0));
    }
    if let Some(last) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        let chunked = crate::headers::tokens(last)
            .last()
            .is_some_and(|token| token.eq_ignore_ascii_case("chunked"));
        return Ok(if chunked {
            Framing::chunked()
        } else {
            Framing::UntilClose
        });
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for token in crate::headers::tokens(value) {
            let digits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
            let parsed = token.parse::<u64>().ok().filter(|_| digits);
            let parsed = parsed.ok_or(WireError::Protocol)?;
            if length.is_some_and(|known| known != parsed) {
                return Err(WireError::Protocol);
            }
            length = Some(parsed);
        }
    }
    Ok(length.map_or(Framing::UntilClose, Framing::Length))
}
