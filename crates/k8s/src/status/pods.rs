//! How far has a pod come, and what holds it up?

use jiff::Timestamp;

use super::Observed;
use super::last_words::{self, Cause};
use crate::types::{Condition, ContainerStatus, EndpointStatus, WorkloadPod};

/// Steps of a start, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Waits for a node.
    Node,
    ImagePull,
    ModelDownload,
    /// The engine runs and brings its accelerator and weights up.
    AcceleratorStart,
    /// The engine says that it compiles.
    Compile,
    Ready,
    /// About to go; not in the picker any more.
    Draining,
}

impl Phase {
    /// As the status shows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::ImagePull => "ImagePull",
            Self::ModelDownload => "ModelDownload",
            Self::AcceleratorStart => "AcceleratorStart",
            Self::Compile => "Compile",
            Self::Ready => "Ready",
            Self::Draining => "Draining",
        }
    }
}

/// A pod, judged.
#[derive(Clone, Debug)]
pub struct PodView {
    pub pod: String,
    pub address: Option<String>,
    pub node: Option<String>,
    pub phase: Phase,
    /// When the phase began, as far as the pod says it.
    pub since: Option<Timestamp>,
    /// Something an operator has to mend.
    pub problem: Option<(&'static str, String)>,
}

impl PodView {
    pub(super) fn to_status(&self) -> EndpointStatus {
        let ready = self.phase == Phase::Ready;
        EndpointStatus {
            address: self.address.clone(),
            pod: self.pod.clone(),
            node: self.node.clone(),
            phase: (!ready).then(|| self.phase.name().to_owned()),
            since: self.since.filter(|_| !ready).map(|since| since.to_string()),
            reason: self
                .problem
                .as_ref()
                .map(|(reason, _)| (*reason).to_owned()),
            message: self.problem.as_ref().map(|(_, message)| message.clone()),
        }
    }
}

/// Judges a pod.
pub fn view(pod: &WorkloadPod, seen: &Observed<'_>) -> PodView {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let log = seen.logs.get(&name).map(String::as_str).unwrap_or_default();
    let (phase, since) = phase(pod, log);
    let port = crate::desired::engine_command::ENGINE_PORT;
    PodView {
        address: pod
            .status
            .pod_ip
            .as_ref()
            .filter(|ip| !ip.is_empty())
            .map(|ip| format!("{ip}:{port}")),
        node: pod.spec.node_name.clone(),
        problem: problem(pod, &name, log, seen),
        phase,
        since,
        pod: name,
    }
}

fn phase(pod: &WorkloadPod, log: &str) -> (Phase, Option<Timestamp>) {
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    if let Some(deleted) = &pod.metadata.deletion_timestamp {
        return (Phase::Draining, Some(deleted.0));
    }
    if pod.is_ready() {
        let since = pod
            .condition("Ready")
            .and_then(|ready| ready.last_transition_time.parse().ok());
        return (Phase::Ready, since);
    }
    if pod.spec.node_name.as_deref().is_none_or(str::is_empty) {
        return (Phase::Node, created);
    }
    if let Some(lost) = node_lost(pod) {
        return (Phase::Node, lost.last_transition_time.parse().ok());
    }
    if let Some(running) = pod.main().and_then(|main| main.state.running.as_ref()) {
        let phase = if last_words::compiles(log) {
            Phase::Compile
        } else {
            Phase::AcceleratorStart
        };
        // When compiling began is not in the pod.
        let since = (phase == Phase::AcceleratorStart)
            .then(|| running.started_at.parse().ok())
            .flatten();
        return (phase, since);
    }
    if pod
        .main()
        .is_some_and(|main| main.restart_count > 0 || main.state.terminated.is_some())
    {
        return (Phase::AcceleratorStart, None);
    }
    let downloading = pod.status.init_container_statuses.iter().find(|init| {
        init.name.starts_with("storage-initializer")
            && (init.state.running.is_some() || init.restart_count > 0)
    });
    if let Some(init) = downloading {
        let since = init
            .state
            .running
            .as_ref()
            .and_then(|running| running.started_at.parse().ok());
        return (Phase::ModelDownload, since);
    }
    let scheduled = pod
        .condition("PodScheduled")
        .and_then(|scheduled| scheduled.last_transition_time.parse().ok());
    (Phase::ImagePull, scheduled.or(created))
}

fn problem(
    pod: &WorkloadPod,
    name: &str,
    log: &str,
    seen: &Observed<'_>,
) -> Option<(&'static str, String)> {
    if pod.metadata.deletion_timestamp.is_some() || pod.is_ready() {
        return None;
    }
    if pod.status.phase == "Failed" {
        let reason = pod.status.reason.clone().unwrap_or_default();
        let message = pod.status.message.clone().unwrap_or_default();
        return Some((
            "PodFailed",
            format!("{reason} {message}: the pod is replaced"),
        ));
    }
    unscheduled(pod, name, seen)
        .or_else(|| {
            pod.status
                .init_container_statuses
                .iter()
                .find_map(|init| waiting(init).or_else(|| download(init, seen)))
        })
        .or_else(|| {
            pod.main()
                .and_then(|main| waiting(main).or_else(|| crashed(main, log)))
        })
        .or_else(|| lost(pod))
        .or_else(|| slow(pod))
}

/// The condition that took the pod out of service although its engine was well when last heard of.
fn node_lost(pod: &WorkloadPod) -> Option<&Condition> {
    let ready = pod.condition("Ready")?;
    let well = pod
        .main()
        .is_some_and(|main| main.ready && main.state.running.is_some());
    // A readiness gate is somebody else's condition, not the node's.
    (well && ready.status != "True" && ready.reason != "ReadinessGatesNotReady").then_some(ready)
}

/// The node stopped reporting.
fn lost(pod: &WorkloadPod) -> Option<(&'static str, String)> {
    node_lost(pod)?;
    let node = pod.spec.node_name.as_deref().unwrap_or_default();
    Some((
        "NodeLost",
        format!(
            "node {node} no longer reports; the cluster replaces its pods after their tolerationSeconds, 5 minutes by default: kubectl describe node {node}"
        ),
    ))
}

/// No node takes the pod: which resource is short, and what the node pools say.
fn unscheduled(
    pod: &WorkloadPod,
    name: &str,
    seen: &Observed<'_>,
) -> Option<(&'static str, String)> {
    let scheduled = pod
        .condition("PodScheduled")
        .filter(|scheduled| scheduled.status == "False")?;
    let events = seen.events.get(name).map(Vec::as_slice).unwrap_or_default();
    let stock = [
        "GCE_STOCKOUT",
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "out of stock",
        "InsufficientInstanceCapacity",
        "does not have enough resources",
    ];
    let quota = [
        "QUOTA_EXCEEDED",
        "quota exceeded",
        "Quota",
        "exceeded quota",
    ];
    let said = |words: &[&str]| {
        events
            .iter()
            .find(|event| words.iter().any(|word| event.contains(word)))
    };
    if let Some(event) = said(&stock) {
        return Some((
            "StockOut",
            format!(
                "the zone has no such machine now: {event}; another zone or reservation, or wait"
            ),
        ));
    }
    if let Some(event) = said(&quota) {
        return Some((
            "QuotaExceeded",
            format!("{event}; ask for more quota or scale something else down"),
        ));
    }
    let message = &scheduled.message;
    let short = last_words::short_of(message);
    let hint = match &short {
        Some(resource) => {
            format!("not enough {resource} free; add nodes to the pool or scale down")
        }
        None if message.contains("taint") => {
            "no node tolerates it: compare the nodes' taints with the tolerations".to_owned()
        }
        None => "no node fits: compare node selector and tolerations with the nodes".to_owned(),
    };
    let scaling = events
        .iter()
        .find(|event| event.contains("TriggeredScaleUp"))
        .map(|event| format!("; {event}"))
        .unwrap_or_default();
    Some(("Unschedulable", format!("{hint}: {message}{scaling}")))
}

fn waiting(container: &ContainerStatus) -> Option<(&'static str, String)> {
    let waiting = container.state.waiting.as_ref()?;
    let message = last_words::cut(&waiting.message);
    match waiting.reason.as_str() {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable" => {
            let denied = ["unauthorized", "denied", "authentication", "403", "401"]
                .iter()
                .any(|word| waiting.message.contains(word));
            let hint = if denied {
                "check imagePullSecrets"
            } else {
                "check the image's name and tag"
            };
            Some((
                "ImagePullFailed",
                format!("{}: {message}; {hint}", container.image),
            ))
        }
        "CreateContainerConfigError" if waiting.message.contains("secret") => {
            Some(("SecretMissing", message))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(("ContainerConfigError", message))
        }
        _ => None,
    }
}

/// A failed fetch of the model.
fn download(init: &ContainerStatus, _: &Observed<'_>) -> Option<(&'static str, String)> {
    let ended = init
        .state
        .terminated
        .as_ref()
        .or(init.last_state.terminated.as_ref())
        .filter(|ended| ended.exit_code != 0)?;
    let words = last_words::cut(&ended.message);
    let hint = if ["401", "403", "gated", "Unauthorized"]
        .iter()
        .any(|word| ended.message.contains(word))
    {
        "; the token is missing or has no access to the model"
    } else {
        ""
    };
    Some((
        "ModelDownloadFailed",
        format!(
            "{} ended with {}: {words}{hint}",
            init.name, ended.exit_code
        ),
    ))
}

fn crashed(main: &ContainerStatus, log: &str) -> Option<(&'static str, String)> {
    let ended = main
        .state
        .terminated
        .as_ref()
        .or(main.last_state.terminated.as_ref());
    let looping = main
        .state
        .waiting
        .as_ref()
        .is_some_and(|waiting| waiting.reason == "CrashLoopBackOff");
    if !looping && main.restart_count == 0 && main.state.terminated.is_none() {
        return None;
    }
    let ended = ended?;
    if ended.exit_code == 0 && !looping {
        return None;
    }
    let words = if ended.message.trim().is_empty() {
        log
    } else {
        &ended.message
    };
    let (reason, hint) = match last_words::cause(words, &ended.reason) {
        Cause::Flag(flag) => {
            let meant = if flag == "--prefix-cache-block-size" {
                "; it is --block-size"
            } else {
                ""
            };
            (
                "EngineFlagUnknown",
                format!("the engine does not know {flag}{meant}; "),
            )
        }
        Cause::Memory => (
            "EngineOutOfMemory",
            "lower --max-model-len or --gpu-memory-utilization, or use more accelerators; "
                .to_owned(),
        ),
        Cause::Killed => (
            "OOMKilled",
            "the container's memory limit was reached: raise it; ".to_owned(),
        ),
        Cause::Access => (
            "ModelAccessDenied",
            "the token is missing or has no access to the model; ".to_owned(),
        ),
        Cause::Other => ("CrashLoop", String::new()),
    };
    Some((
        reason,
        format!(
            "{hint}restarted {} times, exit code {}, last words: {}",
            main.restart_count,
            ended.exit_code,
            last_words::cut(words)
        ),
    ))
}

/// Not ready after it had started.
fn slow(pod: &WorkloadPod) -> Option<(&'static str, String)> {
    let main = pod.main()?;
    let unhealthy = main.state.running.is_some() && main.started == Some(true) && !main.ready;
    unhealthy.then(|| {
        (
            "ProbeFailing",
            "the engine started and does not answer its readiness probe now".to_owned(),
        )
    })
}
