//! Does every codec survive every input?

use proptest::prelude::*;

use super::fuzz_corpus::bodies;

/// Bytes that are likely to get somewhere: fragments of what the codecs look for, some of them broken.
fn likely(fragments: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        8 => prop::sample::select(fragments).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(fragment, 0..40).prop_map(|fragments| fragments.concat())
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\ud800",
    "\\udc00",
    "\\u00",
    "null",
    "true",
    "1",
    "-",
    ".5",
    "e9",
    "NaN",
    " ",
    "\n",
    "\"messages\":[",
    "{\"role\":\"user\",\"content\":",
    "\"prompt\":",
    "\"model\":",
    "\"type\":\"text\"",
    "\"text\":\"",
    "\"input\":",
    "\"usage\":{\"prompt_tokens\":",
    "\"choices\":[{\"delta\":",
    "\"error\":",
    "\"data\":[",
    "\"id\":\"a\"",
    "é",
    "\u{feff}",
    "data: ",
    "data:image/png;base64,",
    "\"cache_control\":",
];

const PAGE: &[&str] = &[
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:cache_config_info",
    "vllm:lora_requests_info",
    "sglang:token_usage",
    "nv_trt_llm_request_metrics",
    "{",
    "}",
    "=",
    "\"",
    "\\",
    ",",
    " ",
    "\t",
    "\n",
    "\r",
    "#",
    "1",
    "NaN",
    "+Inf",
    "1e99",
    "block_size=\"16\"",
    "engine=\"0\"",
    "max_lora=\"4\"",
    "request_type=\"waiting\"",
    "_total",
];

const STREAM: &[&str] = &[
    "data",
    ":",
    " ",
    "\n",
    "\r",
    "\n\n",
    "[DONE]",
    "event: x",
    "{\"error\":1}",
    "{}",
    "xxxxxxxxxxxxxxxxxxxxxxxxx",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..400)) {
        bodies::openai_body(&data);
        bodies::sse(&data);
        bodies::metrics_page(&data);
        bodies::models(&data);
    }

    #[test]
    fn likely_json(data in likely(JSON)) {
        bodies::openai_body(&data);
        bodies::openai_body(&[b"{", &data[..], b"}"].concat());
        bodies::models(&data);
        bodies::sse(&data);
    }

    #[test]
    fn likely_pages(data in likely(PAGE)) {
        bodies::metrics_page(&data);
    }

    #[test]
    fn likely_streams(data in likely(STREAM)) {
        bodies::sse(&data);
    }
}
