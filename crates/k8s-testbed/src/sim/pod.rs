//! What is a pod's life, from its node to its end?

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::addresses::PodAddress;
use super::container::{Container, Ended};
use super::{World, events, secrets};
use crate::object::{
    self, is_deleting, list, name, namespace, now, number, set_condition, text, uid,
};
use crate::store::Key;

/// First and longest wait before a container that ended is started again, seconds before scaling.
const BACK_OFF_SECONDS: f64 = 10.0;
const BACK_OFF_SECONDS_MAX: f64 = 300.0;

/// Between two tries to get what is missing, seconds before scaling.
const RETRY_SECONDS: f64 = 10.0;

/// What a simulated step (an image pulled, a container made) takes, seconds before scaling.
const STEP_SECONDS: f64 = 2.0;

/// What the node wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Run,
    /// Its process dies, for the how manieth time.
    Kill {
        count: u32,
    },
    /// Ends within its grace period.
    End {
        grace_seconds: i64,
    },
    /// Ends at once, and tells nobody.
    Vanish,
}

impl Order {
    pub(super) fn kills(self) -> u32 {
        match self {
            Self::Kill { count } => count,
            _ => 0,
        }
    }

    fn ends(self) -> bool {
        matches!(self, Self::End { .. } | Self::Vanish)
    }
}

/// What the node says of a pod.
pub(super) struct Report<'a> {
    pub(super) world: &'a Arc<World>,
    pub(super) pod: &'a Value,
}

impl Report<'_> {
    pub(super) fn event(&self, kind: &str, reason: &str, message: &str) {
        events::tell(
            &self.world.store,
            self.pod,
            "kubelet",
            kind,
            reason,
            message,
        );
    }

    /// Changes the status of this very pod, if it is still there.
    pub(super) fn status(&self, change: impl FnOnce(&mut Value)) {
        let key = Key::new("pods", namespace(self.pod), name(self.pod));
        let _ = self.world.store.write(&key, |before| {
            let Some(before) = before else {
                return Ok(None);
            };
            let mut pod = before.clone();
            if uid(&pod) == uid(self.pod) {
                if !pod["status"].is_object() {
                    pod["status"] = json!({});
                }
                change(&mut pod["status"]);
                conclude(&mut pod);
            }
            Ok(Some(pod))
        });
    }

    /// The container's status, made where it is missing.
    pub(super) fn container(&self, container: &Value, change: impl FnOnce(&mut Value)) {
        self.status(|status| {
            let own = text(container, "/name");
            let mut all = list(status, "/containerStatuses").to_vec();
            let at = all.iter().position(|one| text(one, "/name") == own).unwrap_or_else(|| {
                all.push(json!({
                    "name": own, "image": container["image"], "imageID": "", "ready": false, "started": false,
                    "restartCount": 0, "state": {}, "lastState": {},
                }));
                all.len() - 1
            });
            change(&mut all[at]);
            status["containerStatuses"] = json!(all);
        });
    }

    fn waiting(&self, container: &Value, reason: &str, message: &str) {
        self.container(container, |status| {
            status["ready"] = json!(false);
            status["state"] = json!({"waiting": {"reason": reason, "message": message}});
        });
    }
}

/// Conditions and phase that follow from the containers.
fn conclude(pod: &mut Value) {
    let wanted = list(pod, "/spec/containers").len();
    let statuses = list(pod, "/status/containerStatuses");
    let ready = statuses.iter().filter(|one| one["ready"] == true).count();
    let running = statuses
        .iter()
        .any(|one| one.pointer("/state/running").is_some() || one["restartCount"] != 0);
    let mut conditions = list(pod, "/status/conditions").to_vec();
    let words = if ready == wanted {
        ("True", "", "")
    } else {
        (
            "False",
            "ContainersNotReady",
            "containers with unready status",
        )
    };
    for kind in ["ContainersReady", "Ready"] {
        set_condition(&mut conditions, kind, words.0, words.1, words.2);
    }
    pod["status"]["conditions"] = json!(conditions);
    pod["status"]["phase"] = json!(if running { "Running" } else { "Pending" });
}

/// Runs the pod until it is deleted or its node is gone.
pub(super) async fn live(world: Arc<World>, pod: Arc<Value>, mut orders: watch::Receiver<Order>) {
    let report = Report {
        world: &world,
        pod: &pod,
    };
    if !run(&report, &mut orders).await {
        let key = Key::new("pods", namespace(&pod), name(&pod));
        let _ = world.store.write(&key, |before| {
            Ok(before.and_then(|held| finished(held, &pod)))
        });
        world.logs.forget(namespace(&pod), name(&pod));
    }
}

/// Gone, but for finalizers that others hold.
fn finished(held: &Value, pod: &Value) -> Option<Value> {
    if uid(held) != uid(pod) {
        return Some(held.clone());
    }
    if object::finalizers(held).is_empty() {
        return None;
    }
    let mut held = held.clone();
    held["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    Some(held)
}

/// True where the pod vanished with its node.
async fn run(report: &Report<'_>, orders: &mut watch::Receiver<Order>) -> bool {
    let Some(address) = PodAddress::take() else {
        report.event("Warning", "FailedCreatePodSandBox", "no address is free");
        return wait_end(orders).await;
    };
    report.status(|status| {
        status["podIP"] = json!(address.0.to_string());
        status["podIPs"] = json!([{"ip": address.0.to_string()}]);
        status["hostIP"] = json!("127.0.0.1");
        status["startTime"] = json!(now());
        status["qosClass"] = json!("Burstable");
    });
    let containers = list(report.pod, "/spec/containers");
    for container in containers {
        report.waiting(container, "ContainerCreating", "");
    }
    tokio::select! {
        () = prepare(report) => {}
        () = ended(orders) => return *orders.borrow() == Order::Vanish,
    }
    // Each container has a life of its own; the pod ends when the order comes.
    let (mut lives, stop) = (tokio::task::JoinSet::new(), orders.clone());
    for container in containers {
        let (world, pod) = (Arc::clone(report.world), report.pod.clone());
        let (container, orders, ip) = (container.clone(), stop.clone(), address.0);
        lives.spawn(async move {
            let report = Report {
                world: &world,
                pod: &pod,
            };
            keep_up(&report, &container, ip, orders).await;
        });
    }
    while lives.join_next().await.is_some() {}
    *orders.borrow() == Order::Vanish
}

async fn ended(orders: &mut watch::Receiver<Order>) {
    // A sender that is gone means that the node is.
    let _ = orders.wait_for(|order| order.ends()).await;
}

async fn wait_end(orders: &mut watch::Receiver<Order>) -> bool {
    ended(orders).await;
    *orders.borrow() == Order::Vanish
}

/// Waits for volumes, pulls images, runs the init containers.
async fn prepare(report: &Report<'_>) {
    let world = report.world;
    while let Err((_, message)) = secrets::volumes(world, report.pod) {
        report.event("Warning", "FailedMount", &message);
        tokio::time::sleep(world.scaled(RETRY_SECONDS)).await;
    }
    for (at, container) in list(report.pod, "/spec/initContainers").iter().enumerate() {
        obtain(report, container).await;
        let sidecar = container["restartPolicy"] == "Always";
        init(
            report,
            at,
            container,
            json!({"running": {"startedAt": now()}}),
            sidecar,
        );
        if sidecar {
            continue;
        }
        tokio::time::sleep(world.scaled(STEP_SECONDS)).await;
        let done = json!({"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now()}});
        init(report, at, container, done, true);
    }
    report.status(|status| {
        let mut conditions = list(status, "/conditions").to_vec();
        set_condition(&mut conditions, "Initialized", "True", "", "");
        status["conditions"] = json!(conditions);
    });
    for container in list(report.pod, "/spec/containers") {
        obtain(report, container).await;
    }
}

fn init(report: &Report<'_>, at: usize, container: &Value, state: Value, ready: bool) {
    report.status(|status| {
        let mut all = list(status, "/initContainerStatuses").to_vec();
        let one = json!({
            "name": container["name"], "image": container["image"], "imageID": "", "ready": ready, "started": ready,
            "restartCount": 0, "state": state, "lastState": {},
        });
        match all.get_mut(at) {
            Some(held) => *held = one,
            None => all.push(one),
        }
        status["initContainerStatuses"] = json!(all);
    });
}

/// Pulls the image and reads what the environment refers to; tries again until it can.
async fn obtain(report: &Report<'_>, container: &Value) {
    let world = report.world;
    let mut tries = 0;
    loop {
        let missing = secrets::image(world, report.pod, container)
            .and_then(|()| secrets::environment(world, report.pod, container));
        let Err((reason, message)) = missing else {
            break;
        };
        let backing_off = reason == "ErrImagePull" && tries % 2 == 1;
        match backing_off {
            true => {
                let image = text(container, "/image");
                let words = format!("Back-off pulling image \"{image}\": ErrImagePull: {message}");
                report.waiting(container, "ImagePullBackOff", &words);
                report.event("Normal", "BackOff", &words);
            }
            false => {
                report.waiting(container, reason, &message);
                report.event("Warning", "Failed", &format!("Error: {message}"));
            }
        }
        tries += 1;
        tokio::time::sleep(world.scaled(RETRY_SECONDS)).await;
    }
    report.event(
        "Normal",
        "Pulled",
        &format!(
            "Successfully pulled image \"{}\"",
            text(container, "/image")
        ),
    );
    tokio::time::sleep(world.scaled(STEP_SECONDS)).await;
}

/// Starts a container again whenever it ends, until the pod does.
async fn keep_up(
    report: &Report<'_>,
    container: &Value,
    address: std::net::Ipv4Addr,
    mut orders: watch::Receiver<Order>,
) {
    let mut back_off = BACK_OFF_SECONDS;
    loop {
        if orders.borrow().ends() {
            return;
        }
        let begun = tokio::time::Instant::now();
        let started_at = now();
        match Container::start(report, container, address) {
            Err(why) => report.waiting(container, "RunContainerError", &why),
            Ok(running) => match running.run(report, &mut orders).await {
                Ended::Ordered => return,
                Ended::ByItself { code, words } => {
                    terminated(report, container, code, &words, &started_at);
                }
            },
        }
        let long_ago = report.world.scaled(BACK_OFF_SECONDS_MAX) * 2;
        if begun.elapsed() > long_ago.max(Duration::from_secs(1)) {
            back_off = BACK_OFF_SECONDS;
        }
        let message = format!(
            "back-off {back_off}s restarting failed container={} pod={}_{}",
            text(container, "/name"),
            name(report.pod),
            namespace(report.pod)
        );
        report.waiting(container, "CrashLoopBackOff", &message);
        report.event(
            "Warning",
            "BackOff",
            &format!(
                "Back-off restarting failed container {}",
                text(container, "/name")
            ),
        );
        tokio::select! {
            () = tokio::time::sleep(report.world.scaled(back_off)) => {}
            () = ended(&mut orders) => return,
        }
        back_off = (back_off * 2.0).min(BACK_OFF_SECONDS_MAX);
    }
}

fn terminated(report: &Report<'_>, container: &Value, code: i32, words: &str, started_at: &str) {
    let message = match text(container, "/terminationMessagePolicy") {
        "FallbackToLogsOnError" if code != 0 => words,
        _ => "",
    };
    let reason = if code == 0 { "Completed" } else { "Error" };
    let end = json!({"terminated": {
        "exitCode": code, "reason": reason, "message": message, "startedAt": started_at, "finishedAt": now(),
    }});
    report.container(container, |status| {
        status["restartCount"] = json!(number(status, "/restartCount").unwrap_or(0) + 1);
        status["ready"] = json!(false);
        status["started"] = json!(false);
        status["lastState"] = end.clone();
        status["state"] = end;
    });
    tracing::debug!(
        pod = name(report.pod),
        code,
        deleting = is_deleting(report.pod),
        "container ended"
    );
}
