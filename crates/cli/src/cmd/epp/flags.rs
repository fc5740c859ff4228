//! Which flags does a picker take, and what becomes of those it has no use for?
//!
//! The names are those that charts and controllers of the field pass. One without meaning here is taken with a note
//! at start; one whose promise could not be kept is refused by its name. Nothing is silently without effect.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Port of the data plane (ext_proc over gRPC).
    #[arg(long, value_name = "PORT", default_value_t = 9002)]
    pub(super) grpc_port: u16,

    /// Port of the gRPC health service, plain text.
    #[arg(long, value_name = "PORT", default_value_t = 9003)]
    pub(super) grpc_health_port: u16,

    /// Port of `/metrics`; the admin API is answered there too, to this machine only.
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    pub(super) metrics_port: u16,

    /// Address on which all three ports are.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub(super) listen_address: std::net::IpAddr,

    /// URL of a replica; repeat for several.
    #[arg(
        long = "endpoint",
        value_name = "URL",
        env = "PREFIXGATE_ENDPOINTS",
        value_delimiter = ','
    )]
    pub(super) endpoints: Vec<String>,

    /// A file that lists endpoints; changes apply without a restart.
    #[arg(long, value_name = "FILE")]
    pub(super) endpoint_file: Option<PathBuf>,

    /// Name of the pool, for messages and metrics. Where no endpoints are named, they are the pods of the InferencePool
    /// of that name in --pool-namespace, followed through the Kubernetes API.
    #[arg(long, value_name = "NAME")]
    pub(super) pool_name: Option<String>,

    /// Namespace of the pool, for metrics.
    #[arg(
        long,
        value_name = "NAME",
        env = "NAMESPACE",
        default_value = "default"
    )]
    pub(super) pool_namespace: String,

    /// prefixgate.yaml, for what no flag here sets.
    #[arg(short, long, value_name = "FILE", env = "PREFIXGATE_CONFIG")]
    pub(super) config: Option<PathBuf>,

    /// An `EndpointPickerConfig` document; read again when it changes.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config_text", "preset"])]
    pub(super) config_file: Option<PathBuf>,

    /// The document itself.
    #[arg(long, value_name = "YAML", conflicts_with = "preset")]
    pub(super) config_text: Option<String>,

    /// Scheduling preset in place of a document [default: default]
    #[arg(long, value_name = "NAME", env = "PREFIXGATE_PRESET")]
    pub(super) preset: Option<String>,

    /// Fixes prompt-hash keys and every chance taken in routing.
    #[arg(long, value_name = "N", env = "PREFIXGATE_SEED")]
    pub(super) seed: Option<u64>,

    /// Whether response bodies that the data plane shows are read for usage and in-band errors; false asks it not to
    /// send them.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) response_feedback: bool,

    /// Endpoints in one answer at most: the first is meant, the rest are for retries of the data plane, in that
    /// order. Needs one that reads a list (Envoy's override_host, GKE); an ORIGINAL_DST cluster takes no more than
    /// 1 [default: `maxNumOfEndpoints` of the document's picker, else 1]
    #[arg(long, value_name = "N")]
    pub(super) max_endpoints: Option<usize>,

    /// Whether the data plane is spoken to with TLS.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) secure_serving: bool,

    /// Folder with tls.crt and tls.key; without it a certificate is made at start.
    #[arg(long, value_name = "FOLDER")]
    pub(super) cert_path: Option<PathBuf>,

    /// Whether the files are read again when they change.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) enable_cert_reload: bool,

    /// VersionTLS12 or VersionTLS13.
    #[arg(long, value_name = "VERSION")]
    pub(super) tls_min_version: Option<String>,

    /// Names of cipher suites, separated by commas; all by default.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(super) tls_cipher_suites: Vec<String>,

    /// How long new requests are still decided after SIGTERM, while health says that they should go elsewhere.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(super) drain_timeout: Duration,

    /// Largest message received, as a quantity such as 64Mi.
    #[arg(long, value_name = "QUANTITY", value_parser = quantity)]
    pub(super) grpc_max_recv_msg_size: Option<u64>,

    /// Ignores the data plane's restriction to some endpoints.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) disable_endpoint_subset_filter: bool,

    /// Sends candidates' scores as metadata.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) emit_endpoint_scores: bool,

    /// Fixed time between scrapes of an engine; adaptive when absent.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) refresh_metrics_interval: Option<Duration>,

    /// Path of the engines' metrics page.
    #[arg(long, value_name = "PATH")]
    pub(super) model_server_metrics_path: Option<String>,

    /// Port of the engines' metrics page, where it is not their own.
    #[arg(long, value_name = "PORT")]
    pub(super) model_server_metrics_port: Option<u16>,

    /// Priority of an objective that requests name in `x-llm-d-inference-objective`; repeat for several. Every other has
    /// priority 0; below 0 a request may be turned away for others.
    #[arg(long = "objective", value_name = "NAME=PRIORITY", value_parser = objective, allow_hyphen_values = true)]
    pub(super) objectives: Vec<(String, i32)>,

    /// A control path of engines that is let through all the same; repeat for several.
    #[arg(long = "forward-path", value_name = "PATH")]
    pub(super) forward_paths: Vec<String>,
}

const AFTER_HELP: &str = "\
Flags of llm-d's picker that have no meaning here are accepted and named in a note at start; those whose promise \
cannot be kept are refused by name. docs/endpoint-picker.md lists both.";

/// Accepted, with the reason why nothing comes of it.
const WITHOUT_MEANING: [(&str, &str); 20] = [
    ("pool-group", "no Kubernetes objects are watched"),
    (
        "allow-experimental-plugins",
        "every plugin listed by `prefixgate plugins` may be used",
    ),
    (
        "ha-enable-leader-election",
        "there is no leader: every replica decides by its own view",
    ),
    (
        "metrics-staleness-threshold",
        "pool figures carry the last scrape; prefixgate_endpoint_scrape_age_seconds tells its age",
    ),
    (
        "refresh-prometheus-metrics-interval",
        "pool figures are read when the page is asked for",
    ),
    (
        "grpc-max-send-msg-size",
        "messages are sent in pieces of 62,000 bytes",
    ),
    ("enable-pprof", "there is no profiling page"),
    (
        "enable-grpc-stream-metrics",
        "stream figures are always counted",
    ),
    (
        "health-checking",
        "health is always answered on the data plane's port too",
    ),
    ("tracing", "no spans are exported"),
    ("v", "use -v or RUST_LOG for more detail in the log"),
    ("zap-encoder", "use --log-json for one JSON object a line"),
    (
        "zap-log-level",
        "use -v or RUST_LOG for more detail in the log",
    ),
    ("zap-devel", "the log has one form"),
    ("zap-stacktrace-level", "the log has no stack traces"),
    ("zap-time-encoding", "the log has one form of time"),
    (
        "model-server-metrics-scheme",
        "engines are scraped with the scheme of their endpoint URLs",
    ),
    (
        "model-server-metrics-https-insecure-skip-verify",
        "set `tls` of the pool in prefixgate.yaml",
    ),
    ("cert-manager", "give the folder with --cert-path"),
    (
        "lora-info-metric-labels",
        "labels are those of each engine's dialect",
    ),
];

/// Refused, with what to do instead.
const REFUSED: [(&str, &str); 9] = [
    (
        "endpoint-selector",
        "pods are not selected here; name endpoints with --endpoint or --endpoint-file",
    ),
    (
        "endpoint-target-ports",
        "pods are not selected here; name endpoints with --endpoint or --endpoint-file",
    ),
    (
        "metrics-cert-dir",
        "the metrics page is plain text; put TLS before it, or bind --listen-address to this machine",
    ),
    (
        "metrics-client-ca-file",
        "the metrics page is plain text; put TLS before it, or bind --listen-address to this machine",
    ),
    (
        "total-queued-requests-metric",
        "name metrics in the document's `core-metrics-extractor`",
    ),
    (
        "total-running-requests-metric",
        "name metrics in the document's `core-metrics-extractor`",
    ),
    (
        "kv-cache-usage-percentage-metric",
        "name metrics in the document's `core-metrics-extractor`",
    ),
    (
        "lora-info-metric",
        "name metrics in the document's `core-metrics-extractor`",
    ),
    (
        "cache-info-metric",
        "name metrics in the document's `core-metrics-extractor`",
    ),
];

/// What was taken without effect, for the log.
static NOTES: OnceLock<Vec<String>> = OnceLock::new();

pub(super) fn notes() -> &'static [String] {
    NOTES.get().map(Vec::as_slice).unwrap_or_default()
}

/// Takes flags of the field without meaning here out of a command line of `epp`, before it is parsed.
///
/// # Errors
/// A flag whose promise cannot be kept, by name.
pub(crate) fn without_foreign(words: Vec<String>) -> Result<Vec<String>, String> {
    let is_epp = words.get(1).is_some_and(|word| word == "epp");
    if !is_epp {
        return Ok(words);
    }
    let mut kept = Vec::new();
    let mut notes = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let named = word
            .strip_prefix("--")
            .or_else(|| word.strip_prefix("-v=").map(|_| "v"));
        let (name, value) = match named.map(|named| named.split_once('=').unwrap_or((named, ""))) {
            Some(parts) => parts,
            None => {
                kept.push(word);
                continue;
            }
        };
        if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(format!("--{name} is not honoured: {instead}"));
        }
        let given = value.to_owned();
        if name == "metrics-endpoint-auth" {
            if given != "false" {
                return Err(
                    "--metrics-endpoint-auth is not honoured: the metrics page asks for no token; pass \
                     --metrics-endpoint-auth=false and restrict who reaches its port"
                        .to_owned(),
                );
            }
            continue;
        }
        match WITHOUT_MEANING.iter().find(|(known, _)| *known == name) {
            Some((_, why)) => {
                let has_value = word.contains('=');
                if !has_value && words.peek().is_some_and(|next| !next.starts_with('-')) {
                    words.next();
                }
                if name == "zap-encoder" && given == "json" {
                    kept.push("--log-json".to_owned());
                } else {
                    notes.push(format!("--{name} has no effect: {why}"));
                }
            }
            None => kept.push(word),
        }
    }
    // Once a process; a test's second line is its own affair.
    let _ = NOTES.set(notes);
    Ok(kept)
}

/// `batch=-1`
fn objective(text: &str) -> Result<(String, i32), String> {
    let wrong = || format!("`{text}` is no objective; write its name and priority, as batch=-1");
    let (name, priority) = text.rsplit_once('=').ok_or_else(wrong)?;
    let priority = priority.trim().parse().map_err(|_| wrong())?;
    match name.trim() {
        "" => Err(wrong()),
        name => Ok((name.to_owned(), priority)),
    }
}

/// A duration as Go writes it: `30s`, `1m30s`, `250ms`; a bare 0.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let wrong = || format!("`{text}` is no duration; write 250ms, 30s or 1m30s");
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let seconds = match &rest[..end] {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        rest = &rest[end..];
        total += number * seconds;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Duration::try_from_secs_f64(total).map_err(|_| wrong())
}

/// Bytes as Kubernetes writes quantities: `4194304`, `4Mi`, `4M`.
fn quantity(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let wrong = || format!("`{text}` is no quantity of bytes; write 4194304, 4Mi or 4M");
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match &text[digits..] {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected_ms) in [
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("250ms", Some(250)),
            ("1.5s", Some(1_500)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("s", None),
            ("3x", None),
            ("-1s", None),
        ] {
            let read = duration(text).ok().map(|read| read.as_millis());
            assert_eq!(read, expected_ms, "{text}");
        }
    }

    #[test]
    fn objectives() {
        for (text, expected) in [
            ("batch=-1", Some(("batch", -1))),
            ("a=b=7", Some(("a=b", 7))),
            ("batch", None),
            ("=1", None),
            ("batch=low", None),
        ] {
            let expected = expected.map(|(name, priority)| (name.to_owned(), priority));
            assert_eq!(objective(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("4194304", Some(4_194_304)),
            ("4Mi", Some(4 << 20)),
            ("1k", Some(1_000)),
            ("", None),
            ("Mi", None),
            ("4Xi", None),
            ("0", None),
            ("99999999999Gi", None),
        ] {
            assert_eq!(quantity(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn foreign_flags() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        for (given, expected) in [
            ("p serve --tracing x", Ok("p serve --tracing x")),
            (
                "p epp --grpc-port 1 --tracing=true -v=4",
                Ok("p epp --grpc-port 1"),
            ),
            (
                "p epp --v 4 --pool-group g --endpoint http://1.2.3.4:5",
                Ok("p epp --endpoint http://1.2.3.4:5"),
            ),
            ("p epp --zap-encoder=json", Ok("p epp --log-json")),
            ("p epp --metrics-endpoint-auth=false", Ok("p epp")),
            ("p epp --metrics-endpoint-auth", Err(())),
            ("p epp --endpoint-selector app=x", Err(())),
            ("p epp --lora-info-metric=x", Err(())),
        ] {
            let kept = without_foreign(words(given)).map_err(drop);
            assert_eq!(kept, expected.map(words), "{given}");
        }
    }
}
