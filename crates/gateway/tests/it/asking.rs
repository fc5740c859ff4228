//! Where this process has no tokenizer: one engine is asked, once for each prompt; and where that fails, it shows.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::{EngineArgs, Log, Server};
use fleet::{Event, Fleet, FleetConfig, KvMode};
use gateway::{PoolRoute, TokenizerConfig, Tokens};
use pool::{Feeds, KvEventsConfig, PoolConfig};
use scheduler::Profile;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::support::{Act, FakeEngine, Running, Seen, config, fleet, json, ok, send};

const BODY: &str = r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Which tokens are these? Only an engine knows, and it is asked once."}]}"#;

/// Engines of this repository that publish their cache events, behind a gateway that follows them and has no tokenizer.
struct Followed {
    running: Running,
    fleet: Arc<Fleet>,
    _stop: DropGuard,
}

async fn engine(stop: &CancellationToken, renders: bool) -> SocketAddr {
    let events =
        r#"{"enable_kv_cache_events":true,"endpoint":"tcp://*:0","replay_endpoint":"tcp://*:0"}"#;
    let args = EngineArgs {
        port: 0,
        time_scale: 0.01,
        served_model_name: vec!["m".to_owned()],
        enable_prompt_tokens_details: true,
        enable_scale_out: renders,
        kv_events_config: serde_json::from_str(events).unwrap(),
        ..EngineArgs::default()
    };
    let server = Server::bind(args, Log::to(drop)).await.unwrap();
    let address = server.local_addr();
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move { server.serve(stopped).await.unwrap() });
    address
}

async fn followed(renders: bool) -> Followed {
    let stop = CancellationToken::new();
    let endpoints = [engine(&stop, renders).await, engine(&stop, renders).await];
    let fleet = Arc::new(Fleet::new(
        FleetConfig::default(),
        Profile::default_profile(),
    ));
    let config = PoolConfig {
        endpoints: endpoints.iter().map(|a| format!("http://{a}")).collect(),
        kv_events: KvEventsConfig {
            enabled: true,
            ..KvEventsConfig::default()
        },
        ..PoolConfig::default()
    };
    let (clock, tracker) = (pool::Clock::start(), TaskTracker::new());
    let feeds = Feeds::start(
        &config,
        Arc::clone(&fleet),
        clock,
        None,
        stop.clone(),
        &tracker,
    );
    drop(feeds.await.unwrap());
    let route = PoolRoute {
        tokens: Some(tokens(TokenizerConfig::default())),
        ..PoolRoute::new("p", Arc::clone(&fleet))
    };
    let running = Running::start(self::config(), vec![route]).await;
    wait_until("both are followed", || {
        let view = fleet.view();
        let exact = view.endpoints.iter().filter(|e| e.kv_mode.is_exact());
        exact.count() == 2 && view.ready.len() == 2 && !view.rows_for("m").is_empty()
    })
    .await;
    Followed {
        running,
        fleet,
        _stop: stop.drop_guard(),
    }
}

fn tokens(config: TokenizerConfig) -> Arc<Tokens> {
    Arc::new(Tokens::new(config, Path::new(""), 1).unwrap())
}

async fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let within = tokio::time::timeout(Duration::from_secs(20), wait).await;
    within.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// `pools[0].tokens` of `/admin/state`.
async fn told(running: &Running) -> Value {
    let state = send(running.admin, "GET", "/admin/state", "", b"").await;
    state.json()["pools"][0]["tokens"].clone()
}

/// What was predicted of an answer, and what the engine says.
async fn predicted_and_actual(followed: &Followed, body: &str) -> (u64, u64) {
    let answer = followed.running.post("/v1/chat/completions", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let predicted = answer.header("x-prefixgate-cached-tokens").unwrap();
    let actual = &answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"];
    (predicted.parse().unwrap(), actual.as_u64().unwrap_or(0))
}

/// A conversation's second turn, and the first again, are predicted to the token, with one question for each body.
async fn an_engine_is_asked(renders: bool) {
    let followed = followed(renders).await;
    let turn = |number: usize| {
        let text = "A long beginning that both turns share, word for word. ".repeat(20);
        format!(
            r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":"{text}"}},{{"role":"assistant","content":"{number}"}}]}}"#
        )
    };
    let (first, second) = (turn(1), turn(2));
    assert_eq!(predicted_and_actual(&followed, &first).await, (0, 0));
    let before = followed.fleet.exact().stats().held_blocks;
    for body in [&second, &first, &second, &first] {
        let (predicted, actual) = predicted_and_actual(&followed, body).await;
        assert_eq!(predicted, actual);
        assert!(actual > 200, "{actual} of a long beginning");
    }
    assert!(before > 0);
    let told = told(&followed.running).await;
    assert_eq!(told["source"], "engine", "{told}");
    assert_eq!(told["requests"], 5, "{told}");
    // Two bodies were new; the other three were known.
    assert_eq!(
        told["new_bytes"],
        (first.len() + second.len()) as u64,
        "{told}"
    );
}

#[tokio::test]
async fn tokens_come_from_render() {
    an_engine_is_asked(true).await;
}

#[tokio::test]
async fn tokens_come_from_tokenize_where_render_is_off() {
    an_engine_is_asked(false).await;
}

/// Two engines by script, taken for followed, and a gateway that may ask them.
async fn scripted(
    config: TokenizerConfig,
    script: impl Fn(&Seen) -> Vec<Act> + Clone + Send + Sync + 'static,
) -> (Running, [FakeEngine; 2]) {
    let engines = [
        FakeEngine::start(script.clone()).await,
        FakeEngine::start(script).await,
    ];
    let addresses: Vec<_> = engines.iter().map(|engine| engine.address).collect();
    let fleet = fleet("p", &addresses, Some(&["m"]));
    for endpoint in fleet.view().endpoints.iter() {
        let event = Event::KvMode {
            slot: endpoint.slot,
            mode: KvMode::Exact,
        };
        fleet.apply(event, Duration::ZERO);
    }
    let route = PoolRoute {
        tokens: Some(tokens(config)),
        ..PoolRoute::new("p", fleet)
    };
    (Running::start(self::config(), vec![route]).await, engines)
}

fn asked(engines: &[FakeEngine], path: &str) -> usize {
    let all = engines.iter().flat_map(FakeEngine::requests);
    all.filter(|seen| seen.path() == path).count()
}

#[tokio::test]
async fn one_endpoint_is_asked_and_never_again_for_the_same() {
    let (running, engines) = scripted(TokenizerConfig::default(), |seen| match seen.path() {
        "/v1/chat/completions/render" => json(403, "{}"),
        "/tokenize" => json(200, r#"{"tokens":[1,2,3],"count":3}"#),
        _ => ok(),
    })
    .await;
    for _ in 0..3 {
        let answer = running.post("/v1/chat/completions", BODY).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(asked(&engines, "/v1/chat/completions/render"), 1);
    assert_eq!(asked(&engines, "/tokenize"), 1);
    // Another prompt: `/render` said no and is left alone for a while.
    running
        .post("/v1/chat/completions", &BODY.replace("once", "twice"))
        .await;
    assert_eq!(asked(&engines, "/v1/chat/completions/render"), 1);
    assert_eq!(asked(&engines, "/tokenize"), 2);
    let told = told(&running).await;
    assert_eq!(told["requests"], 4, "{told}");
}

/// The request goes through, without tokens for that `reason`, in admin state, metrics and `explain`.
async fn without(
    config: TokenizerConfig,
    reason: &str,
    script: impl Fn(&Seen) -> Vec<Act> + Clone + Send + Sync + 'static,
) {
    let (running, _engines) = scripted(config, script).await;
    let answer = running.post("/v1/chat/completions", BODY).await;
    assert_eq!(answer.status, 200, "{reason}");
    let told = told(&running).await;
    let reasons = told["without"].as_array().unwrap();
    let counted = reasons.iter().find(|pair| pair[0] == reason).unwrap();
    assert_eq!(counted[1], 1, "{reason}: {told}");
    let page = send(running.admin, "GET", "/metrics", "", b"").await;
    let series =
        format!(r#"prefixgate_untokenized_requests_total{{pool="p",reason="{reason}"}} 1"#);
    assert!(
        page.text().contains(&series),
        "{series} is not in:\n{}",
        page.text()
    );
    let path = "/admin/explain?path=/v1/chat/completions";
    let kind = "content-type: application/json\r\n";
    let explained = send(running.admin, "POST", path, kind, BODY.as_bytes()).await;
    assert_eq!(explained.json()["tokenized"], false, "{reason}");
}

#[tokio::test]
async fn a_request_without_tokens_goes_by_history_and_it_is_told_why() {
    let default = TokenizerConfig::default;
    let absent = |seen: &Seen| match seen.path() {
        "/v1/chat/completions" => ok(),
        _ => json(404, "{}"),
    };
    without(default(), "no_engine", absent).await;
    let refusing = |seen: &Seen| match seen.path() {
        "/v1/chat/completions" => ok(),
        _ => json(400, "{}"),
    };
    without(default(), "refused", refusing).await;
    let nonsense = |seen: &Seen| match seen.path() {
        "/v1/chat/completions" => ok(),
        _ => json(200, r#"{"ids":"none"}"#),
    };
    without(default(), "no_engine", nonsense).await;
    let hanging = |seen: &Seen| match seen.path() {
        "/v1/chat/completions" => ok(),
        _ => vec![Act::Hang],
    };
    let quick = TokenizerConfig {
        timeout_ms: 50,
        ..default()
    };
    without(quick, "slow", hanging).await;
    let never = TokenizerConfig {
        ask_engine: false,
        ..default()
    };
    without(never, "no_tokenizer", absent).await;
}
