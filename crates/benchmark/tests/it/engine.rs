//! Do the load tool's figures agree with an engine's own?

use clap::Parser;

use benchmark::command::{shared_prefix, suite};
use engine::{EngineArgs, Log, Server};

#[derive(Parser)]
struct EngineCli {
    #[command(flatten)]
    args: EngineArgs,
}

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    bench: benchmark::Bench,
}

/// An engine whose steps take no time worth waiting for; its address.
async fn engine() -> String {
    let flags = [
        "engine",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--model",
        "m",
        "--time-scale",
        "0.01",
        "--num-gpu-blocks-override",
        "4096",
        "--enable-prompt-tokens-details",
    ];
    let args = EngineCli::try_parse_from(flags).unwrap().args;
    let server = Server::bind(args, Log::writer(std::io::sink()))
        .await
        .unwrap();
    let url = format!("http://{}", server.local_addr());
    tokio::spawn(server.serve(std::future::pending()));
    url
}

async fn shared(more: &[&str]) -> shared_prefix::Report {
    let url = engine().await;
    let mut args = vec![
        "bench",
        "shared-prefix",
        "--url",
        &url,
        "--engines",
        &url,
        "--groups",
        "6",
        "--prefix-tokens",
        "128",
        "--question-tokens",
        "32",
        "--output-tokens",
        "5",
        "--requests",
        "36",
        "--warmup-requests",
        "6",
        "--concurrency",
        "1",
    ];
    args.extend(more);
    match Cli::try_parse_from(args).unwrap().bench {
        benchmark::Bench::SharedPrefix(args) => shared_prefix::measure(&args).await.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_engine_with_room_for_all_reaches_the_ideal() {
    let report = shared(&["--token-ids"]).await;
    assert_eq!(
        report.scenario.successful, 36,
        "{:?}",
        report.scenario.errors
    );
    assert_eq!(report.scenario.prompt_tokens, 36 * 160);
    assert_eq!(report.scenario.output_tokens, 36 * 5);
    assert_eq!(report.block_size_tokens, Some(16));
    assert_eq!(report.engine_hit_rate, Some(report.ideal_hit_rate));
    assert_eq!(report.reported_hit_rate, report.engine_hit_rate);
    assert_eq!(report.engines[0].finished_requests, Some(36.0));
    assert!(report.simulated, "an engine without an accelerator says so");
}

#[tokio::test]
async fn words_come_near_the_wanted_tokens() {
    let report = shared(&[]).await;
    let mean = report.scenario.prompt_tokens as f64 / 36.0;
    assert!((mean - 160.0).abs() < 16.0, "{mean} tokens a prompt");
    let rate = report.engine_hit_rate.unwrap();
    assert!(
        (rate - report.ideal_hit_rate).abs() < 0.12,
        "{rate} against {}",
        report.ideal_hit_rate
    );
}

#[tokio::test]
async fn the_suite_runs_whole() {
    let url = engine().await;
    let args = ["bench", "suite", "--url", &url, "--output-tokens", "4"];
    let benchmark::Bench::Suite(args) = Cli::try_parse_from(args).unwrap().bench else {
        panic!("another command")
    };
    let report = suite::measure(&args).await.unwrap();
    assert!(report.metadata.simulated);
    for level in &report.scenarios {
        assert_eq!(level.failed, 0, "{:?}", level.errors);
        assert_eq!(level.output_tokens, 4 * level.requests as u64);
    }
    let cached = &report.cache_test.cached_tokens;
    assert!(
        cached[1..].iter().all(|tokens| tokens.unwrap_or(0) > 1000),
        "{cached:?}"
    );
}

#[tokio::test]
async fn conversations_reach_their_ideal_on_one_engine() {
    let report = shared(&["--token-ids", "--turns", "3"]).await;
    assert_eq!(report.scenario.failed, 0, "{:?}", report.scenario.errors);
    assert_eq!(report.engine_hit_rate, Some(report.ideal_hit_rate));
    let longest = 128 + 3 * 32 + 2 * 5;
    assert!(report.scenario.prompt_tokens > 36 * 160);
    assert!(report.scenario.prompt_tokens < 36 * longest);
}

#[tokio::test]
async fn reports_carry_the_names_that_other_tools_read() {
    let report = shared(&["--token-ids", "--goodput", "ttft:60000,tpot:60000"]).await;
    let json = serde_json::to_value(&report).unwrap();
    let number = |key: &str| {
        json[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {json}"))
    };
    assert_eq!(number("completed"), 36.0);
    assert_eq!(number("failed"), 0.0);
    assert_eq!(number("total_output_tokens"), 180.0);
    assert_eq!(number("request_goodput"), number("request_throughput"));
    assert!(number("mean_ttft_ms") > 0.0 && number("p95_e2el_ms") >= number("median_e2el_ms"));
    assert_eq!(number("max_concurrent_requests"), 1.0);
    assert!(number("max_output_tokens_per_s") > 0.0);
    assert_eq!(json["request_rate"], "inf");
    assert!(json["p99_ttft_ms"].is_null(), "36 samples have no p99");
}

#[tokio::test]
async fn a_sweep_has_a_row_a_rate_and_a_page() {
    let (url, out) = (engine().await, tempfile::tempdir().unwrap());
    let file = |name: &str| out.path().join(name).to_string_lossy().into_owned();
    let (html, csv, save) = (file("s.html"), file("s.csv"), file("s.json"));
    let args = [
        "bench",
        "sweep",
        "--url",
        &url,
        "--engines",
        &url,
        "--rates",
        "40,80",
        "--step-s",
        "0.5",
        "--groups",
        "4",
        "--prefix-tokens",
        "64",
        "--question-tokens",
        "16",
        "--output-tokens",
        "4",
        "--token-ids",
        "--goodput",
        "e2el:60000",
        "--html",
        &html,
        "--csv",
        &csv,
        "--save",
        &save,
        "--json",
    ];
    let bench = Cli::try_parse_from(args).unwrap().bench;
    assert_eq!(
        benchmark::run(bench).await.unwrap(),
        std::process::ExitCode::SUCCESS
    );
    let read = |name: &str| std::fs::read_to_string(name).unwrap();
    let report: serde_json::Value = serde_json::from_str(&read(&save)).unwrap();
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    for (step, requests) in steps.iter().zip([20, 40]) {
        assert_eq!(step["scenario"]["successful"], requests);
        assert_eq!(step["good_share"], 1.0);
        assert!(step["engine_hit_rate"].as_f64().unwrap() > 0.7, "{step}");
        assert!(step["step_lag_ms"].as_f64().unwrap() >= 0.0);
    }
    assert_eq!(read(&csv).lines().count(), 3);
    let page = read(&html);
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("http-equiv"));
}

#[tokio::test]
async fn a_trace_is_sent_whole_and_shares_what_it_shares() {
    let (url, out) = (engine().await, tempfile::tempdir().unwrap());
    let trace = out.path().join("t.jsonl");
    let lines: String = (0..6)
        .map(|at| {
            format!(
                "{{\"timestamp\":{at},\"input_length\":1100,\"output_length\":3,\"hash_ids\":[0,1,{}]}}\n",
                10 + at
            )
        })
        .collect();
    std::fs::write(&trace, lines).unwrap();
    let trace = trace.to_string_lossy().into_owned();
    let args = [
        "bench",
        "trace",
        "--url",
        &url,
        "--engines",
        &url,
        "--trace",
        &trace,
        "--max-in-flight",
        "1",
        "--seed",
        "3",
    ];
    let benchmark::Bench::Trace(args) = Cli::try_parse_from(args).unwrap().bench else {
        panic!("another command")
    };
    let (report, run) = benchmark::command::trace::measure(&args).await.unwrap();
    assert_eq!(run.samples.len(), 6);
    assert_eq!(report.scenario.prompt_tokens, 6 * 1100);
    assert_eq!(report.scenario.output_tokens, 6 * 3);
    assert_eq!(report.engine_hit_rate, Some(report.ideal_hit_rate));
    assert_eq!(report.ideal_hit_rate, 5.0 * 1024.0 / 6600.0);
}
