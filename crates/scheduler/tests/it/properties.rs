//! What holds whatever the figures are?

use proptest::prelude::*;
use scheduler::{Ask, Candidates, Decision, Document, Profile, SchedulingConfig, compile};

use crate::rows::{idle, rng};

/// Every filter that never refuses, every scorer, one picker.
const EVERYTHING: &str = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: overload-guard
- {type: prefix-cache-affinity-filter, parameters: {explorationProbability: 0.5}}
- {type: utilization-filter, parameters: {fallbackOnEmpty: true, conditions: [{metric: active-requests, maxValue: 3}]}}
- {type: prefix-cache-scorer, parameters: {matchLengthWeight: 0.5}}
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: running-requests-size-scorer
- {type: active-request-scorer, parameters: {idleThreshold: 1, maxBusyScore: 0.5}}
- type: token-load-scorer
- type: no-hit-lru-scorer
- type: session-affinity-scorer
- type: session-affinity-filter
- type: header-based-testing-filter
- type: decode-filter
- type: load-aware-scorer
- type: lora-affinity-scorer
- type: precise-prefix-cache-scorer
- type: context-length-aware
- type: latency-cost-scorer
- {type: header-label-affinity-scorer, parameters: {headerName: x-tier, labelKey: tier}}
- {name: lowest-wait, type: endpoint-attribute-scorer, parameters: {attributeKey: waiting-queue, algorithm: {type: linear_lower_is_better}}}
- {name: rates, type: endpoint-attribute-scorer, parameters: {attributeKey: decode-ms-per-token, algorithm: {type: linear_higher_is_better}}}
- {name: fixed, type: endpoint-attribute-scorer, parameters: {attributeKey: kv-cache-utilization, algorithm: {type: linear_lower_is_better, normalization: {fixedRange: {min: 0, max: 1}}}}}
- type: PICKER
";

fn everything(picker: &str) -> Profile {
    let document = Document::parse(&EVERYTHING.replace("PICKER", picker)).expect("a document");
    compile(&SchedulingConfig::document(document), 0)
        .expect("a profile")
        .profile
}

fn figure() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => 0.0..10.0_f32,
        2 => (0_u16..4).prop_map(f32::from),
        1 => any::<f32>(),
        1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(-1.0), Just(f32::MAX)],
    ]
}

fn candidates() -> impl Strategy<Value = Candidates> {
    (1_usize..40).prop_flat_map(|n| {
        let columns = proptest::collection::vec(proptest::collection::vec(figure(), n), 10);
        let picks = proptest::collection::vec(0_u64..5, n);
        (columns, picks).prop_map(move |(columns, picks)| {
            let mut rows = idle(n);
            let mut columns = columns.into_iter();
            for column in [
                &mut rows.queue_requests,
                &mut rows.running_requests,
                &mut rows.kv_usage,
                &mut rows.active_requests,
                &mut rows.active_tokens,
                &mut rows.queued_tokens,
                &mut rows.matched_blocks,
                &mut rows.matched_tokens,
                &mut rows.prefill_ms_per_token,
                &mut rows.decode_ms_per_token,
            ] {
                *column = columns.next().expect("ten columns");
            }
            rows.last_pick = picks;
            rows
        })
    })
}

fn slots(decision: &Decision) -> Vec<usize> {
    decision
        .preferences
        .iter()
        .map(|slot| slot.index())
        .collect()
}

proptest! {
    #[test]
    fn scores_are_within_0_and_1_and_orders_are_of_kept_rows(
        candidates in candidates(),
        prompt_tokens in figure(),
        total_blocks in figure(),
        seed in any::<u64>(),
    ) {
        for picker in ["max-score-picker", "random-picker", "weighted-random-picker"] {
            let profile = everything(picker);
            let ask = Ask { prompt_tokens, total_blocks, explain: true, ..Ask::default() };
            let decision = profile.run(&ask, &candidates, &mut rng(seed)).expect("one always remains");
            for reason in &decision.reasons {
                prop_assert!(reason.total.is_finite());
                for score in &reason.scores {
                    prop_assert!((0.0..=1.0).contains(&score.score), "{score:?}");
                }
            }
            let kept: Vec<usize> =
                (0..candidates.len()).filter(|row| decision.reasons[*row].removed.is_none()).collect();
            let mut order = slots(&decision);
            prop_assert_eq!(order.len(), kept.len().min(Decision::MAX_PREFERENCES));
            prop_assert!(order.iter().all(|row| kept.contains(row)));
            order.sort_unstable();
            order.dedup();
            prop_assert_eq!(order.len(), decision.preferences.len());

            let again = everything(picker).run(&ask, &candidates, &mut rng(seed)).expect("the same");
            prop_assert_eq!(again.preferences, decision.preferences);
        }
    }

    /// The order of `max-score-picker` against one made the plain way.
    #[test]
    fn partial_selection_equals_sorting_by_tiers(
        usage in proptest::collection::vec((0_u16..60).prop_map(|x| f32::from(x) / 300.0), 1..120),
        picks in proptest::collection::vec(0_u64..1_000_000, 120),
    ) {
        let mut rows = idle(usage.len());
        rows.kv_usage.clone_from(&usage);
        rows.last_pick = (0..usage.len()).map(|row| picks[row] * 200 + row as u64).collect();
        let document = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: kv-cache-utilization-scorer}]";
        let config = SchedulingConfig::document(Document::parse(document).expect("a document"));
        let profile = compile(&config, 0).expect("a profile").profile;
        let decision = profile.run(&Ask::default(), &rows, &mut rng(1)).expect("one remains");

        let total = |row: usize| 1.0 - rows.kv_usage[row];
        let mut rest: Vec<usize> = (0..usage.len()).collect();
        let mut expected = Vec::new();
        while !rest.is_empty() {
            let best = rest.iter().map(|row| total(*row)).fold(0.0, f32::max);
            let (mut tier, others): (Vec<usize>, Vec<usize>) = rest.iter().partition(|row| total(**row) >= best - 0.01);
            tier.sort_unstable_by_key(|row| rows.last_pick[*row]);
            expected.extend(tier);
            rest = others;
        }
        expected.truncate(Decision::MAX_PREFERENCES);
        prop_assert_eq!(slots(&decision), expected);
    }

    #[test]
    fn the_same_load_more_everywhere_changes_nothing(
        queues in proptest::collection::vec((0_u16..50).prop_map(f32::from), 2..20),
        blocks in proptest::collection::vec((0_u16..10).prop_map(f32::from), 20),
        more in (0_u16..500).prop_map(f32::from),
        seed in any::<u64>(),
    ) {
        let profile = Profile::default_profile();
        let ask = Ask { prompt_tokens: 160.0, total_blocks: 10.0, ..Ask::default() };
        let mut rows = idle(queues.len());
        rows.queue_requests.clone_from(&queues);
        rows.queued_tokens = queues.iter().map(|q| q * 16.0).collect();
        rows.prefill_ms_per_token = vec![0.25; queues.len()];
        rows.matched_blocks = blocks[..queues.len()].to_vec();
        rows.matched_tokens = rows.matched_blocks.iter().map(|b| b * 16.0).collect();
        let before = profile.run(&ask, &rows, &mut rng(seed)).expect("one remains");
        for column in [&mut rows.queue_requests, &mut rows.queued_tokens] {
            column.iter_mut().for_each(|queue| *queue += more * 16.0);
        }
        let after = profile.run(&ask, &rows, &mut rng(seed)).expect("one remains");
        prop_assert_eq!(after.preferences, before.preferences);
    }

    /// A document is read or refused, whatever it holds; it never panics.
    #[test]
    fn no_text_panics(text in "(apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n)?[a-zA-Z:\\-\\[\\]{}, \n&*0-9.]{0,200}") {
        if let Ok(document) = Document::parse(&text) {
            let _ = compile(&SchedulingConfig::document(document), 0);
        }
    }
}
