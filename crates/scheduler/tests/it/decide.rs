//! Where do requests go?

use scheduler::{
    Ask, Candidates, Decision, Document, NoEndpoint, Profile, SchedulingConfig, compile,
};

use crate::rows::{ask, idle, rng};

fn preset(name: &str) -> Profile {
    compile(&SchedulingConfig::preset(name), 0)
        .expect("a preset")
        .profile
}

/// A profile of one list of plugins, each `type` or `type: {parameters}`, all with weight 1.
fn profile(plugins: &[&str]) -> Profile {
    let mut text =
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n".to_owned();
    for plugin in plugins {
        let (name, parameters) = plugin.split_once(": ").unwrap_or((plugin, "{}"));
        text += &format!("- {{type: {name}, parameters: {parameters}}}\n");
    }
    let document = Document::parse(&text).expect("a document");
    compile(&SchedulingConfig::document(document), 0)
        .expect("a profile")
        .profile
}

fn explained(profile: &Profile, candidates: &Candidates) -> Decision {
    let ask = Ask {
        explain: true,
        ..ask()
    };
    profile
        .run(&ask, candidates, &mut rng(1))
        .expect("one remains")
}

fn totals(profile: &Profile, candidates: &Candidates) -> Vec<f32> {
    let reasons = explained(profile, candidates).reasons;
    reasons
        .iter()
        .map(|reason| (reason.total * 100.0).round() / 100.0)
        .collect()
}

fn order(decision: &Decision) -> Vec<usize> {
    decision
        .preferences
        .iter()
        .map(|slot| slot.index())
        .collect()
}

/// Prefix 0.9 / 0.1 / 0, queue 2 / 0 / 1, KV 0.4 / 0.2 / 0.5.
fn documented_state() -> Candidates {
    let mut candidates = idle(3);
    candidates.queue_requests = vec![2.0, 0.0, 1.0];
    candidates.kv_usage = vec![0.4, 0.2, 0.5];
    candidates.matched_blocks = vec![9.0, 1.0, 0.0];
    candidates.matched_tokens = vec![900.0, 100.0, 0.0];
    candidates
}

#[test]
fn raw_state_of_the_documented_example_gives_its_totals() {
    let candidates = documented_state();
    assert_eq!(
        totals(&Profile::default_profile(), &candidates),
        [3.3, 2.1, 1.0]
    );
    assert_eq!(
        order(&explained(&preset("strict-3-1-1"), &candidates)),
        [0, 1, 2]
    );
}

#[test]
fn queue_gap_over_the_saving_removes_the_sticky_endpoint() {
    let mut candidates = idle(2);
    candidates.matched_blocks = vec![8.0, 0.0];
    candidates.matched_tokens = vec![800.0, 0.0];
    let check = |candidates: &Candidates, guarded: usize, bare: usize| {
        assert_eq!(
            order(&explained(&preset("default"), candidates))[0],
            guarded
        );
        assert_eq!(
            order(&explained(&preset("strict-3-1-1"), candidates))[0],
            bare
        );
    };
    candidates.queued_tokens = vec![800.0, 0.0];
    candidates.queue_requests = vec![9.0, 0.0];
    check(&candidates, 0, 0);
    // 81 ms of queue against 80 ms saved; the bare sum stays for ever.
    candidates.queued_tokens = vec![810.0, 0.0];
    check(&candidates, 1, 0);
    let decision = explained(&preset("default"), &candidates);
    assert_eq!(
        order(&decision),
        [1],
        "a removed endpoint is no fallback either"
    );
    let (filter, why) = decision.reasons[0].removed.clone().unwrap();
    assert_eq!(&*filter, "overload-guard");
    assert_eq!(
        why,
        "81 ms of prefill queued here against 0 ms at the least queued endpoint, more than the 80 ms its cached prefix saves"
    );
    // The same queue everywhere is no reason to leave.
    candidates.queued_tokens = vec![50_810.0, 50_100.0];
    check(&candidates, 0, 0);
}

#[test]
fn equal_endpoints_take_turns() {
    let check = |profile: &Profile, endpoints: usize, requests: usize| {
        let mut rng = rng(7);
        let mut candidates = idle(endpoints);
        let mut taken = vec![0; endpoints];
        for turn in 1..=requests {
            let winner = profile
                .run(&ask(), &candidates, &mut rng)
                .unwrap()
                .preferences[0]
                .index();
            candidates.last_pick[winner] = turn as u64;
            taken[winner] += 1;
        }
        assert_eq!(taken, vec![requests / endpoints; endpoints], "{profile:?}");
    };
    check(&Profile::default_profile(), 2, 8);
    check(&Profile::default_profile(), 3, 30);
    check(&preset("round-robin"), 20, 200);
    check(&preset("least-requests"), 5, 20);
}

#[test]
fn only_equal_tiers_rotate() {
    let profile = profile(&["kv-cache-utilization-scorer"]);
    let mut candidates = idle(6);
    // Tiers: {4} 0.9, {1, 3} 0.8, {0, 2, 5} 0.5; within 0.01 is equal.
    candidates.kv_usage = vec![0.5, 0.2, 0.503, 0.205, 0.1, 0.5];
    candidates.last_pick = vec![3, 9, 1, 8, 7, 2];
    for seed in 0..20 {
        let decision = profile.run(&ask(), &candidates, &mut rng(seed)).unwrap();
        assert_eq!(order(&decision), [4, 3, 1, 2, 5, 0]);
    }
    candidates.last_pick = vec![0; 6];
    let mut seconds = [0; 6];
    for seed in 0..400 {
        let decision = profile.run(&ask(), &candidates, &mut rng(seed)).unwrap();
        assert_eq!(decision.preferences[0].index(), 4);
        seconds[decision.preferences[1].index()] += 1;
    }
    assert_eq!(seconds[1] + seconds[3], 400);
    assert!(seconds[1] > 120 && seconds[3] > 120, "{seconds:?}");
}

#[test]
fn pickers_honour_the_length_of_their_list() {
    let mut candidates = idle(20);
    candidates.kv_usage = (0..20).map(|i| i as f32 / 20.0).collect();
    let check = |picker: &str, expected: usize| {
        let decision = explained(
            &profile(&["kv-cache-utilization-scorer", picker]),
            &candidates,
        );
        let mut rows = order(&decision);
        assert_eq!(rows.len(), expected, "{picker}");
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), expected, "{picker}");
    };
    for picker in [
        "max-score-picker",
        "random-picker",
        "weighted-random-picker",
    ] {
        check(picker, Decision::MAX_PREFERENCES);
        check(&format!("{picker}: {{maxNumOfEndpoints: 1}}"), 1);
        check(&format!("{picker}: {{maxNumOfEndpoints: 3}}"), 3);
    }
}

#[test]
fn weighted_chance_follows_totals() {
    let profile = profile(&["kv-cache-utilization-scorer", "weighted-random-picker"]);
    let mut candidates = idle(3);
    candidates.kv_usage = vec![0.25, 0.75, 1.0];
    let (mut rng, mut firsts) = (rng(3), [0; 3]);
    for _ in 0..4000 {
        let decision = profile.run(&ask(), &candidates, &mut rng).unwrap();
        assert_eq!(
            decision.preferences[2].index(),
            2,
            "a total of 0 comes last"
        );
        firsts[decision.preferences[0].index()] += 1;
    }
    // 0.75 against 0.25.
    assert!((2850..3150).contains(&firsts[0]), "{firsts:?}");
}

#[test]
fn scorers_follow_their_formulas() {
    let check = |plugin: &str, candidates: &Candidates, expected: &[f32]| {
        assert_eq!(
            totals(&profile(&[plugin]), candidates),
            expected,
            "{plugin}"
        );
    };
    let mut c = documented_state();
    c.running_requests = vec![4.0, 8.0, 5.0];
    c.active_requests = vec![0.0, 2.0, 8.0];
    c.active_tokens = vec![0.0, 500.0, 1000.0];
    check("queue-scorer", &c, &[0.0, 1.0, 0.5]);
    check("queue-scorer", &idle(3), &[1.0, 1.0, 1.0]);
    check("running-requests-size-scorer", &c, &[1.0, 0.0, 0.75]);
    check("kv-cache-utilization-scorer", &c, &[0.6, 0.8, 0.5]);
    check("prefix-cache-scorer", &c, &[0.9, 0.1, 0.0]);
    // 0.5 × (900 / 1800)² + 0.5 × 0.9, and so on.
    check(
        "prefix-cache-scorer: {matchLengthWeight: 0.5, matchLengthScaleTokens: 1800}",
        &c,
        &[0.58, 0.05, 0.0],
    );
    check("active-request-scorer", &c, &[1.0, 0.75, 0.0]);
    check(
        "active-request-scorer: {idleThreshold: 2, maxBusyScore: 0.5}",
        &c,
        &[1.0, 1.0, 0.0],
    );
    // Tokens 0 + 100, 500 + 900, 1000 + 1000 of 2000.
    check(
        "token-load-scorer: {queueThresholdTokens: 2000}",
        &c,
        &[0.95, 0.3, 0.0],
    );
    check("no-hit-lru-scorer", &c, &[0.5, 0.5, 0.5]);
}

#[test]
fn cold_prompts_go_round() {
    let profile = profile(&["no-hit-lru-scorer"]);
    let candidates = idle(3);
    assert_eq!(totals(&profile, &candidates), [1.0, 1.0, 1.0]);
    profile.picked(&ask(), &candidates, 1);
    assert_eq!(totals(&profile, &candidates), [1.0, 0.0, 1.0]);
    profile.picked(&ask(), &candidates, 0);
    assert_eq!(totals(&profile, &candidates), [0.0, 0.5, 1.0]);
    profile.picked(&ask(), &documented_state(), 2);
    assert_eq!(
        totals(&profile, &candidates),
        [0.0, 0.5, 1.0],
        "a hit does not count"
    );
    assert_eq!(totals(&profile, &idle(1)), [1.0]);
}

#[test]
fn sessions_find_their_endpoint_again() {
    let candidates = idle(3);
    let totals_with = |profile: &Profile, headers: &[(&str, &str)]| -> Vec<f32> {
        let ask = Ask {
            explain: true,
            headers,
            ..ask()
        };
        let reasons = profile.run(&ask, &candidates, &mut rng(1)).unwrap().reasons;
        reasons.iter().map(|reason| reason.total).collect()
    };

    let encoded = profile(&["session-affinity-scorer"]);
    assert_eq!(encoded.headers(), ["x-session-token"]);
    let answer = encoded.response_headers(candidates.info(1));
    let (name, token) = &answer[0];
    assert_eq!(name, "x-session-token");
    assert_eq!(totals_with(&encoded, &[(name, token)]), [0.0, 1.0, 0.0]);
    assert_eq!(totals_with(&encoded, &[(name, "not base64!")]), [0.0; 3]);
    assert_eq!(totals_with(&encoded, &[]), [0.0; 3]);

    let remembered = profile(&[
        "session-affinity-scorer: {strategy: session_id, sources: [{header: X-A}, {header: x-b}]}",
    ]);
    assert_eq!(remembered.headers(), ["x-a", "x-b"]);
    let headers = [("x-b", "s1")];
    remembered.picked(
        &Ask {
            headers: &headers,
            ..ask()
        },
        &candidates,
        2,
    );
    assert_eq!(totals_with(&remembered, &headers), [0.0, 0.0, 1.0]);
    assert_eq!(
        totals_with(&remembered, &[("x-a", "other"), ("x-b", "s1")]),
        [0.0; 3]
    );
    assert!(remembered.response_headers(candidates.info(1)).is_empty());
}

#[test]
fn filters_narrow_as_documented() {
    let kept = |plugin: &str, candidates: &Candidates| -> Vec<usize> {
        let reasons = explained(&profile(&[plugin]), candidates).reasons;
        (0..reasons.len())
            .filter(|row| reasons[*row].removed.is_none())
            .collect()
    };
    let mut c = documented_state();
    assert_eq!(kept("prefix-cache-affinity-filter", &c), [0]);
    assert_eq!(
        kept(
            "prefix-cache-affinity-filter: {affinityThreshold: 0.95}",
            &c
        ),
        [0, 1, 2],
        "none sticky"
    );
    assert_eq!(
        kept(
            "prefix-cache-affinity-filter: {explorationProbability: 1}",
            &c
        ),
        [0, 1, 2]
    );
    c.active_tokens = vec![2000.0, 500.0, 900.0];
    let penalty = |ms: u32| {
        format!(
            "prefix-cache-affinity-filter: {{peakPrefillThroughput: 1000, maxTTFTPenaltyMs: {ms}}}"
        )
    };
    assert_eq!(
        kept(&penalty(1500), &c),
        [0],
        "2,000 ms against 500 ms is not more than 1,500"
    );
    assert_eq!(kept(&penalty(1499), &c), [0, 1, 2]);
    assert_eq!(kept(&penalty(0), &c), [0], "0 sticks always");

    let limit = "utilization-filter: {conditions: [{metric: kv-cache-utilization, maxValue: 0.4}, {metric: waiting-queue, maxValue: 1}]";
    assert_eq!(kept(&format!("{limit}}}"), &c), [1]);
    c.queue_requests = vec![5.0; 3];
    assert_eq!(
        kept(&format!("{limit}, fallbackOnEmpty: true}}"), &c),
        [0, 1, 2]
    );
    let refused = profile(&[&format!("{limit}}}")]).run(&ask(), &c, &mut rng(1));
    assert_eq!(
        refused.unwrap_err(),
        NoEndpoint::AllFiltered {
            filter: "utilization-filter".to_owned()
        }
    );
}

#[test]
fn a_removed_row_does_not_stretch_the_others() {
    let profile = profile(&[
        "utilization-filter: {conditions: [{metric: kv-cache-utilization, maxValue: 0.5}]}",
        "queue-scorer",
    ]);
    let mut candidates = idle(3);
    candidates.queue_requests = vec![100.0, 2.0, 1.0];
    candidates.kv_usage = vec![0.9, 0.0, 0.0];
    assert_eq!(totals(&profile, &candidates), [0.0, 0.0, 1.0]);
}

#[test]
fn reasons_are_told_in_words() {
    let mut candidates = documented_state();
    candidates.matched_tokens = vec![1536.0, 100.0, 0.0];
    candidates.matched_blocks = vec![7.5, 1.0, 0.0];
    let decision = explained(&Profile::default_profile(), &candidates);
    assert_eq!(
        decision.words(2048.0),
        "holds 1,536 of 2,048 prompt tokens (0.75 × 3.0); 2 waiting (0.00 × 1.0); KV cache 40 % used (0.60 × 1.0); \
         total 2.85; preferred over e1 (2.10) because of 1.95 more from prefix-cache-scorer, \
         1.00 less from queue-scorer, 0.20 less from kv-cache-utilization-scorer"
    );
    let alone = Profile::default_profile()
        .run(&ask(), &candidates, &mut rng(1))
        .unwrap();
    assert_eq!(alone.reasons.len(), 1, "the winner's only, unless asked");
    assert!(alone.words(2048.0).ends_with("total 2.85"));
    let equal = explained(&preset("round-robin"), &idle(2));
    assert!(
        equal
            .words(0.0)
            .starts_with("nothing is scored; equal to e")
    );
    candidates.queued_tokens = vec![20_000.0, 0.0, 0.0];
    let decision = explained(&Profile::default_profile(), &candidates);
    let words = scheduler::explain_words(&decision.reasons[0], 2048.0, None);
    assert!(
        words.starts_with("removed by overload-guard: 2000 ms of prefill queued"),
        "{words}"
    );
}

#[test]
fn no_candidates_is_an_error_not_a_panic() {
    let none = Profile::default_profile().run(&ask(), &idle(0), &mut rng(1));
    assert_eq!(none.unwrap_err(), NoEndpoint::Exhausted);
}
