//! How does the model get into the pod?

use serde_json::{Value, json};

use super::engine_command::MODEL_PATH;
use super::{Resolved, Settings};

/// Where a model comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source<'a> {
    /// A Hugging Face repository.
    Hub(&'a str),
    Bucket,
    /// A claim, and a path in it.
    Claim(&'a str, Option<&'a str>),
    /// An image whose `/models` is the model; started as a container beside the engine.
    Image(&'a str),
    /// The same, mounted by the kubelet.
    ImageVolume(&'a str),
}

fn source(uri: &str) -> Option<Source<'_>> {
    let (scheme, rest) = uri.split_once("://")?;
    Some(match scheme {
        "hf" => Source::Hub(rest),
        "s3" => Source::Bucket,
        "pvc" => {
            let (claim, path) = rest.split_once('/').unwrap_or((rest, ""));
            Source::Claim(
                claim,
                Some(path.trim_matches('/')).filter(|path| !path.is_empty()),
            )
        }
        "oci" => Source::Image(rest),
        "oci+native" => Source::ImageVolume(rest),
        _ => return None,
    })
}

/// Adds what fetches or mounts the model and its adapters, and says what the engine is to be told to load.
pub(super) fn apply(template: &mut Value, resolved: &Resolved, settings: &Settings) -> String {
    let spec = &resolved.spec;
    let fetch = spec
        .storage_initializer
        .as_ref()
        .and_then(|storage| storage.enabled)
        .unwrap_or(true);
    let adapters = spec.model.lora.iter().flat_map(|lora| &lora.adapters);
    for (place, adapter) in adapters.enumerate() {
        let name = format!("lora-{place}");
        add(
            template,
            settings,
            &adapter.uri,
            &format!("/mnt/lora/{}", adapter.name),
            &name,
        );
    }
    let uri = &spec.model.uri;
    match source(uri) {
        Some(Source::Hub(repository)) if !fetch => repository.to_owned(),
        Some(Source::Bucket) if !fetch => uri.clone(),
        _ => {
            add(template, settings, uri, MODEL_PATH, "model");
            MODEL_PATH.to_owned()
        }
    }
}

fn add(template: &mut Value, settings: &Settings, uri: &str, path: &str, name: &str) {
    let Some(source) = source(uri) else { return };
    let volume = format!("{name}-storage");
    match source {
        Source::Hub(_) | Source::Bucket => {
            push(template, "volumes", json!({"name": volume, "emptyDir": {}}));
            let init = initializer(template, settings, uri, path, name, &volume);
            push(template, "initContainers", init);
            mount(
                template,
                json!({"name": volume, "mountPath": path, "readOnly": true}),
            );
        }
        Source::Claim(claim, inside) => {
            push(
                template,
                "volumes",
                json!({"name": volume, "persistentVolumeClaim": {"claimName": claim, "readOnly": true}}),
            );
            let mut at = json!({"name": volume, "mountPath": path, "readOnly": true});
            if let Some(inside) = inside {
                at["subPath"] = json!(inside);
            }
            mount(template, at);
        }
        Source::ImageVolume(image) => {
            push(
                template,
                "volumes",
                json!({"name": volume, "image": {"reference": image, "pullPolicy": "IfNotPresent"}}),
            );
            mount(
                template,
                json!({"name": volume, "mountPath": path, "subPath": "models", "readOnly": true}),
            );
        }
        Source::Image(image) => modelcar(template, image, path, name, &volume),
    }
}

/// Downloads before the engine starts, with the credentials the engine has.
fn initializer(
    template: &Value,
    settings: &Settings,
    uri: &str,
    path: &str,
    name: &str,
    volume: &str,
) -> Value {
    let credentials: Vec<_> = super::pod::main(template)["env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|variable| {
            variable["name"].as_str().is_some_and(|name| {
                ["HF_", "HUGGING_FACE_", "AWS_", "S3_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
                    && name != "HF_HOME"
                    || name.to_lowercase().ends_with("_proxy")
            })
        })
        .cloned()
        .collect();
    let suffix = name
        .strip_prefix("model")
        .map_or_else(|| format!("-{name}"), str::to_owned);
    json!({
        "name": format!("storage-initializer{suffix}"),
        "image": settings.storage_image,
        "imagePullPolicy": "IfNotPresent",
        "args": [uri, path],
        "env": credentials,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": volume, "mountPath": path}],
    })
}

/// A container that lives as long as the engine; its files are reached through the processes the pod shares.
fn modelcar(template: &mut Value, image: &str, path: &str, name: &str, volume: &str) {
    let parent = path.rsplit_once('/').map_or("/mnt", |(parent, _)| parent);
    template["shareProcessNamespace"] = json!(true);
    push(template, "volumes", json!({"name": volume, "emptyDir": {}}));
    let script = format!("ln -sfn /proc/$$/root/models {path} && exec sleep infinity");
    push(
        template,
        "initContainers",
        json!({
            "name": format!("{name}car"),
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "restartPolicy": "Always",
            "command": ["sh", "-c", script],
            "startupProbe": {"exec": {"command": ["sh", "-c", format!("test -e {path}/")]}, "periodSeconds": 1, "failureThreshold": 60},
            "resources": {"requests": {"cpu": "10m", "memory": "15Mi"}},
            "volumeMounts": [{"name": volume, "mountPath": parent}],
        }),
    );
    mount(template, json!({"name": volume, "mountPath": parent}));
}

/// Mounts into the engine, unless the manifest mounts something of its own there.
fn mount(template: &mut Value, at: Value) {
    let Some(main) = super::pod::main_mut(template) else {
        return;
    };
    let taken = main["volumeMounts"].as_array().is_some_and(|mounts| {
        mounts
            .iter()
            .any(|mount| mount["mountPath"] == at["mountPath"])
    });
    if !taken {
        push(main, "volumeMounts", at);
    }
}

/// Appends to a list, unless it has one of that name already.
pub(super) fn push(object: &mut Value, list: &str, item: Value) {
    if !object[list].is_array() {
        object[list] = json!([]);
    }
    if let Some(items) = object[list].as_array_mut() {
        let key = if list == "volumeMounts" {
            "mountPath"
        } else {
            "name"
        };
        if !items.iter().any(|other| other[key] == item[key]) {
            items.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_by_scheme() {
        assert_eq!(
            source("hf://Qwen/Qwen2.5-3B-Instruct"),
            Some(Source::Hub("Qwen/Qwen2.5-3B-Instruct"))
        );
        assert_eq!(
            source("pvc://models/qwen/3b/"),
            Some(Source::Claim("models", Some("qwen/3b")))
        );
        assert_eq!(source("pvc://models"), Some(Source::Claim("models", None)));
        assert_eq!(
            source("oci://registry/model:1"),
            Some(Source::Image("registry/model:1"))
        );
        assert_eq!(
            source("oci+native://registry/model:1"),
            Some(Source::ImageVolume("registry/model:1"))
        );
        assert_eq!(source("nothing"), None);
    }
}
