//! Predicted against reported, and what the index does about it.

use engine_api::metrics::EngineMetrics;
use engine_api::usage::Usage;

use crate::support::*;

fn usage(prompt_tokens: u64, cached_tokens: Option<u64>) -> Option<Usage> {
    Some(Usage {
        prompt_tokens,
        completion_tokens: 1,
        cached_tokens,
    })
}

#[test]
fn a_repeated_prompt_is_predicted_as_the_engine_would_reuse_it() {
    // (prompt tokens, reused tokens): whole blocks of 16, at least one token computed.
    for (tokens, reused) in [(320, 304), (321, 320), (16, 0), (17, 16), (15, 0)] {
        let fleet = ready_fleet(&["a:1"]);
        let prompt = text("p", tokens);
        send(&fleet, &prompt, at(0));
        let pick = pick(&fleet, &prompt, at(100));
        assert_eq!(
            pick.reservation.predicted_cached_tokens, reused,
            "{tokens} tokens"
        );
        complete(&fleet, pick, None, at(200));
    }
}

#[test]
fn bytes_per_token_are_learned_from_usage() {
    let fleet = ready_fleet(&["a:1"]);
    let prompt = text("p", 1_000);
    let first = pick(&fleet, &prompt, at(0));
    complete(&fleet, first, usage(2_000, None), at(10));
    let again = pick(&fleet, &prompt, at(20));
    assert_eq!(again.reservation.prompt_tokens, 2_000);
    assert_eq!(again.reservation.predicted_cached_tokens, 1_984);
    complete(&fleet, again, None, at(30));
}

#[test]
fn where_the_engine_had_less_its_siblings_are_cut_back_too() {
    let fleet = ready_fleet(&["a:1"]);
    let prefix = text("system", 640);
    let (left, right) = (
        format!("{prefix}{}", text("left", 640)),
        format!("{prefix}{}", text("right", 640)),
    );
    send(&fleet, &left, at(0));
    send(&fleet, &right, at(10));
    let asked = pick(&fleet, &left, at(20));
    assert!(asked.reservation.predicted_cached_tokens > 1_200);
    complete(&fleet, asked, usage(1_280, Some(320)), at(30));
    let sibling = pick(&fleet, &right, at(40));
    assert!(
        sibling.reservation.predicted_cached_tokens <= 640,
        "the engine dropped the prefix's tail and all below it"
    );
    complete(&fleet, sibling, None, at(50));
    let same = pick(&fleet, &left, at(60));
    assert!(
        same.reservation.predicted_cached_tokens > 1_200,
        "this prompt was stored anew"
    );
    complete(&fleet, same, None, at(70));
}

#[test]
fn the_report_tells_reported_from_unreported() {
    let fleet = ready_fleet(&["a:1"]);
    let prompt = text("p", 320);
    send(&fleet, &prompt, at(0));
    let asked = pick(&fleet, &prompt, at(10));
    complete(&fleet, asked, usage(320, Some(288)), at(20));
    let report = fleet.report(at(30));
    let prediction = &report.endpoints[0].prediction;
    assert_eq!(
        (prediction.reported_requests, prediction.unreported_requests),
        (1, 1)
    );
    assert_eq!(
        (
            prediction.predicted_tokens,
            prediction.actual_tokens,
            prediction.absolute_error_tokens
        ),
        (304, 288, 16)
    );
}

#[test]
fn a_counter_that_goes_back_is_a_restart() {
    let fleet = ready_fleet(&["a:1"]);
    let slot = slot(&fleet, "a:1");
    let counters = |queries: f64| EngineMetrics {
        prefix_queries_tokens: Some(queries),
        prefix_hits_tokens: Some(queries / 2.0),
        ..cache()
    };
    let prompt = text("p", 1_000);
    send(&fleet, &prompt, at(0));
    scrape(&fleet, slot, counters(1_000.0), at(100));
    assert!(
        fleet.report(at(100)).endpoints[0]
            .hit_ratio
            .is_some_and(|ratio| ratio == 0.5)
    );
    scrape(&fleet, slot, counters(10.0), at(200));
    assert_eq!(fleet.report(at(200)).endpoints[0].restarts, 1);
    let pick = pick(&fleet, &prompt, at(300));
    assert_eq!(pick.reservation.predicted_cached_tokens, 0);
    complete(&fleet, pick, None, at(400));
}

#[test]
fn an_engine_without_prefix_caching_is_predicted_nothing() {
    let fleet = ready_fleet(&["a:1"]);
    let slot = slot(&fleet, "a:1");
    scrape(
        &fleet,
        slot,
        EngineMetrics {
            prefix_caching_enabled: Some(false),
            ..cache()
        },
        at(0),
    );
    let prompt = text("p", 1_000);
    send(&fleet, &prompt, at(10));
    let pick = pick(&fleet, &prompt, at(20));
    assert_eq!(pick.reservation.predicted_cached_tokens, 0);
    complete(&fleet, pick, None, at(30));
}
