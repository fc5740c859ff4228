//! Does what the cluster says meet what the manifest needs?

use super::chips;
use super::facts::{Fact, Facts};
use super::{Check, Hints, Needs, Verdict};
use crate::desired::dialect::{Dialect, pool_unsupported};
use crate::desired::names::GATEWAY_CONTROLLER;
use crate::types::Gateway;

/// By what a class says that it serves InferencePools.
const POOL_FEATURE: &str = "SupportInferencePool";

struct Report<'a> {
    needs: &'a Needs,
    checks: Vec<Check>,
}

impl Report<'_> {
    fn add(
        &mut self,
        name: &'static str,
        verdict: Verdict,
        evidence: impl Into<String>,
        fix: Option<String>,
    ) {
        self.checks.push(Check {
            service: self.needs.service(),
            name,
            verdict,
            evidence: evidence.into(),
            fix,
        });
    }

    fn ok(&mut self, name: &'static str, evidence: impl Into<String>) {
        self.add(name, Verdict::Ok, evidence, None);
    }

    fn failed(&mut self, name: &'static str, evidence: impl Into<String>, fix: impl Into<String>) {
        self.add(name, Verdict::Failed, evidence, Some(fix.into()));
    }

    fn unknown(&mut self, name: &'static str, why: impl Into<String>) {
        self.add(name, Verdict::Unknown, why, None);
    }
}

/// Oldest minor version of Kubernetes 1 that knows the pause of `lifecycle.preStop.sleep`, which a draining pod makes.
const OLDEST_MINOR: u32 = 30;

/// Every check of one service.
pub fn judge(needs: &Needs, facts: &Facts, hints: Hints) -> Vec<Check> {
    let mut report = Report {
        needs,
        checks: Vec::new(),
    };
    match &facts.server_version {
        Ok(version) => api_server(&mut report, version),
        Err(why) => report.unknown("api-server", why),
    }
    match &facts.namespace_exists {
        Ok(true) => report.ok("namespace", format!("{} exists", needs.namespace)),
        Ok(false) => report.failed(
            "namespace",
            format!("{} does not exist", needs.namespace),
            format!("kubectl create namespace {}", needs.namespace),
        ),
        Err(why) => report.unknown("namespace", why),
    }
    definitions(&mut report, facts);
    for (named, gateway) in needs.gateways.iter().zip(&facts.gateways) {
        gateway_checks(&mut report, facts, named, gateway);
    }
    cert_manager(&mut report, &facts.cert_manager);
    secrets(&mut report, facts);
    for (resource, each) in &needs.chips {
        let (verdict, evidence, fix) = chips::judge(needs, facts, hints, resource, *each);
        report.add("chips", verdict, evidence, fix);
    }
    quota(&mut report, facts);
    report.checks
}

/// `version` reads `v1.33.0`, with more behind it on managed clusters.
fn api_server(report: &mut Report<'_>, version: &str) {
    let minor = version
        .trim_start_matches('v')
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse::<u32>().ok());
    match minor {
        Some(minor) if minor < OLDEST_MINOR => report.failed(
            "api-server",
            format!("version {version} does not know the pause of a pod that drains"),
            format!("upgrade the cluster to 1.{OLDEST_MINOR} or newer"),
        ),
        Some(_) => report.ok("api-server", format!("version {version}")),
        None => report.unknown("api-server", format!("version {version} cannot be read")),
    }
}

fn definitions(report: &mut Report<'_>, facts: &Facts) {
    let needs = report.needs;
    let mut wanted = vec![(
        "llminferenceservices.serving.kserve.io",
        needs.version.as_str(),
    )];
    if !needs.gateways.is_empty() {
        wanted.push(("gateways.gateway.networking.k8s.io", "v1"));
        wanted.push(("httproutes.gateway.networking.k8s.io", "v1"));
    }
    if needs.pool {
        wanted.push(("inferencepools.inference.networking.k8s.io", "v1"));
    }
    if needs.leader_worker_set {
        wanted.push(("leaderworkersets.leaderworkerset.x-k8s.io", "v1"));
    }
    let known = match &facts.definitions {
        Ok(known) => known,
        Err(why) => return report.unknown("definitions", why),
    };
    for (name, version) in wanted {
        match known.get(name) {
            Some((served, bundle)) if served.contains(version) => {
                let bundle = bundle
                    .as_ref()
                    .map_or(String::new(), |bundle| format!(", bundle {bundle}"));
                report.ok("definitions", format!("{name} serves {version}{bundle}"));
            }
            Some((served, _)) => {
                let served: Vec<&str> = served.iter().map(String::as_str).collect();
                report.failed(
                    "definitions",
                    format!("{name} serves {}, not {version}", served.join(", ")),
                    "upgrade the definition",
                );
            }
            None => report.failed(
                "definitions",
                format!("{name} is not installed"),
                install(name),
            ),
        }
    }
}

fn install(name: &str) -> String {
    if name.ends_with("serving.kserve.io") {
        "kubectl apply --server-side -f deploy/crds".to_owned()
    } else if name.ends_with("gateway.networking.k8s.io") {
        "install Gateway API's standard channel; on GKE: gcloud container clusters update CLUSTER --gateway-api=standard".to_owned()
    } else if name.ends_with("inference.networking.k8s.io") {
        "install the Gateway API Inference Extension's definitions, v1.0.0 or later".to_owned()
    } else {
        "install LeaderWorkerSet".to_owned()
    }
}

fn gateway_checks(
    report: &mut Report<'_>,
    facts: &Facts,
    named: &(String, String),
    gateway: &Fact<Option<Gateway>>,
) {
    let name = format!("{}/{}", named.0, named.1);
    let gateway = match gateway {
        Err(why) => {
            report.unknown("gateway-programmed", format!("{name}: {why}"));
            return report.unknown("gateway-class", format!("{name} could not be read"));
        }
        Ok(None) => {
            return report.failed(
                "gateway-programmed",
                format!("{name} does not exist"),
                "create the Gateway, or correct router.gateway.refs",
            );
        }
        Ok(Some(gateway)) => gateway,
    };
    let conditions = gateway
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    match conditions
        .iter()
        .find(|condition| condition.kind == "Programmed")
    {
        Some(one) if one.status == "True" => {
            report.ok("gateway-programmed", format!("{name} is programmed"))
        }
        Some(one) => report.failed(
            "gateway-programmed",
            format!(
                "{name}: Programmed={} {} {}",
                one.status, one.reason, one.message
            ),
            format!("kubectl -n {} describe gateway {}", named.0, named.1),
        ),
        None => report.failed(
            "gateway-programmed",
            format!("{name} has no Programmed condition: no controller has looked at it"),
            "check that the controller of its class runs",
        ),
    }
    if report.needs.pool {
        class(report, facts, &gateway.spec.gateway_class_name);
    }
}

fn class(report: &mut Report<'_>, facts: &Facts, name: &str) {
    let check = "gateway-class";
    let classes = match &facts.classes {
        Ok(classes) => classes,
        Err(why) => return report.unknown(check, format!("class {name}: {why}")),
    };
    let Some(class) = classes
        .iter()
        .find(|class| class.metadata.name.as_deref() == Some(name))
    else {
        return report.failed(
            check,
            format!("class {name} does not exist"),
            "correct spec.gatewayClassName of the Gateway",
        );
    };
    let controller = class.spec.controller_name.as_str();
    if let Some(why) = pool_unsupported(name, Dialect::of(controller)) {
        return report.failed(check, why, "use a class that serves InferencePools");
    }
    let features = class
        .status
        .as_ref()
        .map(|status| status.supported_features.as_slice())
        .unwrap_or_default();
    if controller == GATEWAY_CONTROLLER {
        report.ok(
            check,
            format!("class {name} is ours and serves InferencePools"),
        );
    } else if features.iter().any(|feature| feature.name == POOL_FEATURE) {
        report.ok(
            check,
            format!("class {name} ({controller}) says {POOL_FEATURE}"),
        );
    } else {
        report.unknown(
            check,
            format!("class {name} ({controller}) does not say whether it serves InferencePools"),
        );
    }
}

fn cert_manager(report: &mut Report<'_>, fact: &Fact<Option<bool>>) {
    let check = "cert-manager";
    match fact {
        Ok(Some(true)) => report.ok(check, "its Deployments are available"),
        Ok(Some(false)) => report.failed(
            check,
            "a Deployment in namespace cert-manager is not available",
            "kubectl -n cert-manager get pods",
        ),
        Ok(None) if report.needs.tls => report.failed(
            check,
            "no Deployment in namespace cert-manager, and the engine is to serve a certificate",
            "install cert-manager, or take --ssl-certfile out of the engine's arguments",
        ),
        Ok(None) => report.add(
            check,
            Verdict::Warning,
            "no Deployment in namespace cert-manager; this service does not need it, KServe's webhooks do",
            None,
        ),
        Err(why) => report.unknown(check, why),
    }
}

fn secrets(report: &mut Report<'_>, facts: &Facts) {
    let needs = report.needs;
    let home = needs.namespace.as_str();
    for name in &needs.pull_secrets {
        match facts.secrets.get(name) {
            Some(Ok(Some(_))) => report.ok("pull-secret", format!("{name} exists in {home}")),
            Some(Ok(None)) => report.failed(
                "pull-secret",
                format!("{name} does not exist in {home}"),
                format!("kubectl -n {home} create secret docker-registry {name} …, or copy it from another namespace"),
            ),
            Some(Err(why)) => report.unknown("pull-secret", format!("{name}: {why}")),
            None => report.unknown("pull-secret", format!("{name} was not looked for")),
        }
    }
    for (name, keys) in &needs.secrets {
        match facts.secrets.get(name) {
            Some(Ok(Some(held))) => {
                let missing: Vec<&str> = keys
                    .iter()
                    .filter(|key| !held.contains(*key))
                    .map(String::as_str)
                    .collect();
                match missing.as_slice() {
                    [] => report.ok(
                        "secret",
                        format!("{name} in {home} has what is read from it"),
                    ),
                    missing => report.failed(
                        "secret",
                        format!("{name} in {home} has no key {}", missing.join(", ")),
                        format!(
                            "kubectl -n {home} create secret generic {name} --from-literal={}=…",
                            missing[0]
                        ),
                    ),
                }
            }
            Some(Ok(None)) => {
                let key = keys.iter().next().map_or("KEY", String::as_str);
                report.failed(
                    "secret",
                    format!("{name} does not exist in {home}"),
                    format!(
                        "kubectl -n {home} create secret generic {name} --from-literal={key}=…"
                    ),
                );
            }
            Some(Err(why)) => report.unknown("secret", format!("{name}: {why}")),
            None => report.unknown("secret", format!("{name} was not looked for")),
        }
    }
    if needs.hugging_face && needs.secrets.is_empty() {
        report.add(
            "secret",
            Verdict::Warning,
            "the model comes from Hugging Face and no secret is read: only models that are open to everyone can be fetched",
            None,
        );
    }
}

fn quota(report: &mut Report<'_>, facts: &Facts) {
    let needs = report.needs;
    match &facts.quota {
        Err(why) => report.unknown("quota", why),
        Ok(left) => {
            for (resource, each) in &needs.chips {
                let wanted = each * needs.replicas;
                let room = left
                    .get(&format!("requests.{resource}"))
                    .or_else(|| left.get(resource));
                match room {
                    Some(room) if *room < wanted => report.failed(
                        "quota",
                        format!(
                            "the namespace's quota leaves {room} {resource}, {wanted} are needed"
                        ),
                        "raise the ResourceQuota, or ask for fewer replicas",
                    ),
                    Some(room) => report.ok(
                        "quota",
                        format!("the namespace's quota leaves {room} {resource}"),
                    ),
                    None => report.ok(
                        "quota",
                        format!("no ResourceQuota of the namespace limits {resource}"),
                    ),
                }
            }
        }
    }
    if !needs.chips.is_empty() {
        report.add(
            "cloud-quota",
            Verdict::Unknown,
            "what the cloud project may still start, and whether the zone has any, is not told by the cluster",
            Some("gcloud compute regions describe REGION; a stock-out shows only when nodes are asked for".to_owned()),
        );
    }
}

#[cfg(test)]
#[path = "judge_test.rs"]
mod judge_test;
