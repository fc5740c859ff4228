//! Does a replay repeat itself, keep its books, and notice what is broken on purpose?

use clap::Parser;

use super::args::Args;
use super::arms::compare;
use super::ledger::{ALL_DRAINED, INDEX_WITHIN, NO_LOAD_LEFT, NOTHING_LOST, NOTHING_TWICE};
use super::outcome::{Outcome, Report};
use super::rule::RULES;

#[derive(Parser)]
#[command(args_override_self = true)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn plan(line: &str) -> anyhow::Result<super::arms::Plan> {
    let words = std::iter::once("replay").chain(line.split_whitespace());
    let plans = Cli::try_parse_from(words)?.args.plans()?;
    Ok(plans.into_iter().next().unwrap())
}

fn replay(line: &str) -> Report {
    compare(&plan(line).unwrap()).unwrap()
}

fn only(line: &str) -> Outcome {
    replay(line).runs.remove(0)
}

const SMALL: &str = "--replicas 3 --accelerator l4 --blocks 4096 --requests 300 --rate 12 --prefix-tokens 640 --question-tokens 64 --output-tokens 24 --groups 12";

#[test]
fn the_same_seed_gives_the_same_events() {
    let line = format!("--workload chat {SMALL} --compare default,threshold,random --seed 5");
    let (a, b) = (replay(&line), replay(&format!("{line} --threads 3")));
    assert_eq!(a.event_hash, b.event_hash);
    assert_eq!(a.events, b.events);
    assert!(a.events > 3_000, "{}", a.events);
    for (a, b) in a.runs.iter().zip(&b.runs) {
        assert_eq!(
            (&a.event_hash, a.cached_tokens),
            (&b.event_hash, b.cached_tokens)
        );
    }
    let other = replay(&format!(
        "--workload chat {SMALL} --compare default,threshold,random --seed 6"
    ));
    assert_ne!(a.event_hash, other.event_hash);
}

#[test]
fn every_rule_serves_every_request_on_every_workload() {
    let rules: Vec<String> = RULES
        .iter()
        .map(|known| format!("rule:{}", known.name))
        .collect();
    let all = format!("default,strict-3-1-1,llm-d-default,{}", rules.join(","));
    for kind in [
        "shared-prefix",
        "chat",
        "agent",
        "rag",
        "distinct",
        "hot-prefix",
        "bursts",
    ] {
        let report = replay(&format!(
            "--workload {kind} {SMALL} --requests 150 --gateways 2 --compare {all} --seed 2"
        ));
        assert!(report.is_sound(), "{kind}: {:?}", report.runs);
        assert_eq!(report.runs.len(), RULES.len() + 3);
        for run in &report.runs {
            assert_eq!(run.requests, 150, "{kind} {}", run.name);
            assert!(run.ttft_ms.p99 >= run.ttft_ms.p50 && run.e2e_ms.mean > run.ttft_ms.mean);
        }
    }
}

/// Breaks one thing and sees which checkers notice.
fn broken(mutation: &str, expected: &str) {
    for decider in ["default", "rule:llm-d-3-2-2"] {
        let run = only(&format!(
            "--workload distinct {SMALL} --blocks 600 --compare {decider} --seed 3 --mutate {mutation}"
        ));
        // A rule's memory has its own bound and is not told wrong by a page.
        if expected == INDEX_WITHIN && decider != "default" {
            continue;
        }
        let mut seen: Vec<_> = run.violations.iter().map(|one| one.checker).collect();
        seen.dedup();
        assert_eq!(seen, [expected], "{decider}: {:?}", run.violations);
    }
}

#[test]
fn each_checker_notices_its_mutation_and_no_other_does() {
    broken("lose-request", NOTHING_LOST);
    broken("serve-twice", NOTHING_TWICE);
    broken("strand-work", ALL_DRAINED);
    broken("leak-load", NO_LOAD_LEFT);
    broken("overfill-index", INDEX_WITHIN);
}

#[test]
fn what_is_broken_is_whole_without_the_mutation() {
    let run = only(&format!(
        "--workload distinct {SMALL} --blocks 600 --compare default --seed 3"
    ));
    assert_eq!(run.violation_count, 0, "{:?}", run.violations);
}

#[test]
fn hits_follow_what_prompts_share() {
    let hits = |line: &str| only(&format!("{line} {SMALL} --compare default --seed 1")).hit_ratio;
    let shared = hits("--workload shared-prefix");
    assert!((0.6..0.92).contains(&shared), "{shared}");
    assert_eq!(hits("--workload distinct"), 0.0);
    assert_eq!(hits("--workload shared-prefix --no-prefix-cache"), 0.0);
    let report = replay(&format!(
        "--workload chat {SMALL} --compare infinite-cache,default,round-robin --seed 1"
    ));
    let [bound, ours, round_robin] = &report.runs[..] else {
        panic!("three arms");
    };
    assert!(bound.bound && bound.hit_ratio >= ours.hit_ratio - 1e-9);
    assert!(ours.hit_ratio > round_robin.hit_ratio + 0.1);
}

#[test]
fn a_closed_loop_keeps_its_requests_at_once() {
    let line = "--workload distinct --requests 60 --replicas 1 --accelerator tpu-v6e-4 --prefix-tokens 8 --question-tokens 1 --compare round-robin --seed 1";
    let one = only(&format!("{line} --concurrency 1"));
    let many = only(&format!("{line} --concurrency 20"));
    assert_eq!((one.requests, many.requests), (60, 60));
    assert!(
        many.duration_s < one.duration_s / 5.0,
        "{} {}",
        many.duration_s,
        one.duration_s
    );
}

#[test]
fn gateways_that_do_not_see_each_other_lose() {
    let line = format!(
        "--workload shared-prefix {SMALL} --requests 600 --groups 60 --compare default --seed 4"
    );
    let (one, four) = (only(&line), only(&format!("{line} --gateways 4")));
    assert!(
        four.hit_ratio < one.hit_ratio,
        "{} {}",
        four.hit_ratio,
        one.hit_ratio
    );
}

#[test]
fn mistakes_are_told_in_words() {
    for (line, expected) in [
        ("", "nothing to replay"),
        ("--workload chat --compare defalt", "did you mean `default`"),
        (
            "--workload chat --compare rule:nobody",
            "no preset, reference rule",
        ),
        ("--workload chat --compare no/such.yaml", "cannot read"),
        ("--workload chat --replicas 0", "1 to 1000"),
        ("--workload chat --replicas 1001", "1 to 1000"),
        ("--workload chat --gateways 0", "--gateways"),
        ("--workload chat --accelerator h1000", "unknown accelerator"),
        (
            "--workload chat --accelerator t4*x",
            "not a number of replicas",
        ),
        ("--workload chat --rate 0", "--rate is 0"),
        ("--trace no-such.jsonl --rate 2", "made-up"),
        ("--workload chat --slo-ttft-ms 0", "--slo-ttft-ms"),
        ("--workload chat --load nan", "--load"),
    ] {
        let error = plan(line)
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn accelerators_are_dealt_out_in_turn() {
    let names = |line: &str| -> Vec<String> {
        let plan = plan(&format!("--workload chat {line}")).unwrap();
        let profiles = plan.settings.hardware.profiles;
        profiles.into_iter().map(|profile| profile.name).collect()
    };
    assert_eq!(
        names("--replicas 3 --accelerator t4,h100"),
        ["t4", "h100", "t4"]
    );
    assert_eq!(
        names("--replicas 4 --accelerator t4*3,h100"),
        ["t4", "t4", "t4", "h100"]
    );
}

#[test]
fn several_seeds_give_means_and_intervals() {
    let line = format!("replay --workload chat {SMALL} --compare adaptive --seed 5 --seeds 3");
    let plans = Cli::try_parse_from(line.split_whitespace())
        .unwrap()
        .args
        .plans()
        .unwrap();
    let reports: Vec<Report> = plans.iter().map(|plan| compare(plan).unwrap()).collect();
    let ttft: Vec<f64> = reports
        .iter()
        .map(|report| report.runs[0].ttft_ms.mean.unwrap())
        .collect();
    let all = super::seeds::Report::of(reports);
    assert_eq!(all.seeds, [5, 6, 7]);
    let mean = all.runs[0].figures.ttft_ms.mean.unwrap();
    assert!((mean - ttft.iter().sum::<f64>() / 3.0).abs() < 1e-9);
    assert!(all.runs[0].ci95.ttft_ms.mean.unwrap() > 0.0);
    assert_eq!(all.runs[0].figures.requests, 300.0);
}

#[test]
fn no_routing_beats_every_request_alone() {
    let report = replay(&format!(
        "--workload chat {SMALL} --compare adaptive,oracle,infinite-cache,alone --seed 2"
    ));
    let alone = report.runs.last().unwrap();
    assert_eq!((alone.name.as_str(), alone.requests), ("bound:alone", 300));
    for run in &report.runs {
        for (of, bound) in [
            (run.ttft_ms.mean, alone.ttft_ms.mean),
            (run.ttft_ms.p50, alone.ttft_ms.p50),
            (run.ttft_ms.p99, alone.ttft_ms.p99),
        ] {
            // Percentiles are exact to a thousandth.
            assert!(of.unwrap() >= bound.unwrap() * 0.998, "{}", run.name);
        }
    }
}

#[test]
fn old_news_makes_no_herd() {
    let report = replay(&format!(
        "--workload chat {SMALL} --requests 900 --stale-ms 20000 --compare adaptive,rule:round-robin --seed 3"
    ));
    let mean = |at: usize| report.runs[at].ttft_ms.mean.unwrap();
    assert!(mean(0) < mean(1) * 1.1, "{} {}", mean(0), mean(1));
}

#[test]
fn cache_events_tell_what_engines_hold_while_they_evict() {
    let line = "--workload chat --replicas 3 --accelerator l4 --blocks 700 --requests 400 --rate 12 --prefix-tokens 640 --question-tokens 64 --output-tokens 24 --groups 12 --seed 1 --compare exact:default,default,exact:adaptive";
    let report = replay(&format!("{line} --no-cached-report"));
    let [exact, approximate, adaptive] = &report.runs[..] else {
        panic!("three arms");
    };
    assert!(report.is_sound(), "{:?}", report.runs);
    let off = |run: &Outcome| (run.prediction.predicted_hit_ratio - run.hit_ratio).abs();
    assert!(
        off(exact) < 0.03 && off(adaptive) < 0.03,
        "{} {}",
        off(exact),
        off(adaptive)
    );
    assert!(off(approximate) > off(exact), "{}", off(approximate));
    // News that comes late is as good as none where engines evict.
    let late = replay(&format!("{line} --event-ms 60000"));
    assert!(off(&late.runs[0]) > off(exact), "{}", off(&late.runs[0]));
    assert!(plan("--workload chat --compare exact:llm-d-precise").is_err());
}
