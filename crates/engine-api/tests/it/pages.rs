//! What do whole metrics pages of each engine say?

use engine_api::dialect::{self, Dialect, SGLANG, TRITON, TRITON_TENSORRT_LLM, TRTLLM_SERVE, VLLM};
use engine_api::metrics::{EngineMetrics, Selector, detect, parse};

const VLLM_NEW: &[u8] = include_bytes!("golden/vllm.txt");
const VLLM_OLD: &[u8] = include_bytes!("golden/vllm_old.txt");
const VLLM_RANKS: &[u8] = include_bytes!("golden/vllm_ranks.txt");
const SGLANG_PAGE: &[u8] = include_bytes!("golden/sglang.txt");
const TRTLLM_PAGE: &[u8] = include_bytes!("golden/trtllm.txt");
const TRITON_TRTLLM_PAGE: &[u8] = include_bytes!("golden/triton_trtllm.txt");
const TRITON_PAGE: &[u8] = include_bytes!("golden/triton.txt");

fn check(page: &[u8], expected_dialect: &Dialect, expected: EngineMetrics) {
    let found = detect(page).expect("a known dialect");
    assert_eq!(found.name, expected_dialect.name);
    assert_eq!(parse(page, found, Selector::default()), expected);
}

#[test]
fn each_engine_in_its_own_words() {
    check(
        VLLM_NEW,
        &VLLM,
        EngineMetrics {
            waiting: Some(3),
            running: Some(7),
            kv_usage: Some(0.25),
            block_size_tokens: Some(16),
            num_blocks: Some(8192),
            prefix_queries_tokens: Some(12345.0),
            prefix_hits_tokens: Some(1.2e7),
            prompt_tokens: Some(20000.0),
            generation_tokens: Some(512.0),
            preemptions: Some(6.0),
            prefix_caching_enabled: Some(true),
            process_start_seconds: Some(1.75e9),
            awake: Some(true),
            running_loras: vec!["new-a".to_owned(), "new-b".to_owned()],
            waiting_loras: vec![],
            max_loras: Some(4),
        },
    );
    check(
        VLLM_OLD,
        &VLLM,
        EngineMetrics {
            waiting: Some(1),
            running: Some(2),
            kv_usage: Some(0.5),
            prefix_queries_tokens: Some(100.0),
            prefix_hits_tokens: Some(40.0),
            ..EngineMetrics::default()
        },
    );
    check(
        SGLANG_PAGE,
        &SGLANG,
        EngineMetrics {
            waiting: Some(2),
            running: Some(5),
            kv_usage: Some(0.125),
            block_size_tokens: Some(64),
            num_blocks: Some(1000),
            prefix_queries_tokens: Some(640.0),
            prefix_hits_tokens: Some(320.0),
            prompt_tokens: Some(640.0),
            generation_tokens: Some(77.0),
            ..EngineMetrics::default()
        },
    );
    check(
        TRTLLM_PAGE,
        &TRTLLM_SERVE,
        EngineMetrics {
            waiting: Some(4),
            running: Some(8),
            kv_usage: Some(0.75),
            block_size_tokens: Some(32),
            num_blocks: Some(2048),
            ..EngineMetrics::default()
        },
    );
    check(
        TRITON_TRTLLM_PAGE,
        &TRITON_TENSORRT_LLM,
        EngineMetrics {
            waiting: Some(1),
            running: Some(9),
            kv_usage: Some(0.4),
            block_size_tokens: Some(64),
            num_blocks: Some(500),
            ..EngineMetrics::default()
        },
    );
    check(
        TRITON_PAGE,
        &TRITON,
        EngineMetrics {
            waiting: Some(5),
            running: Some(30),
            ..EngineMetrics::default()
        },
    );
}

#[test]
fn ranks_and_models_are_summed_unless_one_is_selected() {
    let read = |rank, model| {
        let seen = parse(VLLM_RANKS, &VLLM, Selector { rank, model });
        (
            seen.waiting,
            seen.kv_usage,
            seen.num_blocks,
            seen.block_size_tokens,
            seen.awake,
        )
    };
    assert_eq!(
        read(None, None),
        (Some(10), Some(0.5), Some(300), Some(16), Some(true))
    );
    assert_eq!(
        read(Some(0), None),
        (Some(4), Some(0.25), Some(100), Some(16), Some(false))
    );
    assert_eq!(
        read(Some(1), None),
        (Some(6), Some(0.75), Some(200), Some(16), Some(true))
    );
    assert_eq!(
        read(Some(0), Some("b")),
        (Some(3), None, Some(100), Some(16), None)
    );
    assert_eq!(read(Some(7), None), (None, None, None, None, None));
}

#[test]
fn single_lines_in_odd_forms() {
    let waiting = |line: &str| parse(line.as_bytes(), &VLLM, Selector::default()).waiting;
    let name = "vllm:num_requests_waiting";
    assert_eq!(waiting(&format!("{name} 3")), Some(3));
    assert_eq!(waiting(&format!("  {name}\t3\r\n")), Some(3));
    assert_eq!(waiting(&format!("{name}{{}} 3.0 1700000000000\n")), Some(3));
    assert_eq!(
        waiting(&format!(
            "{name}{{model_name=\"a}} \\\"b\\\\\",engine=\"0\",}} 3e0 # {{x=\"y\"}} 1"
        )),
        Some(3)
    );
    assert_eq!(
        waiting(&format!(
            "{name}{{ model_name = \"a\" , engine = \"0\" }}   3"
        )),
        Some(3)
    );
    assert_eq!(waiting(&format!("{name}_total 3")), Some(3));
    assert_eq!(waiting(&format!("{name} NaN\n{name} +Inf\n")), None);
    assert_eq!(waiting(&format!("{name} NaN\n{name} 2\n")), Some(2));
    assert_eq!(waiting(&format!("{name} -5")), Some(0));
    assert_eq!(waiting(&format!("{name} 1e300")), Some(u32::MAX));
    assert_eq!(waiting(name), None);
    assert_eq!(waiting(&format!("{name} x")), None);
    assert_eq!(waiting(&format!("{name}{{a=\"b\" 3")), None);
    assert_eq!(waiting(&format!("{name}{{a=\"b}} 3")), None);
    assert_eq!(waiting(&format!("# {name} 3")), None);
    assert_eq!(
        waiting(&format!("{name}_by_reason{{reason=\"capacity\"}} 3")),
        None
    );
    let escaped = format!("{name}{{model_name=\"a\\\"\\\\\\n\"}} 3");
    let selector = Selector {
        rank: None,
        model: Some("a\"\\\n"),
    };
    assert_eq!(parse(escaped.as_bytes(), &VLLM, selector).waiting, Some(3));
}

#[test]
fn the_preferred_name_wins_in_either_order() {
    let (new, old) = (
        "vllm:kv_cache_usage_perc 0.25\n",
        "vllm:gpu_cache_usage_perc 0.75\n",
    );
    for page in [
        format!("{new}{old}"),
        format!("{old}{new}"),
        format!("{old}{new}{old}"),
    ] {
        let seen = parse(page.as_bytes(), &VLLM, Selector::default());
        assert_eq!(seen.kv_usage, Some(0.25), "{page}");
    }
}

#[test]
fn pages_of_nobody_say_nothing() {
    for page in [
        &b""[..],
        b"# vllm: no\n",
        b"process_start_time_seconds 1\n",
        b"\xff\xfe\n{{{\n",
    ] {
        assert!(detect(page).is_none());
    }
    assert_eq!(
        parse(b"", &VLLM, Selector::default()),
        EngineMetrics::default()
    );
}

#[test]
fn dialects_are_known_by_name() {
    for dialect in dialect::ALL {
        assert_eq!(
            dialect::by_name(dialect.name).map(|found| found.name),
            Some(dialect.name)
        );
    }
    assert!(dialect::by_name("no such").is_none());
}
