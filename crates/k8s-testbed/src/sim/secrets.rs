//! What does a container need that is not there?

use serde_json::Value;

use super::World;
use crate::object::{list, namespace, text};
use crate::store::Key;

/// Why a container cannot be started: the kubelet's reason and words.
pub(super) type Missing = (&'static str, String);

/// An image that cannot be pulled.
pub(super) fn image(world: &World, pod: &Value, container: &Value) -> Result<(), Missing> {
    let image = text(container, "/image");
    let private = world
        .config
        .private_registries
        .iter()
        .any(|host| image.starts_with(host.as_str()));
    let has_secret = list(pod, "/spec/imagePullSecrets")
        .iter()
        .any(|secret| exists(world, pod, "secrets", text(secret, "/name")));
    if private && !has_secret {
        return Err((
            "ErrImagePull",
            format!(
                "failed to pull and unpack image \"{image}\": failed to authorize: unexpected status: 401 Unauthorized"
            ),
        ));
    }
    if image.contains("does-not-exist") {
        return Err((
            "ErrImagePull",
            format!("failed to resolve reference \"{image}\": {image}: not found"),
        ));
    }
    Ok(())
}

/// A secret or a map that the environment refers to.
pub(super) fn environment(world: &World, pod: &Value, container: &Value) -> Result<(), Missing> {
    for variable in list(container, "/env") {
        for (from, resource, what) in [
            ("secretKeyRef", "secrets", "secret"),
            ("configMapKeyRef", "configmaps", "configmap"),
        ] {
            let Some(reference) = variable.pointer(&format!("/valueFrom/{from}")) else {
                continue;
            };
            let (name, key) = (text(reference, "/name"), text(reference, "/key"));
            if reference["optional"] == true {
                continue;
            }
            let Some(object) = world.store.get(&Key::new(resource, namespace(pod), name)) else {
                return Err((
                    "CreateContainerConfigError",
                    format!("{what} \"{name}\" not found"),
                ));
            };
            if object["data"].get(key).is_none() {
                return Err((
                    "CreateContainerConfigError",
                    format!(
                        "couldn't find key {key} in {what} {}/{name}",
                        namespace(pod)
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// A volume whose source is not there.
pub(super) fn volumes(world: &World, pod: &Value) -> Result<(), Missing> {
    for volume in list(pod, "/spec/volumes") {
        let named = [
            (
                "secrets",
                text(volume, "/secret/secretName"),
                &volume["secret"]["optional"],
            ),
            (
                "configmaps",
                text(volume, "/configMap/name"),
                &volume["configMap"]["optional"],
            ),
            (
                "persistentvolumeclaims",
                text(volume, "/persistentVolumeClaim/claimName"),
                &Value::Null,
            ),
        ];
        for (resource, name, optional) in named {
            if !name.is_empty() && *optional != true && !exists(world, pod, resource, name) {
                let what = resource.trim_end_matches('s');
                return Err((
                    "ContainerCreating",
                    format!(
                        "MountVolume.SetUp failed for volume \"{}\" : {what} \"{name}\" not found",
                        text(volume, "/name")
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn exists(world: &World, pod: &Value, resource: &str, name: &str) -> bool {
    world
        .store
        .get(&Key::new(resource, namespace(pod), name))
        .is_some()
}
