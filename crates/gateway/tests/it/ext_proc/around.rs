//! What do documents change that split requests, expect times or let requests wait?

use super::*;
use crate::support::documented;

const PREFILL_DECODE: &str =
    include_str!("../../../../scheduler/tests/documents/llm_d/prefill_decode.yaml");
const LATENCY: &str = include_str!("../../../../scheduler/tests/documents/llm_d/latency.yaml");
const FLOW_CONTROL: &str =
    include_str!("../../../../scheduler/tests/documents/llm_d/flow_control.yaml");

const P1: &str = "127.0.0.1:2001";
const P2: &str = "127.0.0.1:2002";
const D1: &str = "127.0.0.1:2003";
const D2: &str = "127.0.0.1:2004";

async fn documented_picker(document: &str, endpoints: &[(&str, &str)]) -> Deciding {
    let endpoints: Vec<(SocketAddr, &str)> = endpoints
        .iter()
        .map(|(address, role)| (address.parse().unwrap(), *role))
        .collect();
    let clock = Clock::start();
    let route = documented(document, &endpoints, &clock);
    let config = GatewayConfig {
        objectives: [("batch".to_owned(), -1), ("vip".to_owned(), 10)].into(),
        ..GatewayConfig::default()
    };
    deciding_for(route, config, clock, PickerConfig::default()).await
}

/// A completion of about `tokens` tokens, with these headers beside the usual.
async fn asked(stream: &Stream, tokens: usize, extra: &[(&str, &str)]) {
    let mut pairs = vec![(":method", "POST"), (":path", "/v1/completions")];
    pairs.extend(extra);
    let begin = first(headers(&pairs, false), Mode::FullDuplex, Mode::FullDuplex);
    stream.say(begin).await;
    let text = "four".repeat(tokens);
    let body = format!(r#"{{"model":"m","stream":true,"prompt":"{text}"}}"#);
    stream.say(request_body(body.as_bytes(), true)).await;
}

/// Destination and headers of the answer.
async fn placed(stream: &mut Stream) -> (String, ext::HeaderMutation) {
    let decided = stream.hear().await.unwrap();
    let mut endpoints = destination(&decided);
    let Some(Heard::RequestHeaders(response)) = decided.response else {
        panic!("no destination")
    };
    stream.echo().await;
    let mutation = response.response.unwrap().header_mutation.unwrap();
    (endpoints.remove(0), mutation)
}

const PREFILLER: &str = "x-prefiller-host-port";

#[tokio::test]
async fn a_long_prompt_is_prefilled_elsewhere_and_the_decoder_is_told() {
    let roles = [
        (P1, "prefill"),
        (P2, "prefill"),
        (D1, "decode"),
        (D2, "decode"),
    ];
    let deciding = documented_picker(PREFILL_DECODE, &roles).await;
    let mut stream = deciding.open().await;
    // The client's own word counts for nothing.
    asked(&stream, 2000, &[(PREFILLER, "6.6.6.6:6")]).await;
    let (decode, mutation) = placed(&mut stream).await;
    let prefill = set(&mutation, PREFILLER).expect("who prefills");
    assert!([D1, D2].contains(&decode.as_str()), "{decode}");
    assert!([P1, P2].contains(&prefill.as_str()), "{prefill}");
    assert!(!mutation.remove_headers.iter().any(|name| name == PREFILLER));
    assert_eq!(deciding.active_at(&decode), 1);
    assert_eq!(deciding.active_at(&prefill), 1);
    stream.say(good("text/event-stream", false)).await;
    stream.answer().await;
    assert_eq!(deciding.active_at(&prefill), 1, "headers are no first byte");
    stream.say(response_body(b"data: {}\n\n", false)).await;
    stream.answer().await;
    assert_eq!(deciding.active_at(&prefill), 0, "prefill is over");
    assert_eq!(deciding.active_at(&decode), 1);
    stream.say(response_body(b"data: [DONE]\n\n", true)).await;
    stream.answer().await;
    assert_eq!(deciding.active(), 0);
    // A short one is done where it is decoded, and a client's header ends here.
    let mut stream = deciding.open().await;
    asked(&stream, 100, &[(PREFILLER, "6.6.6.6:6")]).await;
    let (_, mutation) = placed(&mut stream).await;
    assert_eq!(set(&mutation, PREFILLER), None);
    assert!(mutation.remove_headers.iter().any(|name| name == PREFILLER));
    assert_eq!(deciding.active(), 1);
    drop(stream);
    deciding.idle().await;
    // A client that leaves gives back both.
    let mut stream = deciding.open().await;
    asked(&stream, 3000, &[]).await;
    placed(&mut stream).await;
    assert_eq!(deciding.active(), 2);
    drop(stream);
    deciding.idle().await;
}

#[tokio::test]
async fn without_anyone_who_prefills_the_decoder_does() {
    let deciding = documented_picker(PREFILL_DECODE, &[(D1, "decode")]).await;
    let mut stream = deciding.open().await;
    asked(&stream, 2000, &[]).await;
    let (decode, mutation) = placed(&mut stream).await;
    assert_eq!((decode.as_str(), set(&mutation, PREFILLER)), (D1, None));
    assert_eq!(deciding.active(), 1);
}

#[tokio::test]
async fn who_served_keeps_the_prefiller() {
    let roles = [(P1, "prefill"), (D1, "decode"), (D2, "decode")];
    let deciding = documented_picker(PREFILL_DECODE, &roles).await;
    let mut stream = deciding.open().await;
    asked(&stream, 2000, &[]).await;
    let (meant, _) = placed(&mut stream).await;
    let other = if meant == D1 { D2 } else { D1 };
    let mut answered = good("text/event-stream", false);
    let served = Value {
        kind: Some(Kind::StringValue(other.to_owned())),
    };
    let key = "x-gateway-destination-endpoint-served".to_owned();
    let lb = Struct {
        fields: [(key, served)].into(),
    };
    answered.metadata_context = Some(core::Metadata {
        filter_metadata: [("envoy.lb".to_owned(), lb)].into(),
        ..core::Metadata::default()
    });
    stream.say(answered).await;
    stream.answer().await;
    let seen = [meant.as_str(), other, P1].map(|name| deciding.active_at(name));
    assert_eq!(seen, [0, 1, 1]);
    drop(stream);
    deciding.idle().await;
}

#[tokio::test]
async fn only_where_it_is_held_when_the_request_says_so() {
    let deciding = documented_picker(PREFILL_DECODE, &[(P1, "prefill"), (D1, "decode")]).await;
    let prefer = [("prefer", "respond-async, If-Available")];
    let mut stream = deciding.open().await;
    asked(&stream, 2000, &prefer).await;
    let (status, reason, text) = immediate(stream.answer().await);
    assert_eq!((status, reason), (412, None), "{text}");
    assert_eq!(deciding.active(), 0, "nothing stays booked");
    let mut stream = deciding.open().await;
    asked(&stream, 2000, &[]).await;
    placed(&mut stream).await;
    stream.say(good("application/json", true)).await;
    stream.answer().await;
    let mut stream = deciding.open().await;
    asked(&stream, 2000, &prefer).await;
    assert_eq!(placed(&mut stream).await.0, D1);
}

#[tokio::test]
async fn each_stage_keeps_its_session() {
    let document = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: prefill-filter}
- {type: decode-filter}
- {name: prefill-session, type: session-affinity-filter, parameters: {headerName: x-session-token-prefill, profileName: prefill}}
- {name: decode-session, type: session-affinity-filter, parameters: {profileName: decode}}
- {type: random-picker}
- {type: always-disagg-pd-decider}
- {type: disagg-profile-handler, parameters: {deciders: {prefill: always-disagg-pd-decider}}}
schedulingProfiles:
- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: prefill-session}, {pluginRef: random-picker}]}
- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: decode-session}, {pluginRef: random-picker}]}";
    let roles = [
        (P1, "prefill"),
        (P2, "prefill"),
        (D1, "decode"),
        (D2, "decode"),
    ];
    let deciding = documented_picker(document, &roles).await;
    let mut stream = deciding.open().await;
    asked(&stream, 10, &[]).await;
    let (decode, mutation) = placed(&mut stream).await;
    let prefill = set(&mutation, PREFILLER).unwrap();
    stream.say(good("application/json", true)).await;
    let Heard::ResponseHeaders(answer) = stream.answer().await else {
        panic!("no headers")
    };
    let told = answer.response.unwrap().header_mutation.unwrap();
    let token = |name| set(&told, name).unwrap_or_else(|| panic!("no {name}"));
    let (here, there) = (token("x-session-token"), token("x-session-token-prefill"));
    for _ in 0..5 {
        let mut stream = deciding.open().await;
        let tokens = [
            ("x-session-token", here.as_str()),
            ("x-session-token-prefill", there.as_str()),
        ];
        asked(&stream, 10, &tokens).await;
        let (again, mutation) = placed(&mut stream).await;
        assert_eq!(
            (again, set(&mutation, PREFILLER).unwrap()),
            (decode.clone(), prefill.clone())
        );
    }
}

#[tokio::test]
async fn pictures_are_encoded_elsewhere() {
    let document = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: disagg-headers-handler}
- {type: encode-filter}
- {type: decode-filter}
- {type: always-disagg-multimodal-decider}
- {type: disagg-profile-handler, parameters: {deciders: {encode: always-disagg-multimodal-decider}}}
schedulingProfiles:
- {name: encode, plugins: [{pluginRef: encode-filter}]}
- {name: decode, plugins: [{pluginRef: decode-filter}]}";
    let deciding = documented_picker(document, &[(P1, "encode"), (D1, "decode")]).await;
    let picture = r#"{"type":"image_url","image_url":{"url":"http://x/y.png"}}"#;
    let words = r#"{"type":"text","text":"image_url"}"#;
    for (part, expected) in [(picture, Some(P1)), (words, None)] {
        let mut stream = deciding.open().await;
        let chat = first(post("/v1/chat/completions"), Mode::FullDuplex, Mode::None);
        stream.say(chat).await;
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}"#);
        stream.say(request_body(body.as_bytes(), true)).await;
        let (_, mutation) = placed(&mut stream).await;
        let encoder = set(&mutation, "x-encoder-hosts-ports");
        assert_eq!(encoder.as_deref(), expected);
    }
}

/// One prompt took `seconds` to its first token and is still there; the cache is in use.
fn teach(deciding: &Deciding, seconds: u64) -> fleet::Reservation {
    let fleet = &deciding.fleet;
    let slot = fleet.view().endpoints[0].slot;
    let metrics = engine_api::metrics::EngineMetrics {
        waiting: Some(0),
        running: Some(1),
        kv_usage: Some(0.5),
        ..engine_api::metrics::EngineMetrics::default()
    };
    let scraped = fleet::Event::Scrape {
        slot,
        mark: fleet.scrape_begin(slot),
        result: Ok(metrics),
    };
    fleet.apply(scraped, Duration::ZERO);
    let request = fleet::Request {
        stream: true,
        prompt_tokens: Some(100),
        ..fleet::Request::default()
    };
    let mut held = fleet.reserve(&request, slot, Duration::ZERO).unwrap();
    fleet.first_byte(&mut held, Duration::from_secs(seconds));
    held
}

#[tokio::test]
async fn low_priority_that_would_miss_its_time_is_turned_away() {
    let deciding = documented_picker(LATENCY, &[(D1, "")]).await;
    let _held = teach(&deciding, 8);
    let objective = ("x-llm-d-inference-objective", "batch");
    let older = ("x-gateway-inference-objective", "batch");
    let tight = ("x-llm-d-slo-ttft-ms", "1");
    let cases: [(&[(&str, &str)], bool); 6] = [
        (&[objective, tight], false),
        (&[older, ("x-slo-ttft-ms", "1")], false),
        (&[tight], true),
        (&[objective], true),
        (&[objective, ("x-llm-d-slo-ttft-ms", "3600000")], true),
        (&[("x-llm-d-inference-objective", "unknown"), tight], true),
    ];
    for (extra, admitted) in cases {
        let mut stream = deciding.open().await;
        asked(&stream, 2000, extra).await;
        if admitted {
            placed(&mut stream).await;
            continue;
        }
        let (status, reason, text) = immediate(stream.answer().await);
        assert_eq!(
            (status, reason.as_deref()),
            (429, Some("rejected-saturated")),
            "{extra:?} {text}"
        );
        assert!(
            text.contains("latency-slo-admitter does not admit"),
            "{text}"
        );
    }
}

/// `flow_control.yaml` with room for one request at each endpoint.
fn one_at_a_time(more: &str) -> String {
    FLOW_CONTROL
        .replace(
            "- {type: queue-scorer}",
            "- {type: queue-scorer}\n- {type: concurrency-detector, parameters: {maxConcurrency: 1}}",
        )
        .replace(
            "flowControl:\n",
            &format!("flowControl:\n  saturationDetector: {{pluginRef: concurrency-detector}}\n{more}"),
        )
}

async fn over(mut stream: Stream) {
    stream.say(good("application/json", true)).await;
    stream.answer().await;
}

/// Waits until `count` requests wait.
async fn waiting(deciding: &Deciding, count: u64) {
    let page = || {
        let address = deciding.metrics;
        async move { crate::support::send(address, "GET", "/metrics", "", b"").await }
    };
    let held = async {
        loop {
            let answer = page().await;
            let lines = answer.text().lines();
            let sizes = lines
                .filter(|line| line.starts_with("llm_d_epp_flow_control_queue_size{"))
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
            if sizes.sum::<u64>() == count {
                return;
            }
        }
    };
    let held = tokio::time::timeout(Duration::from_secs(5), held);
    held.await.expect("they wait");
}

#[tokio::test]
async fn a_full_pool_lets_requests_wait_for_an_end() {
    let deciding = documented_picker(&one_at_a_time(""), &[(D1, "")]).await;
    let mut running = deciding.open().await;
    asked(&running, 10, &[]).await;
    placed(&mut running).await;
    let fairness = "x-llm-d-inference-fairness-id";
    let objective = "x-llm-d-inference-objective";
    // In this order they come; in turns and by priority they go.
    let comers: [&[(&str, &str)]; 5] = [
        &[(objective, "batch")],
        &[(objective, "vip"), (fairness, "greedy")],
        &[(objective, "vip"), (fairness, "greedy")],
        &[(objective, "vip"), (fairness, "modest")],
        &[],
    ];
    let mut streams = Vec::new();
    for (at, extra) in comers.into_iter().enumerate() {
        let stream = deciding.open().await;
        asked(&stream, 10, extra).await;
        waiting(&deciding, at as u64 + 1).await;
        streams.push(Some(stream));
    }
    assert_eq!(deciding.active(), 1);
    // One leaves: nothing of it stays.
    drop(streams[2].take());
    waiting(&deciding, 4).await;
    for next in [1, 3, 4, 0] {
        over(running).await;
        running = streams[next].take().expect("it waits");
        placed(&mut running).await;
        assert_eq!(deciding.active(), 1);
    }
    over(running).await;
    deciding.idle().await;
    let page = crate::support::send(deciding.metrics, "GET", "/metrics", "", b"").await;
    for (outcome, count) in [("Dispatched", 5), ("EvictedContextCancelled", 1)] {
        let line = format!(
            "llm_d_epp_flow_control_requests_total{{outcome=\"{outcome}\",inference_pool=\"default\"}} {count}"
        );
        assert!(page.text().contains(&line), "{line}\n{}", page.text());
    }
}

#[tokio::test]
async fn who_cannot_wait_is_told_why() {
    let check = async |more: &str, endpoints: &[(&str, &str)], expected: (i32, &str)| {
        let deciding = documented_picker(&one_at_a_time(more), endpoints).await;
        let mut running = deciding.open().await;
        if !endpoints.is_empty() {
            asked(&running, 10, &[]).await;
            placed(&mut running).await;
        }
        let mut stream = deciding.open().await;
        asked(&stream, 10, &[]).await;
        let (status, reason, _) = immediate(stream.answer().await);
        assert_eq!(
            (status, reason.as_deref()),
            (expected.0, Some(expected.1)),
            "{more}"
        );
    };
    let one = [(D1, "")];
    let short = "  defaultRequestTTL: 20ms\n";
    check(short, &one, (429, "rejected-ttl-expired")).await;
    check(short, &[], (503, "rejected-no-endpoints")).await;
    let tiny = "  maxBytes: 10\n";
    check(tiny, &one, (429, "rejected-saturated")).await;
    check(tiny, &[], (503, "rejected-no-endpoints")).await;
}

#[tokio::test]
async fn a_pool_without_endpoints_is_waited_for() {
    let deciding = documented_picker(&one_at_a_time(""), &[(D1, "")]).await;
    let slot = deciding.fleet.view().endpoints[0].slot;
    let probed = |result: Result<(), String>| {
        let probe = fleet::Event::Probe { slot, result };
        deciding.fleet.apply(probe, Duration::ZERO);
    };
    probed(Err("down".to_owned()));
    probed(Err("down".to_owned()));
    let mut stream = deciding.open().await;
    asked(&stream, 10, &[]).await;
    waiting(&deciding, 1).await;
    probed(Ok(()));
    assert_eq!(placed(&mut stream).await.0, D1);
}
