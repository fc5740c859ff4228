use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::support::{chat, request, rig, value};

#[tokio::test(start_paused = true)]
async fn metrics_have_vllms_names_labels_and_values() {
    let rig = rig("--served-model-name m --max-model-len 1000 --num-gpu-blocks-override 100");
    let ask = json!({"prompt": "word ".repeat(40).trim(), "max_tokens": 5});
    for _ in 0..2 {
        rig.post("/v1/completions", &ask).await;
    }
    let page = rig.get("/metrics").await.body;
    let labels = r#"{engine="0",model_name="m"}"#;
    for (name, expected) in [
        ("num_requests_running", 0.0),
        ("num_requests_waiting", 0.0),
        ("kv_cache_usage_perc", 0.0),
        ("prefix_cache_queries_total", 80.0),
        ("prefix_cache_hits_total", 32.0),
        ("prompt_tokens_total", 80.0),
        ("generation_tokens_total", 10.0),
        ("num_preemptions_total", 0.0),
        ("time_to_first_token_seconds_count", 2.0),
        ("inter_token_latency_seconds_count", 8.0),
        ("e2e_request_latency_seconds_count", 2.0),
        ("request_generation_tokens_sum", 10.0),
        ("request_prefill_kv_computed_tokens_sum", 48.0),
    ] {
        assert_eq!(
            value(&page, &format!("vllm:{name}{labels}")),
            expected,
            "{name}"
        );
    }
    for part in [
        r#"vllm:request_success_total{engine="0",model_name="m",finished_reason="length"} 2.0"#,
        r#"vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="deferred"} 0.0"#,
        r#"vllm:engine_sleep_state{engine="0",model_name="m",sleep_state="awake"} 1.0"#,
        r#"vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local_cache_hit"} 32.0"#,
        r#"vllm:time_to_first_token_seconds_bucket{le="0.001",engine="0",model_name="m"} 0.0"#,
        r#"vllm:request_prompt_tokens_bucket{le="1000.0",engine="0",model_name="m"} 2.0"#,
        r#"vllm:iteration_tokens_total_bucket{le="16384.0",engine="0",model_name="m"}"#,
        r#"http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 2.0"#,
        r#"num_gpu_blocks="100",num_gpu_blocks_override="100""#,
        "vllm:prefix_cache_hits_created{",
        "process_start_time_seconds ",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("vllm:lora_requests_info"));
    let typed: std::collections::HashSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let named = page
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .count();
    assert_eq!(typed.len(), named, "a family is declared once");
}

#[tokio::test(start_paused = true)]
async fn gauges_move_while_requests_run_and_wait() {
    let rig = rig("--max-num-seqs 2 --enable-server-load-tracking --lora-modules tuned=/x");
    let ask = |model: &str| {
        rig.post(
            "/v1/completions",
            json!({"prompt": "a", "max_tokens": 1000, "model": model}),
        )
    };
    let ((), ..) = tokio::join!(
        async {
            sleep(Duration::from_secs(1)).await;
            let page = rig.get("/metrics").await.body;
            assert_eq!(
                (
                    value(&page, "vllm:num_requests_running{"),
                    value(&page, "vllm:num_requests_waiting{")
                ),
                (2.0, 1.0)
            );
            assert!(value(&page, "vllm:kv_cache_usage_perc{") > 0.0);
            assert!(page.contains(r#"max_lora="1",running_lora_adapters="tuned""#));
            assert_eq!(rig.get("/load").await.json(), json!({"server_load": 3}));
        },
        ask("tuned"),
        ask(""),
        ask("")
    );
    assert_eq!(rig.get("/load").await.json(), json!({"server_load": 0}));
}

#[tokio::test(start_paused = true)]
async fn lines_tell_requests_and_throughput() {
    let rig = rig("");
    rig.get("/health").await;
    rig.get("/metrics").await;
    for _ in 0..2 {
        rig.post(
            "/v1/chat/completions",
            chat(json!({"messages": [{"role": "user", "content": "word ".repeat(64)}]})),
        )
        .await;
    }
    rig.get("/nowhere?x=1").await;
    sleep(Duration::from_secs(60)).await;
    let lines = rig.lines.lock().unwrap().clone();
    let access = r#"INFO:     127.0.0.1:5555 - "POST /v1/chat/completions HTTP/1.1" 200 OK"#;
    assert_eq!(
        lines[..3],
        [
            access,
            access,
            r#"INFO:     127.0.0.1:5555 - "GET /nowhere?x=1 HTTP/1.1" 404 Not Found"#
        ]
    );
    assert!(
        lines[3].contains("Running: 0 reqs, Waiting: 0 reqs")
            && lines[3].contains("Prefix cache hit rate: 42.7%"),
        "{}",
        lines[3]
    );
    assert_eq!(lines.len(), 5, "one line when busy, one after: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn load_reports_ride_on_answers_that_are_not_streams() {
    let rig = rig("");
    for (format, stream, expected) in [
        (
            "TEXT",
            false,
            Some(
                "TEXT named_metrics.num_requests_waiting=0.0, named_metrics.kv_cache_usage_perc=0.0",
            ),
        ),
        (
            "JSON",
            false,
            Some(
                r#"JSON {"named_metrics":{"num_requests_waiting":0.0,"kv_cache_usage_perc":0.0}}"#,
            ),
        ),
        ("BIN", false, None),
        ("TEXT", true, None),
    ] {
        let headers = [
            ("content-type", "application/json"),
            ("endpoint-load-metrics-format", format),
        ];
        let answer = rig
            .send(request(
                "POST",
                "/v1/completions",
                &headers,
                json!({"prompt": "a", "stream": stream}),
            ))
            .await
            .unwrap();
        assert_eq!(
            answer
                .headers
                .get("endpoint-load-metrics")
                .map(|value| value.to_str().unwrap()),
            expected
        );
    }
}
