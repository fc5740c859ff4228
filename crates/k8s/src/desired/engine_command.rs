//! What command line does an engine get, and what does it say?

use serde_json::{Value, json};

use super::Resolved;

/// Port the engine listens on.
pub(crate) const ENGINE_PORT: u16 = 8000;
/// Where the model is inside of the pod.
pub(crate) const MODEL_PATH: &str = "/mnt/models";

/// Put before the arguments of an engine that has no command of its own. `$@` holds our arguments and the manifest's,
/// in that order, so that the manifest's win. The time an engine is given to end its requests is passed on only to
/// versions that know the flag.
const WRAPPER: &str = r#"set -eu
version="$(python3 -c 'import importlib.metadata as m; print(m.version("vllm"))' 2>/dev/null || echo 0.0)"
major="${version%%.*}"; rest="${version#*.}"; minor="${rest%%.*}"
at_least() { [ "$major" -gt "$1" ] || { [ "$major" -eq "$1" ] && [ "$minor" -ge "$2" ]; }; }
if at_least 0 18; then set -- --shutdown-timeout "$SHUTDOWN_TIMEOUT_S" "$@"; fi
exec vllm serve $0 ${VLLM_ADDITIONAL_ARGS:-} "$@"
"#;

/// Sets command and arguments of the container `main`.
pub(super) fn apply(
    main: &mut Value,
    resolved: &Resolved,
    tensor: Option<u32>,
    shutdown_s: u64,
    model: &str,
) {
    if main["command"]
        .as_array()
        .is_some_and(|command| !command.is_empty())
    {
        return;
    }
    let arguments = strings(&main["args"]);
    if let Some(line) = shell_line(&arguments) {
        main["command"] = json!(["/bin/bash", "-c"]);
        main["args"] = json!([line]);
        return;
    }
    let namespace = resolved
        .service
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    let name = resolved.model_name();
    let mut ours: Vec<String> = Vec::new();
    let given = |flag: &str| has_flag(&arguments, flag);
    if !given("--served-model-name") {
        ours.extend(["--served-model-name".to_owned(), name.to_owned()]);
        ours.push(format!("publishers/{namespace}/models/{name}"));
    }
    if !given("--port") {
        ours.extend(["--port".to_owned(), ENGINE_PORT.to_string()]);
    }
    if let Some(tensor) = tensor
        && !given("--tensor-parallel-size")
    {
        ours.extend(["--tensor-parallel-size".to_owned(), tensor.to_string()]);
    }
    ours.extend(lora(resolved, namespace));
    ours.extend(arguments);
    let mut args = vec![WRAPPER.to_owned(), model.to_owned()];
    args.extend(ours);
    main["command"] = json!(["/bin/bash", "-c"]);
    main["args"] = json!(args);
    let env = main
        .as_object_mut()
        .map(|main| main.entry("env").or_insert_with(|| json!([])));
    if let Some(Value::Array(env)) = env {
        env.push(json!({"name": "SHUTDOWN_TIMEOUT_S", "value": shutdown_s.to_string()}));
    }
}

fn lora(resolved: &Resolved, namespace: &str) -> Vec<String> {
    let Some(lora) = resolved
        .spec
        .model
        .lora
        .as_ref()
        .filter(|lora| !lora.adapters.is_empty())
    else {
        return Vec::new();
    };
    let mut arguments = vec!["--enable-lora".to_owned()];
    for (flag, value) in [
        ("--max-lora-rank", lora.max_rank),
        ("--max-loras", lora.max_adapters),
        ("--max-cpu-loras", lora.max_cpu_adapters),
    ] {
        if let Some(value) = value {
            arguments.extend([flag.to_owned(), value.to_string()]);
        }
    }
    arguments.push("--lora-modules".to_owned());
    for adapter in &lora.adapters {
        let path = format!("/mnt/lora/{}", adapter.name);
        for name in [
            adapter.name.clone(),
            format!("publishers/{namespace}/models/{}", adapter.name),
        ] {
            arguments.push(json!({"name": name, "path": path}).to_string());
        }
    }
    arguments
}

/// Manifests written for older releases give a whole shell line as the arguments.
fn shell_line(arguments: &[String]) -> Option<String> {
    let rest = match arguments.first().map(String::as_str) {
        Some("-c") => &arguments[1..],
        _ => arguments,
    };
    let first = rest.first()?.trim_start();
    let program = first.split_whitespace().next()?;
    let file = program.rsplit('/').next().unwrap_or(program);
    let runs = [
        "python", "vllm", "exec", "bash", "sh", "set", "source", "export",
    ]
    .iter()
    .any(|known| file == *known || (*known == "python" && file.starts_with("python")));
    runs.then(|| rest.join(" "))
}

/// Strings of a list; what is no string is left out.
pub(crate) fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

/// Whether a flag is among arguments, as `--flag value` or `--flag=value`.
pub(crate) fn has_flag(arguments: &[String], flag: &str) -> bool {
    arguments.iter().any(|argument| {
        argument == flag
            || argument
                .strip_prefix(flag)
                .is_some_and(|rest| rest.starts_with('='))
    })
}

/// The words that the engine will see, whether they are given one by one or as a shell line.
pub(crate) fn words(main: &Value) -> Vec<String> {
    let mut words = Vec::new();
    for part in strings(&main["command"])
        .into_iter()
        .chain(strings(&main["args"]))
    {
        if part.contains(char::is_whitespace) && !part.starts_with('{') {
            let line = part.replace("\\\n", " ");
            words.extend(
                line.split_whitespace()
                    .map(|word| word.trim_matches(['"', '\'']).to_owned()),
            );
        } else {
            words.push(part);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: Option<&str>) {
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(shell_line(&arguments).as_deref(), expected);
    }

    #[test]
    fn shell_lines_are_told_from_flags() {
        check(
            &["python3 -m vllm.entrypoints.openai.api_server --model=/mnt/models"],
            Some("python3 -m vllm.entrypoints.openai.api_server --model=/mnt/models"),
        );
        check(
            &["-c", "vllm serve /mnt/models"],
            Some("vllm serve /mnt/models"),
        );
        check(
            &["/usr/bin/python3.11", "-m", "x"],
            Some("/usr/bin/python3.11 -m x"),
        );
        check(&["--max-model-len", "2048"], None);
        check(&["--max-model-len=2048 --dtype=half"], None);
        check(&[], None);
    }
}
