//! How does a container run: its process, its probes, its end?

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::command::{self, Program};
use super::pod::{Order, Report};
use super::probe;
use crate::object::{list, name, namespace, now, number, text};
use crate::store::Key;

/// Probes are never more often than this, however short time is made.
const LEAST_PERIOD: Duration = Duration::from_millis(20);

/// Last words kept for the status.
const KEPT_LINES: usize = 20;

/// Longest wait for a process that was told to end, where its grace period is longer still.
const LONGEST_GRACE: Duration = Duration::from_secs(60);

/// How a container's life went.
pub(super) enum Ended {
    Ordered,
    ByItself { code: i32, words: String },
}

/// A started container.
pub(super) struct Container<'a> {
    container: &'a Value,
    address: Ipv4Addr,
    /// Absent where nothing can stand for it.
    child: Option<Child>,
    words: Arc<Mutex<Vec<String>>>,
}

impl<'a> Container<'a> {
    pub(super) fn start(
        report: &Report<'_>,
        container: &'a Value,
        address: Ipv4Addr,
    ) -> Result<Self, String> {
        let words = Arc::new(Mutex::new(Vec::new()));
        let child = match command(report, container, address) {
            None => None,
            Some(mut command) => {
                let mut child = command
                    .spawn()
                    .map_err(|error| format!("cannot start: {error}"))?;
                report
                    .world
                    .logs
                    .begin(namespace(report.pod), name(report.pod));
                let streams: [Option<Box<dyn AsyncRead + Send + Unpin>>; 2] = [
                    child.stdout.take().map(|stream| Box::new(stream) as _),
                    child.stderr.take().map(|stream| Box::new(stream) as _),
                ];
                for stream in streams.into_iter().flatten() {
                    let (logs, words) = (report.world.logs.clone(), Arc::clone(&words));
                    let (namespace, name) = (
                        namespace(report.pod).to_owned(),
                        name(report.pod).to_owned(),
                    );
                    tokio::spawn(async move {
                        let mut lines = BufReader::new(stream).lines();
                        while let Ok(Some(line)) = lines.next_line().await {
                            logs.push(&namespace, &name, line.clone());
                            let mut words = words.lock();
                            if words.len() == KEPT_LINES {
                                words.remove(0);
                            }
                            words.push(line);
                        }
                    });
                }
                Some(child)
            }
        };
        report.container(container, |status| {
            status["state"] = json!({"running": {"startedAt": now()}});
            status["started"] = json!(container.get("startupProbe").is_none());
            status["ready"] = json!(
                container.get("readinessProbe").is_none()
                    && container.get("startupProbe").is_none()
            );
        });
        report.event(
            "Normal",
            "Started",
            &format!("Started container {}", text(container, "/name")),
        );
        Ok(Self {
            container,
            address,
            child,
            words,
        })
    }

    /// Runs until the process ends by itself, is ended by its probes, or is told to end.
    pub(super) async fn run(
        mut self,
        report: &Report<'_>,
        orders: &mut watch::Receiver<Order>,
    ) -> Ended {
        let kills = orders.borrow().kills();
        let mut input = self.child.as_mut().and_then(|child| child.stdin.take());
        let (container, address) = (self.container, self.address);
        let ended = {
            let (child, words) = (&mut self.child, &self.words);
            let exit = async {
                match child {
                    Some(child) => child.wait().await.ok(),
                    None => std::future::pending().await,
                }
            };
            let told = async {
                let meant = |order: &Order| match order {
                    Order::Run => false,
                    Order::Kill { count } => *count > kills,
                    Order::End { .. } | Order::Vanish => true,
                };
                // A sender that is gone means that the node is.
                let _ = orders.wait_for(meant).await;
            };
            tokio::select! {
                status = exit => {
                    // The readers may still be at the last lines.
                    tokio::time::sleep(LEAST_PERIOD).await;
                    Some((status.and_then(|status| status.code()).unwrap_or(137), words.lock().join("\n")))
                }
                why = probes(report, container, address) => {
                    report.event("Normal", "Killing", &format!("Container {} failed {why}, will be restarted", text(container, "/name")));
                    Some((137, String::new()))
                }
                () = told => None,
            }
        };
        if let Some((code, words)) = ended {
            self.kill().await;
            return Ended::ByItself { code, words };
        }
        let order = *orders.borrow();
        let ended = match order {
            Order::End { grace_seconds } => {
                self.end(report, grace_seconds, orders).await;
                Ended::Ordered
            }
            Order::Kill { .. } => {
                self.kill().await;
                Ended::ByItself {
                    code: 137,
                    words: String::new(),
                }
            }
            Order::Vanish | Order::Run => {
                self.kill().await;
                Ended::Ordered
            }
        };
        drop(input.take());
        ended
    }

    async fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            // Gone already: nothing to kill.
            let _ = child.kill().await;
        }
    }

    /// The hook, then the signal, then the end, as a kubelet does; readiness goes on being asked until then.
    async fn end(
        &mut self,
        report: &Report<'_>,
        grace_seconds: i64,
        orders: &mut watch::Receiver<Order>,
    ) {
        report.event(
            "Normal",
            "Killing",
            &format!("Stopping container {}", text(self.container, "/name")),
        );
        let grace =
            Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0)).min(LONGEST_GRACE);
        let deadline = tokio::time::Instant::now() + grace;
        let whole = async {
            tokio::time::sleep(report.world.scaled(hook_seconds(self.container))).await;
            if let Some(child) = &mut self.child {
                terminate(child).await;
                let _ = child.wait().await;
            }
        };
        tokio::select! {
            () = whole => {}
            () = tokio::time::sleep_until(deadline) => {}
            _ = orders.wait_for(|order| *order == Order::Vanish) => {}
        }
        self.kill().await;
    }
}

/// Seconds that the `preStop` hook sleeps.
fn hook_seconds(container: &Value) -> f64 {
    let sleep = number(container, "/lifecycle/preStop/sleep/seconds").map(|seconds| seconds as f64);
    let words: Vec<&str> = list(container, "/lifecycle/preStop/exec/command")
        .iter()
        .filter_map(Value::as_str)
        .flat_map(str::split_whitespace)
        .collect();
    let after_sleep = words
        .iter()
        .position(|word| word.ends_with("sleep"))
        .and_then(|at| words.get(at + 1));
    sleep.or_else(|| after_sleep?.parse().ok()).unwrap_or(0.0)
}

/// SIGTERM, by way of the tool every machine has.
async fn terminate(child: &Child) {
    if let Some(id) = child.id() {
        let _ = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await;
    }
}

/// The process that stands for a container.
fn command(report: &Report<'_>, container: &Value, address: Ipv4Addr) -> Option<Command> {
    let config = &report.world.config;
    let environment = |name: &str| environment(report, container, name);
    let mut command = Command::new(&config.binary);
    match command::program(container, &environment) {
        Program::Idle => return None,
        Program::Engine { words, port } => {
            command.arg("engine").args([
                "--host",
                &address.to_string(),
                "--port",
                &port.to_string(),
            ]);
            command.args([
                "--exit-on-stdin-close",
                "--time-scale",
                &config.time_scale.to_string(),
            ]);
            command.args(words).args(&config.engine_flags);
        }
        Program::Ours(words) => {
            let here = |word: String| word.replace("0.0.0.0", &address.to_string());
            command.args(words.into_iter().map(here));
            if let Some(kubeconfig) = &config.kubeconfig {
                command.env("KUBECONFIG", kubeconfig);
            }
        }
    }
    for variable in list(container, "/env") {
        let name = text(variable, "/name");
        if let Some(value) = environment(name) {
            command.env(name, value);
        }
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    Some(command)
}

/// A variable of the container's: a plain value, a field of the pod, or a key of a config map.
fn environment(report: &Report<'_>, container: &Value, wanted: &str) -> Option<String> {
    let variable = list(container, "/env")
        .iter()
        .find(|one| text(one, "/name") == wanted)?;
    if let Some(value) = variable["value"].as_str() {
        return Some(value.to_owned());
    }
    let field = text(variable, "/valueFrom/fieldRef/fieldPath");
    if field == "status.podIP" {
        let pod =
            report
                .world
                .store
                .get(&Key::new("pods", namespace(report.pod), name(report.pod)))?;
        return Some(text(&pod, "/status/podIP").to_owned());
    }
    if !field.is_empty() {
        return Some(text(report.pod, &format!("/{}", field.replace('.', "/"))).to_owned());
    }
    let reference = variable.pointer("/valueFrom/configMapKeyRef")?;
    let map = report.world.store.get(&Key::new(
        "configmaps",
        namespace(report.pod),
        text(reference, "/name"),
    ))?;
    map["data"][text(reference, "/key")]
        .as_str()
        .map(str::to_owned)
}

/// Start-up, then readiness and liveness side by side; ends with the probe that asks for a restart.
async fn probes(report: &Report<'_>, container: &Value, address: Ipv4Addr) -> &'static str {
    if let Some(startup) = container.get("startupProbe") {
        if !passes(report, container, startup, address, true).await {
            return "startup probe";
        }
        report.container(container, |status| {
            status["started"] = json!(true);
            status["ready"] = json!(container.get("readinessProbe").is_none());
        });
    }
    let readiness = async {
        match container.get("readinessProbe") {
            Some(probe) => keep_ready(report, container, probe, address).await,
            None => std::future::pending().await,
        }
    };
    let liveness = async {
        match container.get("livenessProbe") {
            Some(probe) => drop(passes(report, container, probe, address, false).await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = readiness => "readiness probe",
        () = liveness => "liveness probe",
    }
}

fn period(report: &Report<'_>, probe: &Value) -> Duration {
    report
        .world
        .scaled(number(probe, "/periodSeconds").unwrap_or(10) as f64)
        .max(LEAST_PERIOD)
}

async fn initial_delay(report: &Report<'_>, probe: &Value) {
    let seconds = number(probe, "/initialDelaySeconds").unwrap_or(0) as f64;
    tokio::time::sleep(report.world.scaled(seconds)).await;
}

/// Asks until it succeeds (`once`), or for ever; false when it failed too often in a row.
async fn passes(
    report: &Report<'_>,
    container: &Value,
    probe: &Value,
    address: Ipv4Addr,
    once: bool,
) -> bool {
    initial_delay(report, probe).await;
    let limit = number(probe, "/failureThreshold").unwrap_or(3);
    let mut failed = 0;
    loop {
        match probe::ask(probe, container, address).await {
            Ok(()) if once => return true,
            Ok(()) => failed = 0,
            Err(why) => {
                failed += 1;
                report.event("Warning", "Unhealthy", &format!("probe failed: {why}"));
                // Time is short here, and processes start in real time: a shortened limit is no proof of death.
                let shortened =
                    period(report, probe).mul_f64(limit as f64) < Duration::from_secs(10);
                if failed >= limit && (!shortened || failed >= limit.max(200)) {
                    return false;
                }
            }
        }
        tokio::time::sleep(period(report, probe)).await;
    }
}

async fn keep_ready(report: &Report<'_>, container: &Value, probe: &Value, address: Ipv4Addr) {
    initial_delay(report, probe).await;
    let limit = number(probe, "/failureThreshold").unwrap_or(3);
    let (mut failed, mut ready) = (0, false);
    loop {
        let answered = probe::ask(probe, container, address).await;
        failed = if answered.is_ok() { 0 } else { failed + 1 };
        let now_ready = answered.is_ok() || (ready && failed < limit);
        if now_ready != ready {
            ready = now_ready;
            report.container(container, |status| status["ready"] = json!(ready));
        }
        if let Err(why) = answered
            && failed == limit
        {
            report.event(
                "Warning",
                "Unhealthy",
                &format!("Readiness probe failed: {why}"),
            );
        }
        tokio::time::sleep(period(report, probe)).await;
    }
}
