//! What has the operator of the controller decided?

use crate::types::ParentRef;

/// Namespace of shared configs and of the controller itself.
pub const DEFAULT_SYSTEM_NAMESPACE: &str = "prefixgate-system";
/// Gateway of services that say `gateway: {}`: `namespace/name`.
pub const DEFAULT_GATEWAY: &str = "prefixgate-system/prefixgate";
/// Image of pickers and gateways.
pub const DEFAULT_IMAGE: &str =
    concat!("ghcr.io/prefixgate/prefixgate:", env!("CARGO_PKG_VERSION"));
/// Image of the init container that fetches models.
pub const DEFAULT_STORAGE_IMAGE: &str = "kserve/storage-initializer:v0.17.0";
/// Put before the names of presets when they are looked up in the cluster.
pub const DEFAULT_PRESET_PREFIX: &str = "kserve-";

/// Settings of the controller, the same for every service.
#[derive(Clone, Debug)]
pub struct Settings {
    pub system_namespace: String,
    pub default_gateway: ParentRef,
    pub image: String,
    pub storage_image: String,
    pub preset_prefix: String,
    pub extras: Extras,
    /// Where our own gateway is reached when it runs outside of the cluster's Deployments, `host[:port]`; absent: each
    /// Gateway of our class gets a Deployment.
    pub gateway_address: Option<String>,
}

/// Objects that not everybody wants; a service's annotations `prefixgate.dev/{pod-disruption-budget,service-monitor,
/// network-policy}: "true" | "false"` override these.
#[derive(Clone, Copy, Debug)]
pub struct Extras {
    pub pod_disruption_budget: Wanted,
    pub service_monitor: Wanted,
    pub network_policy: Wanted,
}

/// Whether an object is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Never,
    /// Where the cluster knows the kind and it makes sense.
    Auto,
    Always,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            system_namespace: DEFAULT_SYSTEM_NAMESPACE.to_owned(),
            default_gateway: gateway_named(DEFAULT_GATEWAY),
            image: DEFAULT_IMAGE.to_owned(),
            storage_image: DEFAULT_STORAGE_IMAGE.to_owned(),
            preset_prefix: DEFAULT_PRESET_PREFIX.to_owned(),
            extras: Extras {
                pod_disruption_budget: Wanted::Auto,
                service_monitor: Wanted::Auto,
                network_policy: Wanted::Never,
            },
            gateway_address: None,
        }
    }
}

/// `namespace/name`, or a name in the system namespace.
pub fn gateway_named(text: &str) -> ParentRef {
    let (namespace, name) = text
        .split_once('/')
        .unwrap_or((DEFAULT_SYSTEM_NAMESPACE, text));
    ParentRef {
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
        ..ParentRef::default()
    }
}
