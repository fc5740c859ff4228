//! An API server, controllers that reach it without a socket, and a clock that only passes when nobody works.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use k8s::desired::Settings;
use k8s::reconcile::{Claim, Options, run};
use k8s_testbed::{ApiServer, Client, Reply};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) const PATTERN3: &str = include_str!("../../../../../deploy/examples/pattern3-tpu.yaml");
pub(super) const NAMESPACE: &str = "llm-d-inference-scheduling";
pub(super) const NAME: &str = "qwen2-3b-pattern3";
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/prefixgate-system/leases/prefixgate-controller";
/// Longest wait for anything, on the paused clock.
const LIMIT: Duration = Duration::from_secs(300);

/// A class of our gateways, and a Gateway that takes routes of every namespace.
const GATEWAYS: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: prefixgate}
spec: {controllerName: prefixgate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: inference-gateway, namespace: opendatahub}
spec:
  gatewayClassName: prefixgate
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
";

pub(super) struct World {
    pub(super) server: ApiServer,
    pub(super) stop: CancellationToken,
}

impl World {
    /// Definitions, namespaces, gateways and secrets; no controller yet.
    pub(super) async fn furnished() -> Self {
        let stop = CancellationToken::new();
        let server = ApiServer::start(([127, 0, 0, 1], 0).into(), stop.clone())
            .await
            .unwrap();
        server.install_gateway_api().unwrap();
        let client = server.client();
        for (_, definition) in k8s::types::crds::documents() {
            client.apply_manifest("test", &definition).unwrap();
        }
        for namespace in [NAMESPACE, "opendatahub", "prefixgate-system"] {
            let namespace = json!({"metadata": {"name": namespace}});
            client.create("/api/v1/namespaces", &namespace).unwrap();
        }
        client.apply_manifest("test", GATEWAYS).unwrap();
        for secret in ["hf-token", "redhat-pull-secret"] {
            let secret = json!({"metadata": {"name": secret}});
            client.create(&core("secrets"), &secret).unwrap();
        }
        Self { server, stop }
    }

    /// With a controller that works.
    pub(super) async fn start() -> Self {
        let world = Self::furnished().await;
        world.controller("one");
        world
    }

    /// Starts one more controller, and answers how it is connected.
    pub(super) fn controller(&self, identity: &str) -> Arc<Line> {
        self.controller_with(identity, Claim::Auto)
    }

    pub(super) fn controller_with(&self, identity: &str, claim: Claim) -> Arc<Line> {
        self.run(
            identity,
            Options {
                settings: Settings {
                    gateway_address: Some("127.0.0.1:18000".to_owned()),
                    ..Settings::default()
                },
                claim,
                ..Options::default()
            },
        )
    }

    /// A controller that makes a Deployment for each Gateway of our class.
    pub(super) fn deployed_gateways(&self, identity: &str) -> Arc<Line> {
        self.run(identity, Options::default())
    }

    fn run(&self, identity: &str, options: Options) -> Arc<Line> {
        let line = Arc::new(Line {
            server: self.server.clone(),
            identity: identity.to_owned(),
            cut: AtomicBool::new(false),
            slow: Mutex::new(Duration::ZERO),
            writes: Mutex::default(),
            stop: self.stop.child_token(),
        });
        let client = kube::Client::new(Transport(Arc::clone(&line)), "default");
        let options = Options {
            identity: Some(identity.to_owned()),
            ..options
        };
        tokio::spawn(run(client, options, line.stop.clone()));
        line
    }

    pub(super) fn api(&self) -> Client {
        self.server.client()
    }

    /// Who holds the lease.
    pub(super) fn leader(&self) -> String {
        let lease = self.api().get(LEASE).unwrap_or_default();
        let holder = &lease["spec"]["holderIdentity"];
        holder.as_str().unwrap_or_default().to_owned()
    }

    pub(super) fn give_lease_to(&self, identity: &str) {
        let spec = json!({"spec": {"holderIdentity": identity}});
        self.api().merge(LEASE, &spec).unwrap();
    }

    /// Applies the pattern's manifest under another name, changed by `edit`.
    pub(super) fn apply(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut service: Value = serde_saphyr::from_str(PATTERN3).unwrap();
        service["metadata"]["name"] = json!(name);
        edit(&mut service);
        let path = self.api().path_of(&service).unwrap();
        self.api().apply(&path, "kubectl", &service).unwrap();
    }

    /// Waits until the object satisfies `wanted`; null stands for one that is not there.
    pub(super) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = tokio::time::timeout(LIMIT, async {
            loop {
                last = self.api().get(path).unwrap_or_default();
                if wanted(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(found.await.is_ok(), "{path} never became so: {last:#}");
        last
    }

    /// Pods as the service's Deployment would make them, each with `status` and on a node of its own.
    pub(super) fn pods(&self, service: &str, count: usize, status: &Value) {
        let template = self.api().get(&deployment(service)).unwrap()["spec"]["template"].clone();
        for number in 0..count {
            let mut status = status.clone();
            status["podIP"] = json!(format!("10.0.0.{number}"));
            let pod = json!({
                "metadata": {"name": format!("{service}-{number}"), "labels": template["metadata"]["labels"]},
                "spec": {"nodeName": format!("node-{number}"), "containers": [{"name": "main", "image": "i"}]},
                "status": status,
            });
            self.api().create(&core("pods"), &pod).unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Between one controller and the API server.
pub(super) struct Line {
    server: ApiServer,
    identity: String,
    /// Nothing passes.
    pub(super) cut: AtomicBool,
    /// Answers take this long.
    pub(super) slow: Mutex<Duration>,
    /// Every change that reached the server, but for those of the lease.
    pub(super) writes: Mutex<Vec<Write>>,
    /// Ends the controller.
    pub(super) stop: CancellationToken,
}

/// One change as it reached the server.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub(super) at: Instant,
    pub(super) what: String,
    /// Who held the lease then.
    pub(super) holder: String,
}

impl Line {
    /// Changes so far, and none of them from now on.
    pub(super) fn take_writes(&self) -> Vec<Write> {
        std::mem::take(&mut *self.writes.lock())
    }

    async fn carry(self: Arc<Self>, request: Request<Body>) -> std::io::Result<Response<Reply>> {
        if self.cut.load(Relaxed) {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path().to_owned();
        if parts.method != Method::GET && !path.contains("/leases") {
            let lease = self.server.client().get(LEASE).unwrap_or_default();
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            self.writes.lock().push(Write {
                at: Instant::now(),
                what: format!("{} {} {path}", self.identity, parts.method),
                holder: holder.to_owned(),
            });
        }
        let answer = self.server.call(Request::from_parts(parts, body)).await;
        let slow = *self.slow.lock();
        tokio::time::sleep(slow).await;
        if self.cut.load(Relaxed) {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        answer
    }
}

#[derive(Clone)]
struct Transport(Arc<Line>);

impl tower_service::Service<Request<Body>> for Transport {
    type Response = Response<Reply>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Response<Reply>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(Arc::clone(&self.0).carry(request))
    }
}

pub(super) fn core(plural: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{plural}")
}

pub(super) fn child(group: &str, plural: &str, name: &str) -> String {
    format!("/apis/{group}/namespaces/{NAMESPACE}/{plural}/{name}")
}

pub(super) fn service(name: &str) -> String {
    child("serving.kserve.io/v1alpha2", "llminferenceservices", name)
}

pub(super) fn deployment(name: &str) -> String {
    child("apps/v1", "deployments", &format!("{name}-kserve"))
}

pub(super) fn condition(object: &Value, kind: &str) -> (String, String, String) {
    let all = object["status"]["conditions"].as_array();
    let found = all
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind);
    let text = |field: &str| {
        let value = found.and_then(|found| found[field].as_str());
        value.unwrap_or_default().to_owned()
    };
    (text("status"), text("reason"), text("message"))
}

pub(super) fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").0 == "True"
}

/// Status of a pod that serves.
pub(super) fn serving() -> Value {
    json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-03-01T10:00:00Z"}],
        "containerStatuses": [{
            "name": "main", "ready": true, "started": true, "image": "i", "imageID": "", "restartCount": 0,
            "state": {"running": {"startedAt": "2026-03-01T10:00:00Z"}},
        }],
    })
}
