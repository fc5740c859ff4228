//! Does one engine alone pass?

use clap::Parser;
use engine::{EngineArgs, Log, Server};
use operate::verify::Status;

use crate::verify::{check, expect};

#[derive(Parser)]
struct EngineCli {
    #[command(flatten)]
    args: EngineArgs,
}

async fn engine(more: &[&str]) -> String {
    let mut flags = vec![
        "engine",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--model",
        "m",
        "--time-scale",
        "0.01",
    ];
    flags.extend(more);
    let args = EngineCli::try_parse_from(flags).unwrap().args;
    let server = Server::bind(args, Log::writer(std::io::sink()))
        .await
        .unwrap();
    let url = format!("http://{}", server.local_addr());
    tokio::spawn(server.serve(std::future::pending()));
    url
}

#[tokio::test]
async fn an_engine_passes_by_its_usage_or_by_its_metrics() {
    for more in [&["--enable-prompt-tokens-details"][..], &[]] {
        let url = engine(more).await;
        let report = check(&["--url", &url, "--engines", &url]).await;
        assert_eq!(
            (report.passed, report.failed, report.skipped),
            (9, 0, 0),
            "{report:#?}"
        );
        assert!(report.simulated);
    }
}

#[tokio::test]
async fn without_prefix_caching_cached_tokens_fail() {
    let url = engine(&[
        "--no-enable-prefix-caching",
        "--enable-prompt-tokens-details",
    ])
    .await;
    let report = check(&["--url", &url, "--engines", &url]).await;
    let status = report
        .checks
        .iter()
        .find(|check| check.name == "cached-tokens")
        .map(|check| check.status);
    assert_ne!(status, Some(Status::Pass), "{report:#?}");
    expect(&report, &[("affinity", Status::Pass)]);
}

#[tokio::test]
async fn large_blocks_make_a_short_prompt_too_short() {
    let url = engine(&["--block-size", "128", "--enable-prompt-tokens-details"]).await;
    let report = check(&[
        "--url",
        &url,
        "--engines",
        &url,
        "--system-prompt",
        "Be brief.",
    ])
    .await;
    let cached = report
        .checks
        .iter()
        .find(|check| check.name == "cached-tokens")
        .unwrap();
    assert_eq!(cached.status, Status::Skip, "{cached:#?}");
    assert!(
        cached.seen.contains("too short") && cached.seen.contains("block of 128"),
        "{cached:#?}"
    );
    assert_eq!(report.failed, 0, "{report:#?}");
}
