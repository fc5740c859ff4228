//! Which process does a container's command stand for?

use serde_json::Value;

use crate::object::{list, text};

/// What runs in place of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A model server: `prefixgate engine` with these words.
    Engine { words: Vec<String>, port: u16 },
    /// `prefixgate` itself, with these words.
    Ours(Vec<String>),
    /// Something nothing here can stand for: it runs, does nothing and serves nothing.
    Idle,
}

/// Flags of vLLM that say how a model is spread over an accelerator or computed; an engine without one takes the
/// word and leaves it. With true, the next word belongs to it.
const WITHOUT_EFFECT: &[(&str, bool)] = &[
    ("--tensor-parallel-size", true),
    ("-tp", true),
    ("--pipeline-parallel-size", true),
    ("--data-parallel-size", true),
    ("--dtype", true),
    ("--gpu-memory-utilization", true),
    ("--kv-cache-dtype", true),
    ("--kv-transfer-config", true),
    ("--download-dir", true),
    ("--load-format", true),
    ("--disable-access-log-for-endpoints", true),
    ("--max-lora-rank", true),
    ("--max-loras", true),
    ("--max-cpu-loras", true),
    ("--distributed-executor-backend", true),
    ("--device", true),
    ("--quantization", true),
    ("--uvicorn-log-level", true),
    ("--tool-call-parser", true),
    ("--reasoning-parser", true),
    ("--chat-template", true),
    ("--revision", true),
    ("--disable-log-requests", false),
    ("--no-enable-log-requests", false),
    ("--enable-chunked-prefill", false),
    ("--enforce-eager", false),
    ("--trust-remote-code", false),
    ("--enable-lora", false),
    ("--enable-ssl-refresh", false),
    ("--enable-auto-tool-choice", false),
    ("--disable-uvicorn-access-log", false),
    ("--enable-expert-parallel", false),
];

/// Reads a container's `command` and `args`, and `environment` where they refer to it.
pub(super) fn program(container: &Value, environment: &dyn Fn(&str) -> Option<String>) -> Program {
    let strings = |pointer: &str| list(container, pointer).iter().filter_map(Value::as_str);
    let written: Vec<&str> = strings("/command").chain(strings("/args")).collect();
    let mut words: Vec<String> = Vec::new();
    for part in &written {
        // One word with spaces is a shell line or a script.
        match part.contains(char::is_whitespace) && !part.starts_with('{') {
            true => words.extend(split(part, environment)),
            false => words.push(expand(part, environment)),
        }
    }
    let ends_with = |word: &String, name: &str| word == name || word.ends_with(&format!("/{name}"));
    if let Some(at) = words.iter().position(|word| ends_with(word, "prefixgate")) {
        let rest = words.split_off(at + 1);
        return match rest.first().map(String::as_str) {
            Some("engine") => engine(rest.into_iter().skip(1).collect(), None),
            _ => Program::Ours(rest),
        };
    }
    if let Some(at) = words.iter().position(|word| ends_with(word, "vllm")) {
        let mut rest = words.split_off(at + 1);
        if rest.first().is_some_and(|word| word == "serve") {
            rest.remove(0);
            let model = rest.first().filter(|word| !word.starts_with('-')).cloned();
            return engine(rest, model);
        }
        return Program::Idle;
    }
    if let Some(at) = words
        .iter()
        .position(|word| word.ends_with("vllm.entrypoints.openai.api_server"))
    {
        return engine(words.split_off(at + 1), None);
    }
    // An image of vLLM starts the server by itself; its arguments are the server's.
    let image = text(container, "/image");
    if (image.contains("vllm") || image.contains("llm-d-cuda"))
        && !words.iter().any(|word| word.contains("/bin/"))
    {
        return engine(words, None);
    }
    if image.contains("/prefixgate") || image.starts_with("prefixgate") {
        return Program::Ours(words);
    }
    Program::Idle
}

fn engine(mut words: Vec<String>, model: Option<String>) -> Program {
    let mut kept = Vec::new();
    if let Some(model) = model {
        words.remove(0);
        kept.extend(["--model".to_owned(), model]);
    }
    let mut port = 8000;
    let mut rest = words.into_iter().peekable();
    while let Some(word) = rest.next() {
        // What follows a shell's own words is not the server's.
        if matches!(word.as_str(), "&&" | "||" | ";" | "|" | "&" | "fi" | "done")
            || word.starts_with("2>")
        {
            break;
        }
        if matches!(word.as_str(), "--" | "\\" | "\"$@\"" | "$@" | "\"${@}\"") {
            continue;
        }
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => {
                (flag.to_owned(), Some(value.to_owned()))
            }
            _ => (word.clone(), None),
        };
        let mut argument = |value: Option<String>| value.or_else(|| rest.next());
        match flag.as_str() {
            "--port" => {
                port = argument(value)
                    .and_then(|port| port.parse().ok())
                    .unwrap_or(port)
            }
            "--host" => drop(argument(value)),
            // Certificates are the cluster's affair; engines here speak plain HTTP.
            "--ssl-certfile" | "--ssl-keyfile" | "--ssl-ca-certs" => drop(argument(value)),
            flag => match WITHOUT_EFFECT.iter().find(|(known, _)| *known == flag) {
                Some((_, true)) => drop(argument(value)),
                Some((_, false)) => {}
                None => kept.push(word),
            },
        }
    }
    Program::Engine { words: kept, port }
}

/// Words of a shell line, quotes removed.
fn split(line: &str, environment: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let line = expand(line, environment);
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None) if letters.peek() == Some(&'\n') => drop(letters.next()),
            ('\'' | '"', None) => (quote, begun) = (Some(letter), true),
            (letter, Some(open)) if letter == open => quote = None,
            (letter, None) if letter.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                if letter == '\n' && !words.is_empty() {
                    words.push(";".to_owned());
                }
                begun = false;
            }
            (letter, _) => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// `$(NAME)`, `${NAME}` and `${NAME:-default}`.
fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let close = match from.as_bytes().get(1) {
            Some(b'(') => ')',
            Some(b'{') => '}',
            _ => {
                out.push('$');
                rest = &from[1..];
                continue;
            }
        };
        let Some(end) = from.find(close) else {
            out.push_str(from);
            return out;
        };
        let inside = &from[2..end];
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        out.push_str(&environment(name).unwrap_or_else(|| default.to_owned()));
        rest = &from[end + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(container: Value, expected: Program) {
        let environment = |name: &str| {
            (name == "VLLM_ADDITIONAL_ARGS").then(|| "--max-model-len 2048".to_owned())
        };
        assert_eq!(program(&container, &environment), expected);
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn commands_of_model_servers_are_read() {
        check(
            json!({"image": "vllm/vllm-openai", "command": ["/bin/bash", "-c"],
                "args": ["python3 -m vllm.entrypoints.openai.api_server --model=/mnt/models --dtype=half --max-model-len=2048 --tensor-parallel-size=4 --disable-log-requests --port 8080"]}),
            Program::Engine {
                words: words("--model=/mnt/models --max-model-len=2048"),
                port: 8080,
            },
        );
        check(
            json!({"image": "x", "command": ["vllm", "serve", "/mnt/models"],
                "args": ["--served-model-name", "a", "b", "--port", "8000"]}),
            Program::Engine {
                words: words("--model /mnt/models --served-model-name a b"),
                port: 8000,
            },
        );
        check(
            json!({"image": "x", "command": ["/bin/bash", "-c"],
                "args": ["if true; then\nexec vllm serve /mnt/models \\\n --served-model-name a ${VLLM_ADDITIONAL_ARGS} \"$@\"\nfi"]}),
            Program::Engine {
                words: words("--model /mnt/models --served-model-name a --max-model-len 2048"),
                port: 8000,
            },
        );
        check(
            json!({"image": "vllm/vllm-openai:v0.9", "args": ["--model", "m", "--prefix-cache-block-size=16"]}),
            Program::Engine {
                words: words("--model m --prefix-cache-block-size=16"),
                port: 8000,
            },
        );
        check(
            json!({"image": "prefixgate:latest", "args": ["serve", "--kubernetes"]}),
            Program::Ours(words("serve --kubernetes")),
        );
        check(
            json!({"image": "busybox", "command": ["sleep", "10"]}),
            Program::Idle,
        );
    }
}
