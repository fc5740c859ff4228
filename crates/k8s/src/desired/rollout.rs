//! How are pods replaced?
//!
//! With Kubernetes' default of a quarter surge, three replicas that each fill an accelerator node wait for a fourth
//! node for ever. So a pod with accelerators is replaced in its place, one after the other, unless another node is
//! known to be free.

use serde_json::{Value, json};

use super::Facts;
use crate::types::RolloutStrategy;

/// Accelerators a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accelerators {
    /// Resource name such as `google.com/tpu`.
    pub(crate) resource: String,
    pub(crate) count: u64,
}

/// Parts of resource names that mean an accelerator.
const ACCELERATORS: [&str; 9] = [
    "google.com/tpu",
    "nvidia.com/",
    "amd.com/gpu",
    "gpu.intel.com/",
    "habana.ai/",
    "aws.amazon.com/neuron",
    "qualcomm.com/",
    "huawei.com/",
    "cloud-tpus.google.com/",
];

/// What the pod's containers ask for together, of the first accelerator named.
pub(crate) fn accelerators(template: &Value) -> Option<Accelerators> {
    let mut found: Option<Accelerators> = None;
    for container in template["containers"].as_array().into_iter().flatten() {
        for part in ["limits", "requests"] {
            let Some(resources) = container["resources"][part].as_object() else {
                continue;
            };
            let asked = resources.iter().find_map(|(name, amount)| {
                let known = ACCELERATORS
                    .iter()
                    .any(|accelerator| name.starts_with(accelerator));
                let count = amount.as_u64().or_else(|| amount.as_str()?.parse().ok())?;
                (known && count > 0).then(|| (name.clone(), count))
            });
            if let Some((resource, count)) = asked {
                match &mut found {
                    Some(all) if all.resource == resource => all.count += count,
                    Some(_) => {}
                    none => *none = Some(Accelerators { resource, count }),
                }
                // Limits say what requests say.
                break;
            }
        }
    }
    found
}

/// `strategy` of the Deployment.
pub(super) fn strategy(template: &Value, asked: Option<&RolloutStrategy>, facts: &Facts) -> Value {
    let exclusive = accelerators(template).is_some() && !facts.spare_node;
    let (mut unavailable, mut surge) = if exclusive {
        (json!(1), json!(0))
    } else {
        (json!(0), json!(1))
    };
    if let Some(asked) = asked {
        if let Some(value) = &asked.max_surge {
            surge = value.clone();
            // Said for one half, and both halves zero is refused: the other half has to give.
            if is_zero(value) && is_zero(&unavailable) {
                unavailable = json!(1);
            }
        }
        if let Some(value) = &asked.max_unavailable {
            unavailable = value.clone();
            if is_zero(value) && is_zero(&surge) {
                surge = json!(1);
            }
        }
    }
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}})
}

fn is_zero(value: &Value) -> bool {
    *value == 0 || *value == "0" || *value == "0%"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        resource: Option<&str>,
        asked: Option<(Option<Value>, Option<Value>)>,
        spare_node: bool,
        expected: (Value, Value),
    ) {
        let mut template = json!({"containers": [{"name": "main"}]});
        if let Some(resource) = resource {
            template["containers"][0]["resources"] =
                json!({"limits": {resource: "4"}, "requests": {resource: "4"}});
        }
        let asked = asked.map(|(max_unavailable, max_surge)| RolloutStrategy {
            max_unavailable,
            max_surge,
        });
        let facts = Facts {
            spare_node,
            ..Facts::default()
        };
        let got = strategy(&template, asked.as_ref(), &facts);
        assert_eq!(
            (
                &got["rollingUpdate"]["maxUnavailable"],
                &got["rollingUpdate"]["maxSurge"]
            ),
            (&expected.0, &expected.1)
        );
    }

    #[test]
    fn no_pod_waits_for_a_node_that_is_not_there() {
        check(Some("google.com/tpu"), None, false, (json!(1), json!(0)));
        check(Some("nvidia.com/gpu"), None, false, (json!(1), json!(0)));
        check(Some("google.com/tpu"), None, true, (json!(0), json!(1)));
        check(Some("cpu"), None, false, (json!(0), json!(1)));
        check(None, None, false, (json!(0), json!(1)));
        check(
            Some("google.com/tpu"),
            Some((None, Some(json!("25%")))),
            false,
            (json!(1), json!("25%")),
        );
        check(
            Some("google.com/tpu"),
            Some((Some(json!(0)), None)),
            false,
            (json!(0), json!(1)),
        );
        check(
            None,
            Some((None, Some(json!(0)))),
            false,
            (json!(1), json!(0)),
        );
    }

    #[test]
    fn accelerators_of_a_pod_are_counted_once() {
        let pod = json!({"containers": [
            {"resources": {"limits": {"cpu": "8", "google.com/tpu": "4"}, "requests": {"google.com/tpu": "4"}}},
            {"resources": {"requests": {"google.com/tpu": 2}}},
        ]});
        let expected = Accelerators {
            resource: "google.com/tpu".to_owned(),
            count: 6,
        };
        assert_eq!(accelerators(&pod), Some(expected));
    }
}
