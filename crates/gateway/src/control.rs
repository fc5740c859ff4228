//! Which paths would let a client govern an engine?

use std::borrow::Cow;

/// Path segments that are control routes of engines (vLLM, SGLang, our own), lower case.
static CONTROL: [&str; 34] = [
    "abort_request",
    "abort_requests",
    "admin",
    "clear_hicache_storage_backend",
    "collective_rpc",
    "configure_logging",
    "continue_generation",
    "fault",
    "faults",
    "flush_cache",
    "freeze_gc",
    "get_server_info",
    "init_weights_update_group",
    "init_weight_transfer_engine",
    "is_paused",
    "is_scaling_elastic_ep",
    "is_sleeping",
    "kv_event_sources",
    "metrics",
    "pause",
    "pause_generation",
    "release_kv_cache_memory",
    "release_memory_occupation",
    "resume",
    "resume_memory_occupation",
    "scale_elastic_ep",
    "server_info",
    "set_internal_state",
    "sleep",
    "slow_down",
    "start_weight_update",
    "finish_weight_update",
    "wake_up",
    "wakeup",
];

/// Beginnings and ends of further ones.
static CONTROL_STARTS: [&str; 4] = ["reset_", "fault_", "fault-", "update_weight"];
static CONTROL_ENDS: [&str; 3] = ["_profile", "_lora_adapter", "_expert_distribution_record"];

/// How often a path is percent-decoded at most; servers decode once, those behind other proxies perhaps twice.
const MAX_DECODES: usize = 4;

/// The control paths that may be forwarded after all.
#[derive(Debug, Default)]
pub(crate) struct ControlPaths {
    allowed: Vec<String>,
}

impl ControlPaths {
    pub(crate) fn new(forward_paths: &[String]) -> Self {
        Self {
            allowed: forward_paths.iter().map(|path| normal(path)).collect(),
        }
    }

    /// Whether `path` is kept from engines, however it is spelt.
    pub(crate) fn refuses(&self, path: &str) -> bool {
        if is_plain(path) {
            return is_control(path) && !self.allows(path);
        }
        let path = normal(path);
        is_control(&path) && !self.allows(&path)
    }

    fn allows(&self, path: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == path)
    }
}

/// Whether `path` is its own normal form; true for nearly all.
fn is_plain(path: &str) -> bool {
    let odd = |byte: u8| matches!(byte, b'%' | b'\\' | b';' | b'A'..=b'Z') || !byte.is_ascii();
    !path.bytes().any(odd) && !path.contains("//") && !path.contains("/.") && !path.ends_with('/')
}

/// What a lenient server could make of `path`: decoded, lower case, one slash between segments, no dot segments,
/// no parameters, no slash at the end.
fn normal(path: &str) -> String {
    let mut decoded = Cow::Borrowed(path.as_bytes());
    for _ in 0..MAX_DECODES {
        match decode(&decoded) {
            Some(next) => decoded = Cow::Owned(next),
            None => break,
        }
    }
    let text = String::from_utf8_lossy(&decoded).to_lowercase();
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split(['/', '\\']) {
        let segment = segment
            .split([';', '?', '#', '\0'])
            .next()
            .unwrap_or_default()
            .trim();
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(text.len());
    for segment in segments {
        out.push('/');
        out.push_str(segment);
    }
    out
}

/// `bytes` percent-decoded once; `None` when nothing was encoded.
fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16);
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let mut changed = false;
    while at < bytes.len() {
        let pair = match bytes.get(at..at + 3) {
            Some([b'%', high, low]) => hex(high).zip(hex(low)),
            _ => None,
        };
        match pair {
            Some((high, low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
                changed = true;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    changed.then_some(out)
}

fn is_control(path: &str) -> bool {
    path.split('/').any(|segment| {
        CONTROL.contains(&segment)
            || CONTROL_STARTS
                .iter()
                .any(|start| segment.starts_with(start))
            || CONTROL_ENDS.iter().any(|end| segment.ends_with(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_paths_are_refused_however_spelt() {
        let control = ControlPaths::default();
        for path in [
            "/sleep",
            "/sleep/",
            "//sleep",
            "/x/../sleep",
            "/%73leep",
            "/%2573leep",
            "/%2e%2e/sleep",
            "/x/%2e%2e/sleep",
            "/x%2fsleep",
            "/SLEEP",
            "/sleep;a=b",
            "/\\sleep",
            "/wake_up",
            "/reset_prefix_cache",
            "/reset_mm_cache",
            "/collective_rpc",
            "/pause",
            "/resume",
            "/abort_requests",
            "/inference/v1/abort_requests",
            "/server_info",
            "/start_profile",
            "/stop_profile",
            "/v1/load_lora_adapter",
            "/v1/unload_lora_adapter",
            "/fault",
            "/metrics",
        ] {
            assert!(control.refuses(path), "{path}");
        }
        for path in [
            "/v1/chat/completions",
            "/tokenize",
            "/health",
            "/v1/responses/resp_1/cancel",
            "/sleepy",
            "/v1/../v1/completions",
            "/",
        ] {
            assert!(!control.refuses(path), "{path}");
        }
    }

    #[test]
    fn listed_paths_pass() {
        let control = ControlPaths::new(&["/reset_prefix_cache/".to_owned()]);
        assert!(!control.refuses("/reset_prefix_cache"));
        assert!(!control.refuses("//Reset_prefix_cache"));
        assert!(control.refuses("/reset_mm_cache"));
    }
}
