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
