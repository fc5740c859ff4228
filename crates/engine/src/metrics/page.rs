//! How is it all written as Prometheus text 0.0.4?
//!
//! By hand: the page is read up to twenty times a second.

use std::fmt::Write;

use super::{Histogram, HttpStats, Stats};
use crate::model::FinishReason;
use crate::settings::Settings;

/// The whole page. `started_unix_s` is when counting began.
pub(crate) fn write_page(
    settings: &Settings,
    loaded_loras: usize,
    stats: &Stats,
    http: &HttpStats,
    started_unix_s: f64,
) -> String {
    let labels = format!(
        "engine=\"{}\",model_name=\"{}\"",
        settings.args.data_parallel_rank,
        escape(settings.model_name())
    );
    let mut page = Page {
        out: String::with_capacity(64 * 1024),
        labels,
        started_unix_s,
    };
    page.gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        "",
        started_unix_s,
    );
    write_gauges(&mut page, stats);
    write_info(&mut page, settings);
    write_loras(&mut page, settings, loaded_loras, stats);
    write_counters(&mut page, stats);
    write_histograms(&mut page, stats);
    write_http(&mut page, http);
    page.out
}

struct Page {
    out: String,
    labels: String,
    started_unix_s: f64,
}

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = match labels {
            "" => writeln!(self.out, "{name} {value}"),
            labels => writeln!(self.out, "{name}{{{labels}}} {value}"),
        };
    }

    /// The engine's labels and one more.
    fn with(&self, extra: &str) -> String {
        format!("{},{extra}", self.labels)
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &str, value: f64) {
        self.head(name, help, "gauge");
        self.sample(name, labels, Number(value));
    }

    /// A counter family: a total and when counting began, for each label set.
    fn counters(&mut self, name: &str, help: &str, series: &[(String, u64)]) {
        let total = format!("{name}_total");
        self.head(&total, help, "counter");
        for (labels, value) in series {
            self.sample(&total, labels, Number(*value as f64));
        }
        self.created(name, help, series.iter().map(|(labels, _)| labels.as_str()));
    }

    fn created<'a>(&mut self, name: &str, help: &str, label_sets: impl Iterator<Item = &'a str>) {
        let created = format!("{name}_created");
        self.head(&created, help, "gauge");
        for labels in label_sets {
            self.sample(&created, labels, self.started_unix_s);
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, &[(self.labels.clone(), value)]);
    }

    fn histogram(&mut self, name: &str, help: &str, series: &[(String, &Histogram)]) {
        self.head(name, help, "histogram");
        for (labels, histogram) in series {
            let comma = if labels.is_empty() { "" } else { "," };
            for (bound, count) in histogram.cumulative() {
                let _ = match bound.is_finite() {
                    true => writeln!(
                        self.out,
                        "{name}_bucket{{le=\"{}\"{comma}{labels}}} {}",
                        Number(bound),
                        Number(count as f64)
                    ),
                    false => writeln!(
                        self.out,
                        "{name}_bucket{{le=\"+Inf\"{comma}{labels}}} {}",
                        Number(count as f64)
                    ),
                };
            }
            self.sample(
                &format!("{name}_count"),
                labels,
                Number(histogram.count() as f64),
            );
            self.sample(&format!("{name}_sum"), labels, Number(histogram.sum()));
        }
        self.created(name, help, series.iter().map(|(labels, _)| labels.as_str()));
    }
}

/// A float as Python prints it: `1.0`, not `1`.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A label value.
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn write_gauges(page: &mut Page, stats: &Stats) {
    let (snapshot, labels) = (stats.snapshot, page.labels.clone());
    page.gauge(
        "vllm:num_requests_running",
        "Number of requests in model execution batches.",
        &labels,
        snapshot.running as f64,
    );
    page.gauge(
        "vllm:num_requests_waiting",
        "Number of requests waiting to be processed.",
        &labels,
        snapshot.waiting as f64,
    );
    let name = "vllm:num_requests_waiting_by_reason";
    page.head(
        name,
        "Number of requests waiting to be processed, by reason.",
        "gauge",
    );
    page.sample(
        name,
        &page.with("reason=\"capacity\""),
        Number(snapshot.waiting as f64),
    );
    page.sample(name, &page.with("reason=\"deferred\""), Number(0.0));
    page.gauge(
        "vllm:kv_cache_usage_perc",
        "KV-cache usage. 1 means 100 percent usage.",
        &labels,
        snapshot.kv_cache_usage,
    );
    let name = "vllm:engine_sleep_state";
    page.head(
        name,
        "Engine sleep state; 1 marks the state it is in.",
        "gauge",
    );
    for (state, on) in [
        ("awake", !stats.asleep),
        ("weights_offloaded", stats.asleep),
        ("discard_all", false),
    ] {
        page.sample(
            name,
            &page.with(&format!("sleep_state=\"{state}\"")),
            Number(f64::from(u8::from(on))),
        );
    }
}

fn write_info(page: &mut Page, settings: &Settings) {
    let batch = &settings.batch;
    let number = |value: Option<u32>| value.map_or("None".to_owned(), |value| value.to_string());
    let python = |value: bool| if value { "True" } else { "False" };
    let concurrency = batch.kv_cache_size_tokens() as f64 / batch.max_model_len_tokens as f64;
    let values = [
        ("block_size", batch.block_size_tokens.to_string()),
        ("cache_dtype", "auto".to_owned()),
        (
            "effective_attention_block_size",
            batch.block_size_tokens.to_string(),
        ),
        (
            "enable_prefix_caching",
            python(batch.enable_prefix_caching).to_owned(),
        ),
        ("engine", "0".to_owned()),
        ("gpu_memory_utilization", "0.92".to_owned()),
        ("hash_block_size", batch.block_size_tokens.to_string()),
        ("kv_cache_max_concurrency", format!("{concurrency:?}")),
        (
            "kv_cache_size_tokens",
            batch.kv_cache_size_tokens().to_string(),
        ),
        ("model_name", settings.model_name().to_owned()),
        ("num_cpu_blocks", "None".to_owned()),
        ("num_gpu_blocks", batch.num_gpu_blocks.to_string()),
        (
            "num_gpu_blocks_override",
            number(settings.args.num_gpu_blocks_override),
        ),
        (
            "prefix_caching_hash_algo",
            settings.batch.hash_algo.as_str().to_owned(),
        ),
        ("prefix_match_unit", "None".to_owned()),
        ("simulated", settings.profile.name.clone()),
        ("sliding_window", "None".to_owned()),
    ];
    let labels: Vec<_> = values
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
        .collect();
    page.gauge(
        "vllm:cache_config_info",
        "Information of the LLMEngine CacheConfig",
        &labels.join(","),
        1.0,
    );
}

fn write_loras(page: &mut Page, settings: &Settings, loaded: usize, stats: &Stats) {
    let args = &settings.args;
    if loaded == 0 && args.lora_modules.is_empty() && !args.allow_runtime_lora_updating {
        return;
    }
    let labels = format!(
        "max_lora=\"{}\",running_lora_adapters=\"{}\",waiting_lora_adapters=\"{}\"",
        loaded.max(1),
        escape(&stats.running_loras.join(",")),
        escape(&stats.waiting_loras.join(",")),
    );
    page.gauge(
        "vllm:lora_requests_info",
        "Running stats on lora requests.",
        &labels,
        page.started_unix_s,
    );
}

fn write_counters(page: &mut Page, stats: &Stats) {
    let counters = stats.snapshot.counters;
    let computed = counters
        .prompt_tokens
        .saturating_sub(counters.prompt_tokens_cached);
    page.counter(
        "vllm:prefix_cache_queries",
        "Prefix cache queries, in number of queried tokens.",
        counters.prefix_cache_queries_tokens,
    );
    page.counter(
        "vllm:prefix_cache_hits",
        "Prefix cache hits, in number of cached tokens.",
        counters.prefix_cache_hits_tokens,
    );
    page.counter(
        "vllm:external_prefix_cache_queries",
        "External prefix cache queries, in tokens.",
        0,
    );
    page.counter(
        "vllm:external_prefix_cache_hits",
        "External prefix cache hits, in tokens.",
        0,
    );
    page.counter(
        "vllm:mm_cache_queries",
        "Multi-modal cache queries, in items.",
        0,
    );
    page.counter("vllm:mm_cache_hits", "Multi-modal cache hits, in items.", 0);
    page.counter(
        "vllm:num_preemptions",
        "Cumulative number of preemptions.",
        counters.preemptions,
    );
    page.counter(
        "vllm:prompt_tokens",
        "Number of prefill tokens processed.",
        counters.prompt_tokens,
    );
    page.counter(
        "vllm:generation_tokens",
        "Number of generation tokens processed.",
        counters.generation_tokens,
    );
    page.counter(
        "vllm:prompt_tokens_cached",
        "Number of prompt tokens taken from a cache.",
        counters.prompt_tokens_cached,
    );
    let by = |label: &str, values: &[(&str, u64)]| -> Vec<(String, u64)> {
        values
            .iter()
            .map(|(value, count)| (page.with(&format!("{label}=\"{value}\"")), *count))
            .collect()
    };
    let sources = by(
        "source",
        &[
            ("local_compute", computed),
            ("local_cache_hit", counters.prompt_tokens_cached),
            ("external_kv_transfer", 0),
        ],
    );
    let cached = by(
        "source",
        &[
            ("device", counters.prompt_tokens_cached),
            ("host", 0),
            ("p2p", 0),
            ("disk", 0),
            ("external_unspecified", 0),
        ],
    );
    let mut reasons: Vec<_> = FinishReason::ALL
        .iter()
        .map(|&reason| (reason.as_str(), stats.succeeded(reason)))
        .collect();
    reasons.push(("repetition", 0));
    let success = by("finished_reason", &reasons);
    page.counters(
        "vllm:prompt_tokens_by_source",
        "Number of prompt tokens by source.",
        &sources,
    );
    page.counters(
        "vllm:prompt_tokens_cached_by_source",
        "Number of cached prompt tokens by source.",
        &cached,
    );
    page.counters(
        "vllm:request_success",
        "Count of successfully processed requests.",
        &success,
    );
    let model = page
        .labels
        .split_once(',')
        .map_or("", |(_, model)| model)
        .to_owned();
    let rejected = [
        (
            format!("{model},reason=\"max_num_queued_reqs\""),
            counters.rejected_queued_reqs,
        ),
        (
            format!("{model},reason=\"max_num_queued_tokens\""),
            counters.rejected_queued_tokens,
        ),
    ];
    page.counters(
        "vllm:admission_rejections",
        "Requests refused because the queue was full.",
        &rejected,
    );
}

fn write_histograms(page: &mut Page, stats: &Stats) {
    let table: [(&str, &str, &Histogram); 16] = [
        (
            "time_to_first_token_seconds",
            "time to first token in seconds.",
            &stats.ttft,
        ),
        (
            "inter_token_latency_seconds",
            "inter-token latency in seconds.",
            &stats.inter_token,
        ),
        (
            "request_time_per_output_token_seconds",
            "time per output token of a request in seconds.",
            &stats.per_output_token,
        ),
        (
            "e2e_request_latency_seconds",
            "e2e request latency in seconds.",
            &stats.e2e,
        ),
        (
            "request_queue_time_seconds",
            "time spent in WAITING phase for request.",
            &stats.queue,
        ),
        (
            "request_inference_time_seconds",
            "time spent in RUNNING phase for request.",
            &stats.inference,
        ),
        (
            "request_prefill_time_seconds",
            "time spent in PREFILL phase for request.",
            &stats.prefill,
        ),
        (
            "request_decode_time_seconds",
            "time spent in DECODE phase for request.",
            &stats.decode,
        ),
        (
            "iteration_tokens_total",
            "number of tokens per engine_step.",
            &stats.iteration_tokens,
        ),
        (
            "request_prompt_tokens",
            "number of prefill tokens processed.",
            &stats.prompt_tokens,
        ),
        (
            "request_generation_tokens",
            "number of generation tokens processed.",
            &stats.generation_tokens,
        ),
        (
            "request_max_num_generation_tokens",
            "maximum number of requested generation tokens.",
            &stats.max_generation_tokens,
        ),
        (
            "request_params_max_tokens",
            "the max_tokens request parameter.",
            &stats.params_max_tokens,
        ),
        (
            "request_prefill_kv_computed_tokens",
            "new KV tokens computed during prefill.",
            &stats.computed_tokens,
        ),
        (
            "request_params_n",
            "the n request parameter.",
            &stats.params_n,
        ),
        (
            "request_num_preemptions",
            "preemptions of a request.",
            &stats.preemptions,
        ),
    ];
    for (name, what, histogram) in table {
        let labels = page.labels.clone();
        page.histogram(
            &format!("vllm:{name}"),
            &format!("Histogram of {what}"),
            &[(labels, histogram)],
        );
    }
    let labels = page.labels.clone();
    page.histogram(
        "prefixgate:engine_step_lag_seconds",
        "Histogram of how late the end of a simulated step was delivered.",
        &[(labels, &stats.step_lag)],
    );
}

fn write_http(page: &mut Page, http: &HttpStats) {
    let requests: Vec<_> = (http.requests.iter())
        .map(|((handler, method, status), count)| {
            (
                format!("handler=\"{handler}\",method=\"{method}\",status=\"{status}\""),
                *count,
            )
        })
        .collect();
    page.counters(
        "http_requests",
        "Total number of requests by method, status and handler.",
        &requests,
    );
    for (name, help, bytes) in [
        (
            "http_request_size_bytes",
            "Content length of incoming requests by handler.",
            0,
        ),
        (
            "http_response_size_bytes",
            "Content length of outgoing responses by handler.",
            1,
        ),
    ] {
        page.head(name, help, "summary");
        for (handler, sizes) in &http.sizes {
            let labels = format!("handler=\"{handler}\"");
            let sum = if bytes == 0 {
                sizes.request_bytes
            } else {
                sizes.response_bytes
            };
            page.sample(
                &format!("{name}_count"),
                &labels,
                Number(sizes.requests as f64),
            );
            page.sample(&format!("{name}_sum"), &labels, Number(sum as f64));
        }
    }
    let highr = [(String::new(), &http.duration_highr)];
    page.histogram(
        "http_request_duration_highr_seconds",
        "Latency with many buckets but no labels.",
        &highr,
    );
    let durations: Vec<_> = (http.durations.iter())
        .map(|((handler, method), histogram)| {
            (
                format!("handler=\"{handler}\",method=\"{method}\""),
                histogram,
            )
        })
        .collect();
    page.histogram(
        "http_request_duration_seconds",
        "Latency with only few buckets by handler.",
        &durations,
    );
}
