//! What do an engine's last lines and a scheduler's message say?

/// Longest text quoted in a status, bytes.
const LONGEST: usize = 600;

/// Why an engine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A flag it does not know.
    Flag(String),
    /// Accelerator memory.
    Memory,
    /// The kernel, for the container's limit.
    Killed,
    /// A model it may not read.
    Access,
    Other,
}

/// Reads the end of an engine's output.
pub(super) fn cause(words: &str, reason: &str) -> Cause {
    if reason == "OOMKilled" {
        return Cause::Killed;
    }
    for marker in [
        "unrecognized arguments:",
        "unrecognised arguments:",
        "unexpected argument '",
        "no such option:",
        "unknown flag:",
    ] {
        if let Some(flag) = words.split(marker).nth(1) {
            let flag = flag.trim_start_matches([' ', '\'']);
            let flag: String = flag
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
                .collect();
            if flag.starts_with('-') {
                return Cause::Flag(flag);
            }
        }
    }
    let lower = words.to_lowercase();
    let says = |markers: &[&str]| markers.iter().any(|marker| lower.contains(marker));
    if says(&[
        "out of memory",
        "resource_exhausted",
        "no available memory for the cache blocks",
        "larger than the available kv cache memory",
    ]) {
        return Cause::Memory;
    }
    if says(&[
        "gated repo",
        "401 client error",
        "403 client error",
        "gatedrepoerror",
    ]) {
        return Cause::Access;
    }
    Cause::Other
}

/// Whether the newest line that names a step names compiling.
pub(super) fn compiles(log: &str) -> bool {
    let compile = [
        "compil",
        "capturing",
        "graph",
        "warmup",
        "warming up",
        "precompile",
    ];
    let other = ["loading", "download", "initializ", "weights"];
    for line in log.lines().rev() {
        let line = line.to_lowercase();
        if compile.iter().any(|word| line.contains(word)) {
            return true;
        }
        if other.iter().any(|word| line.contains(word)) {
            return false;
        }
    }
    false
}

/// The resource in `3 Insufficient google.com/tpu.`; an accelerator before anything else.
pub(super) fn short_of(message: &str) -> Option<String> {
    let all: Vec<_> = message
        .split("Insufficient ")
        .skip(1)
        .map(|rest| {
            rest.split([',', ' ', ';'])
                .next()
                .unwrap_or_default()
                .trim_end_matches('.')
        })
        .collect();
    all.iter()
        .find(|resource| resource.contains('/'))
        .or(all.first())
        .map(|resource| (*resource).to_owned())
}

/// The end of a text, on one line and short enough for a status.
pub(super) fn cut(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.len() <= LONGEST {
        return one_line;
    }
    let start =
        (one_line.len() - LONGEST..one_line.len()).find(|at| one_line.is_char_boundary(*at));
    format!("…{}", &one_line[start.unwrap_or_default()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes() {
        let flag = |flag: &str| Cause::Flag(flag.to_owned());
        for (words, reason, expected) in [
            (
                "usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --prefix-cache-block-size=16",
                "Error",
                flag("--prefix-cache-block-size"),
            ),
            (
                "error: unexpected argument '--prefix-cache-block-size' found",
                "Error",
                flag("--prefix-cache-block-size"),
            ),
            (
                "torch.OutOfMemoryError: CUDA out of memory.",
                "Error",
                Cause::Memory,
            ),
            ("", "OOMKilled", Cause::Killed),
            (
                "huggingface_hub.errors.GatedRepoError: 401 Client Error.",
                "Error",
                Cause::Access,
            ),
            ("Segmentation fault", "Error", Cause::Other),
        ] {
            assert_eq!(cause(words, reason), expected, "{words}");
        }
    }

    #[test]
    fn what_is_short() {
        for (message, expected) in [
            (
                "0/3 nodes are available: 3 Insufficient google.com/tpu. preemption: 0/3 nodes are available",
                Some("google.com/tpu"),
            ),
            (
                "0/5 nodes are available: 2 Insufficient cpu, 3 Insufficient nvidia.com/gpu.",
                Some("nvidia.com/gpu"),
            ),
            (
                "0/1 nodes are available: 1 Insufficient memory.",
                Some("memory"),
            ),
            (
                "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
                None,
            ),
        ] {
            assert_eq!(short_of(message).as_deref(), expected);
        }
    }

    #[test]
    fn steps_of_a_start() {
        assert!(compiles(
            "Loading weights took 3 s\nCapturing CUDA graphs: 10%"
        ));
        assert!(!compiles("torch.compile cache\nLoading safetensors 2/4"));
        assert!(!compiles(""));
    }
}
