use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use crate::support::{Rig, args, rig};

/// Longest wait for a message that must come.
const WITHIN: Duration = Duration::from_secs(20);

fn events_on(extra: &str) -> Rig {
    rig(&format!(
        r#"--time-scale 0 --kv-events-config {{"enable_kv_cache_events":true,"endpoint":"tcp://*:0"{extra}}}"#
    ))
}

async fn source(rig: &Rig) -> Value {
    rig.get("/kv_event_sources").await.json()["0"].clone()
}

/// Subscribes, and asks until the subscription is known to have arrived. Returns the sequence after the last seen.
async fn subscribe(rig: &Rig) -> (SubSocket, u64) {
    let mut socket = SubSocket::new();
    socket.subscribe("").await.unwrap();
    let endpoint = source(rig).await["endpoint"].as_str().unwrap().to_owned();
    socket.connect(&endpoint).await.unwrap();
    let mut next = 0;
    for number in 0..1000_u32 {
        ask(rig, vec![number; 16]).await;
        next += 1;
        let message = tokio::time::timeout(Duration::from_millis(20), socket.recv()).await;
        if let Ok(message) = message {
            let mut last = sequence(&message.unwrap());
            while last + 1 < next {
                last = sequence(&socket.recv().await.unwrap());
            }
            return (socket, next);
        }
    }
    panic!("a subscription never arrived");
}

async fn ask(rig: &Rig, prompt: Vec<u32>) {
    let answer = rig
        .post(
            "/v1/completions",
            json!({"prompt": prompt, "max_tokens": 1}),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn sequence(message: &ZmqMessage) -> u64 {
    assert_eq!(message.len(), 3, "topic, sequence, payload");
    u64::from_be_bytes(message.get(1).unwrap()[..].try_into().unwrap())
}

async fn receive(socket: &mut SubSocket) -> ZmqMessage {
    tokio::time::timeout(WITHIN, socket.recv())
        .await
        .expect("a message")
        .unwrap()
}

#[tokio::test]
async fn every_step_that_stores_is_one_message_and_can_be_replayed() {
    let rig = events_on(r#","replay_endpoint":"tcp://127.0.0.1:0","buffer_steps":3"#);
    let (mut socket, next) = subscribe(&rig).await;
    let mut payloads = Vec::new();
    for number in 0..5 {
        ask(
            &rig,
            (number * 100..number * 100 + 40)
                .map(|id| id + 5000)
                .collect(),
        )
        .await;
        let message = receive(&mut socket).await;
        assert_eq!(sequence(&message), next + u64::from(number));
        assert!(message.get(0).unwrap().is_empty(), "the default topic");
        payloads.push(message.get(2).unwrap().clone());
    }
    // Nothing new is nothing to say.
    ask(&rig, (5000..5040).collect()).await;
    let replay = source(&rig).await["replay_endpoint"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut dealer = DealerSocket::new();
    dealer.connect(&replay).await.unwrap();
    let mut request = ZmqMessage::from(Bytes::new());
    request.push_back(Bytes::copy_from_slice(&next.to_be_bytes()));
    dealer.send(request).await.unwrap();
    for number in 2..5 {
        let message = tokio::time::timeout(WITHIN, dealer.recv())
            .await
            .unwrap()
            .unwrap();
        let frames = message.into_vec();
        let expected = [
            Bytes::new(),
            Bytes::new(),
            Bytes::copy_from_slice(&(next + number).to_be_bytes()),
            payloads[number as usize].clone(),
        ];
        assert_eq!(frames, expected, "three are kept");
    }
    let end = tokio::time::timeout(WITHIN, dealer.recv())
        .await
        .unwrap()
        .unwrap();
    let expected = [
        Bytes::new(),
        Bytes::new(),
        Bytes::from_static(&[0xff; 8]),
        Bytes::new(),
    ];
    assert_eq!(end.into_vec(), expected);
}

#[tokio::test]
async fn a_new_engine_counts_from_zero() {
    for _ in 0..2 {
        let rig = events_on(r#","replay_endpoint":"tcp://127.0.0.1:0""#);
        ask(&rig, (0..16).collect()).await;
        let mut dealer = DealerSocket::new();
        let replay = source(&rig).await["replay_endpoint"]
            .as_str()
            .unwrap()
            .to_owned();
        dealer.connect(&replay).await.unwrap();
        let mut request = ZmqMessage::from(Bytes::new());
        request.push_back(Bytes::copy_from_slice(&[0; 8]));
        dealer.send(request).await.unwrap();
        let first = tokio::time::timeout(WITHIN, dealer.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&first.get(2).unwrap()[..], &[0; 8]);
    }
}

#[tokio::test]
async fn nothing_is_published_unless_asked_for() {
    for flags in [
        "",
        r#"--kv-events-config {"enable_kv_cache_events":false,"publisher":"zmq"}"#,
        r#"--kv-events-config {"enable_kv_cache_events":true,"publisher":"null"}"#,
    ] {
        assert_eq!(
            rig(flags).get("/kv_event_sources").await.json(),
            json!({}),
            "{flags}"
        );
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_had_end_the_start() {
    for (config, part) in [
        (
            r#"{"enable_kv_cache_events":true,"endpoint":"udp://*:1"}"#,
            "expected tcp://HOST:PORT",
        ),
        (
            r#"{"enable_kv_cache_events":true,"endpoint":"ipc:///no/such/folder/x"}"#,
            "cannot listen on ipc:///no/such/folder/x",
        ),
        (
            r#"{"enable_kv_cache_events":true,"endpoint":"tcp://*:0","replay_endpoint":"x"}"#,
            "replay_endpoint",
        ),
    ] {
        let error = engine::Engine::start(
            args(&format!("--kv-events-config {config}")),
            engine::Log::to(drop),
        )
        .unwrap_err();
        assert!(format!("{error:#}").contains(part), "{error:#}");
    }
}

#[tokio::test]
async fn the_cache_is_reset_in_dev_mode_only() {
    let reset = |rig: Rig| async move { rig.post("/reset_prefix_cache", "").await };
    assert_eq!(reset(rig("")).await.status, 404);
    let rig = rig("--server-dev-mode --enable-prompt-tokens-details");
    let cached = || async {
        let ask = json!({"prompt": vec![1; 40], "max_tokens": 1});
        let answer = rig.post("/v1/completions", ask).await.json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].clone()
    };
    assert_eq!((cached().await, cached().await), (json!(0), json!(32)));
    let answer = rig.post("/reset_prefix_cache", "").await;
    assert_eq!(answer.json(), json!({"success": true}));
    assert_eq!(cached().await, json!(0));
}
