//! Which pool and endpoint does a request go to?

use gateway::{ClientKey, GatewayConfig, PoolRoute};

use crate::support::{FakeEngine, Running, config, fleet, fleet_of, json, ok};

const CHAT: &str = "/v1/chat/completions";

fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#)
}

struct Two {
    a: FakeEngine,
    b: FakeEngine,
    running: Running,
}

async fn two_pools() -> Two {
    let a = FakeEngine::start(|_| ok()).await;
    let b = FakeEngine::start(|_| ok()).await;
    let first = PoolRoute {
        path: Some("/ns/a".to_owned()),
        default: true,
        ..PoolRoute::new("a", fleet("a", &[a.address], Some(&["model-a"])))
    };
    let second = PoolRoute {
        path: Some("/ns/b".to_owned()),
        model_rewrite: [("alias".to_owned(), "model-b".to_owned())].into(),
        ..PoolRoute::new("b", fleet("b", &[b.address], Some(&["model-b", "lora"])))
    };
    let running = Running::start(config(), vec![first, second]).await;
    Two { a, b, running }
}

#[tokio::test]
async fn model_names_and_paths_choose_the_pool() {
    let two = two_pools().await;
    let cases: &[(&str, &str, u16, &str)] = &[
        (CHAT, "model-a", 200, "a"),
        (CHAT, "model-b", 200, "b"),
        (CHAT, "lora", 200, "b"),
        (CHAT, "alias", 200, "b"),
        (CHAT, "", 200, "a"),
        (CHAT, "nobody", 404, ""),
        ("/ns/b/v1/chat/completions", "model-b", 200, "b"),
        ("/ns/b/v1/chat/completions", "", 200, "b"),
        ("/ns/a/v1/chat/completions", "model-b", 404, ""),
        ("/ns/b/v1/chat/completions", "model-a", 404, ""),
        ("/ns/bb/v1/chat/completions", "model-a", 200, "a"),
    ];
    for (path, model, status, pool) in cases {
        let before = (two.a.requests().len(), two.b.requests().len());
        let answer = two.running.post(path, &chat(model)).await;
        assert_eq!(answer.status, *status, "{path} {model}: {answer:?}");
        let after = (two.a.requests().len(), two.b.requests().len());
        let expected = (
            before.0 + usize::from(*pool == "a"),
            before.1 + usize::from(*pool == "b"),
        );
        assert_eq!(after, expected, "{path} {model}");
    }
    let prefixed = two
        .running
        .post(
            "/ns/b/v1/completions?x=1",
            r#"{"model":"model-b","prompt":"p"}"#,
        )
        .await;
    assert_eq!(prefixed.status, 200);
    assert_eq!(
        two.b.requests().last().unwrap().path(),
        "/v1/completions?x=1"
    );
    let unknown = two.running.post(CHAT, &chat("nobody")).await.error();
    for name in ["nobody", "model-a", "model-b", "lora", "alias"] {
        assert!(unknown.contains(name), "{unknown}");
    }
}

#[tokio::test]
async fn an_alias_is_rewritten_and_nothing_else_is() {
    let two = two_pools().await;
    let body = "{ \"messages\" : [ {\"role\":\"user\", \"content\":\"h\\u0069\"} ],\n \"model\" :\"alias\" , \"x\": 1.0 }";
    assert_eq!(two.running.post(CHAT, body).await.status, 200);
    let sent = two.b.requests().pop().unwrap();
    assert_eq!(
        String::from_utf8(sent.body).unwrap(),
        body.replace("\"alias\"", "\"model-b\"")
    );
}

#[tokio::test]
async fn other_paths_go_to_the_default_pool_unchanged() {
    let two = two_pools().await;
    for path in ["/version", "/some/where?q=%20a&b", "/v1/unknown"] {
        assert_eq!(two.running.get(path).await.status, 200, "{path}");
        assert_eq!(two.a.requests().last().unwrap().path(), path);
    }
    let tokenized = two
        .running
        .post("/tokenize", r#"{"model":"model-b","prompt":"p"}"#)
        .await;
    assert_eq!(tokenized.status, 200);
    assert_eq!(two.b.requests().last().unwrap().path(), "/tokenize");
    let bare = two.running.get("/ns/b").await;
    assert_eq!(bare.status, 200);
    assert_eq!(two.b.requests().last().unwrap().path(), "/");
}

#[tokio::test]
async fn a_model_that_only_some_serve_goes_only_there() {
    let a = FakeEngine::start(|_| ok()).await;
    let b = FakeEngine::start(|_| ok()).await;
    let fleet = fleet_of(
        "p",
        &[(a.address, Some(&["m"])), (b.address, Some(&["m", "lora"]))],
    );
    let running = Running::start(config(), vec![PoolRoute::new("p", fleet)]).await;
    for _ in 0..6 {
        assert_eq!(running.post(CHAT, &chat("lora")).await.status, 200);
    }
    assert_eq!((a.requests().len(), b.requests().len()), (0, 6));
}

#[tokio::test]
async fn models_are_listed_once_and_stay_the_same() {
    let two = two_pools().await;
    let first = two.running.get("/v1/models").await.json();
    let ids: Vec<_> = first["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|card| card["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["alias", "lora", "model-a", "model-b"]);
    assert_eq!(first["object"], "list");
    assert!(first["data"][0]["created"].as_u64().unwrap() > 1_600_000_000);
    assert_eq!(first, two.running.get("/v1/models").await.json());
    let of_b = two.running.get("/ns/b/v1/models").await.json();
    assert_eq!(of_b["data"].as_array().unwrap().len(), 3);
    for path in [
        "/v1/models/model-a",
        "/v1/models/model%2Da",
        "/ns/a/v1/models/%6dodel-a",
    ] {
        assert_eq!(
            two.running.get(path).await.json()["id"],
            "model-a",
            "{path}"
        );
    }
    assert_eq!(two.running.get("/v1/models/none").await.status, 404);
}

#[tokio::test]
async fn health_and_readiness() {
    let a = FakeEngine::start(|_| ok()).await;
    let ready = fleet("a", &[a.address], Some(&["m"]));
    let empty = fleet("b", &[], None);
    let pools = vec![
        PoolRoute {
            path: Some("/ns/a".to_owned()),
            ..PoolRoute::new("a", ready)
        },
        PoolRoute {
            path: Some("/ns/b".to_owned()),
            ..PoolRoute::new("b", empty)
        },
    ];
    let running = Running::start(config(), pools).await;
    for (path, status) in [
        ("/health", 200),
        ("/readyz", 200),
        ("/ns/a/health", 200),
        ("/ns/b/health", 503),
    ] {
        assert_eq!(running.get(path).await.status, status, "{path}");
    }
    let slot = {
        let view = running_fleet_view(&running).await;
        assert_eq!(view["pools"][0]["endpoints"][0]["health"], "ready");
        view
    };
    assert_eq!(slot["pools"][1]["endpoints"].as_array().unwrap().len(), 0);
    let none = Running::start(
        GatewayConfig::default(),
        vec![PoolRoute::new("x", fleet("x", &[], None))],
    )
    .await;
    assert_eq!(none.get("/health").await.status, 200);
    assert_eq!(none.get("/readyz").await.status, 503);
    let refused = none.post(CHAT, &chat("m")).await;
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    assert!(refused.error().contains("no ready endpoint"));
}

async fn running_fleet_view(running: &Running) -> serde_json::Value {
    crate::support::send(running.admin, "GET", "/admin/state", "", b"")
        .await
        .json()
}

#[tokio::test]
async fn control_paths_stay_here() {
    let a = FakeEngine::start(|_| ok()).await;
    let allowed = GatewayConfig {
        forward_paths: vec!["/reset_prefix_cache".to_owned()],
        ..config()
    };
    let running = Running::configured(allowed, &[&a]).await;
    for path in [
        "/sleep",
        "//sleep",
        "/x/../sleep",
        "/%73leep",
        "/v1/load_lora_adapter",
        "/reset_mm_cache",
        "/WAKE_UP",
    ] {
        let answer = running.send("POST", path, "", b"").await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.error().contains("forward_paths"));
    }
    assert_eq!(running.get("/metrics").await.status, 404);
    assert!(a.requests().is_empty());
    assert_eq!(
        running
            .send("POST", "/reset_prefix_cache", "", b"")
            .await
            .status,
        200
    );
    assert_eq!(a.requests().len(), 1);
}

#[tokio::test]
async fn stored_responses_stay_where_they_were_made() {
    let script = |name: &'static str| {
        move |seen: &crate::support::Seen| match seen.path() {
            "/v1/responses" => json(
                200,
                &format!(
                    r#"{{"id":"resp_{name}{}","object":"response"}}"#,
                    seen.connection
                ),
            ),
            _ => json(200, "{}"),
        }
    };
    let a = FakeEngine::start(script("a")).await;
    let b = FakeEngine::start(script("b")).await;
    let running = Running::before(&[&a, &b]).await;
    let mut reached = std::collections::BTreeSet::new();
    for turn in 0..8 {
        let first = running
            .post(
                "/v1/responses",
                &format!(r#"{{"model":"m","input":"question {turn}"}}"#),
            )
            .await;
        let id = first.json()["id"].as_str().unwrap().to_owned();
        let home = first.header("x-prefixgate-endpoint").unwrap().to_owned();
        reached.insert(home.clone());
        for (method, path, body) in [
            ("GET", format!("/v1/responses/{id}"), String::new()),
            ("POST", format!("/v1/responses/{id}/cancel"), String::new()),
            ("DELETE", format!("/v1/responses/{id}"), String::new()),
            (
                "POST",
                "/v1/responses".to_owned(),
                format!(r#"{{"model":"m","input":"and","previous_response_id":"{id}"}}"#),
            ),
        ] {
            let next = running
                .send(
                    method,
                    &path,
                    "content-type: application/json\r\n",
                    body.as_bytes(),
                )
                .await;
            assert_eq!(next.status, 200, "{path}");
            assert_eq!(
                next.header("x-prefixgate-endpoint"),
                Some(home.as_str()),
                "{path}"
            );
        }
    }
    assert_eq!(reached.len(), 2);
    for answer in [
        running.get("/v1/responses/resp_unknown").await,
        running
            .post(
                "/v1/responses",
                r#"{"model":"m","input":"x","previous_response_id":"resp_unknown"}"#,
            )
            .await,
    ] {
        assert_eq!(answer.status, 404);
        assert!(answer.error().contains("resp_unknown"));
    }
}

#[tokio::test]
async fn keys_are_checked_and_replaced() {
    let a = FakeEngine::start(|_| ok()).await;
    let pool = PoolRoute {
        engine_api_key: Some("engine-secret".to_owned()),
        client_keys: vec![ClientKey {
            key: "client-key".to_owned(),
            cache_salt: Some("tenant".to_owned()),
        }],
        ..PoolRoute::new("p", fleet("p", &[a.address], Some(&["m"])))
    };
    let running = Running::start(config(), vec![pool]).await;
    let none = running.post(CHAT, &chat("m")).await;
    assert_eq!(none.status, 401);
    none.error();
    let headers = "content-type: application/json\r\nauthorization: Bearer wrong\r\n";
    assert_eq!(
        running
            .send("POST", CHAT, headers, chat("m").as_bytes())
            .await
            .status,
        401
    );
    let headers = "content-type: application/json\r\nauthorization: Bearer client-key\r\n";
    assert_eq!(
        running
            .send("POST", CHAT, headers, chat("m").as_bytes())
            .await
            .status,
        200
    );
    let seen = a.requests().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some("Bearer engine-secret"));
    let body = String::from_utf8(seen.body).unwrap();
    assert_eq!(
        body,
        chat("m").replacen('{', r#"{"cache_salt":"tenant","#, 1)
    );
    assert_eq!(a.requests().len(), 1);
}
