//! Before real engines (simulated compute): what they cached, what they count, and what is lost when one dies.

use std::sync::Arc;
use std::time::Duration;

use engine::{EngineArgs, Log, Server};
use gateway::PoolRoute;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{Running, config, fleet, send};

struct Engine {
    address: std::net::SocketAddr,
    _serving: AbortOnDropHandle<()>,
    _stop: DropGuard,
}

async fn engine() -> Engine {
    let args = EngineArgs {
        port: 0,
        time_scale: 0.01,
        served_model_name: vec!["m".to_owned()],
        enable_prompt_tokens_details: true,
        ..EngineArgs::default()
    };
    let server = Server::bind(args, Log::to(drop)).await.unwrap();
    let stop = CancellationToken::new();
    let address = server.local_addr();
    let stopped = stop.clone().cancelled_owned();
    let serving = tokio::spawn(async move {
        server.serve(stopped).await.unwrap();
    });
    Engine {
        address,
        _serving: AbortOnDropHandle::new(serving),
        _stop: stop.drop_guard(),
    }
}

fn chat(system: &str, question: &str, stream: bool) -> String {
    let options = match stream {
        true => r#","stream":true,"stream_options":{"include_usage":true}"#,
        false => "",
    };
    format!(
        r#"{{"model":"m","max_tokens":8{options},"messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"{question}"}}]}}"#
    )
}

#[tokio::test]
async fn what_is_predicted_is_what_engines_report() {
    let engines = [engine().await, engine().await];
    let addresses: Vec<_> = engines.iter().map(|engine| engine.address).collect();
    let fleet = fleet("p", &addresses, Some(&["m"]));
    let running = Running::start(config(), vec![PoolRoute::new("p", Arc::clone(&fleet))]).await;
    let system = "You answer questions about the weather in short sentences. ".repeat(40);
    let mut homes = std::collections::BTreeSet::new();
    for turn in 0..10 {
        let body = chat(&system, &format!("question number {turn}"), turn % 2 == 1);
        let answer = running.post("/v1/chat/completions", &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        homes.insert(answer.header("x-prefixgate-endpoint").unwrap().to_owned());
    }
    assert_eq!(homes.len(), 1, "one long prefix lives at one endpoint");
    let state = send(running.admin, "GET", "/admin/state", "", b"")
        .await
        .json();
    let endpoints = state["pools"][0]["endpoints"].as_array().unwrap();
    let home = endpoints
        .iter()
        .find(|endpoint| homes.contains(endpoint["name"].as_str().unwrap()))
        .unwrap();
    let prediction = &home["prediction"];
    assert_eq!(prediction["reported_requests"], 10, "{prediction}");
    let actual = prediction["actual_tokens"].as_f64().unwrap();
    let error = prediction["absolute_error_tokens"].as_f64().unwrap();
    assert!(actual > 9.0 * 300.0, "{prediction}");
    assert!(error / actual < 0.25, "{prediction}");
    assert_eq!(
        (&home["active_requests"], &home["failures"]),
        (&0.into(), &0.into())
    );
}

#[tokio::test]
async fn a_killed_engine_loses_no_request_that_had_no_byte() {
    let mut engines = vec![engine().await, engine().await, engine().await];
    let addresses: Vec<_> = engines.iter().map(|engine| engine.address).collect();
    let fleet = fleet("p", &addresses, Some(&["m"]));
    let running = Arc::new(Running::start(config(), vec![PoolRoute::new("p", fleet)]).await);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..50 {
        let running = Arc::clone(&running);
        let system = format!("Conversation {number}. {}", "Some words of it. ".repeat(60));
        clients.spawn(async move {
            let body = chat(&system, "go on", number % 2 == 0);
            running.post("/v1/chat/completions", &body).await
        });
    }
    while running.gateway.in_flight() < 20 {
        tokio::task::yield_now().await;
    }
    drop(engines.pop());
    let answers = tokio::time::timeout(Duration::from_secs(60), clients.join_all())
        .await
        .unwrap();
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        let broke_in_band =
            answer.text().contains("\"error\"") && answer.text().ends_with("data: [DONE]\n\n");
        let whole = answer.text().contains("\"usage\"") && answer.whole;
        assert!(whole || broke_in_band, "{answer:?}");
    }
    assert_eq!(running.gateway.in_flight(), 0);
}
