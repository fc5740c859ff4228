//! What becomes of the documents people run llm-d with?
//!
//! Each routes, and differently from the default where its own plugins say so.

use std::sync::Arc;

use scheduler::{
    AdapterFit, Ask, Candidates, Compiled, ConfigError, Document, Fairness, Forecast, Profile,
    SchedulingConfig, Slo, compile,
};

use crate::rows::{ask, idle, rng};

macro_rules! llm_d {
    ($name:literal) => {
        include_str!(concat!("../documents/llm_d/", $name))
    };
}

fn compiled(text: &str) -> Result<Compiled, ConfigError> {
    compile(&SchedulingConfig::document(Document::parse(text)?), 7)
}

fn profile(text: &str) -> Profile {
    compiled(text).expect("accepted").profile
}

fn winner(profile: &Profile, ask: &Ask<'_>, candidates: &Candidates) -> usize {
    let decision = profile
        .run(ask, candidates, &mut rng(1))
        .expect("one remains");
    decision.preferences[0].index()
}

/// The document sends `ask` to `expected`, and what llm-d runs without a document sends it to `otherwise`.
fn check(text: &str, ask: &Ask<'_>, candidates: &Candidates, expected: usize, otherwise: usize) {
    let profile = profile(text);
    assert_eq!(winner(&profile, ask, candidates), expected, "{profile}");
    let default = self::profile(llm_d!("default.yaml"));
    assert_eq!(winner(&default, ask, candidates), otherwise, "default");
}

fn check_refused(text: &str, expected: &str) {
    let message = compiled(text).expect_err("refused").to_string();
    assert_eq!(message, expected.trim(), "\n{message}");
}

/// Endpoints with labels `key=value`.
fn labelled(labels: &[&[(&str, &str)]]) -> Candidates {
    let mut candidates = idle(labels.len());
    let mut infos = candidates.infos.to_vec();
    for (info, labels) in infos.iter_mut().zip(labels) {
        let labels = labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        info.labels = labels.collect();
    }
    candidates.infos = Arc::from(infos);
    candidates
}

/// `e0` holds the prompt and waits, `e1` is empty.
fn warm_and_busy(matched: f32, waiting: f32) -> Candidates {
    let mut candidates = idle(2);
    candidates.matched_blocks = vec![matched, 0.0];
    candidates.matched_tokens = vec![matched * 100.0, 0.0];
    candidates.queue_requests = vec![waiting, 0.0];
    candidates
}

#[test]
fn dumps_of_them_compile_to_themselves() {
    for text in [
        llm_d!("precise.yaml"),
        llm_d!("lora.yaml"),
        llm_d!("session.yaml"),
        llm_d!("data_parallel.yaml"),
        llm_d!("label_filters.yaml"),
        llm_d!("prefill_decode.yaml"),
        llm_d!("flow_control.yaml"),
        llm_d!("latency.yaml"),
    ] {
        let first = compiled(text).expect("accepted");
        let again = compiled(&first.dump()).expect("a dump is a document");
        assert_eq!(again.effective, first.effective);
        assert_eq!(again.wiring, first.wiring);
        assert_eq!(again.profile.to_string(), first.profile.to_string());
    }
}

#[test]
fn the_default_weighs_prefix_3_against_queue_2() {
    let default = profile(llm_d!("default.yaml"));
    assert_eq!(winner(&default, &ask(), &warm_and_busy(8.0, 5.0)), 0);
    assert_eq!(winner(&default, &ask(), &warm_and_busy(5.0, 5.0)), 1);
}

#[test]
fn the_optimized_baseline_sticks_where_the_default_leaves() {
    let text = llm_d!("optimized_baseline.yaml");
    let mut candidates = warm_and_busy(9.0, 5.0);
    candidates.kv_usage = vec![0.9, 0.0];
    check(text, &ask(), &candidates, 0, 1);
    // 20,000 tokens a second: 400,000 in flight are 20 s, over the 18 s it may be slower.
    candidates.active_tokens = vec![400_000.0, 0.0];
    check(text, &ask(), &candidates, 1, 1);
}

#[test]
fn precise_counts_our_requests_instead_of_the_engines_queue() {
    let text = llm_d!("precise.yaml");
    let mut candidates = warm_and_busy(5.0, 0.0);
    candidates.active_requests = vec![4.0, 0.0];
    check(text, &ask(), &candidates, 1, 0);
    let compiled = compiled(text).expect("accepted");
    assert_eq!(compiled.wiring.prefix.block_size_tokens, 64);
    assert!(
        compiled
            .notes
            .iter()
            .any(|note| note.contains("`kv_events`"))
    );
    let both = text.replace(
        "- {type: single",
        "- {type: approx-prefix-cache-producer}\n- {type: single",
    );
    let both = self::compiled(&both).expect("accepted");
    assert_eq!(both.wiring.prefix.block_size_tokens, 64);
    assert_eq!(
        both.notes[1],
        "approx-prefix-cache-producer and precise-prefix-cache-producer read the same matches here; the block size of the last, precise-prefix-cache-producer, counts"
    );
    let wrapper = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {type: precise-prefix-cache-scorer, parameters: {tokenProcessorConfig: {blockSizeTokens: 32}}}";
    let compiled = self::compiled(wrapper).expect("accepted");
    assert_eq!(compiled.wiring.prefix.block_size_tokens, 32);
    assert_eq!(
        winner(&compiled.profile, &ask(), &warm_and_busy(1.0, 5.0)),
        0
    );
}

/// Two endpoints that prefill, two that decode, and one without a role.
fn roles() -> Candidates {
    let role = |role| [("llm-d.ai/role", role)];
    let (prefill, decode) = (role("prefill"), role("decode"));
    labelled(&[&prefill, &prefill, &decode, &decode, &[]])
}

#[test]
fn prefill_goes_beside_decode_where_enough_is_left_to_compute() {
    let text = llm_d!("prefill_decode.yaml");
    let profile = profile(text);
    let mut candidates = roles();
    candidates.matched_blocks = vec![0.0, 6.0, 0.0, 0.0, 0.0];
    candidates.queue_requests = vec![0.0, 0.0, 3.0, 1.0, 2.0];
    // Where it decodes: the shortest queue among those that do. The default would take the cached one.
    check(text, &ask(), &candidates, 3, 1);
    let decode = winner(&profile, &ask(), &candidates);
    let [stage] = profile.stages() else {
        panic!("one stage")
    };
    let beside = stage.pick(&ask(), &candidates, decode, &mut rng(1));
    assert_eq!(beside.slot.map(|slot| slot.index()), Some(1));
    assert_eq!(
        beside.words,
        "prefix-based-pd-decider: 1000 of 1000 prompt tokens are not cached, no less than 512"
    );
    assert_eq!(stage.kind().header(), "x-prefiller-host-port");
    // Half of it is held where it decodes: alone.
    candidates.matched_tokens = vec![0.0, 0.0, 0.0, 600.0, 0.0];
    let beside = stage.pick(&ask(), &candidates, decode, &mut rng(1));
    assert_eq!(
        (beside.slot, beside.words.as_str()),
        (
            None,
            "prefix-based-pd-decider: 400 of 1000 prompt tokens are not cached, less than 512"
        )
    );
    // Nobody prefills: alone.
    let decode_only = [("llm-d.ai/role", "decode")];
    let candidates = labelled(&[&decode_only, &decode_only]);
    let beside = stage.pick(&ask(), &candidates, 0, &mut rng(1));
    assert_eq!(
        (beside.slot, beside.words.as_str()),
        (
            None,
            "no prefill endpoint: filter prefill-filter removed every candidate"
        )
    );
}

#[test]
fn flow_control_bands_and_turns() {
    let compiled = compiled(llm_d!("flow_control.yaml")).expect("accepted");
    let flow = compiled.wiring.flow.expect("requests wait");
    assert_eq!(flow.max_requests, Some(1000));
    let of = |priority: i32| {
        let band = flow.band(priority);
        (band.priority, band.fairness, band.max_requests)
    };
    assert_eq!(of(10), (10, Fairness::RoundRobin, 5000));
    assert_eq!(of(7), (0, Fairness::GlobalStrict, 5000));
    assert_eq!(of(-3), (-1, Fairness::GlobalStrict, 5000));
    // Full by the default detector: whoever has priority below 0 waits, and is not turned away.
    let mut full = idle(2);
    full.queue_requests = vec![9.0, 9.0];
    let low = Ask {
        priority: -1,
        ..ask()
    };
    assert!(compiled.profile.admit(&low, &full, &mut rng(1)).is_ok());
    let default = profile(llm_d!("default.yaml"));
    let refused = default.admit(&low, &full, &mut rng(1)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "saturation does not admit the request: priority -1, and the pool's saturation is 1.80"
    );
    assert!(default.admit(&ask(), &full, &mut rng(1)).is_ok());
}

/// `e0` holds the prompt and is slow, `e1` fast, `e2` between; all are at work.
fn learned() -> Candidates {
    let mut candidates = idle(3);
    candidates.matched_blocks = vec![5.0, 0.0, 0.0];
    candidates.active_requests = vec![2.0; 3];
    candidates.kv_usage = vec![0.5; 3];
    let expect = |wait_ms, token_ms| Forecast {
        wait_ms,
        prefill_ms: 100.0,
        token_ms,
        learned: true,
        ..Forecast::default()
    };
    candidates.forecasts = vec![expect(900.0, 30.0), expect(0.0, 10.0), expect(300.0, 20.0)];
    candidates
}

/// How often each of three wins among 300.
fn wins(profile: &Profile, ask: &Ask<'_>, candidates: &Candidates) -> [u32; 3] {
    let (mut rng, mut wins) = (rng(3), [0; 3]);
    for _ in 0..300 {
        let decision = profile.run(ask, candidates, &mut rng).expect("one remains");
        wins[decision.preferences[0].index()] += 1;
    }
    wins
}

#[test]
fn latency_goes_by_what_is_expected() {
    let text = llm_d!("latency.yaml");
    let profile = profile(text);
    assert!(profile.reads_forecasts());
    assert_eq!(
        profile.headers(),
        ["x-llm-d-slo-tpot-ms", "x-llm-d-slo-ttft-ms"]
    );
    let mut candidates = learned();
    // Nothing asked for: the fastest is drawn most, where the default sticks to the cached one.
    let plain = wins(&profile, &ask(), &candidates);
    assert!(plain[1] > plain[2] && plain[2] > plain[0], "{plain:?}");
    assert_eq!(
        winner(&self::profile(llm_d!("default.yaml")), &ask(), &candidates),
        0
    );
    let slo = |ttft: f32, tpot: f32, priority| Ask {
        slo: Slo {
            ttft_ms: Some(ttft),
            tpot_ms: Some(tpot),
        },
        priority,
        ..ask()
    };
    // Two keep it, and the one that only just does is drawn most; the third is explored now and then.
    let asked = wins(&profile, &slo(450.0, 25.0, 0), &candidates);
    assert!(asked[2] > asked[1] && asked[0] < 15, "{asked:?}");
    // Sticky by the expected time: all of it is cached where it is 900 ms slower, less than 5,000.
    candidates.matched_blocks[0] = 10.0;
    assert_eq!(wins(&profile, &ask(), &candidates), [300, 0, 0]);
    candidates.forecasts[0].wait_ms = 9_000.0;
    let left = wins(&profile, &ask(), &candidates);
    assert!(left[0] < 15, "the least chance: {left:?}");
}

#[test]
fn who_cannot_be_answered_in_time_is_turned_away_if_it_may_be() {
    let profile = profile(llm_d!("latency.yaml"));
    let check = |priority, ttft_ms, edit: fn(&mut Candidates), admitted: bool| {
        let mut candidates = learned();
        edit(&mut candidates);
        let slo = Slo {
            ttft_ms,
            tpot_ms: None,
        };
        let ask = Ask {
            slo,
            priority,
            ..ask()
        };
        let result = profile.admit(&ask, &candidates, &mut rng(1));
        assert_eq!(
            result.is_ok(),
            admitted,
            "{priority} {ttft_ms:?} {result:?}"
        );
    };
    check(-1, Some(50.0), |_| {}, false);
    check(0, Some(50.0), |_| {}, true);
    check(-1, Some(150.0), |_| {}, true);
    check(-1, None, |_| {}, true);
    check(-1, Some(50.0), |c| c.active_requests[2] = 0.0, true);
    check(-1, Some(50.0), |c| c.kv_usage[0] = 0.01, true);
    let unlearned = |c: &mut Candidates| c.forecasts[1].learned = false;
    check(-1, Some(150.0), unlearned, false);
}

#[test]
fn an_adapter_goes_where_it_runs() {
    let text = llm_d!("lora.yaml");
    let mut candidates = warm_and_busy(0.0, 3.0);
    candidates.adapters = vec![AdapterFit::Running, AdapterFit::Waiting];
    check(text, &ask(), &candidates, 0, 1);
    candidates.adapters = vec![AdapterFit::Running, AdapterFit::FreeSlot];
    check(text, &ask(), &candidates, 1, 1);
    assert!(profile(text).reads_adapters());
    assert!(!profile(llm_d!("default.yaml")).reads_adapters());
}

#[test]
fn a_session_stays_while_its_endpoint_is_a_candidate() {
    let text = llm_d!("session.yaml");
    let candidates = warm_and_busy(0.0, 9.0);
    // base64 of `e0` and of an endpoint that has left.
    let here = [("x-session-token", "ZTA=")];
    let gone = [("x-session-token", "ZTk=")];
    let of = |headers| Ask { headers, ..ask() };
    check(text, &of(&here), &candidates, 0, 1);
    check(text, &of(&gone), &candidates, 1, 1);
    let profile = profile(text);
    assert_eq!(profile.headers(), ["x-session-token"]);
    let told = profile.response_headers(candidates.info(0));
    assert_eq!(told, [("x-session-token".to_owned(), "ZTA=".to_owned())]);
}

#[test]
fn data_parallel_ranks_are_endpoints() {
    let text = llm_d!("data_parallel.yaml");
    let mut candidates = warm_and_busy(9.0, 0.0);
    candidates.active_requests = vec![3.0, 1.0];
    check(text, &ask(), &candidates, 1, 0);
    let notes = compiled(text).expect("accepted").notes;
    assert!(notes[0].contains("every rank is an endpoint"), "{notes:?}");
}

#[test]
fn one_profile_handler_is_enough() {
    let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {type: single-profile-handler}\n- {type: data-parallel-profile-handler, parameters: {primaryPort: 8000}}";
    check_refused(
        text,
        "line 5, plugins[1].parameters.primaryPort: not honoured: requests go to the port of the rank's own endpoint; remove it",
    );
    check_refused(
        &text.replace(", parameters: {primaryPort: 8000}", ""),
        "line 5, plugins: `data-parallel-profile-handler` is a second profile handler; keep one",
    );
}

#[test]
fn labels_narrow_and_attract() {
    let small = ("llm-d.ai/model", "small");
    let mut candidates = labelled(&[
        &[small, ("llm-d.ai/role", "prefill")],
        &[small, ("canary", "yes")],
        &[("llm-d.ai/model", "large")],
        &[small, ("llm-d.ai/role", "decode"), ("tier", "gold")],
        &[small],
    ]);
    candidates.queue_requests = vec![0.0, 5.0, 5.0, 7.0, 6.0];
    let gold = [("x-tier", "gold")];
    let text = llm_d!("label_filters.yaml");
    check(
        text,
        &Ask {
            headers: &gold,
            ..ask()
        },
        &candidates,
        3,
        0,
    );
    check(text, &ask(), &candidates, 4, 0);
    let explain = Ask {
        explain: true,
        ..ask()
    };
    let decision = profile(text)
        .run(&explain, &candidates, &mut rng(1))
        .expect("two remain");
    let why = decision
        .reasons
        .iter()
        .filter_map(|r| Some(r.removed.as_ref()?.1.as_str()));
    assert_eq!(
        why.collect::<Vec<_>>(),
        [
            "label `llm-d.ai/role` is `prefill`",
            "label `canary` is `yes`",
            "label `llm-d.ai/model` is `large`"
        ]
    );
}

#[test]
fn a_role_narrows_to_those_who_have_it() {
    let role = |role| [("llm-d.ai/role", role)];
    let roles = ["decode", "prefill", "encode", "encode-prefill", "both"].map(role);
    let labels: Vec<&[(&str, &str)]> = roles.iter().map(|role| role.as_slice()).collect();
    let mut labels = labels;
    labels.push(&[]);
    let candidates = labelled(&labels);
    for (filter, expected) in [
        ("decode-filter", vec!["e0", "e4", "e5"]),
        ("prefill-filter", vec!["e1", "e3", "e4"]),
        ("encode-filter", vec!["e2", "e3"]),
    ] {
        let text = format!(
            "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {{type: {filter}}}\n- {{type: queue-scorer}}"
        );
        let explain = Ask {
            explain: true,
            ..ask()
        };
        let decision = profile(&text).run(&explain, &candidates, &mut rng(1));
        let decision = decision.expect("some remain");
        let kept = decision.reasons.iter().filter(|r| r.removed.is_none());
        let mut kept: Vec<&str> = kept.map(|r| &*r.name).collect();
        kept.sort_unstable();
        assert_eq!(kept, expected, "{filter}");
    }
}

#[test]
fn a_request_may_name_its_endpoints() {
    let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {type: header-based-testing-filter}\n- {type: queue-scorer}";
    let named = [("test-epp-endpoint-selection", "10.0.0.7, 10.0.0.0")];
    check(
        text,
        &Ask {
            headers: &named,
            ..ask()
        },
        &warm_and_busy(0.0, 4.0),
        0,
        1,
    );
}

#[test]
fn lengths_and_figures_are_compared() {
    let head = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- ";
    let range = "llm-d.ai/context-length-range";
    let candidates = labelled(&[&[(range, "4096-32768")], &[(range, "0-4096")], &[]]);
    let by_length =
        format!("{head}{{type: context-length-aware, parameters: {{enableFiltering: true}}}}");
    let profile = self::profile(&by_length);
    assert_eq!(winner(&profile, &ask(), &candidates), 1);
    let long = Ask {
        prompt_tokens: 9000.0,
        ..ask()
    };
    assert_eq!(winner(&profile, &long, &candidates), 0);

    let by_rate = format!(
        "{head}{{type: endpoint-attribute-scorer, parameters: {{attributeKey: prefill-ms-per-token, algorithm: {{type: linear_lower_is_better}}}}}}"
    );
    let mut rates = idle(3);
    // 0 is not known yet.
    rates.prefill_ms_per_token = vec![0.3, 0.1, 0.0];
    assert_eq!(winner(&self::profile(&by_rate), &ask(), &rates), 1);
    check_refused(
        &by_rate.replace("prefill-ms-per-token", "gpu-temperature"),
        "line 4, plugins[0].parameters.attributeKey: nobody produces `gpu-temperature`; known: `waiting-queue`, `running-requests`, `kv-cache-utilization`, `active-requests`, `active-tokens`, `queued-tokens`, `prefill-ms-per-token`, `decode-ms-per-token`",
    );
    let by_load = format!("{head}{{type: load-aware-scorer, parameters: {{threshold: 10}}}}");
    assert_eq!(
        winner(&self::profile(&by_load), &ask(), &warm_and_busy(9.0, 4.0)),
        1
    );
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let check = |plugin: &str, expected: &str| {
        let text = format!(
            "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- {plugin}"
        );
        check_refused(&text, &format!("line 4, plugins[0].{expected}"));
    };
    check(
        "{type: precise-prefix-cache-scorer, parameters: {kvEventsConfig: {topicFilter: kv}}}",
        "parameters.kvEventsConfig: not honoured: where cache events come from is the pool's `kv_events` in prefixgate.yaml",
    );
    check(
        "{type: precise-prefix-cache-producer, parameters: {speculativeIndexing: false}}",
        "parameters.speculativeIndexing: not honoured: what was sent always counts until the engine's own word arrives; remove it",
    );
    check(
        "{type: header-label-affinity-scorer, parameters: {headerName: x-tier}}",
        "parameters.labelKey: names the label to compare",
    );
    check(
        "{type: label-selector-filter}",
        "parameters.matchLabels: needs at least one label, or `matchExpressions`",
    );
    check(
        "{type: by-label, parameters: {label: tier}}",
        "parameters.validValues: needs at least one value, or `allowsNoLabel`",
    );
}
