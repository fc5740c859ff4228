//! How is the API served, and how does it go wrong on request?

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::body::Reply;
use crate::api::query::Query;
use crate::api::request::{Target, Verb};
use crate::api::route::{self, Asked};
use crate::client::Client;
use crate::kinds::Kind;
use crate::sim::Logs;
use crate::status::Status;
use crate::store::Store;

/// Namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Something that goes wrong in a cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Every open watch ends.
    WatchCut,
    /// Every open watch ends, and none can go on from where it was: 410.
    Gone,
    /// The next writes that change something are told that the object was changed meanwhile.
    ConflictStorm { count: u32 },
    /// Of the next writes that change something every second is told so.
    EverySecondConflicts { count: u32 },
    /// Connections are closed as soon as they are opened, and those that are open end.
    Away { for_how_long: Duration },
    /// The next creations and changes of this kind are refused by an admission webhook.
    WebhookRefuses { kind: String, count: u32 },
    /// A pod's process is killed.
    PodKilled { namespace: String, name: String },
    /// A node stops with all that runs on it.
    NodeGone { name: String },
}

/// A running API server without a cluster behind it.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) shared: Arc<Shared>,
    address: SocketAddr,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) logs: Logs,
    faults: Mutex<Faults>,
    calls: Mutex<Calls>,
    away: watch::Sender<bool>,
    /// Faults that concern what runs.
    pub(crate) outside: tokio::sync::broadcast::Sender<Fault>,
}

/// Requests of clients, by verb and resource.
pub type Calls = BTreeMap<(String, String), u64>;

struct Faults {
    watches: CancellationToken,
    conflicts: u32,
    /// Twice as many writes are left as conflicts.
    alternating: u32,
    refusals: Vec<(String, u32)>,
}

impl ApiServer {
    /// Serves on `address` until `stop`.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn start(address: SocketAddr, stop: CancellationToken) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            store: Store::new(),
            logs: Logs::default(),
            faults: Mutex::new(Faults {
                watches: CancellationToken::new(),
                conflicts: 0,
                alternating: 0,
                refusals: Vec::new(),
            }),
            calls: Mutex::default(),
            away: watch::Sender::new(false),
            outside: tokio::sync::broadcast::Sender::new(64),
        });
        let server = Self {
            shared: Arc::clone(&shared),
            address,
        };
        for namespace in NAMESPACES {
            server.client().create(
                "/api/v1/namespaces",
                &json!({"metadata": {"name": namespace}}),
            )?;
        }
        tokio::spawn(async move { stop.run_until_cancelled(accept(shared, listener)).await });
        Ok(server)
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls without a socket, for set-up and checks.
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.shared))
    }

    /// Answers a request as over a socket, faults and all, but without one: for clients whose clock is paused.
    ///
    /// # Errors
    /// The server is away.
    pub async fn call(&self, request: Request<Bytes>) -> std::io::Result<Response<Reply>> {
        tokio::task::yield_now().await;
        if *self.shared.away.borrow() {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let (parts, body) = request.into_parts();
        Ok(route::answer(&Asked {
            shared: &self.shared,
            parts: &parts,
            body: &body,
            counted: true,
        }))
    }

    /// Requests since the last call of this.
    pub fn take_calls(&self) -> Calls {
        std::mem::take(&mut *self.shared.calls.lock())
    }

    /// Defines the kinds of Gateway API and of the Inference Extension.
    ///
    /// # Errors
    /// They are defined already, in a way that cannot be applied over.
    pub fn install_gateway_api(&self) -> Result<(), Status> {
        let client = self.client();
        for definition in crate::foreign_kinds::definitions() {
            client.apply(&client.path_of(&definition)?, "testbed", &definition)?;
        }
        Ok(())
    }

    /// Defines LLMInferenceServices so that they keep whatever they are given, where the shipped definitions are not at
    /// hand.
    ///
    /// # Errors
    /// They are defined already, in a way that cannot be applied over.
    pub fn install_open_services(&self) -> Result<(), Status> {
        let client = self.client();
        for definition in crate::foreign_kinds::open_service_definitions() {
            client.apply(&client.path_of(&definition)?, "testbed", &definition)?;
        }
        Ok(())
    }

    /// Makes something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.shared.inject(fault);
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: playground\nclusters:\n- name: playground\n  cluster:\n    server: {}\ncontexts:\n- name: playground\n  context:\n    cluster: playground\n    user: playground\nusers:\n- name: playground\n  user:\n    token: playground\n",
            self.url()
        )
    }

    /// Writes [`Self::kubeconfig`] to `path`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_kubeconfig(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, self.kubeconfig())
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Faults {
    /// Whether the next write is told of a conflict.
    fn conflict(&mut self) -> bool {
        if self.conflicts > 0 {
            self.conflicts -= 1;
            return true;
        }
        let one = self.alternating > 0 && self.alternating.is_multiple_of(2);
        self.alternating = self.alternating.saturating_sub(1);
        one
    }
}

impl Shared {
    pub(crate) fn count(&self, verb: &str, resource: String) {
        let mut calls = self.calls.lock();
        *calls.entry((verb.to_owned(), resource)).or_default() += 1;
    }

    /// Ends with the watches that are open now.
    pub(crate) fn watches_end(&self) -> CancellationToken {
        self.faults.lock().watches.clone()
    }

    fn cut_watches(&self) {
        let old = std::mem::take(&mut self.faults.lock().watches);
        old.cancel();
    }

    pub(crate) fn inject(self: &Arc<Self>, fault: Fault) {
        tracing::info!(?fault, "fault injected");
        match fault {
            Fault::WatchCut => self.cut_watches(),
            Fault::Gone => {
                self.store.compact();
                self.cut_watches();
            }
            Fault::ConflictStorm { count } => self.faults.lock().conflicts = count,
            Fault::EverySecondConflicts { count } => {
                self.faults.lock().alternating = count.saturating_mul(2);
            }
            Fault::WebhookRefuses { kind, count } => {
                self.faults.lock().refusals.push((kind, count))
            }
            Fault::Away { for_how_long } => {
                self.away.send_replace(true);
                self.cut_watches();
                let shared = Arc::clone(self);
                tokio::spawn(async move {
                    tokio::time::sleep(for_how_long).await;
                    shared.away.send_replace(false);
                });
            }
            fault @ (Fault::PodKilled { .. } | Fault::NodeGone { .. }) => {
                // Without a cluster nothing runs.
                let _ = self.outside.send(fault);
            }
        }
    }

    /// A fault as `POST /testbed/faults` names it.
    pub(crate) fn inject_json(self: &Arc<Self>, spec: &Value) -> Result<(), Status> {
        let text = |name: &str| spec[name].as_str().unwrap_or_default().to_owned();
        let count = u32::try_from(spec["count"].as_u64().unwrap_or(10)).unwrap_or(u32::MAX);
        let fault = match text("fault").as_str() {
            "watch-cut" => Fault::WatchCut,
            "gone" => Fault::Gone,
            "conflict-storm" => Fault::ConflictStorm { count },
            "every-second-conflicts" => Fault::EverySecondConflicts { count },
            "away" => Fault::Away {
                for_how_long: Duration::from_millis(spec["for_ms"].as_u64().unwrap_or(60_000)),
            },
            "webhook-refuses" => Fault::WebhookRefuses {
                kind: text("kind"),
                count,
            },
            "pod-killed" => Fault::PodKilled {
                namespace: text("namespace"),
                name: text("name"),
            },
            "node-gone" => Fault::NodeGone { name: text("name") },
            other => {
                return Err(Status::bad_request(format!(
                    "no such fault: {other:?}; there are watch-cut, gone, conflict-storm, every-second-conflicts, away, webhook-refuses, pod-killed, node-gone"
                )));
            }
        };
        self.inject(fault);
        Ok(())
    }

    /// Refuses a write that a fault is meant for.
    pub(crate) fn refuse_write(
        &self,
        kind: &Kind,
        target: &Target,
        verb: Verb,
    ) -> Result<(), Status> {
        let mut faults = self.faults.lock();
        let changes = matches!(verb, Verb::Replace | Verb::Patch);
        // Leases are left alone: a storm that takes leadership away is a fault of its own.
        if changes && kind.kind != "Lease" && faults.conflict() {
            return Err(Status::conflict(
                &kind.resource(),
                &target.name,
                "the object has been modified; please apply your changes to the latest version and try again",
            ));
        }
        if verb != Verb::Delete
            && let Some((_, left)) = faults
                .refusals
                .iter_mut()
                .find(|(name, left)| *name == kind.kind && *left > 0)
        {
            *left -= 1;
            return Err(Status::forbidden(format!(
                "admission webhook \"testbed.prefixgate\" denied the request: {} {} is refused by request",
                kind.kind, target.name
            )));
        }
        Ok(())
    }

    pub(crate) fn log(&self, namespace: &str, name: &str, query: &Query) -> Result<String, Status> {
        let tail = query.get("tailLines").parse().unwrap_or(usize::MAX);
        self.logs
            .of(namespace, name, query.is_true("previous"), tail)
            .ok_or_else(|| {
                Status::bad_request(format!("no container of pod {name} has been started yet"))
            })
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) if *shared.away.borrow() => drop(socket),
            Ok((socket, _)) => {
                tokio::spawn(connection(Arc::clone(&shared), socket));
            }
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(shared: Arc<Shared>, socket: TcpStream) {
    // A delay costs time, not correctness.
    let _ = socket.set_nodelay(true);
    let mut away = shared.away.subscribe();
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(handle(&shared, request).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        ended = serving => if let Err(error) = ended {
            tracing::trace!(%error, "client connection ended early");
        },
        _ = away.wait_for(|away| *away) => {}
    }
}

async fn handle(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Reply> {
    let (parts, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return crate::api::body::refusal(&Status::bad_request(error.to_string())),
    };
    let response = route::answer(&Asked {
        shared,
        parts: &parts,
        body: &body,
        counted: true,
    });
    tracing::debug!(method = %parts.method, uri = %parts.uri, status = response.status().as_u16(), "api");
    response
}
