//! Does verify pass what works and fail what does not?

use clap::Parser;
use operate::verify::{self, Report, Status};

use crate::fake::{Fake, Habits, Routing};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: verify::Args,
}

pub(crate) async fn check(args: &[&str]) -> Report {
    let cli = Cli::try_parse_from(std::iter::once("verify").chain(args.iter().copied())).unwrap();
    verify::check(&cli.args).await.unwrap()
}

/// Name and verdict of each check.
pub(crate) fn verdicts(report: &Report) -> Vec<(&str, Status)> {
    report
        .checks
        .iter()
        .map(|check| (check.name.as_str(), check.status))
        .collect()
}

#[track_caller]
pub(crate) fn expect(report: &Report, expected: &[(&str, Status)]) {
    let seen = verdicts(report);
    for pair in expected {
        assert!(seen.contains(pair), "{pair:?} expected in {report:#?}");
    }
}

const ALL: [&str; 8] = [
    "health",
    "models",
    "completion",
    "chat",
    "chat-stream",
    "distribution",
    "affinity",
    "cached-tokens",
];

/// With the admin state of the fake itself.
async fn by_admin(habits: Habits, more: &[&str]) -> Report {
    let fake = Fake::start(habits).await;
    let mut args = vec!["--url", &fake.url, "--admin", &fake.url];
    args.extend(more);
    check(&args).await
}

/// With the engines' addresses only.
async fn by_engines(habits: Habits, more: &[&str]) -> Report {
    let fake = Fake::start(habits).await;
    let engines = fake.engines.join(",");
    let mut args = vec!["--url", &fake.url, "--engines", &engines];
    args.extend(more);
    check(&args).await
}

#[tokio::test]
async fn a_prefix_aware_gateway_passes_everything() {
    let report = by_admin(Habits::default(), &[]).await;
    assert_eq!(
        verdicts(&report),
        ALL.map(|name| (name, Status::Pass))
            .into_iter()
            .chain([("pool-health", Status::Pass)])
            .collect::<Vec<_>>(),
        "{report:#?}"
    );
    assert!(report.simulated);
    assert_eq!((report.passed, report.failed, report.skipped), (9, 0, 0));
}

#[tokio::test]
async fn random_routing_fails_the_affinity_check_and_only_what_follows_from_it() {
    for report in [
        by_admin(
            Habits {
                routing: Routing::Random,
                ..Habits::default()
            },
            &[],
        )
        .await,
        by_engines(
            Habits {
                routing: Routing::Random,
                endpoint_header: false,
                ..Habits::default()
            },
            &[],
        )
        .await,
    ] {
        expect(
            &report,
            &[("affinity", Status::Fail), ("distribution", Status::Pass)],
        );
        expect(
            &report,
            &[
                ("health", Status::Pass),
                ("chat", Status::Pass),
                ("pool-health", Status::Pass),
            ],
        );
        let affinity = report
            .checks
            .iter()
            .find(|check| check.name == "affinity")
            .unwrap();
        assert!(
            affinity
                .hint
                .as_deref()
                .unwrap()
                .contains("prefix-cache-scorer")
        );
    }
}

#[tokio::test]
async fn a_server_without_headers_is_judged_by_its_engines_metrics() {
    let habits = Habits {
        endpoint_header: false,
        cached_tokens: false,
        simulated: false,
        ..Habits::default()
    };
    let report = by_engines(habits, &[]).await;
    assert_eq!(report.failed + report.skipped, 0, "{report:#?}");
    let seen = |name: &str| {
        report
            .checks
            .iter()
            .find(|check| check.name == name)
            .map(|check| check.seen.clone())
            .unwrap()
    };
    assert!(
        seen("affinity").contains("by engine metrics"),
        "{}",
        seen("affinity")
    );
    assert!(seen("cached-tokens").contains("by engine metrics"));
    assert!(seen("pool-health").contains("3 of 3"));
    assert!(!report.simulated);
}

#[tokio::test]
async fn what_cannot_be_known_is_skipped_with_the_reason() {
    let habits = Habits {
        endpoint_header: false,
        cached_tokens: false,
        ..Habits::default()
    };
    let fake = Fake::start(habits).await;
    let report = check(&["--url", &fake.url]).await;
    for name in ["distribution", "affinity", "cached-tokens", "pool-health"] {
        expect(&report, &[(name, Status::Skip)]);
    }
    assert_eq!(report.failed, 0, "{report:#?}");
    for check in report
        .checks
        .iter()
        .filter(|check| check.status == Status::Skip)
    {
        assert!(!check.seen.is_empty() && check.hint.is_some(), "{check:#?}");
    }
}

#[tokio::test]
async fn a_replica_that_gets_nothing_fails_the_distribution_check() {
    let report = by_admin(
        Habits {
            routing: Routing::First,
            ..Habits::default()
        },
        &[],
    )
    .await;
    expect(
        &report,
        &[("distribution", Status::Fail), ("affinity", Status::Pass)],
    );
    // One endpoint seen and nobody to say how many there are: undecided; told: decided.
    let habits = Habits {
        routing: Routing::First,
        ..Habits::default()
    };
    let fake = Fake::start(habits).await;
    expect(
        &check(&["--url", &fake.url]).await,
        &[("distribution", Status::Skip)],
    );
    expect(
        &check(&["--url", &fake.url, "--replicas", "1"]).await,
        &[("distribution", Status::Pass)],
    );
    expect(
        &check(&["--url", &fake.url, "--replicas", "3"]).await,
        &[("distribution", Status::Fail)],
    );
}

#[tokio::test]
async fn a_cache_that_is_off_fails_cached_tokens() {
    for cached_tokens in [true, false] {
        let habits = Habits {
            caching: false,
            cached_tokens,
            ..Habits::default()
        };
        let report = by_engines(habits, &[]).await;
        expect(
            &report,
            &[("cached-tokens", Status::Fail), ("affinity", Status::Pass)],
        );
    }
}

#[tokio::test]
async fn a_prompt_too_short_for_a_block_is_called_so_and_does_not_fail() {
    // Thirty bytes a token: the whole conversation is shorter than a block of 16.
    let habits = Habits {
        bytes_per_token: 30,
        routing: Routing::Random,
        ..Habits::default()
    };
    let report = by_admin(habits, &["--system-prompt", "Be brief."]).await;
    expect(
        &report,
        &[("cached-tokens", Status::Skip), ("affinity", Status::Skip)],
    );
    let cached = report
        .checks
        .iter()
        .find(|check| check.name == "cached-tokens")
        .unwrap();
    assert!(
        cached.seen.contains("too short") && cached.seen.contains("block of 16"),
        "{cached:#?}"
    );
    assert_eq!(report.failed, 0, "{report:#?}");
}

#[tokio::test]
async fn a_second_run_is_not_decided_by_the_first_ones_cache() {
    let fake = Fake::start(Habits::default()).await;
    for _ in 0..3 {
        let report = check(&["--url", &fake.url, "--admin", &fake.url]).await;
        assert_eq!(report.failed + report.skipped, 0, "{report:#?}");
        let cached = report
            .checks
            .iter()
            .find(|check| check.name == "cached-tokens")
            .unwrap();
        assert!(
            cached.seen.starts_with("0, "),
            "the first request of a run is new: {}",
            cached.seen
        );
    }
}
