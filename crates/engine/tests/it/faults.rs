use std::time::Duration;

use engine::{Log, Server};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::support::{Answer, Rig, args, chat, collect, post, request, rig, send};

const LONG: Duration = Duration::from_secs(600);

async fn stream(rig: &Rig) -> Answer {
    rig.post("/v1/chat/completions", chat(json!({"stream": true})))
        .await
}

async fn whole(rig: &Rig) -> Answer {
    rig.post("/v1/chat/completions", chat(json!({}))).await
}

#[tokio::test(start_paused = true)]
async fn a_status_before_the_first_byte() {
    let rig = rig("--fault 503:count=1");
    assert_eq!(rig.get("/health").await.status, 200);
    assert_eq!(
        [stream(&rig).await.status, stream(&rig).await.status],
        [503, 200]
    );
    rig.fault(json!({"kind": "status", "code": 500})).await;
    assert_eq!(
        [whole(&rig).await.status, whole(&rig).await.status],
        [500, 500]
    );
    rig.send(request("DELETE", "/admin/fault", &[], ""))
        .await
        .unwrap();
    assert_eq!(whole(&rig).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_hang_sends_nothing_and_a_stall_falls_silent() {
    let rig = rig("--fault hang:count=1");
    assert!(
        timeout(
            LONG,
            rig.open(post("/v1/completions", json!({"prompt": "a"})))
        )
        .await
        .is_err()
    );
    rig.fault(json!({"kind": "stall", "after": 3, "count": 2}))
        .await;
    let mut open = rig
        .open(post("/v1/chat/completions", chat(json!({"stream": true}))))
        .await
        .unwrap();
    let mut events = 0;
    while let Ok(Some(Ok(frame))) = timeout(LONG, open.body_mut().frame()).await {
        events += String::from_utf8_lossy(&frame.into_data().unwrap())
            .matches("data: ")
            .count();
    }
    assert_eq!(events, 3);
    assert!(timeout(LONG, whole(&rig)).await.is_err());
    assert_eq!(whole(&rig).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_stream_is_followed_by_done() {
    let rig = rig("--fault error:after=2");
    let answer = stream(&rig).await;
    let events = answer.events();
    assert_eq!(
        (answer.status, events.len(), answer.broken),
        (200, 4, false)
    );
    assert_eq!(
        (&events[2]["error"]["code"], &events[3]),
        (&json!(500), &json!("[DONE]"))
    );
    assert!(answer.body.contains("data: {\"error\": {\"message\": "));
    let answer = whole(&rig).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["type"]),
        (500, &json!("InternalServerError"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_closes_the_connection_before_or_after_the_first_byte() {
    let rig = rig("--fault cut:count=1");
    assert!(
        rig.open(post("/v1/completions", json!({"prompt": "a"})))
            .await
            .is_err()
    );
    rig.fault(json!({"kind": "cut", "after": 2, "count": 2}))
        .await;
    let answer = stream(&rig).await;
    assert_eq!((answer.broken, answer.events().len()), (true, 2));
    let answer = whole(&rig).await;
    assert!(answer.broken && answer.body.starts_with('{') && !answer.body.ends_with('}'));
    assert_eq!(rig.metric("vllm:num_requests_running").await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_with_its_own_finish_reason() {
    let rig = rig("--fault abort:after=3");
    let events = stream(&rig).await.events();
    assert_eq!(
        (events.len(), &events[3]["choices"][0]["finish_reason"]),
        (5, &json!("abort"))
    );
    assert_eq!(
        whole(&rig).await.json()["choices"][0]["finish_reason"],
        "abort"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drip_takes_its_time() {
    let rig = rig("--fault drip:delay_ms=1000");
    let started = Instant::now();
    let events = stream(&rig).await.events().len() as f64;
    let took = started.elapsed().as_secs_f64();
    assert!(
        (events..events + 0.5).contains(&took),
        "{events} events in {took} s"
    );
    assert!(whole(&rig).await.json()["choices"].is_array());
}

#[tokio::test(start_paused = true)]
async fn drain_sleep_and_slow_start_show_in_health_as_they_do_in_vllm() {
    let rig = rig("--fault slow-start:for_ms=3000");
    assert_eq!(
        (rig.get("/health").await.status, whole(&rig).await.status),
        (503, 503)
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        (rig.get("/health").await.status, whole(&rig).await.status),
        (200, 200)
    );
    rig.fault(json!({"kind": "drain", "for_ms": 10})).await;
    let refused = whole(&rig).await;
    assert_eq!(
        (rig.get("/health").await.status, refused.status),
        (200, 500)
    );
    assert!(
        refused
            .body
            .contains("cannot schedule new futures after shutdown")
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.fault(json!({"kind": "sleep"})).await;
    assert_eq!(rig.get("/health").await.status, 200);
    let (held, ()) = tokio::join!(whole(&rig), async {
        tokio::time::sleep(LONG).await;
        assert_eq!(rig.metric("vllm:engine_sleep_state{engine=\"0\",model_name=\"Qwen/Qwen2.5-3B-Instruct\",sleep_state=\"awake\"}").await, 0.0);
        assert_eq!(rig.metric("vllm:num_requests_waiting{").await, 1.0);
        rig.send(request("DELETE", "/admin/fault", &[], ""))
            .await
            .unwrap();
    });
    assert_eq!(held.status, 200);
}

#[tokio::test(start_paused = true)]
async fn the_admin_route_lists_and_refuses() {
    let rig = rig("--fault hang:path=/version");
    assert!(timeout(LONG, rig.get("/version")).await.is_err());
    assert_eq!(whole(&rig).await.status, 200);
    let listed = rig.get("/admin/fault").await.json();
    assert_eq!(
        (
            &listed["faults"][0]["fault"]["kind"],
            &listed["faults"][0]["struck"]
        ),
        (&json!("hang"), &json!(1))
    );
    for wrong in [
        json!({"kind": "explode"}),
        json!({"kind": "cut", "afer": 1}),
        json!({"kind": "status", "code": 99}),
        Value::Null,
    ] {
        assert_eq!(rig.post("/admin/fault", wrong).await.status, 400);
    }
}

async fn over_tcp(
    server: std::net::SocketAddr,
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
) -> Option<u16> {
    let socket = TcpStream::connect(server).await.ok()?;
    Some(collect(send(socket, request).await.ok()?).await.status)
}

#[tokio::test]
async fn a_refusing_or_resetting_listener_comes_back() {
    let server = Server::bind(args("--port 0 --fault reset:count=1"), Log::tracing())
        .await
        .unwrap();
    let address = server.local_addr();
    let serving = tokio::spawn(server.serve(std::future::pending()));
    assert_eq!(
        over_tcp(address, request("GET", "/health", &[], "")).await,
        None
    );
    assert_eq!(
        over_tcp(address, request("GET", "/health", &[], "")).await,
        Some(200)
    );
    assert_eq!(
        over_tcp(
            address,
            post("/admin/fault", json!({"kind": "refuse", "for_ms": 100}))
        )
        .await,
        Some(200)
    );
    let mut refused = false;
    let back = async {
        while over_tcp(address, request("GET", "/health", &[], "")).await != Some(200) || !refused {
            refused |= TcpStream::connect(address).await.is_err();
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), back).await.unwrap();
    serving.abort();
}
