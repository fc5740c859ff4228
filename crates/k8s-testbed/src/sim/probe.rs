//! Does a container answer its probes?

use std::net::Ipv4Addr;
use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::object::{list, number, text};

/// Longest wait for an answer: probes' own limits are seconds, and times are shortened here.
const LIMIT: Duration = Duration::from_secs(2);

/// One real request; the words of what went wrong. A probe by command always succeeds.
pub(super) async fn ask(probe: &Value, container: &Value, address: Ipv4Addr) -> Result<(), String> {
    let (pointer, http) = match (probe.get("httpGet"), probe.get("tcpSocket")) {
        (Some(_), _) => ("/httpGet/port", true),
        (None, Some(_)) => ("/tcpSocket/port", false),
        (None, None) => return Ok(()),
    };
    let port = port(probe.pointer(pointer), container).ok_or("no such port")?;
    let asked = async {
        let socket = TcpStream::connect((address, port))
            .await
            .map_err(|error| format!("dial tcp {address}:{port}: {error}"))?;
        if http {
            get(socket, text(probe, "/httpGet/path")).await
        } else {
            Ok(())
        }
    };
    match tokio::time::timeout(LIMIT, asked).await {
        Ok(answered) => answered,
        Err(_) => Err("context deadline exceeded".to_owned()),
    }
}

/// A number, or the name of one of the container's ports.
pub(super) fn port(named: Option<&Value>, container: &Value) -> Option<u16> {
    let found = match named? {
        Value::String(name) => {
            let ports = list(container, "/ports");
            number(
                ports.iter().find(|port| text(port, "/name") == name)?,
                "/containerPort",
            )
        }
        other => other.as_i64(),
    };
    u16::try_from(found?).ok()
}

async fn get(socket: TcpStream, path: &str) -> Result<(), String> {
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(words)?;
    let driving = tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "probe")
        .header("user-agent", "kube-probe/1.33")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(words)?;
    let status = answer.status();
    // Read so that the connection ends well; what it says does not matter.
    let _ = answer.into_body().collect().await;
    driving.abort();
    match status.as_u16() {
        200..400 => Ok(()),
        code => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}
