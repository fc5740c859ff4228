//! How does a check talk HTTP without a library?

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(60);

/// One request on a connection of its own: status and body. The answer must not be chunked oddly: HTTP/1.0 asks for a
/// plain one.
///
/// # Errors
/// Nobody listens, or what came is no HTTP.
pub(crate) fn call(
    url: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<(u16, String)> {
    let host = url.trim_start_matches("http://");
    let mut socket =
        TcpStream::connect(host).with_context(|| format!("nobody listens on {host}"))?;
    socket.set_read_timeout(Some(LIMIT))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no head")?;
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok());
    ensure!(head.starts_with("HTTP/"), "the answer is no HTTP");
    Ok((status.context("the answer has no status")?, body.to_owned()))
}
