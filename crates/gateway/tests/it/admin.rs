//! What does an operator see and do?

use crate::support::{FakeEngine, Running, Seen, config, json, ok, send};

const LONG: &str = "A system prompt that is long enough to fill several blocks of sixty-four bytes each, so that there \
                    is something of it to be found again at the endpoint which had it first. It goes on for a while.";

fn chat(question: &str) -> String {
    format!(
        r#"{{"model":"m","messages":[{{"role":"system","content":"{LONG}{LONG}"}},{{"role":"user","content":"{question}"}}]}}"#
    )
}

#[tokio::test]
async fn explain_says_why_and_touches_nothing() {
    let quiet = |_: &Seen| json(200, "{}");
    let pair = [
        FakeEngine::start(quiet).await,
        FakeEngine::start(quiet).await,
    ];
    let running = Running::before(&[&pair[0], &pair[1]]).await;
    let first = running.post("/v1/chat/completions", &chat("one")).await;
    let home = first.header("x-prefixgate-endpoint").unwrap().to_owned();
    let explain = |path: &'static str, body: String| {
        let admin = running.admin;
        async move {
            let path = format!("/admin/explain?path={path}");
            send(
                admin,
                "POST",
                &path,
                "content-type: application/json\r\n",
                body.as_bytes(),
            )
            .await
        }
    };
    for _ in 0..3 {
        let answer = explain("%2Fv1%2Fchat%2Fcompletions", chat("two")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let said = answer.json();
        assert_eq!(
            (&said["pool"], &said["model"], &said["endpoint"]),
            (&"default".into(), &"m".into(), &home.as_str().into())
        );
        assert!(said["prompt_tokens"].as_u64().unwrap() > 90, "{said}");
        assert!(
            said["predicted_cached_tokens"].as_u64().unwrap() > 60,
            "{said}"
        );
        assert!(!said["words"].as_str().unwrap().is_empty());
        let candidates = said["candidates"].as_array().unwrap();
        assert_eq!(candidates.len(), 2);
        for candidate in candidates {
            assert_eq!(
                candidate["url"],
                format!("http://{}", candidate["endpoint"].as_str().unwrap())
            );
            let scores = candidate["scores"].as_array().unwrap();
            assert!(scores.iter().any(|score| score["scorer"] == "prefix-cache-scorer" && score["weight"] == 3.0));
            assert!(candidate["removed"].is_null());
        }
    }
    assert_eq!(pair[0].requests().len() + pair[1].requests().len(), 1);
    assert_eq!(
        explain("/v1/chat/completions", "{".to_owned()).await.status,
        400
    );
    let unknown = chat("x").replace("\"m\"", "\"nope\"");
    assert_eq!(explain("/v1/chat/completions", unknown).await.status, 404);
    let second = running.post("/v1/chat/completions", &chat("two")).await;
    assert_eq!(second.header("x-prefixgate-endpoint"), Some(home.as_str()));
    assert_ne!(second.header("x-prefixgate-cached-tokens"), Some("0"));
}

#[tokio::test]
async fn drain_and_undrain() {
    let pair = [
        FakeEngine::start(|_| ok()).await,
        FakeEngine::start(|_| ok()).await,
    ];
    let running = Running::before(&[&pair[0], &pair[1]]).await;
    let change = |verb: &'static str| {
        let (admin, name) = (
            running.admin,
            pair[0].address.to_string().replace(':', "%3A"),
        );
        async move {
            send(
                admin,
                "POST",
                &format!("/admin/endpoints/{name}/{verb}"),
                "",
                b"",
            )
            .await
            .status
        }
    };
    assert_eq!(change("drain").await, 200);
    for turn in 0..4 {
        let body = format!(r#"{{"model":"m","prompt":"{turn}"}}"#);
        assert_eq!(running.post("/v1/completions", &body).await.status, 200);
    }
    assert_eq!((pair[0].requests().len(), pair[1].requests().len()), (0, 4));
    assert_eq!(change("undrain").await, 200);
    assert_eq!(change("dance").await, 404);
    let unknown = send(
        running.admin,
        "POST",
        "/admin/endpoints/nobody/drain",
        "",
        b"",
    )
    .await;
    assert_eq!(unknown.status, 404);
    let state = send(running.admin, "GET", "/admin/state", "", b"")
        .await
        .json();
    let endpoints = state["pools"][0]["endpoints"].as_array().unwrap();
    assert!(
        endpoints
            .iter()
            .all(|endpoint| endpoint["health"] == "ready")
    );
    assert!(state["uptime_ms"].is_u64() && state["version"].is_string());
}

#[tokio::test]
async fn operators_paths() {
    let engine = FakeEngine::start(|_| ok()).await;
    let shown = gateway::GatewayConfig {
        metrics_on_data_port: true,
        ..config()
    };
    let running = Running::configured(shown, &[&engine]).await;
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("POST", "/metrics", 405),
        ("GET", "/admin/explain", 405),
        ("GET", "/v1/models", 404),
        ("GET", "/admin/nothing", 404),
    ] {
        assert_eq!(
            send(running.admin, method, path, "", b"").await.status,
            status,
            "{method} {path}"
        );
    }
    let body = r#"{"model":"m","prompt":"hi"}"#;
    assert_eq!(running.post("/v1/completions", body).await.status, 200);
    let page = running.get("/metrics").await;
    let page = page.text();
    for name in [
        "\nprefixgate_requests_in_flight 0.0",
        "\nprefixgate_endpoint_ready{pool=\"default\"",
        "prefixgate_index_blocks{pool=\"default\"}",
        "prefixgate_index_evicted_blocks_total{pool=\"default\"}",
        "source=\"usage\"",
        "source=\"engine_counters\"",
        "# TYPE prefixgate_ttft_seconds histogram",
        "prefixgate_shed_total 0",
        "# EOF",
    ] {
        assert!(page.contains(name), "{name} in\n{page}");
    }
}

/// What the reference page says of a family is so on the page of a gateway that has answered and failed.
#[tokio::test]
async fn the_reference_names_every_family_with_its_labels() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::configured(config(), &[&engine]).await;
    let body = r#"{"model":"m","prompt":"hi"}"#;
    assert_eq!(running.post("/v1/completions", body).await.status, 200);
    let page = send(running.admin, "GET", "/metrics", "", b"").await;
    let reference = gateway::metrics_markdown();
    let mut seen = 0;
    for line in page.text().lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let row = reference
            .lines()
            .find(|row| row.starts_with(&format!("| `{family}` |")))
            .unwrap_or_else(|| panic!("{family} is not in the reference"));
        let labels: Vec<&str> = match rest.split_once("} ") {
            Some((labels, _)) => labels
                .split("\",")
                .filter_map(|label| label.split_once('='))
                .map(|(label, _)| label)
                .filter(|label| *label != "le")
                .collect(),
            None => Vec::new(),
        };
        assert_eq!(
            row.split(" | ").nth(2).unwrap_or_default(),
            labels.join(", "),
            "{line}"
        );
        seen += 1;
    }
    assert!(seen > 20, "{seen} samples");
}
