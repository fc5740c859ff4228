//! Does one manifest become running, routed, scaled replicas?
//!
//! Against the in-project API server and nodes, with real controller, gateway and engine processes; by `kubectl`, word for
//! word as the guide has it, where it is installed, else by the API. With `KUBECONFIG` set, against that API server, as
//! far as it goes.

mod load;
mod outside;
mod service;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_testbed::Fault;

use crate::playground::{Playground, Settings};
use load::Load;
use service::{NAMESPACE, Service};

/// Nodes: as many as the service ever has replicas, so that none is spare when all are rolled.
const NODES: usize = 5;

/// The whole story, told quickly.
///
/// # Errors
/// The first thing that is not as it should be.
#[allow(clippy::print_stdout, reason = "xtask talks to a terminal")]
pub(super) fn check(binary: &Path, _: &[&str]) -> anyhow::Result<()> {
    println!("=== e2e kubernetes");
    let start = Instant::now();
    let tell = |what: &str| println!("    {:5.1} s  {what}", start.elapsed().as_secs_f64());
    if let Some(kubeconfig) = std::env::var_os("KUBECONFIG") {
        return outside::check(binary, Path::new(&kubeconfig), &tell);
    }
    let mut playground = Playground::start(binary, &Settings::free(NODES)?)?;
    if !service::has_kubectl() {
        println!("    kubectl is not installed: the API is called directly");
    }
    tell("API server, nodes, controller and gateway are up");

    let service = Service::new("qwen2-3b-pattern3", "pattern3-tpu.yaml");
    service.apply(&playground)?;
    service.ready(&mut playground, 3)?;
    tell("3 replicas are ready, and the gateway knows them");
    let model = service.model(&playground)?;
    service.ask(&playground, &model)?;
    tell("a completion through /{namespace}/{name}/v1/chat/completions");

    beside(&mut playground, &service)?;
    tell("Pattern 1 served beside it, each on its own path, and was deleted");

    let told = scaling(&mut playground, &service, &model)?;
    tell(&told);
    let told = rolling(&mut playground, &service, &model)?;
    tell(&told);
    let told = killing(&mut playground, &service, &model)?;
    tell(&told);

    away(&mut playground, &service, &model)?;
    tell("API server away: served on from the last view, said so, and came back");

    service.delete(&playground)?;
    service.gone(&mut playground)?;
    tell("deleted with everything that belonged to it");
    playground.stop()?;
    println!("=== e2e kubernetes: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// One replica of Pattern 1 next to Pattern 3.
fn beside(playground: &mut Playground, service: &Service) -> anyhow::Result<()> {
    let other = Service::new("qwen2-3b-pattern1", "pattern1-tpu.yaml");
    other.apply(playground)?;
    other.ready(playground, 1)?;
    for one in [&other, service] {
        let model = one.model(playground)?;
        one.ask(playground, &model)?;
    }
    service.ready(playground, 3)?;
    other.delete(playground)?;
    other.gone(playground)
}

/// 3 to 5 to 1 and back to as many as there are nodes.
fn scaling(playground: &mut Playground, service: &Service, model: &str) -> anyhow::Result<String> {
    let load = Load::start(playground, service, model);
    for replicas in [5, 1, NODES] {
        service.scale(playground, replicas)?;
        service.ready(playground, replicas)?;
    }
    let asked = load.end("scaling from 3 to 5 to 1 to 5")?;
    Ok(format!(
        "scaled 3 to 5 to 1 to 5 under load: {asked} requests, none failed"
    ))
}

/// Every replica is replaced while every node is taken.
fn rolling(playground: &mut Playground, service: &Service, model: &str) -> anyhow::Result<String> {
    let names = |playground: &Playground| -> Vec<String> {
        let pods = service.pods(playground);
        pods.iter()
            .map(|pod| pod["metadata"]["name"].to_string())
            .collect()
    };
    let before = names(playground);
    let load = Load::start(playground, service, model);
    service.change_template(playground)?;
    playground.wait("every pod to be a new one", |playground| {
        let now = names(playground);
        !now.is_empty() && now.iter().all(|name| !before.contains(name))
    })?;
    service.ready(playground, NODES)?;
    let asked = load.end("a rolling update")?;
    Ok(format!(
        "rolled {NODES} replicas on {NODES} nodes under load: {asked} requests, none failed"
    ))
}

/// A pod's process ends at once, then a whole node.
fn killing(playground: &mut Playground, service: &Service, model: &str) -> anyhow::Result<String> {
    let replicas = NODES - 1;
    service.scale(playground, replicas)?;
    service.ready(playground, replicas)?;
    let pods = service.pods(playground);
    let text = |at: usize, pointer: &str| -> anyhow::Result<String> {
        let value = pods.get(at).and_then(|pod| pod.pointer(pointer)?.as_str());
        Ok(value.context("a pod has no name or node")?.to_owned())
    };
    let load = Load::start(playground, service, model);
    playground.inject(Fault::PodKilled {
        namespace: NAMESPACE.to_owned(),
        name: text(0, "/metadata/name")?,
    });
    playground.wait("the killed pod to have started again", |playground| {
        let pods = service.pods(playground);
        pods.iter().any(|pod| {
            let restarts = pod.pointer("/status/containerStatuses/0/restartCount");
            restarts.and_then(serde_json::Value::as_u64) > Some(0)
        })
    })?;
    service.ready(playground, replicas)?;
    playground.inject(Fault::NodeGone {
        name: text(1, "/spec/nodeName")?,
    });
    let lost = text(1, "/metadata/name")?;
    playground.wait("the pod of the lost node to be replaced", |playground| {
        let pods = service.pods(playground);
        pods.len() == replicas && pods.iter().all(|pod| pod["metadata"]["name"] != lost)
    })?;
    service.ready(playground, replicas)?;
    let asked = load.end("a killed pod and a lost node")?;
    Ok(format!(
        "one pod killed and one node lost under load: {asked} requests, none failed"
    ))
}

/// The data plane outlives its API server.
fn away(playground: &mut Playground, service: &Service, model: &str) -> anyhow::Result<()> {
    playground.inject(Fault::Away {
        for_how_long: Duration::from_secs(3),
    });
    let connected = |playground: &Playground, wanted: bool| {
        let sources =
            service::state(playground).and_then(|state| state["discovery"].as_array().cloned());
        sources
            .is_some_and(|all| !all.is_empty() && all.iter().all(|one| one["connected"] == wanted))
    };
    playground.wait("the gateway to say that its view is old", |playground| {
        connected(playground, false)
    })?;
    service
        .ask(playground, model)
        .context("without the API server")?;
    let (_, metrics) = playground.get(&playground.admin, "/metrics")?;
    ensure!(
        metrics.contains("prefixgate_discovery_connected{source=\"pods\"} 0"),
        "the metrics do not say that the watch of pods is lost"
    );
    playground.wait("the gateway to be current again", |playground| {
        connected(playground, true)
    })
}
