//! Which pods run on the nodes?

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::World;
use super::pod::{self, Order};
use crate::Fault;
use crate::object::{self, is_deleting, list, name, namespace, set_condition, text, uid};
use crate::store::Key;

/// Seconds after which the pods of a node that is gone are given up, before scaling.
const EVICT_AFTER_SECONDS: f64 = 300.0;

/// The kubelets of all nodes.
pub(super) struct Kubelet {
    world: Arc<World>,
    running: HashMap<String, watch::Sender<Order>>,
    tasks: TaskTracker,
}

impl Kubelet {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self {
            world,
            running: HashMap::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Starts pods that were placed, ends those that are to end, and forgets those that are gone.
    pub(super) fn reconcile(&mut self) {
        let (pods, _) = self.world.store.list("pods", "");
        for pod in pods
            .iter()
            .filter(|pod| !text(pod, "/spec/nodeName").is_empty())
        {
            let order = self.running.entry(uid(pod).to_owned()).or_insert_with(|| {
                let (order, orders) = watch::channel(Order::Run);
                self.tasks
                    .spawn(pod::live(Arc::clone(&self.world), Arc::clone(pod), orders));
                order
            });
            if is_deleting(pod) {
                let seconds =
                    object::number(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(30);
                let ending = Order::End {
                    grace_seconds: seconds,
                };
                order.send_if_modified(|order| {
                    let changed = *order != Order::Vanish && *order != ending;
                    if changed {
                        *order = ending;
                    }
                    changed
                });
            }
        }
        self.running.retain(|id, order| {
            let stays = pods.iter().any(|pod| uid(pod) == id);
            if !stays {
                order.send_replace(Order::Vanish);
            }
            stays
        });
    }

    /// Lets something outside of the API happen.
    pub(super) fn suffer(&mut self, fault: &Fault) {
        match fault {
            Fault::PodKilled { namespace, name } => {
                let pod = self.world.store.get(&Key::new("pods", namespace, name));
                if let Some(order) = pod.and_then(|pod| self.running.get(uid(&pod))) {
                    let lives = order.borrow().kills();
                    order.send_replace(Order::Kill { count: lives + 1 });
                }
            }
            Fault::NodeGone { name } => self.node_gone(name),
            _ => {}
        }
    }

    fn node_gone(&mut self, node: &str) {
        let key = Key::new("nodes", "", node);
        let _ = self.world.store.write(&key, |before| {
            let Some(before) = before else {
                return Ok(None);
            };
            let mut node = before.clone();
            let mut conditions = list(before, "/status/conditions").to_vec();
            set_condition(
                &mut conditions,
                "Ready",
                "Unknown",
                "NodeStatusUnknown",
                "Kubelet stopped posting node status.",
            );
            node["status"]["conditions"] = json!(conditions);
            Ok(Some(node))
        });
        let (pods, _) = self.world.store.list("pods", "");
        for pod in pods
            .iter()
            .filter(|pod| text(pod, "/spec/nodeName") == node)
        {
            if let Some(order) = self.running.get(uid(pod)) {
                order.send_replace(Order::Vanish);
            }
            not_ready(&self.world, pod);
            let (world, pod) = (Arc::clone(&self.world), Arc::clone(pod));
            self.tasks.spawn(async move {
                let wait = tokio::time::sleep(world.scaled(EVICT_AFTER_SECONDS));
                world.stop.run_until_cancelled(wait).await;
                // Nobody is left to confirm that they ended.
                let key = Key::new("pods", namespace(&pod), name(&pod));
                let _ = world.store.write(&key, |before| {
                    Ok(before.filter(|held| uid(held) != uid(&pod)).cloned())
                });
            });
        }
    }

    /// Ends every process.
    pub(super) async fn stop(self) {
        for order in self.running.values() {
            order.send_replace(Order::Vanish);
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn not_ready(world: &World, pod: &Value) {
    let key = Key::new("pods", namespace(pod), name(pod));
    let _ = world.store.write(&key, |before| {
        let Some(before) = before else {
            return Ok(None);
        };
        let mut pod = before.clone();
        let mut conditions = list(before, "/status/conditions").to_vec();
        set_condition(&mut conditions, "Ready", "False", "NodeNotReady", "");
        pod["status"]["conditions"] = json!(conditions);
        Ok(Some(pod))
    });
}
