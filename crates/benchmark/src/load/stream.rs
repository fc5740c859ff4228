//! How is a stream read so that tokens, errors and times are what they are?

use std::time::Instant;

use engine_api::sse::{Event, SseReader, read_chunk};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::client::{Client, excerpt};
use super::error::{ClientError, root_cause};
use super::sample::{Failure, Sample};
use crate::workload::Prompted;

/// Longest event read; usage and error events are far shorter.
const MAX_EVENT_BYTES: usize = 4 << 20;
/// How much of an error answer is read for its message.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Header by which an engine (or a gateway before it) says that its compute is simulated.
pub const SIMULATED_HEADER: &str = "x-prefixgate-simulated";
/// Header naming the endpoint that a gateway chose.
pub const ENDPOINT_HEADER: &str = "x-prefixgate-endpoint";

/// Sends `prompted` and fills `sample`; how it failed, if it did, is in the sample too.
pub(crate) async fn read(client: &Client, prompted: &Prompted, sample: &mut Sample) {
    let sent = client
        .send(Method::POST, prompted.path, prompted.body.clone())
        .await;
    let (response, sender) = match sent {
        Ok(sent) => sent,
        Err(error) => return sample.fail(error.into()),
    };
    note_headers(response.headers(), sample);
    let url = client.url(prompted.path);
    let whole = if response.status() != StatusCode::OK {
        refused(response, sample).await
    } else if !is_event_stream(response.headers()) {
        sample.fail(Failure::NotAStream {
            what: content_type(response.headers()),
        });
        false
    } else {
        events(response.into_body(), &url, sample).await
    };
    if whole {
        client.put(sender);
    }
}

fn note_headers(headers: &HeaderMap, sample: &mut Sample) {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    sample.endpoint = text(ENDPOINT_HEADER).map(str::to_owned);
    sample.simulated = says_simulated(headers);
}

/// Does an answer's header say that its compute is simulated?
pub fn says_simulated(headers: &HeaderMap) -> bool {
    headers
        .get(SIMULATED_HEADER)
        .is_some_and(|value| !matches!(value.as_bytes(), b"0" | b"false"))
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    value
        .unwrap_or("an answer without a content type")
        .to_owned()
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    content_type(headers)
        .to_ascii_lowercase()
        .starts_with("text/event-stream")
}

/// True when the body was read to its end.
async fn refused(response: Response<Incoming>, sample: &mut Sample) -> bool {
    let code = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ERROR_BYTES)
        .collect()
        .await;
    let whole = body.is_ok();
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    sample.fail(Failure::Status {
        code,
        message: error_message(&body),
    });
    whole
}

/// The error's own sentence where the body is error JSON, else its beginning.
pub fn error_message(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = json["error"]["message"]
        .as_str()
        .or(json["error"].as_str())
        .or(json["detail"].as_str());
    said.map_or_else(|| excerpt(body), |said| said.chars().take(300).collect())
}

/// True when the body was read to its end.
async fn events(mut body: Incoming, url: &str, sample: &mut Sample) -> bool {
    let mut reader = SseReader::new(MAX_EVENT_BYTES);
    while let Some(frame) = body.frame().await {
        let now = Instant::now();
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                let why = root_cause(&error);
                sample.fail(
                    ClientError::Broken {
                        url: url.to_owned(),
                        why,
                    }
                    .into(),
                );
                return false;
            }
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let mut content_events = 0;
        reader.push(data, |event| match event {
            Event::Done => sample.done = true,
            Event::Data(data) => content_events += u32::from(event_data(data, sample)),
        });
        sample.arrived(content_events, now);
    }
    true
}

/// Notes what one event says; true when it carries content.
fn event_data(data: &[u8], sample: &mut Sample) -> bool {
    let chunk = read_chunk(data);
    if chunk.error.is_some() {
        sample.fail(Failure::InBand {
            message: error_message(data),
        });
    }
    if let Some(usage) = chunk.usage {
        sample.usage.get_or_insert_default().absorb(usage);
    }
    sample.simulated |= fingerprint_simulated(data);
    chunk.has_content
}

/// `"system_fingerprint":"…simulated…"`, without building a tree: it is looked for in every event.
pub fn fingerprint_simulated(data: &[u8]) -> bool {
    const KEY: &[u8] = b"\"system_fingerprint\":";
    let Some(at) = find(data, KEY) else {
        return false;
    };
    let value = data[at + KEY.len()..].trim_ascii_start();
    let Some(value) = value.strip_prefix(b"\"") else {
        return false;
    };
    let end = value
        .iter()
        .position(|&byte| byte == b'"')
        .unwrap_or(value.len());
    find(&value[..end], b"simulated").is_some()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_simulation() {
        for (data, expected) in [
            (r#"{"system_fingerprint":"prefixgate-simulated-1"}"#, true),
            (r#"{"system_fingerprint": "x-simulated"}"#, true),
            (
                r#"{"system_fingerprint":"vllm-0.32.0","text":"simulated"}"#,
                false,
            ),
            (r#"{"system_fingerprint":null,"text":"simulated"}"#, false),
            (r#"{"text":"simulated"}"#, false),
        ] {
            assert_eq!(fingerprint_simulated(data.as_bytes()), expected, "{data}");
        }
    }

    #[test]
    fn error_messages_are_found_or_quoted() {
        for (body, expected) in [
            (r#"{"error":{"message":"no such model"}}"#, "no such model"),
            (r#"{"error":"Unauthorized"}"#, "Unauthorized"),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            ("<html>oops\n</html>", "`<html>oops </html>`"),
            ("", "an empty body"),
        ] {
            assert_eq!(error_message(body.as_bytes()), expected);
        }
    }
}
