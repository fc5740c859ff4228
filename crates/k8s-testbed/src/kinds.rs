//! Which kinds of object does the server know?

use std::sync::Arc;

use serde_json::{Value, json};

use crate::object::{list, text};

/// One resource in one version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kind {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    pub(crate) short: Vec<String>,
    pub(crate) has_status: bool,
    /// JSON pointers of the `scale` subresource.
    pub(crate) scale: Option<Scale>,
    pub(crate) columns: Vec<Value>,
    /// Shared: kinds are cloned for every request.
    pub(crate) schema: Option<Arc<Value>>,
    /// Defined by a CustomResourceDefinition.
    pub(crate) custom: bool,
}

/// Where a replica count is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scale {
    pub(crate) spec: String,
    pub(crate) status: String,
    pub(crate) selector: Option<String>,
}

impl Kind {
    /// `v1` or `group/version`.
    pub(crate) fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether the server counts changes of the objects. It does so where somebody follows up on them; most kinds of
    /// the core group and of RBAC have no `metadata.generation` at all.
    pub(crate) fn counts_changes(&self) -> bool {
        !matches!(
            self.group.as_str(),
            "" | "rbac.authorization.k8s.io" | "coordination.k8s.io" | "events.k8s.io"
        )
    }

    /// Key of the objects, whatever the version: `plural.group`.
    pub(crate) fn resource(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }
}

type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    &'static [&'static str],
    bool,
);

/// Group, version, plural, kind, namespaced, short names, status subresource.
const BUILT_IN: &[Row] = &[
    ("", "v1", "namespaces", "Namespace", false, &["ns"], true),
    ("", "v1", "nodes", "Node", false, &["no"], true),
    ("", "v1", "pods", "Pod", true, &["po"], true),
    ("", "v1", "services", "Service", true, &["svc"], true),
    ("", "v1", "endpoints", "Endpoints", true, &["ep"], false),
    ("", "v1", "configmaps", "ConfigMap", true, &["cm"], false),
    ("", "v1", "secrets", "Secret", true, &[], false),
    (
        "",
        "v1",
        "serviceaccounts",
        "ServiceAccount",
        true,
        &["sa"],
        false,
    ),
    ("", "v1", "events", "Event", true, &["ev"], false),
    (
        "",
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        true,
        &["pvc"],
        true,
    ),
    (
        "",
        "v1",
        "resourcequotas",
        "ResourceQuota",
        true,
        &["quota"],
        true,
    ),
    (
        "apps",
        "v1",
        "deployments",
        "Deployment",
        true,
        &["deploy"],
        true,
    ),
    (
        "apps",
        "v1",
        "replicasets",
        "ReplicaSet",
        true,
        &["rs"],
        true,
    ),
    (
        "apps",
        "v1",
        "statefulsets",
        "StatefulSet",
        true,
        &["sts"],
        true,
    ),
    ("batch", "v1", "jobs", "Job", true, &[], true),
    (
        "coordination.k8s.io",
        "v1",
        "leases",
        "Lease",
        true,
        &[],
        false,
    ),
    (
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "EndpointSlice",
        true,
        &[],
        false,
    ),
    (
        "events.k8s.io",
        "v1",
        "events",
        "Event",
        true,
        &["ev"],
        false,
    ),
    (
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        true,
        &["pdb"],
        true,
    ),
    (
        "networking.k8s.io",
        "v1",
        "networkpolicies",
        "NetworkPolicy",
        true,
        &["netpol"],
        false,
    ),
    (
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        true,
        &["hpa"],
        true,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "roles",
        "Role",
        true,
        &[],
        false,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "rolebindings",
        "RoleBinding",
        true,
        &[],
        false,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "clusterroles",
        "ClusterRole",
        false,
        &[],
        false,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "clusterrolebindings",
        "ClusterRoleBinding",
        false,
        &[],
        false,
    ),
    (
        "scheduling.k8s.io",
        "v1",
        "priorityclasses",
        "PriorityClass",
        false,
        &["pc"],
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        false,
        &[],
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        false,
        &[],
        false,
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        false,
        &["crd", "crds"],
        true,
    ),
];

pub(crate) fn built_in() -> Vec<Kind> {
    BUILT_IN.iter().map(kind_of).collect()
}

fn kind_of(row: &Row) -> Kind {
    let (group, version, plural, kind, namespaced, short, has_status) = *row;
    let scales = matches!(kind, "Deployment" | "ReplicaSet" | "StatefulSet");
    Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        kind: kind.to_owned(),
        namespaced,
        short: short.iter().map(|&short| short.to_owned()).collect(),
        has_status,
        scale: scales.then(|| Scale {
            spec: "/spec/replicas".to_owned(),
            status: "/status/replicas".to_owned(),
            selector: None,
        }),
        columns: columns(kind),
        schema: None,
        custom: false,
    }
}

/// Printed columns of a built-in kind; the first, the name, and the age are the table's own.
fn columns(kind: &str) -> Vec<Value> {
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    match kind {
        "Namespace" => vec![column("Status", ".status.phase")],
        "Service" => vec![
            column("Type", ".spec.type"),
            column("Cluster-IP", ".spec.clusterIP"),
            column("Ports", ".spec.ports[*].port"),
        ],
        "Deployment" => vec![
            column("Replicas", ".spec.replicas"),
            column("Ready", ".status.readyReplicas"),
            column("Up-to-date", ".status.updatedReplicas"),
            column("Available", ".status.availableReplicas"),
        ],
        "ReplicaSet" => vec![
            column("Desired", ".spec.replicas"),
            column("Current", ".status.replicas"),
            column("Ready", ".status.readyReplicas"),
        ],
        "Event" => vec![
            column("Type", ".type"),
            column("Reason", ".reason"),
            column("Object", ".involvedObject.name"),
            column("Message", ".message"),
        ],
        "Lease" => vec![column("Holder", ".spec.holderIdentity")],
        _ => Vec::new(),
    }
}

/// The served versions of a CustomResourceDefinition.
pub(crate) fn of_definition(definition: &Value) -> Vec<Kind> {
    let strings = |pointer: &str| -> Vec<String> {
        list(definition, pointer)
            .iter()
            .filter_map(|one| Some(one.as_str()?.to_owned()))
            .collect()
    };
    list(definition, "/spec/versions")
        .iter()
        .filter(|version| version["served"] != json!(false))
        .map(|version| Kind {
            group: text(definition, "/spec/group").to_owned(),
            version: text(version, "/name").to_owned(),
            plural: text(definition, "/spec/names/plural").to_owned(),
            kind: text(definition, "/spec/names/kind").to_owned(),
            namespaced: text(definition, "/spec/scope") != "Cluster",
            short: strings("/spec/names/shortNames"),
            has_status: version.pointer("/subresources/status").is_some(),
            scale: version.pointer("/subresources/scale").map(|scale| Scale {
                spec: pointer(text(scale, "/specReplicasPath")),
                status: pointer(text(scale, "/statusReplicasPath")),
                selector: scale["labelSelectorPath"].as_str().map(pointer),
            }),
            columns: list(version, "/additionalPrinterColumns").to_vec(),
            schema: version
                .pointer("/schema/openAPIV3Schema")
                .cloned()
                .map(Arc::new),
            custom: true,
        })
        .collect()
}

/// `.spec.replicas` as `/spec/replicas`.
fn pointer(path: &str) -> String {
    path.replace('.', "/")
}
