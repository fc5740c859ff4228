//! Will this command line start the engine, and will requests then find what they look for?
//!
//! Said before pods are made: a replica that loops through crashes holds an accelerator for nothing.

mod flags;

use crate::desired::Resolved;
use crate::desired::engine_command::{has_flag, words};
use crate::desired::rollout::accelerators;

/// `prefixgate.dev/lint`: `warn` rolls out in spite of errors, `off` says nothing.
pub const LINT: &str = "prefixgate.dev/lint";

/// Something about the engine's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The engine cannot start like this: nothing is rolled out.
    pub fatal: bool,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything found in a service's engine arguments.
pub fn findings(resolved: &Resolved) -> Vec<Finding> {
    let mode = crate::desired::annotation(&resolved.service, LINT);
    if mode == Some("off") {
        return Vec::new();
    }
    let Some(template) = &resolved.spec.workload.template else {
        return Vec::new();
    };
    let main = crate::desired::main_container(template);
    let arguments = words(main);
    let tpu = accelerators(template).is_some_and(|all| all.resource.contains("tpu"));
    let mut found = flags::unknown(&arguments, tpu);
    found.extend(prefix_caching(resolved, &arguments));
    found.extend(served_name(resolved, &arguments));
    if mode == Some("warn") {
        for finding in &mut found {
            finding.fatal = false;
        }
    }
    found
}

fn prefix_caching(resolved: &Resolved, arguments: &[String]) -> Option<Finding> {
    resolved.spec.scheduler()?;
    let off = has_flag(arguments, "--no-enable-prefix-caching")
        || value(arguments, "--enable-prefix-caching")
            .is_some_and(|value| value.eq_ignore_ascii_case("false"));
    off.then(|| Finding {
        fatal: false,
        reason: "PrefixCachingOff",
        message: "prefix caching is switched off while a scheduler is asked for: requests are sent where their prefix \
                  was, and it is not there; remove --no-enable-prefix-caching"
            .to_owned(),
    })
}

/// Engines refuse a request whose `model` is none of their names.
fn served_name(resolved: &Resolved, arguments: &[String]) -> Option<Finding> {
    let wanted = resolved.model_name();
    let own_command = arguments
        .iter()
        .any(|word| word.contains("vllm") || word.contains("sglang"));
    let names = values(arguments, "--served-model-name");
    if names.is_empty() {
        // The controller's own command line names the model; a manifest's may not.
        let model = value(arguments, "--model").or_else(|| after(arguments, "serve"));
        let served = model.filter(|model| own_command && *model != wanted)?;
        return Some(Finding {
            fatal: false,
            reason: "ModelNameMismatch",
            message: format!(
                "the engine will answer to {served} and not to {wanted}, which is model.name: add --served-model-name {wanted}"
            ),
        });
    }
    (!names.contains(&wanted)).then(|| Finding {
        fatal: false,
        reason: "ModelNameMismatch",
        message: format!("--served-model-name says {} and model.name says {wanted}: clients that ask for {wanted} get 404", names.join(" ")),
    })
}

fn after<'a>(arguments: &'a [String], word: &str) -> Option<&'a str> {
    let place = arguments.iter().position(|argument| argument == word)?;
    arguments
        .get(place + 1)
        .map(String::as_str)
        .filter(|next| !next.starts_with('-'))
}

fn value<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    arguments.iter().enumerate().find_map(|(place, argument)| {
        let rest = argument.strip_prefix(flag)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => arguments
                .get(place + 1)
                .map(String::as_str)
                .filter(|next| !next.starts_with('-')),
            None => None,
        }
    })
}

/// Every value of a flag that takes several.
fn values<'a>(arguments: &'a [String], flag: &str) -> Vec<&'a str> {
    let Some(first) = value(arguments, flag) else {
        return Vec::new();
    };
    let Some(place) = arguments.iter().position(|argument| argument == flag) else {
        return vec![first];
    };
    arguments[place + 1..]
        .iter()
        .map(String::as_str)
        .take_while(|next| !next.starts_with('-'))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::desired::{Presets, Settings, resolve};
    use crate::types::LlmInferenceService;

    use super::findings;

    /// `expected`: each finding's reason, with `!` when it stops the roll-out.
    fn check(args: &[&str], accelerator: &str, expected: &[&str]) {
        let service: LlmInferenceService = serde_json::from_value(json!({
            "metadata": {"name": "qwen", "namespace": "team"},
            "spec": {
                "model": {"uri": "hf://Qwen/Qwen2.5-3B-Instruct", "name": "Qwen/Qwen2.5-3B-Instruct"},
                "router": {"scheduler": {}},
                "template": {"containers": [{"name": "main", "args": args, "resources": {"limits": {accelerator: "4"}}}]},
            },
        }))
        .unwrap();
        let resolved = resolve(&service, &Presets::default(), &Settings::default()).unwrap();
        let got: Vec<_> = findings(&resolved)
            .iter()
            .map(|finding| format!("{}{}", if finding.fatal { "!" } else { "" }, finding.reason))
            .collect();
        assert_eq!(got, expected, "{args:?}");
    }

    #[test]
    fn arguments_that_will_not_do() {
        let tpu = "google.com/tpu";
        let gpu = "nvidia.com/gpu";
        check(
            &["--max-model-len=2048", "--enable-prefix-caching"],
            tpu,
            &[],
        );
        check(
            &["--prefix-cache-block-size=16"],
            tpu,
            &["!UnknownEngineFlag"],
        );
        check(
            &["--prefix-cache-block-size=16"],
            gpu,
            &["UnknownEngineFlag"],
        );
        check(
            &[
                "python3 -m vllm.entrypoints.openai.api_server --model=/mnt/models --prefix-cache-block-size 16",
            ],
            tpu,
            &["!UnknownEngineFlag", "ModelNameMismatch"],
        );
        check(&["--max-model-lenn", "2048"], gpu, &["UnknownEngineFlag"]);
        check(&["--no-enable-prefix-caching"], gpu, &["PrefixCachingOff"]);
        check(
            &["--served-model-name", "other"],
            gpu,
            &["ModelNameMismatch"],
        );
        check(
            &["--served-model-name", "other", "Qwen/Qwen2.5-3B-Instruct"],
            gpu,
            &[],
        );
        check(
            &[
                "-c",
                "vllm serve /mnt/models --served-model-name=Qwen/Qwen2.5-3B-Instruct",
            ],
            gpu,
            &[],
        );
        check(
            &["-c", "vllm serve /mnt/models"],
            gpu,
            &["ModelNameMismatch"],
        );
    }
}
