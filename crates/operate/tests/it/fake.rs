//! A gateway with three caching replicas in one process, on port 0.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// How the fake gateway chooses.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Routing {
    /// Longest prefix, else in turn.
    Prefix,
    /// Whatever a generator says.
    Random,
    /// Always the first.
    First,
}

/// What the fake answers tell.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    pub(crate) routing: Routing,
    pub(crate) endpoint_header: bool,
    pub(crate) cached_tokens: bool,
    pub(crate) caching: bool,
    pub(crate) simulated: bool,
    /// Characters per token divided out of every prompt: large values make every prompt short.
    pub(crate) bytes_per_token: usize,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            routing: Routing::Prefix,
            endpoint_header: true,
            cached_tokens: true,
            caching: true,
            simulated: true,
            bytes_per_token: 4,
        }
    }
}

const REPLICAS: usize = 3;
const BLOCK_TOKENS: usize = 16;

#[derive(Default)]
struct Replica {
    seen: Vec<String>,
    served: u64,
    queried_tokens: u64,
    hit_tokens: u64,
}

/// A running fake.
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) engines: Vec<String>,
}

impl Fake {
    pub(crate) async fn start(habits: Habits) -> Self {
        let replicas: Arc<Mutex<Vec<Replica>>> = Arc::new(Mutex::new(
            (0..REPLICAS).map(|_| Replica::default()).collect(),
        ));
        let mut engines = Vec::new();
        for index in 0..REPLICAS {
            let replicas = replicas.clone();
            engines.push(
                serve(move |path, _| engine_page(path, &replicas.lock().unwrap()[index])).await,
            );
        }
        let admin_engines = engines.clone();
        let state = Mutex::new((replicas, 88_172_645_463_325_252_u64));
        let url = serve(move |path, body| match path {
            "/admin/state" => reply(200, admin_state(&admin_engines)),
            _ => {
                let mut state = state.lock().unwrap();
                let (replicas, random) = &mut *state;
                gateway_answer(habits, path, body, &mut replicas.lock().unwrap(), random)
            }
        })
        .await;
        Self { url, engines }
    }
}

fn engine_page(path: &str, replica: &Replica) -> Response<Full<Bytes>> {
    match path {
        "/health" => reply(200, ""),
        "/metrics" => reply(
            200,
            format!(
                "vllm:prefix_cache_queries_total {}\nvllm:prefix_cache_hits_total {}\n\
                 vllm:request_success_total{{finished_reason=\"length\"}} {}\n\
                 vllm:cache_config_info{{block_size=\"{BLOCK_TOKENS}\",num_gpu_blocks=\"64\"}} 1\n",
                replica.queried_tokens, replica.hit_tokens, replica.served
            ),
        ),
        _ => reply(404, json!({"detail": "Not Found"})),
    }
}

/// The names that the fake's answers and its admin state share.
pub(crate) fn admin_state(engines: &[String]) -> Value {
    let endpoints: Vec<Value> = engines
        .iter()
        .enumerate()
        .map(|(index, url)| {
            json!({"name": format!("engine-{index}"), "url": url, "source": "static", "health": "ready",
                   "reason": null, "models": ["m"], "picks": 3, "block_size_tokens": BLOCK_TOKENS})
        })
        .collect();
    json!({"version": "0", "uptime_ms": 12, "pools": [{"pool": "p", "index_blocks": 1, "endpoints": endpoints}]})
}

fn gateway_answer(
    habits: Habits,
    path: &str,
    body: &[u8],
    replicas: &mut [Replica],
    random: &mut u64,
) -> Response<Full<Bytes>> {
    match path {
        "/health" => return reply(200, ""),
        "/v1/models" => return reply(200, json!({"object": "list", "data": [{"id": "m"}]})),
        "/v1/completions" | "/v1/chat/completions" => {}
        _ => return reply(404, json!({"detail": "Not Found"})),
    }
    let body: Value = serde_json::from_slice(body).unwrap();
    let prompt = if path == "/v1/completions" {
        &body["prompt"]
    } else {
        &body["messages"]
    }
    .to_string();
    let common = |replica: &Replica| {
        let same = |old: &String| {
            old.bytes()
                .zip(prompt.bytes())
                .take_while(|(a, b)| a == b)
                .count()
        };
        replica.seen.iter().map(same).max().unwrap_or(0)
    };
    let index = match habits.routing {
        Routing::First => 0,
        Routing::Random => {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            (*random % replicas.len() as u64) as usize
        }
        Routing::Prefix => {
            let best = (0..replicas.len())
                .max_by_key(|index| common(&replicas[*index]))
                .unwrap_or(0);
            let idlest = (0..replicas.len())
                .min_by_key(|index| replicas[*index].served)
                .unwrap_or(0);
            if common(&replicas[best]) * 2 > prompt.len() {
                best
            } else {
                idlest
            }
        }
    };
    let tokens = (prompt.len() / habits.bytes_per_token).max(2);
    let matched = (common(&replicas[index]) / habits.bytes_per_token).min(tokens - 1);
    let cached = if habits.caching {
        matched / BLOCK_TOKENS * BLOCK_TOKENS
    } else {
        0
    };
    let replica = &mut replicas[index];
    replica.seen.push(prompt);
    replica.served += 1;
    replica.queried_tokens += tokens as u64;
    replica.hit_tokens += cached as u64;
    completion(habits, path, &body, index, tokens, cached)
}

fn completion(
    habits: Habits,
    path: &str,
    body: &Value,
    index: usize,
    tokens: usize,
    cached: usize,
) -> Response<Full<Bytes>> {
    let mut usage =
        json!({"prompt_tokens": tokens, "completion_tokens": 3, "total_tokens": tokens + 3});
    if habits.cached_tokens {
        usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
    }
    let choice = if path == "/v1/completions" {
        json!({"index": 0, "text": " Paris"})
    } else {
        json!({"index": 0, "message": {"role": "assistant", "content": "Hello."}})
    };
    let mut response = if body["stream"] == true {
        let events = format!(
            "data: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
            json!({"choices": [{"index": 0, "delta": {"content": "one"}}]}),
            json!({"choices": [], "usage": usage})
        );
        let mut response = reply(200, events);
        response
            .headers_mut()
            .insert("content-type", "text/event-stream".parse().unwrap());
        response
    } else {
        reply(
            200,
            json!({"id": "cmpl-1", "choices": [choice], "usage": usage}),
        )
    };
    let headers = response.headers_mut();
    if habits.endpoint_header {
        headers.insert(
            "x-prefixgate-endpoint",
            format!("engine-{index}").parse().unwrap(),
        );
    }
    if habits.simulated {
        headers.insert("x-prefixgate-simulated", "1".parse().unwrap());
    }
    response
}

/// A whole answer, called JSON whether it is or not.
pub(crate) fn reply(status: u16, body: impl ToString) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from(body.to_string()));
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    response.body(body).unwrap()
}

/// Serves `answer(path and query, body)` for ever; the address.
pub(crate) async fn serve<F>(answer: F) -> String
where
    F: Fn(&str, &[u8]) -> Response<Full<Bytes>> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            let answer = answer.clone();
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let path = request.uri().to_string();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(answer(&path, &body))
                }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(socket), service));
        }
    });
    url
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
