//! Where do clients reach a service?

use super::{GatewayView, Observed};
use crate::desired::engine_command::ENGINE_PORT;
use crate::desired::{Dialect, Resolved, names};
use crate::types::{Address, Listener, ModelName, ObjectName};

/// Every address, external ones first; inside of the cluster when there is no gateway.
pub(super) fn addresses(seen: &Observed<'_>, resolved: &Resolved) -> Vec<Address> {
    let name = resolved
        .service
        .metadata
        .name
        .as_deref()
        .unwrap_or_default();
    let namespace = resolved
        .service
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    let path = format!("/{namespace}/{name}");
    let adapters = resolved
        .spec
        .model
        .lora
        .iter()
        .flat_map(|lora| &lora.adapters);
    let models: Vec<_> = std::iter::once(resolved.model_name())
        .chain(adapters.map(|adapter| adapter.name.as_str()))
        .map(|name| ModelName {
            name: name.to_owned(),
        })
        .collect();
    let mut all = Vec::new();
    if seen.route.is_some() {
        for view in &seen.gateways {
            for base in bases(view, seen) {
                all.push(Address {
                    url: format!("{base}{path}"),
                    name: Some("gateway-external".to_owned()),
                    origin: Some(ObjectName {
                        kind: Some("Gateway".to_owned()),
                        group: Some("gateway.networking.k8s.io".to_owned()),
                        name: view.parent.name.clone(),
                        namespace: view.parent.namespace.clone(),
                    }),
                    models: models.clone(),
                });
            }
        }
    }
    let tls = resolved
        .spec
        .workload
        .template
        .as_ref()
        .is_some_and(crate::desired::uses_tls);
    let scheme = if tls { "https" } else { "http" };
    if all.is_empty() && resolved.spec.router.is_none() {
        let service = names::workload_service(name);
        all.push(Address {
            url: format!("{scheme}://{service}.{namespace}.svc.cluster.local:{ENGINE_PORT}"),
            name: Some("service".to_owned()),
            origin: None,
            models,
        });
    }
    all
}

/// The first one.
pub(super) fn preferred(addresses: &[Address]) -> Option<String> {
    addresses.first().map(|address| address.url.clone())
}

/// `scheme://host[:port]` of each listener that takes HTTP.
fn bases(view: &GatewayView, seen: &Observed<'_>) -> Vec<String> {
    let Some(gateway) = &view.gateway else {
        return Vec::new();
    };
    let own = view
        .class
        .as_ref()
        .is_some_and(|class| Dialect::of(&class.spec.controller_name) == Dialect::Own);
    if own && let Some(address) = &seen.settings.gateway_address {
        return vec![format!("http://{address}")];
    }
    let hostnames = seen
        .route
        .as_ref()
        .map(|route| route.spec.hostnames.clone())
        .unwrap_or_default();
    let listeners = gateway.spec.listeners.iter().filter(|listener| {
        matches!(listener.protocol.as_str(), "HTTP" | "HTTPS")
            && view
                .parent
                .section_name
                .as_ref()
                .is_none_or(|section| *section == listener.name)
    });
    let addresses: Vec<_> = gateway
        .status
        .iter()
        .flat_map(|status| &status.addresses)
        .filter_map(|address| address.value.clone())
        .collect();
    listeners
        .flat_map(|listener| {
            let hosts = hosts(listener, &hostnames, &addresses);
            hosts
                .into_iter()
                .map(|host| base(listener, &host))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The route's hostnames, else the listener's, else the gateway's addresses.
fn hosts(listener: &Listener, hostnames: &[String], addresses: &[String]) -> Vec<String> {
    if !hostnames.is_empty() {
        return hostnames.to_vec();
    }
    match listener.hostname.as_deref() {
        Some(hostname) if !hostname.is_empty() && !hostname.starts_with('*') => {
            vec![hostname.to_owned()]
        }
        _ => addresses.to_vec(),
    }
}

fn base(listener: &Listener, host: &str) -> String {
    let (scheme, usual) = if listener.protocol == "HTTPS" {
        ("https", 443)
    } else {
        ("http", 80)
    };
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    if listener.port == usual {
        format!("{scheme}://{host}")
    } else {
        format!("{scheme}://{host}:{}", listener.port)
    }
}
