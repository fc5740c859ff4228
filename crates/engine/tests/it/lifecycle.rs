use std::time::Duration;

use engine::{Log, Server};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{args, chat, collect, post, rig, send};

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_aborted_in_the_model() {
    let rig = rig("");
    for stream in [true, false] {
        let ask = chat(json!({"stream": stream, "max_tokens": 20_000}));
        let asked = timeout(
            Duration::from_secs(5),
            rig.open(post("/v1/chat/completions", ask)),
        )
        .await;
        assert_eq!(asked.is_ok(), stream);
        drop(asked);
        sleep(Duration::from_millis(100)).await;
        assert_eq!(rig.metric("vllm:num_requests_running{").await, 0.0);
        assert_eq!(rig.metric("vllm:kv_cache_usage_perc{").await, 0.0);
    }
    let seen = rig.get("/admin/requests").await.json();
    let states: Vec<_> = seen["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["aborted", "aborted"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_more_in_one_event_and_loses_nothing() {
    let rig = rig("");
    let ask = chat(
        json!({"stream": true, "max_tokens": 12_000, "stream_options": {"include_usage": true}}),
    );
    let open = send(rig.connect(1024), post("/v1/chat/completions", ask))
        .await
        .unwrap();
    // All tokens are made while nobody reads.
    sleep(Duration::from_secs(600)).await;
    let events = collect(open).await.events();
    assert_eq!(
        events[events.len() - 2]["usage"]["completion_tokens"],
        12_000
    );
    assert!(events.len() < 8_000, "{}", events.len());
    let words: usize = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .map(|text| text.split_whitespace().count())
        .sum();
    assert_eq!(words, 12_000);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_five_seconds() {
    let rig = rig("");
    let mut socket = rig.connect(4096);
    let started = Instant::now();
    socket
        .write_all(b"GET /health HTTP/1.1\r\nhost: e\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    assert!(
        (4.9..5.2).contains(&started.elapsed().as_secs_f64()),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_timeout_running_requests_end_with_abort() {
    let rig = rig("");
    let long = rig.post(
        "/v1/chat/completions",
        chat(json!({"stream": true, "max_tokens": 5000})),
    );
    let (answer, ()) = tokio::join!(long, async {
        sleep(Duration::from_secs(1)).await;
        rig.engine.shut_down().await;
    });
    let events = answer.events();
    assert_eq!(
        events[events.len() - 2]["choices"][0]["finish_reason"],
        "abort"
    );
    assert_eq!(events[events.len() - 1], "[DONE]");
}

#[tokio::test(start_paused = true)]
async fn with_a_timeout_they_finish_while_new_ones_are_refused_and_health_is_fine() {
    let rig = rig("--shutdown-timeout 60");
    let running = rig.post(
        "/v1/chat/completions",
        chat(json!({"stream": true, "max_tokens": 1000})),
    );
    let (answer, (), (health, refused)) = tokio::join!(
        running,
        async {
            sleep(Duration::from_secs(1)).await;
            rig.engine.shut_down().await;
        },
        async {
            sleep(Duration::from_secs(2)).await;
            (
                rig.get("/health").await,
                rig.post("/v1/completions", json!({"prompt": "a"})).await,
            )
        }
    );
    assert_eq!((health.status, refused.status), (200, 500));
    let events = answer.events();
    assert_eq!(
        events[events.len() - 2]["choices"][0]["finish_reason"],
        "length"
    );
}

#[tokio::test]
async fn a_server_listens_on_a_free_port_speaks_http2_and_stops() {
    let server = Server::bind(args("--port 0 --time-scale 0"), Log::tracing())
        .await
        .unwrap();
    let (address, (stop, stopped)) = (server.local_addr(), tokio::sync::oneshot::channel::<()>());
    let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(socket);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
            .await
            .unwrap();
    tokio::spawn(connection);
    let mut ask = post("/v1/completions", json!({"prompt": "a"}));
    *ask.uri_mut() = format!("http://{address}/v1/completions").parse().unwrap();
    ask.headers_mut().remove("host");
    let answer = sender.send_request(ask).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{\"id\":\"cmpl-"));
    let taken = Server::bind(args(&format!("--port {}", address.port())), Log::tracing())
        .await
        .unwrap_err();
    assert!(format!("{taken:#}").contains("cannot listen on"));
    stop.send(()).unwrap();
    timeout(Duration::from_secs(20), serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
