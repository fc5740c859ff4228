//! What contradicts itself in a service, once its bases are merged in?

use super::Resolved;
use crate::schedule;
use crate::types::{Model, ServiceSpec, Workload};

/// Schemes a model can come by.
pub(super) const SCHEMES: [&str; 5] = ["hf://", "s3://", "pvc://", "oci://", "oci+native://"];

/// Everything that is wrong, each a sentence with the field it is about.
pub(super) fn problems(resolved: &Resolved) -> Vec<String> {
    let spec = &resolved.spec;
    let mut wrong = Vec::new();
    model(&spec.model, resolved.model_name(), &mut wrong);
    workload("spec", &spec.workload, &mut wrong);
    if let Some(prefill) = &spec.prefill {
        workload("spec.prefill", prefill, &mut wrong);
    }
    router(spec, &mut wrong);
    if !spec.schedules.is_empty() && spec.workload.scaling.is_some() {
        wrong.push(
            "spec.schedules and spec.scaling: only one of them sets the replica count".to_owned(),
        );
    }
    for (place, line) in spec.schedules.iter().enumerate() {
        if let Err(error) = schedule::Line::parse(line) {
            wrong.push(format!("spec.schedules[{place}]: {error}"));
        }
    }
    wrong
}

fn model(model: &Model, name: &str, wrong: &mut Vec<String>) {
    let uri = &model.uri;
    if uri.is_empty() {
        wrong.push(
            "spec.model.uri is missing: for example hf://Qwen/Qwen2.5-3B-Instruct".to_owned(),
        );
    } else if !SCHEMES
        .iter()
        .any(|scheme| uri.len() > scheme.len() && uri.starts_with(scheme))
    {
        wrong.push(format!(
            "spec.model.uri {uri}: a model comes by {}",
            SCHEMES.join(", ")
        ));
    }
    let adapters = model.lora.iter().flat_map(|lora| &lora.adapters);
    let mut seen = vec![name];
    for adapter in adapters {
        if adapter.name.is_empty() || [".", ".."].contains(&adapter.name.as_str()) {
            wrong
                .push("spec.model.lora.adapters: each needs a name other than . and ..".to_owned());
        } else if seen.contains(&adapter.name.as_str()) {
            wrong.push(format!(
                "spec.model.lora.adapters: the name {} is taken",
                adapter.name
            ));
        }
        seen.push(&adapter.name);
    }
}

fn workload(at: &str, workload: &Workload, wrong: &mut Vec<String>) {
    if workload.worker.is_some() {
        wrong.push(format!("{at}.worker: replicas that span nodes are not supported by this controller; remove it, or leave the service to another controller with the annotation {}", super::names::CONTROLLER));
    }
    if let Some(scaling) = &workload.scaling {
        if workload.replicas.is_some() {
            wrong.push(format!("{at}.scaling and {at}.replicas: only one of them"));
        }
        match (scaling.min_replicas.unwrap_or(1), scaling.max_replicas) {
            (_, None) => wrong.push(format!("{at}.scaling.maxReplicas is missing")),
            (min, Some(max)) if min > max => wrong.push(format!(
                "{at}.scaling: minReplicas {min} is more than maxReplicas {max}"
            )),
            _ => {}
        }
        if scaling.wva.is_some() == scaling.keda.is_some() {
            wrong.push(format!("{at}.scaling: exactly one of wva and keda"));
        }
        if let Some(wva) = &scaling.wva
            && wva.get("hpa").is_some() == wva.get("keda").is_some()
        {
            wrong.push(format!("{at}.scaling.wva: exactly one of hpa and keda"));
        }
    }
    if let Some(parallelism) = &workload.parallelism
        && (parallelism.pipeline.is_some_and(|size| size > 1) || parallelism.data_local.is_some())
    {
        wrong.push(format!("{at}.parallelism: pipeline and dataLocal need replicas that span nodes, which this controller does not make; use tensor"));
    }
    if let Some(rollout) = &workload.rollout_strategy {
        let zero = |value: &Option<serde_json::Value>| {
            value
                .as_ref()
                .is_some_and(|value| *value == 0 || *value == "0%")
        };
        if zero(&rollout.max_surge) && zero(&rollout.max_unavailable) {
            wrong.push(format!("{at}.rolloutStrategy: maxSurge and maxUnavailable cannot both be 0, no pod could ever be replaced"));
        }
    }
    if let Some(template) = &workload.template
        && !template["containers"]
            .as_array()
            .is_some_and(|all| all.iter().any(|container| container["name"] == "main"))
    {
        wrong.push(format!(
            "{at}.template.containers: the engine's container has to be called main"
        ));
    }
}

fn router(spec: &ServiceSpec, wrong: &mut Vec<String>) {
    let Some(router) = &spec.router else { return };
    if let Some(route) = &router.route {
        let http = route.http.as_ref();
        if http.is_some_and(|http| !http.refs.is_empty() && http.spec.is_some()) {
            wrong.push("spec.router.route.http: refs and spec exclude each other".to_owned());
        }
        if route.group.is_some() != route.weight.is_some() {
            wrong.push("spec.router.route: group and weight go together".to_owned());
        }
        if route.group.is_some()
            && (router.ingress.is_some() || http.is_some_and(|http| !http.refs.is_empty()))
        {
            wrong
                .push("spec.router.route.group goes with neither ingress nor http.refs".to_owned());
        }
    }
    let Some(scheduler) = &router.scheduler else {
        return;
    };
    if scheduler.replicas == Some(0) {
        wrong.push(
            "spec.router.scheduler.replicas: at least 1; remove scheduler to go without".to_owned(),
        );
    }
    if let Some(config) = &scheduler.config
        && config.inline.is_some() == config.reference.is_some()
    {
        wrong.push("spec.router.scheduler.config: exactly one of inline and ref".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::desired::{Presets, ResolveError, Settings, resolve};
    use crate::types::LlmInferenceService;

    fn check(spec: Value, expected: &[&str]) {
        let service: LlmInferenceService = serde_json::from_value(
            json!({"metadata": {"name": "qwen", "namespace": "team"}, "spec": spec}),
        )
        .unwrap();
        let wrong = match resolve(&service, &Presets::default(), &Settings::default()) {
            Ok(_) => Vec::new(),
            Err(ResolveError::InvalidRenderedConfig(wrong)) => wrong,
            Err(other) => vec![other.to_string()],
        };
        assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
        for (wrong, part) in wrong.iter().zip(expected) {
            assert!(wrong.contains(part), "{wrong} has no {part}");
        }
    }

    #[test]
    fn contradictions_are_all_named() {
        let model = json!({"uri": "hf://a/b"});
        check(json!({"model": model}), &[]);
        check(json!({}), &["model.uri is missing"]);
        check(
            json!({"model": {"uri": "ftp://x"}, "router": {"scheduler": {"replicas": 0, "config": {}}}}),
            &["ftp://x", "replicas", "exactly one"],
        );
        check(
            json!({"model": {"uri": "hf://a/b", "name": "m", "lora": {"adapters": [{"name": "m"}, {"name": "."}, {"name": "x"}, {"name": "x"}]}}}),
            &["m is taken", "other than", "x is taken"],
        );
        check(
            json!({"model": model, "replicas": 1, "scaling": {"minReplicas": 4, "maxReplicas": 2, "keda": {}}}),
            &["only one", "more than"],
        );
        check(
            json!({"model": model, "scaling": {"maxReplicas": 2}}),
            &["exactly one of wva and keda"],
        );
        check(
            json!({"model": model, "rolloutStrategy": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            &["both be 0"],
        );
        check(json!({"model": model, "worker": {}}), &["span nodes"]);
        check(
            json!({"model": model, "parallelism": {"pipeline": 2}}),
            &["span nodes"],
        );
        check(
            json!({"model": model, "schedules": [{"cron": "61 * * * *", "replicas": 1}]}),
            &["schedules[0]"],
        );
        check(
            json!({"model": model, "router": {"route": {"group": "g"}}}),
            &["go together"],
        );
        check(json!({"model": model, "replicas": "three"}), &["three"]);
    }
}
