//! Which engine flags look right and are not?

use super::Finding;

/// Flags seen in manifests that no release has, and what was meant.
const WRONG: [(&str, &str); 4] = [
    ("--prefix-cache-block-size", "--block-size"),
    ("--enable-prefix-cache", "--enable-prefix-caching"),
    ("--tensor-parallel", "--tensor-parallel-size"),
    ("--max-seq-len", "--max-model-len"),
];

/// Flags that are often misspelt; one letter off is a finding, anything farther off may be a newer release's flag.
const KNOWN: [&str; 24] = [
    "--max-model-len",
    "--max-num-seqs",
    "--max-num-batched-tokens",
    "--tensor-parallel-size",
    "--pipeline-parallel-size",
    "--data-parallel-size",
    "--gpu-memory-utilization",
    "--enable-prefix-caching",
    "--enable-chunked-prefill",
    "--served-model-name",
    "--block-size",
    "--dtype",
    "--kv-cache-dtype",
    "--quantization",
    "--trust-remote-code",
    "--enforce-eager",
    "--disable-log-requests",
    "--enable-lora",
    "--max-lora-rank",
    "--kv-transfer-config",
    "--kv-events-config",
    "--load-format",
    "--tokenizer",
    "--ssl-certfile",
];

/// Most letters a misspelling is off by.
const MISSPELT: usize = 2;

pub(super) fn unknown(arguments: &[String], tpu: bool) -> Vec<Finding> {
    arguments
        .iter()
        .filter(|argument| argument.starts_with("--"))
        .filter_map(|argument| {
            let flag = argument.split('=').next().unwrap_or(argument);
            if let Some((_, meant)) = WRONG.iter().find(|(wrong, _)| *wrong == flag) {
                let build = if tpu { "the TPU build of vLLM" } else { "vLLM" };
                return Some(Finding {
                    // Known to end the TPU build at once; other builds may have been patched.
                    fatal: tpu,
                    reason: "UnknownEngineFlag",
                    message: format!(
                        "{flag}: {build} does not know this flag and exits; it is {meant}"
                    ),
                });
            }
            let near = KNOWN.iter().find(|known| {
                let off = strsim::levenshtein(flag, known);
                off > 0 && off <= MISSPELT && !KNOWN.contains(&flag) && flag.len() > 8
            })?;
            Some(Finding {
                fatal: false,
                reason: "UnknownEngineFlag",
                message: format!("{flag} looks misspelt: is {near} meant?"),
            })
        })
        .collect()
}
