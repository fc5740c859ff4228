//! What do all objects together say about pools, endpoints and rules?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet::EndpointSpec;
use serde_json::Value;

use super::attach::{attach, names};
use super::kinds::{LeanPod, LeanService, Namespace, ReferenceGrant};
use super::pools;
use super::rules::{self, Backend, Rule};
use crate::desired::names::GATEWAY_CONTROLLER;
use crate::types::{
    Gateway, GatewayClass, HttpRoute, InferenceObjective, InferencePool, LlmInferenceService,
    OlderInferenceObjective,
};

/// The last view of every kind.
#[derive(Clone, Default)]
pub struct Objects {
    pub pods: Vec<Arc<LeanPod>>,
    pub pools: Vec<Arc<InferencePool>>,
    pub services: Vec<Arc<LlmInferenceService>>,
    pub kube_services: Vec<Arc<LeanService>>,
    pub routes: Vec<Arc<HttpRoute>>,
    pub gateways: Vec<Arc<Gateway>>,
    pub classes: Vec<Arc<GatewayClass>>,
    pub namespaces: Vec<Arc<Namespace>>,
    pub grants: Vec<Arc<ReferenceGrant>>,
    pub objectives: Vec<Arc<InferenceObjective>>,
    pub older_objectives: Vec<Arc<OlderInferenceObjective>>,
    /// Data of the ConfigMaps that services name, by namespace and name.
    pub config_maps: BTreeMap<(String, String), BTreeMap<String, String>>,
    /// Only this gateway is served; all of our class without.
    pub gateway: Option<(String, String)>,
}

/// Pods that were ready once, by uid.
#[derive(Clone, Debug, Default)]
pub struct Seen(BTreeSet<String>);

impl Seen {
    pub(super) fn ready(&mut self, uid: &str) {
        if !self.0.contains(uid) {
            self.0.insert(uid.to_owned());
        }
    }

    pub(super) fn was_ready(&self, uid: &str) -> bool {
        self.0.contains(uid)
    }

    /// Forgets pods that are gone.
    fn keep(&mut self, pods: &[Arc<LeanPod>]) {
        let there: BTreeSet<&str> = pods
            .iter()
            .filter_map(|pod| pod.metadata.uid.as_deref())
            .collect();
        self.0.retain(|uid| there.contains(uid.as_str()));
    }
}

/// What the gateway is to serve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterView {
    /// By name.
    pub pools: BTreeMap<String, PoolView>,
    pub rules: Vec<Rule>,
    /// Priorities of objectives by name, for each pool by namespace and name.
    pub objectives: BTreeMap<(String, String), BTreeMap<String, i32>>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolView {
    /// `namespace/service`, or `namespace/pool` where no service owns it.
    pub name: String,
    /// `/{namespace}/{service}`, under which it is served where no route says otherwise.
    pub path: Option<String>,
    pub endpoints: Vec<Endpoint>,
    /// The service's own scheduling document.
    pub scheduling: Option<Value>,
    /// Where metrics are not on the serving port.
    pub metrics_port: Option<u16>,
    pub health_path: String,
    /// False for a plain Service: its pods are taken in turn.
    pub schedules: bool,
    /// Some rule leads here, or its path does.
    pub routed: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub spec: EndpointSpec,
    /// No new requests.
    pub draining: bool,
}

impl ClusterView {
    /// Makes a view of `objects`; `seen` carries which pods were ready from one view to the next.
    pub fn of(objects: &Objects, seen: &mut Seen) -> Self {
        seen.keep(&objects.pods);
        let mut view = Self::default();
        // InferencePools by their own names, for references.
        let mut by_pool: BTreeMap<(String, String), String> = BTreeMap::new();
        for pool in &objects.pools {
            let made = pools::of_pool(pool, objects, seen);
            by_pool.insert(own_name(&pool.metadata), made.name.clone());
            view.pools.insert(made.name.clone(), made);
        }
        let namespaces = namespace_labels(&objects.namespaces);
        let gateways = ours(objects);
        let mut spoken_for = BTreeSet::new();
        for route in &objects.routes {
            view.add_route(
                route,
                objects,
                &gateways,
                &namespaces,
                &by_pool,
                &mut spoken_for,
                seen,
            );
        }
        for pool in view.pools.values_mut() {
            // A route of another gateway's speaks for the pool: it is not served here unasked.
            if spoken_for.contains(&pool.name) {
                pool.path = None;
            }
            pool.routed |= pool.path.is_some();
        }
        view.add_objectives(objects);
        view
    }

    /// The current group counts where both have one of the same name.
    fn add_objectives(&mut self, objects: &Objects) {
        let older = objects.older_objectives.iter();
        let older = older.map(|objective| (&objective.metadata, &objective.spec));
        let current = objects.objectives.iter();
        let current = current.map(|objective| (&objective.metadata, &objective.spec));
        for (metadata, spec) in older.chain(current) {
            let (namespace, name) = own_name(metadata);
            let pool = (namespace, spec.pool_ref.name.clone());
            let of_pool = self.objectives.entry(pool).or_default();
            of_pool.insert(name, spec.priority.unwrap_or(0));
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one pass over everything that is known"
    )]
    fn add_route(
        &mut self,
        route: &HttpRoute,
        objects: &Objects,
        gateways: &[&Arc<Gateway>],
        namespaces: &BTreeMap<String, BTreeMap<String, String>>,
        by_pool: &BTreeMap<(String, String), String>,
        spoken_for: &mut BTreeSet<String>,
        seen: &mut Seen,
    ) {
        let mut hosts: Option<BTreeSet<String>> = None;
        for parent in &route.spec.parent_refs {
            for gateway in gateways
                .iter()
                .filter(|gateway| names(route, parent, gateway))
            {
                for taken in attach(route, parent, gateway, namespaces).unwrap_or_default() {
                    let all = hosts.get_or_insert_default();
                    // Without a host it is every host, whatever other listeners say.
                    all.extend(if taken.hosts.is_empty() {
                        vec![String::new()]
                    } else {
                        taken.hosts
                    });
                }
            }
        }
        if let Some(hosts) = &mut hosts
            && hosts.contains("")
        {
            hosts.clear();
        }
        for rule in &route.spec.rules {
            for backend in &rule.backend_refs {
                let name = rules::backend(route, backend, objects)
                    .ok()
                    .and_then(|found| self.target(&found, objects, by_pool, seen, hosts.is_some()));
                spoken_for.extend(name);
            }
            let Some(hosts) = &hosts else { continue };
            let read = rules::read(route, rule, hosts, &|backend| {
                let found = rules::backend(route, backend, objects).ok()?;
                target_name(&found, objects, by_pool)
            });
            for target in read.iter().flat_map(|read| &read.targets) {
                if let Some(pool) = target
                    .pool
                    .as_ref()
                    .and_then(|name| self.pools.get_mut(name))
                {
                    pool.routed = true;
                }
            }
            self.rules.extend(read);
        }
    }

    /// The pool a backend means; one for a Service is made where a route of ours names it.
    fn target(
        &mut self,
        backend: &Backend,
        objects: &Objects,
        by_pool: &BTreeMap<(String, String), String>,
        seen: &mut Seen,
        ours: bool,
    ) -> Option<String> {
        let name = target_name(backend, objects, by_pool)?;
        if ours
            && let Backend::Service {
                namespace,
                name: own,
                port: Some(port),
            } = backend
            && !self.pools.contains_key(&name)
        {
            let service = service(objects, namespace, own)?;
            let made = pools::of_service(service, *port, objects, seen);
            self.pools.insert(name.clone(), made);
        }
        Some(name)
    }
}

fn own_name(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> (String, String) {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

fn service<'a>(objects: &'a Objects, namespace: &str, name: &str) -> Option<&'a LeanService> {
    let wanted = |service: &&Arc<LeanService>| {
        service.metadata.namespace.as_deref() == Some(namespace)
            && service.metadata.name.as_deref() == Some(name)
    };
    objects
        .kube_services
        .iter()
        .find(wanted)
        .map(|service| &**service)
}

/// A Service in front of the very pods of a pool is that pool: one view of each pod, not two.
fn target_name(
    backend: &Backend,
    objects: &Objects,
    by_pool: &BTreeMap<(String, String), String>,
) -> Option<String> {
    match backend {
        Backend::Pool { namespace, name } => {
            by_pool.get(&(namespace.clone(), name.clone())).cloned()
        }
        Backend::Service {
            namespace,
            name,
            port,
        } => {
            let port = (*port)?;
            let service = service(objects, namespace, name)?;
            let same = objects.pools.iter().find(|pool| {
                let target = pools::target_port(service, port, &LeanPod::default());
                pool.metadata.namespace.as_ref() == Some(namespace)
                    && pool.spec.selector.match_labels == service.spec.selector
                    && pool
                        .spec
                        .target_ports
                        .iter()
                        .any(|one| Some(one.number) == target)
            });
            match same {
                Some(pool) => by_pool.get(&own_name(&pool.metadata)).cloned(),
                None => Some(pools::service_pool_name(namespace, name, port)),
            }
        }
    }
}

/// Gateways that this process serves.
fn ours(objects: &Objects) -> Vec<&Arc<Gateway>> {
    let class = |gateway: &Gateway| {
        objects.classes.iter().any(|class| {
            class.metadata.name.as_ref() == Some(&gateway.spec.gateway_class_name)
                && class.spec.controller_name == GATEWAY_CONTROLLER
        })
    };
    let chosen = |gateway: &Gateway| {
        objects
            .gateway
            .as_ref()
            .is_none_or(|wanted| *wanted == own_name(&gateway.metadata))
    };
    objects
        .gateways
        .iter()
        .filter(|gateway| class(gateway) && chosen(gateway))
        .collect()
}

fn namespace_labels(namespaces: &[Arc<Namespace>]) -> BTreeMap<String, BTreeMap<String, String>> {
    let pair = |one: &Arc<Namespace>| {
        (
            one.metadata.name.clone().unwrap_or_default(),
            one.metadata.labels.clone().unwrap_or_default(),
        )
    };
    namespaces.iter().map(pair).collect()
}

#[cfg(test)]
#[path = "view_test.rs"]
mod view_test;
