//! Which machines are there?

use serde_json::{Value, json};

use super::World;
use crate::object::now;
use crate::store::Key;

/// One simulated node.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    pub name: String,
    pub labels: Vec<(String, String)>,
    /// Key, value and effect.
    pub taints: Vec<(String, String, String)>,
    /// Resource and amount, beside processors, memory and pods.
    pub resources: Vec<(String, String)>,
}

impl NodeSpec {
    /// A host with four TPU v6e chips, as a node pool of them has.
    pub fn tpu(number: usize) -> Self {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Self {
            name: format!("tpu-{number}"),
            labels: vec![
                label("cloud.google.com/gke-tpu-accelerator", "tpu-v6e-slice"),
                label("cloud.google.com/gke-tpu-topology", "2x2"),
                label("cloud.google.com/gke-nodepool", "tpu-pool"),
            ],
            taints: vec![(
                "google.com/tpu".to_owned(),
                "present".to_owned(),
                "NoSchedule".to_owned(),
            )],
            resources: vec![("google.com/tpu".to_owned(), "4".to_owned())],
        }
    }

    /// A host with one NVIDIA T4.
    pub fn gpu(number: usize) -> Self {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        Self {
            name: format!("gpu-{number}"),
            labels: vec![
                label("cloud.google.com/gke-accelerator", "nvidia-tesla-t4"),
                label("cloud.google.com/gke-nodepool", "gpu-pool"),
            ],
            taints: vec![(
                "nvidia.com/gpu".to_owned(),
                "present".to_owned(),
                "NoSchedule".to_owned(),
            )],
            resources: vec![("nvidia.com/gpu".to_owned(), "1".to_owned())],
        }
    }

    /// A host without accelerators.
    pub fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            labels: vec![(
                "cloud.google.com/gke-nodepool".to_owned(),
                "default-pool".to_owned(),
            )],
            taints: Vec::new(),
            resources: Vec::new(),
        }
    }

    fn object(&self) -> Value {
        let mut labels = json!({"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
        for (key, value) in &self.labels {
            labels[key] = json!(value);
        }
        let mut capacity =
            json!({"cpu": "180", "memory": "720Gi", "pods": "110", "ephemeral-storage": "200Gi"});
        for (key, value) in &self.resources {
            capacity[key] = json!(value);
        }
        let taints: Vec<Value> = self
            .taints
            .iter()
            .map(|(key, value, effect)| json!({"key": key, "value": value, "effect": effect}))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": self.name, "labels": labels,
                "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": now(),
            },
            "spec": {"taints": taints},
            "status": {
                "capacity": capacity,
                "allocatable": capacity,
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status", "lastTransitionTime": now()}],
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": self.name}],
                "nodeInfo": {"kubeletVersion": "v1.33.0", "osImage": "simulated", "architecture": "amd64", "operatingSystem": "linux"},
            },
        })
    }
}

pub(super) fn register(world: &World) {
    for node in &world.config.nodes {
        let object = node.object();
        // Nothing is refused here.
        let _ = world
            .store
            .write(&Key::new("nodes", "", &node.name), |_| Ok(Some(object)));
    }
}
