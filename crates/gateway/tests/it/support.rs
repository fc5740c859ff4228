//! A gateway before fake engines that do exactly what a test says, and clients that see every byte.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine_api::models::ModelCard;
use fleet::{Change, EndpointSpec, Event, Fleet, FleetConfig};
use gateway::{Gateway, GatewayConfig, PoolRoute};
use pool::Clock;
use scheduler::Profile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A request as an engine saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What an engine does about a request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Writes this.
    Write(Vec<u8>),
    /// Waits until the test lets it go on.
    Wait,
    /// Closes the connection.
    Close,
    /// Closes it as a process does that is killed with something unread: by a reset.
    Reset,
    /// Neither writes nor closes until the gateway closes.
    Hang,
}

pub(crate) type Script = Arc<dyn Fn(&Seen) -> Vec<Act> + Send + Sync>;

/// An engine at a real address that follows a script.
pub(crate) struct FakeEngine {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    /// Connections that the gateway closed while a request was open there.
    pub(crate) abandoned: Arc<AtomicUsize>,
    pub(crate) abandoned_notify: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
    stop: CancellationToken,
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl FakeEngine {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let engine = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            abandoned: Arc::default(),
            abandoned_notify: Arc::default(),
            go_on: Arc::default(),
            stop: CancellationToken::new(),
        };
        let connection = Connection {
            seen: Arc::clone(&engine.seen),
            abandoned: Arc::clone(&engine.abandoned),
            abandoned_notify: Arc::clone(&engine.abandoned_notify),
            go_on: Arc::clone(&engine.go_on),
            script: Arc::new(script),
            stop: engine.stop.clone(),
            number: 0,
        };
        tokio::spawn(async move {
            let mut number = 0;
            loop {
                let socket = tokio::select! {
                    () = connection.stop.cancelled() => return,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                let one = Connection {
                    number,
                    ..connection.clone()
                };
                number += 1;
                tokio::spawn(async move {
                    let stop = one.stop.clone();
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = one.serve(socket) => {}
                    }
                });
            }
        });
        engine
    }

    /// As a process that is killed: the listener and every connection are gone at once.
    pub(crate) fn kill(&self) {
        self.stop.cancel();
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

#[derive(Clone)]
struct Connection {
    seen: Arc<Mutex<Vec<Seen>>>,
    abandoned: Arc<AtomicUsize>,
    abandoned_notify: Arc<Notify>,
    go_on: Arc<Notify>,
    script: Script,
    stop: CancellationToken,
    number: usize,
}

impl Connection {
    async fn serve(self, mut socket: TcpStream) {
        let mut buffer = Vec::new();
        while let Some((head, body)) = read_message(&mut socket, &mut buffer).await {
            let seen = Seen {
                head,
                body,
                connection: self.number,
            };
            let acts = (self.script)(&seen);
            self.seen.lock().unwrap().push(seen);
            for act in acts {
                match act {
                    Act::Write(bytes) => {
                        if socket.write_all(&bytes).await.is_err() {
                            return self.abandon();
                        }
                    }
                    Act::Wait => {
                        let gone = async {
                            let mut byte = [0];
                            matches!(socket.read(&mut byte).await, Ok(0) | Err(_))
                        };
                        tokio::select! {
                            () = self.go_on.notified() => {}
                            true = gone => return self.abandon(),
                        }
                    }
                    Act::Close => return,
                    Act::Reset => {
                        let socket = socket2::SockRef::from(&socket);
                        return socket.set_linger(Some(Duration::ZERO)).unwrap();
                    }
                    Act::Hang => {
                        let mut byte = [0];
                        let _ = socket.read(&mut byte).await;
                        return self.abandon();
                    }
                }
            }
        }
    }

    fn abandon(&self) {
        self.abandoned.fetch_add(1, SeqCst);
        self.abandoned_notify.notify_one();
    }
}

/// Reads one message; `None` at the end of the connection.
async fn read_message(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
    if header(&head, "transfer-encoding") == Some("chunked") {
        loop {
            if let Some((body, used)) = unchunk(buffer) {
                buffer.drain(..used);
                return Some((head, body));
            }
            if socket.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
    }
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, buffer.drain(..length).collect()))
}

/// A whole chunked body at the front of `bytes`, and how many bytes it took.
pub(crate) fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = bytes[at..]
            .windows(2)
            .position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..at + line]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        at += line + 2;
        body.extend_from_slice(bytes.get(at..at + size)?);
        at += size + 2;
        bytes.get(at - 2..at)?;
        if size == 0 {
            return Some((body, at));
        }
    }
}

/// A response of known length.
pub(crate) fn response(status: u16, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nx-engine: yes\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) fn json(status: u16, body: &str) -> Vec<Act> {
    vec![Act::Write(response(status, "application/json", body))]
}

pub(crate) const SSE_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

pub(crate) fn chunk(body: &str) -> Vec<u8> {
    format!("{:x}\r\n{body}\r\n", body.len()).into_bytes()
}

pub(crate) fn write(text: &str) -> Act {
    Act::Write(text.as_bytes().to_vec())
}

pub(crate) fn event(text: &str) -> Act {
    Act::Write(chunk(&format!(
        "data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}]}}\n\n"
    )))
}

pub(crate) fn done() -> Act {
    let mut last = chunk("data: [DONE]\n\n");
    last.extend_from_slice(b"0\r\n\r\n");
    Act::Write(last)
}

/// A whole short stream.
pub(crate) fn stream() -> Vec<Act> {
    vec![write(SSE_HEAD), event("a"), event("b"), done()]
}

pub(crate) fn ok() -> Vec<Act> {
    json(
        200,
        r#"{"id":"cmpl-1","choices":[{"text":"hi"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6}}"#,
    )
}

/// A pool of `addresses`, each listing `models`.
pub(crate) fn fleet(name: &str, addresses: &[SocketAddr], models: Option<&[&str]>) -> Arc<Fleet> {
    let per_endpoint: Vec<_> = addresses.iter().map(|address| (*address, models)).collect();
    fleet_of(name, &per_endpoint)
}

/// A pool whose endpoints list different models.
pub(crate) fn fleet_of(name: &str, endpoints: &[(SocketAddr, Option<&[&str]>)]) -> Arc<Fleet> {
    fleet_over("http", name, endpoints)
}

/// The same, spoken to by `scheme`.
pub(crate) fn fleet_over(
    scheme: &str,
    name: &str,
    endpoints: &[(SocketAddr, Option<&[&str]>)],
) -> Arc<Fleet> {
    let config = FleetConfig {
        pool: name.to_owned(),
        ..FleetConfig::default()
    };
    let fleet = Arc::new(Fleet::new(config, Profile::default_profile()));
    let specs = endpoints.iter().map(|(address, _)| EndpointSpec {
        name: address.to_string().into(),
        url: format!("{scheme}://{address}").into(),
        address: address.to_string().into(),
        rank: None,
        labels: BTreeMap::new(),
    });
    let endpoints_change = Change::Resync {
        source: "test".into(),
        endpoints: specs.collect(),
    };
    fleet.apply(Event::Change(endpoints_change), Duration::ZERO);
    for (address, models) in endpoints {
        let slot = fleet.view().by_name(&address.to_string()).unwrap().slot;
        fleet.apply(
            Event::Probe {
                slot,
                result: Ok(()),
            },
            Duration::ZERO,
        );
        let cards = models.map(|models| {
            let card = |id: &&str| ModelCard {
                id: (*id).to_owned(),
                parent: None,
                max_model_len: Some(4096),
            };
            models.iter().map(card).collect()
        });
        fleet.apply(Event::Models { slot, cards }, Duration::ZERO);
    }
    fleet
}

/// A pool scheduled by `document`, of endpoints with roles; an empty role is none.
pub(crate) fn documented(
    document: &str,
    endpoints: &[(SocketAddr, &str)],
    clock: &Clock,
) -> PoolRoute {
    let document = scheduler::Document::parse(document).expect("a document");
    let compiled = scheduler::compile(&scheduler::SchedulingConfig::document(document), 7);
    let compiled = compiled.expect("it compiles");
    let flow = compiled.wiring.flow.clone();
    let config = FleetConfig {
        wiring: compiled.wiring,
        ..FleetConfig::default()
    };
    let fleet = Arc::new(Fleet::new(config, compiled.profile));
    let specs = endpoints.iter().map(|(address, role)| {
        let role = (!role.is_empty()).then(|| ("llm-d.ai/role".to_owned(), (*role).to_owned()));
        EndpointSpec {
            name: address.to_string().into(),
            url: format!("http://{address}").into(),
            address: address.to_string().into(),
            rank: None,
            labels: role.into_iter().collect(),
        }
    });
    let change = Change::Resync {
        source: "test".into(),
        endpoints: specs.collect(),
    };
    fleet.apply(Event::Change(change), Duration::ZERO);
    for (address, _) in endpoints {
        let slot = fleet.view().by_name(&address.to_string()).unwrap().slot;
        let result = Ok(());
        fleet.apply(Event::Probe { slot, result }, Duration::ZERO);
        fleet.apply(Event::Models { slot, cards: None }, Duration::ZERO);
    }
    let flow = flow.map(|flow| gateway::Flow::new(Some(flow), Arc::clone(&fleet), clock.clone()));
    PoolRoute {
        flow,
        ..PoolRoute::new("default", fleet)
    }
}

/// A running gateway; stops with it.
pub(crate) struct Running {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) served: Option<tokio::task::JoinHandle<()>>,
    _guard: DropGuard,
}

pub(crate) fn config() -> GatewayConfig {
    GatewayConfig {
        response_headers: true,
        ..GatewayConfig::default()
    }
}

impl Running {
    pub(crate) async fn start(config: GatewayConfig, pools: Vec<PoolRoute>) -> Self {
        let gateway = Gateway::new(config, pools, Clock::start(), 7);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let running = (listener.local_addr().unwrap(), admin.local_addr().unwrap());
        let served = tokio::spawn(Arc::clone(&gateway).serve(listener, stop.clone()));
        tokio::spawn(Arc::clone(&gateway).serve_admin(admin, stop.child_token()));
        Self {
            gateway,
            address: running.0,
            admin: running.1,
            _guard: stop.clone().drop_guard(),
            stop,
            served: Some(served),
        }
    }

    /// Before one pool of model `m` at `engines`.
    pub(crate) async fn before(engines: &[&FakeEngine]) -> Self {
        Self::configured(config(), engines).await
    }

    pub(crate) async fn configured(config: GatewayConfig, engines: &[&FakeEngine]) -> Self {
        let addresses: Vec<_> = engines.iter().map(|engine| engine.address).collect();
        let fleet = fleet("default", &addresses, Some(&["m"]));
        Self::start(config, vec![PoolRoute::new("default", fleet)]).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(
            "POST",
            path,
            "content-type: application/json\r\n",
            body.as_bytes(),
        )
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", b"").await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> Answer {
        send(self.address, method, path, headers, body).await
    }
}

/// A response as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Decoded; what there was of it.
    pub(crate) body: Vec<u8>,
    /// The message had the length it announced.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Message of an error body, after a look at its shape.
    pub(crate) fn error(&self) -> String {
        let body = self.json();
        assert_eq!(body["error"]["code"], self.status, "{body}");
        assert!(body["error"]["type"].is_string(), "{body}");
        assert!(
            body["error"].as_object().unwrap().contains_key("param"),
            "{body}"
        );
        assert_eq!(self.header("content-type"), Some("application/json"));
        body["error"]["message"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Answer {
    let length = match body.is_empty() && method != "POST" {
        true => String::new(),
        false => format!("content-length: {}\r\n", body.len()),
    };
    let mut wire = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\n{length}{headers}connection: close\r\n\r\n"
    )
    .into_bytes();
    wire.extend_from_slice(body);
    raw(address, &wire).await
}

/// Sends `wire` on a connection of its own and reads until it is closed.
pub(crate) async fn raw(address: SocketAddr, wire: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // An early refusal may close the connection while a large body is still being sent.
    let _ = socket.write_all(wire).await;
    let mut got = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut got))
        .await
        .expect("the gateway neither answered nor closed");
    answer(&got)
}

pub(crate) fn answer(got: &[u8]) -> Answer {
    let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") else {
        // Broken off before the head went out.
        return Answer {
            status: 0,
            head: String::new(),
            body: got.to_vec(),
            whole: false,
        };
    };
    let head = String::from_utf8(got[..end + 4].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let rest = &got[end + 4..];
    let (body, whole) = match (
        header(&head, "transfer-encoding"),
        header(&head, "content-length"),
    ) {
        (Some(_), _) => match unchunk(rest) {
            Some((body, _)) => (body, true),
            None => (partial(rest), false),
        },
        (None, Some(length)) => (
            rest.to_vec(),
            rest.len() == length.parse::<usize>().unwrap(),
        ),
        (None, None) => (rest.to_vec(), true),
    };
    Answer {
        status,
        head,
        body,
        whole,
    }
}

/// What can be read of a chunked body that was broken off.
fn partial(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..line]).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            break;
        };
        let rest = &bytes[line + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if rest.len() < size + 2 {
            break;
        }
        bytes = &rest[size + 2..];
    }
    body
}
