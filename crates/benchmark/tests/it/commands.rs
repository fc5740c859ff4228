//! Do the commands write what they promise?

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use benchmark::command::{shared_prefix, situations, suite};
use clap::Parser;
use serde_json::Value;

use crate::support::{DONE, Reply, TOKEN, serve, usage};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    bench: benchmark::Bench,
}

fn parse(args: &[&str]) -> benchmark::Bench {
    Cli::try_parse_from(std::iter::once("bench").chain(args.iter().copied()))
        .unwrap()
        .bench
}

/// An engine that finds every prompt beginning it has seen, in blocks of 16 of its "tokens" (words or ids).
async fn fake_engine() -> String {
    let seen: Mutex<Vec<Vec<String>>> = Mutex::default();
    let (queries, hits, served) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    serve(move |path, body| match path {
        "/health" => Reply::json(""),
        "/v1/models" => Reply::json(r#"{"data":[{"id":"m"}]}"#),
        "/metrics" => Reply::json(format!(
            "vllm:prefix_cache_queries_total{{engine=\"0\"}} {}\nvllm:prefix_cache_hits_total{{engine=\"0\"}} {}\n\
             vllm:request_success_total{{finished_reason=\"length\"}} {}\n\
             vllm:cache_config_info{{block_size=\"16\",num_gpu_blocks=\"100\"}} 1\n",
            queries.load(Ordering::SeqCst),
            hits.load(Ordering::SeqCst),
            served.load(Ordering::SeqCst)
        )),
        _ => {
            let body: Value = serde_json::from_slice(body).unwrap();
            let tokens: Vec<String> = match &body["prompt"] {
                Value::String(text) => text.split(' ').map(str::to_owned).collect(),
                ids => ids.as_array().unwrap().iter().map(ToString::to_string).collect(),
            };
            let mut seen = seen.lock().unwrap();
            let common = |old: &Vec<String>| old.iter().zip(&tokens).take_while(|(a, b)| a == b).count();
            let longest = seen.iter().map(common).max().unwrap_or(0).min(tokens.len() - 1);
            let (all, found) = (tokens.len() as u64, (longest / 16 * 16) as u64);
            seen.push(tokens);
            queries.fetch_add(all, Ordering::SeqCst);
            hits.fetch_add(found, Ordering::SeqCst);
            served.fetch_add(1, Ordering::SeqCst);
            if body["stream"] != true {
                return Reply::json(format!(
                    r#"{{"choices":[{{"text":"a"}}],"usage":{{"prompt_tokens":{all},"completion_tokens":1}}}}"#
                ));
            }
            Reply::stream(&[TOKEN, TOKEN, &usage(all, 2, found), DONE])
                .header("x-prefixgate-endpoint", "engine-0")
                .header("x-prefixgate-simulated", "1")
        }
    })
    .await
}

#[tokio::test]
async fn the_suite_writes_both_files_and_says_simulated() {
    let url = fake_engine().await;
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("results");
    let bench = parse(&[
        "suite",
        "--url",
        &url,
        "--out",
        dir.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(
        benchmark::run(bench).await.unwrap(),
        std::process::ExitCode::SUCCESS
    );
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2);
    assert!(
        names[0].starts_with("benchmark_2") && names[0].ends_with(".json"),
        "{names:?}"
    );
    assert!(
        names[1].starts_with("benchmark_summary_2") && names[1].ends_with(".txt"),
        "{names:?}"
    );
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.join(&names[0])).unwrap()).unwrap();
    assert_eq!(report["metadata"]["model"], "m");
    assert_eq!(report["metadata"]["simulated"], true);
    let levels: Vec<(String, u64, u64)> = report["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .map(|level| {
            let number = |key: &str| level[key].as_u64().unwrap();
            (
                level["name"].as_str().unwrap().to_owned(),
                number("successful"),
                number("concurrency"),
            )
        })
        .collect();
    let expected = [
        ("baseline", 5, 1),
        ("light", 20, 5),
        ("medium", 50, 10),
        ("heavy", 100, 20),
    ];
    assert_eq!(
        levels,
        expected.map(|(name, requests, lanes)| (name.to_owned(), requests, lanes))
    );
    assert!(
        report["scenarios"][0]["ttft_ms"]["p95"].is_null(),
        "five samples carry no p95"
    );
    assert!(report["scenarios"][1]["ttft_ms"]["p95"].is_f64());
    assert!(report["scenarios"][2]["ttft_ms"]["p99"].is_null());
    assert!(report["scenarios"][3]["ttft_ms"]["p99"].is_f64());
    let test = &report["cache_test"];
    for key in ["first_latency_ms", "avg_subsequent_ms", "improvement_pct"] {
        assert!(test[key].is_f64(), "{key}: {test}");
    }
    let cached = test["cached_tokens"].as_array().unwrap();
    assert_eq!(cached[0], 0);
    assert!(
        cached[1..]
            .iter()
            .all(|tokens| tokens.as_u64().unwrap() > 1000)
    );
    let summary = std::fs::read_to_string(dir.join(&names[1])).unwrap();
    for line in [
        "simulated",
        "baseline: 5 requests, concurrency 1",
        "n/a (n=5)",
        "cache test",
    ] {
        assert!(summary.contains(line), "{summary}");
    }
}

async fn shared(url: &str, more: &[&str]) -> shared_prefix::Report {
    let mut args = vec![
        "shared-prefix",
        "--url",
        url,
        "--engines",
        url,
        "--groups",
        "4",
        "--prefix-tokens",
        "64",
        "--question-tokens",
        "16",
        "--output-tokens",
        "2",
        "--requests",
        "40",
        "--seed",
        "7",
    ];
    args.extend(more);
    match parse(&args) {
        benchmark::Bench::SharedPrefix(args) => shared_prefix::measure(&args).await.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_caching_engine_reaches_the_ideal_hit_rate() {
    for more in [
        &["--token-ids", "--concurrency", "1"][..],
        &["--token-ids", "--rate", "400"],
    ] {
        let report = shared(&fake_engine().await, more).await;
        assert_eq!(report.scenario.successful, 40);
        assert_eq!(report.block_size_tokens, Some(16));
        let ideal = 36.0 * 64.0 / (40.0 * 80.0);
        assert!((report.ideal_hit_rate - ideal).abs() < 1e-12);
        assert_eq!(
            report.engine_hit_rate,
            Some(report.ideal_hit_rate),
            "{more:?}"
        );
        assert_eq!(report.reported_hit_rate, report.engine_hit_rate);
        assert_eq!(report.max_over_mean, Some(1.0));
        assert_eq!(report.engines[0].finished_requests, Some(40.0));
    }
}

#[tokio::test]
async fn words_are_as_many_as_make_the_tokens() {
    let report = shared(&fake_engine().await, &["--concurrency", "2"]).await;
    assert_eq!(report.scenario.prompt_tokens, 40 * 80);
    assert!(report.engine_hit_rate.unwrap() > 0.7);
}

#[tokio::test]
async fn the_same_seed_sends_the_same_bytes() {
    let sent: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let mut runs = Vec::new();
    for _ in 0..2 {
        let log = sent.clone();
        let url = serve(move |path, body| {
            if path != "/v1/completions" {
                return Reply::json(r#"{"data":[{"id":"m"}]}"#);
            }
            log.lock().unwrap().push(body.to_vec());
            Reply::stream(&[TOKEN, &usage(80, 1, 0), DONE])
        })
        .await;
        shared(&url, &["--token-ids", "--concurrency", "1"]).await;
        runs.push(std::mem::take(&mut *sent.lock().unwrap()));
    }
    assert_eq!(runs[0].len(), 64 + 40, "warm-up and run");
    assert_eq!(runs[0], runs[1]);
    let warm: Vec<_> = runs[0][..64].iter().map(|body| &body[..120]).collect();
    assert!(
        runs[0][64..]
            .iter()
            .all(|body| !warm.contains(&&body[..120])),
        "another seed warms up"
    );
}

#[tokio::test]
async fn situations_fill_the_table() {
    let url = fake_engine().await;
    let args = [
        "situations",
        "--url",
        &url,
        "--engines",
        &url,
        "--groups",
        "3",
        "--prefix-tokens",
        "64",
        "--question-tokens",
        "16",
        "--output-tokens",
        "2",
        "--token-ids",
        "--saturation",
        "200",
        "--duration-s",
        "0.3",
        "--seed",
        "3",
    ];
    let benchmark::Bench::Situations(args) = parse(&args) else {
        panic!("another command")
    };
    let report = situations::measure(&args).await.unwrap();
    let rows: Vec<(f64, usize)> = report
        .situations
        .iter()
        .map(|row| (row.load_over_saturation, row.scenario.requests))
        .collect();
    assert_eq!(
        rows,
        [(0.3, 18), (0.6, 36), (0.9, 54), (1.2, 72), (1.5, 30)]
    );
    for row in &report.situations {
        assert_eq!(row.replicas_used, Some(1), "{}", row.name);
        assert_eq!(row.replicas_per_prefix, Some(1.0));
        assert!(row.engine_hit_rate.unwrap() > 0.5);
        assert_eq!(row.scenario.failed, 0);
    }
}

#[tokio::test]
async fn saturation_is_looked_for_and_all_failing_is_an_error() {
    let url = serve(|path, _| match path {
        "/health" => Reply::json(""),
        "/v1/models" => Reply::json(r#"{"data":[{"id":"m"}]}"#),
        _ => Reply::json(r#"{"error":{"message":"no endpoint is ready"}}"#).status(503),
    })
    .await;
    let benchmark::Bench::Situations(args) = parse(&["situations", "--url", &url, "--token-ids"])
    else {
        panic!("another command")
    };
    let said = situations::measure(&args).await.unwrap_err().to_string();
    assert!(said.contains("no endpoint is ready"), "{said}");
    let benchmark::Bench::Suite(args) = parse(&["suite", "--url", &url, "--cache-requests", "2"])
    else {
        panic!("another command")
    };
    let report = suite::measure(&args).await.unwrap();
    assert!(
        report
            .scenarios
            .iter()
            .all(|level| level.successful == 0 && !level.errors.is_empty())
    );
    assert_eq!(report.cache_test.first_latency_ms, None);
    assert!(suite::summary(&report).contains("no endpoint is ready"));
}
