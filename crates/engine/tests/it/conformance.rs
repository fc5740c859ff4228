//! One body, two arms. The first is this engine; the second is a real vLLM at `ENGINE_URL` (start it with
//! `--enable-prompt-tokens-details`), whose block size and pool ours then takes over.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};
use zeromq::{Socket, SocketRecv, SubSocket};

use crate::support::{Answer, Rig, collect, post, request, rig, send, value};

/// Somewhere a request can be sent.
enum Arm {
    Ours(Rig),
    Real { address: String },
}

impl Arm {
    async fn send(&self, request: http::Request<Full<bytes::Bytes>>) -> Answer {
        match self {
            Self::Ours(rig) => rig.send(request).await.unwrap(),
            Self::Real { address } => {
                let socket = tokio::net::TcpStream::connect(address).await.unwrap();
                collect(send(socket, request).await.unwrap()).await
            }
        }
    }

    async fn page(&self) -> String {
        self.send(request("GET", "/metrics", &[], "")).await.body
    }
}

/// What one prompt showed.
#[derive(Debug, PartialEq)]
struct Seen {
    cached_tokens: u64,
    queries: f64,
    hits: f64,
    generated: f64,
    /// Kinds of events, runs of one kind once.
    frames: Vec<&'static str>,
}

const PROMPTS: usize = 200;
const GROUPS: usize = 20;

/// Prompts in groups with a beginning in common, some repeated whole, some exactly a number of blocks long.
fn prompts(block_size: usize) -> Vec<Vec<u32>> {
    let id = |group: usize, at: usize| 100 + ((group * 7919 + at * 104_729) % 800) as u32;
    let one = |index: usize| {
        let (group, own) = (index * 7 % GROUPS, index / 3);
        let shared = block_size * (1 + group % 4) + group;
        let length = shared
            + if index.is_multiple_of(5) {
                block_size - group % block_size
            } else {
                own % 37
            };
        (0..length)
            .map(|at| {
                if at < shared {
                    id(group, at)
                } else {
                    id(1000 + own, at)
                }
            })
            .collect()
    };
    (0..PROMPTS).map(one).collect()
}

/// The body: asks every prompt in order and notes what is seen.
async fn run(arm: &Arm, block_size: usize, salt: &str) -> Vec<Seen> {
    let mut all = Vec::new();
    for (index, prompt) in prompts(block_size).into_iter().enumerate() {
        let before = arm.page().await;
        let ask = json!({
            "prompt": prompt, "max_tokens": 4, "ignore_eos": true, "temperature": 0, "cache_salt": salt,
            "stream": index % 2 == 1, "stream_options": if index % 2 == 1 { json!({"include_usage": true}) } else { Value::Null },
        });
        let answer = arm.send(post("/v1/completions", ask)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let after = arm.page().await;
        let moved = |name: &str| value(&after, name) - value(&before, name);
        let events = if index % 2 == 1 {
            answer.events()
        } else {
            vec![answer.json()]
        };
        let usage = events
            .iter()
            .map(|event| &event["usage"])
            .find(|usage| usage.is_object())
            .unwrap();
        all.push(Seen {
            cached_tokens: usage["prompt_tokens_details"]["cached_tokens"]
                .as_u64()
                .unwrap_or(0),
            queries: moved("vllm:prefix_cache_queries_total{"),
            hits: moved("vllm:prefix_cache_hits_total{"),
            generated: moved("vllm:generation_tokens_total{"),
            frames: frames(&events),
        });
    }
    all
}

fn frames(events: &[Value]) -> Vec<&'static str> {
    let kind = |event: &Value| match event {
        Value::String(done) if done == "[DONE]" => "done",
        _ if event["object"] != "text_completion" => "other",
        _ if event["choices"].as_array().is_some_and(Vec::is_empty) => "usage",
        _ if event["choices"][0]["finish_reason"] == "length" => "last text",
        _ if event["choices"][0]["text"].is_string() => "text",
        _ => "other",
    };
    let mut kinds: Vec<_> = events.iter().map(kind).collect();
    kinds.dedup();
    kinds
}

/// What vLLM's rule says of every prompt, from the prompts alone.
fn expected(block_size: usize) -> Vec<u64> {
    let prompts = prompts(block_size);
    let shared = |a: &[u32], b: &[u32]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let cached = |(index, prompt): (usize, &Vec<u32>)| {
        let longest = prompts[..index]
            .iter()
            .map(|earlier| shared(earlier, prompt))
            .max()
            .unwrap_or(0);
        (longest.min(prompt.len() - 1) / block_size * block_size) as u64
    };
    prompts.iter().enumerate().map(cached).collect()
}

fn ours(block_size: usize, blocks: &str) -> Arm {
    Arm::Ours(rig(&format!(
        "--enable-prompt-tokens-details --block-size {block_size} {blocks}"
    )))
}

#[tokio::test(start_paused = true)]
async fn ours_follows_the_rule() {
    for block_size in [16, 32] {
        let seen = run(&ours(block_size, ""), block_size, "s").await;
        let lengths: Vec<f64> = prompts(block_size)
            .iter()
            .map(|prompt| prompt.len() as f64)
            .collect();
        assert_eq!(
            seen.iter()
                .map(|seen| seen.cached_tokens)
                .collect::<Vec<_>>(),
            expected(block_size)
        );
        assert_eq!(
            seen.iter().map(|seen| seen.queries).collect::<Vec<_>>(),
            lengths
        );
        assert!(
            seen.iter()
                .all(|seen| seen.hits == seen.cached_tokens as f64 && seen.generated == 4.0)
        );
        assert_eq!(seen[1].frames, ["text", "last text", "usage", "done"]);
        assert!(seen.iter().any(|seen| seen.cached_tokens > 0));
    }
}

/// The vLLM of `ENGINE_URL`.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn real() -> Option<Arm> {
    let Ok(url) = std::env::var("ENGINE_URL") else {
        eprintln!(
            "skipped: set ENGINE_URL to a vLLM started with --enable-prompt-tokens-details to compare with it"
        );
        return None;
    };
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    Some(Arm::Real {
        address: address.to_owned(),
    })
}

/// Our engine, with the block size and pool of the real one.
async fn like(real: &Arm, extra: &str) -> (Arm, usize) {
    let page = real.page().await;
    let info = page
        .lines()
        .find(|line| line.starts_with("vllm:cache_config_info{"))
        .unwrap();
    let label = |name: &str| -> usize {
        let (_, rest) = info.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().parse().unwrap()
    };
    let block_size = label("block_size");
    let blocks = label("num_gpu_blocks");
    let flags = format!("--num-gpu-blocks-override {blocks} {extra}");
    (ours(block_size, &flags), block_size)
}

#[tokio::test]
async fn ours_agrees_with_a_real_vllm() {
    let Some(real) = real() else { return };
    let (ours, block_size) = like(&real, "").await;
    let salt = format!("conformance-{}", std::process::id());
    let (ours, real) = (
        run(&ours, block_size, &salt).await,
        run(&real, block_size, &salt).await,
    );
    for (index, (ours, real)) in ours.iter().zip(&real).enumerate() {
        assert_eq!(ours, real, "prompt {index}");
    }
}

/// Everything that `arm` publishes while it is asked all prompts after a reset, time stamps left out.
async fn published(arm: &Arm, block_size: usize) -> Vec<Bytes> {
    const BEFORE_EVENTS: usize = 10;
    let source = arm
        .send(request("GET", "/kv_event_sources", &[], ""))
        .await
        .json();
    let endpoint = source["0"]["endpoint"]
        .as_str()
        .unwrap()
        .replace('*', "127.0.0.1");
    let mut socket = SubSocket::new();
    socket.subscribe("").await.unwrap();
    socket.connect(&endpoint).await.unwrap();
    let ask = |prompt: Vec<u32>| {
        post(
            "/v1/completions",
            json!({"prompt": prompt, "max_tokens": 1, "cache_salt": "same"}),
        )
    };
    for number in 0.. {
        assert!(number < 500, "a subscription never arrived");
        arm.send(ask(vec![100 + number; block_size])).await;
        if quiet(&mut socket, 100).await.is_some() {
            break;
        }
    }
    while quiet(&mut socket, 500).await.is_some() {}
    let reset = arm
        .send(request("POST", "/reset_prefix_cache", &[], ""))
        .await;
    assert_eq!(reset.json(), json!({"success": true}));
    let mut payloads = Vec::new();
    for prompt in prompts(block_size) {
        assert_eq!(arm.send(ask(prompt)).await.status, 200);
        while let Some(payload) = quiet(&mut socket, 5).await {
            payloads.push(payload.slice(BEFORE_EVENTS..));
        }
    }
    while let Some(payload) = quiet(&mut socket, 1000).await {
        payloads.push(payload.slice(BEFORE_EVENTS..));
    }
    payloads
}

/// The payload of the next message, unless there is none for so long.
async fn quiet(socket: &mut SubSocket, wait_ms: u64) -> Option<Bytes> {
    let message = tokio::time::timeout(Duration::from_millis(wait_ms), socket.recv()).await;
    message
        .ok()
        .map(|message| message.unwrap().get(2).unwrap().clone())
}

#[tokio::test]
async fn ours_publishes_what_a_real_vllm_publishes() {
    let Some(real) = real() else { return };
    let sources = real
        .send(request("GET", "/kv_event_sources", &[], ""))
        .await
        .json();
    let dev = real
        .send(request("GET", "/reset_prefix_cache", &[], ""))
        .await
        .status;
    let algo = real
        .page()
        .await
        .contains("prefix_caching_hash_algo=\"sha256_cbor\"");
    if sources == json!({}) || dev == 404 || !algo {
        eprintln!(
            "skipped: it has no --kv-events-config, no VLLM_SERVER_DEV_MODE=1, or another hash than sha256_cbor"
        );
        return;
    }
    let events = r#"{"enable_kv_cache_events":true,"endpoint":"tcp://*:0"}"#;
    let flags = format!("--server-dev-mode --time-scale 0 --kv-events-config {events}");
    let (ours, block_size) = like(&real, &flags).await;
    let (ours, real) = (
        published(&ours, block_size).await,
        published(&real, block_size).await,
    );
    assert_eq!(ours.len(), real.len());
    for (index, (ours, real)) in ours.iter().zip(&real).enumerate() {
        assert_eq!(ours, real, "payload {index}");
    }
    eprintln!("{} payloads equal", ours.len());
}
