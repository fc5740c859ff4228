//! What is each object called, and how is it labelled?
//!
//! KServe's names and labels, so that a cluster can move over without its dashboards, selectors and policies changing.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

/// Longest name of a Service and longest label value, characters.
const LONGEST: usize = 63;
/// Characters of a hex MD5.
const HASH: usize = 32;

/// `part-of` of every object of a service.
pub const PART_OF: &str = "llminferenceservice";
/// Carried by Deployments and pods beside KServe's labels, because operators select by it; in no selector, so that it
/// can be added to Deployments that exist.
pub const SERVICE_LABEL: &str = "serving.kserve.io/inferenceservice";
/// `"true"`: the service is to hold nothing.
pub const STOP: &str = "serving.kserve.io/stop";
/// Who reconciles the object: `prefixgate` or anything else, which is left alone. On a child: `none` leaves it to its users.
pub const CONTROLLER: &str = "prefixgate.dev/controller";
/// Name under which fields are applied.
pub const FIELD_MANAGER: &str = "prefixgate-controller";
/// `controllerName` of gateway classes that are ours, and of our entries in statuses.
pub const GATEWAY_CONTROLLER: &str = "prefixgate.dev/gateway-controller";

/// A child's name: parent and suffix, the parent cut and hashed when both together pass 63 characters
/// (the rule of Knative's `kmeta.ChildName`).
pub fn child(parent: &str, suffix: &str) -> String {
    if parent.len() + suffix.len() <= LONGEST {
        return format!("{parent}{suffix}");
    }
    let head = LONGEST - HASH;
    if suffix.len() >= head {
        let start = cut(parent, head);
        return format!("{start}{}", hash(&format!("{parent}{suffix}")));
    }
    format!(
        "{}{}{suffix}",
        cut(parent, head - suffix.len()),
        hash(parent)
    )
}

fn cut(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

fn hash(text: &str) -> String {
    Md5::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Which pods of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Prefill and decode.
    Both,
    /// Decode beside a separate prefill.
    Decode,
    Prefill,
}

impl Role {
    fn component(self) -> &'static str {
        match self {
            Self::Both | Self::Decode => "llminferenceservice-workload",
            Self::Prefill => "llminferenceservice-workload-prefill",
        }
    }

    fn llm_d(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Decode => "decode",
            Self::Prefill => "prefill",
        }
    }

    /// Suffix of the Deployment's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Both | Self::Decode => "-kserve",
            Self::Prefill => "-kserve-prefill",
        }
    }
}

/// Labels in order of their names.
pub type Labels = BTreeMap<String, String>;

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Labels of an object of a service that is no workload.
pub fn component(service: &str, component: &str) -> Labels {
    labels([
        ("app.kubernetes.io/name", service),
        ("app.kubernetes.io/part-of", PART_OF),
        ("app.kubernetes.io/component", component),
    ])
}

/// Selector of a workload's Deployment.
pub fn workload_selector(service: &str, role: Role) -> Labels {
    let mut all = component(service, role.component());
    all.extend(labels([
        ("kserve.io/component", "workload"),
        ("llm-d.ai/role", role.llm_d()),
    ]));
    all
}

/// Selector of every workload pod of a service: its Service and its InferencePool.
pub fn pods_selector(service: &str) -> Labels {
    labels([
        ("app.kubernetes.io/name", service),
        ("app.kubernetes.io/part-of", PART_OF),
        ("kserve.io/component", "workload"),
    ])
}

/// Names of every object of a service.
macro_rules! child_names {
    ($($(#[$doc:meta])* $name:ident = $suffix:literal;)*) => {
        $($(#[$doc])* pub fn $name(service: &str) -> String { child(service, $suffix) })*
    };
}

child_names! {
    /// Service before the engines.
    workload_service = "-kserve-workload-svc";
    /// HTTPRoute.
    route = "-kserve-route";
    /// InferencePool.
    pool = "-inference-pool";
    /// Deployment of the picker.
    picker = "-kserve-router-scheduler";
    /// Service before the picker.
    picker_service = "-epp-service";
    /// ServiceAccount of the picker.
    picker_account = "-epp-sa";
    /// Role of the picker.
    picker_role = "-epp-role";
    /// RoleBinding of the picker.
    picker_binding = "-epp-rb";
    /// ConfigMap with the scheduler's configuration.
    scheduler_config = "-kserve-scheduler-config";
    /// Certificate of the engines.
    certificate = "-kserve-self-signed-certs";
    /// PodDisruptionBudget, NetworkPolicy, ServiceMonitor of the engines.
    workload = "-kserve";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parent: &str, suffix: &str, expected: &str) {
        assert_eq!(child(parent, suffix), expected);
        assert!(expected.len() <= LONGEST);
    }

    #[test]
    fn children_are_named_as_kserve_names_them() {
        check("qwen", "-kserve", "qwen-kserve");
        let long = "a".repeat(60);
        // 31 characters of head less the suffix, the parent's MD5, the suffix.
        check(
            &long,
            "-kserve",
            &format!("{}{}-kserve", "a".repeat(24), hash(&long)),
        );
        let suffix = format!("-{}", "s".repeat(40));
        check(
            &long,
            &suffix,
            &format!("{}{}", "a".repeat(31), hash(&format!("{long}{suffix}"))),
        );
        assert_eq!(hash("abc"), "900150983cd24fb0d6963f7d28e17f72");
    }
}
