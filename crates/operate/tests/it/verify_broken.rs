//! Does verify stay calm before servers that are down, foreign or broken?

use operate::verify::Status;
use serde_json::json;

use crate::fake::{Fake, Habits, admin_state, nobody, reply, serve};
use crate::verify::{check, expect};

#[tokio::test]
async fn nobody_there_fails_with_what_where_and_what_to_do() {
    let url = nobody().await;
    let report = check(&["--url", &url]).await;
    expect(
        &report,
        &[
            ("health", Status::Fail),
            ("models", Status::Fail),
            ("affinity", Status::Skip),
        ],
    );
    let health = &report.checks[0];
    assert!(
        health.seen.contains(&url) && health.seen.contains("refused"),
        "{health:#?}"
    );
    assert!(health.hint.as_deref().unwrap().contains("--url"));
}

#[tokio::test]
async fn a_page_that_is_not_json_is_quoted() {
    let url = serve(|_, _| reply(200, "<html>\nWelcome</html>")).await;
    let report = check(&["--url", &url]).await;
    expect(
        &report,
        &[
            ("models", Status::Fail),
            ("completion", Status::Fail),
            ("chat", Status::Fail),
        ],
    );
    expect(&report, &[("chat-stream", Status::Fail)]);
    let models = &report.checks[1];
    assert!(
        models.seen.contains("not JSON") && models.seen.contains("Welcome"),
        "{models:#?}"
    );
    assert!(report.failed > 0);
}

#[tokio::test]
async fn other_json_and_errors_are_named() {
    for (status, body, name, expected) in [
        (200, json!({"hello": 1}), "models", "no `data` array"),
        (200, json!([]), "completion", "without choices[0].text"),
        (
            401,
            json!({"error": "Unauthorized"}),
            "chat",
            "401 Unauthorized: Unauthorized",
        ),
        (
            503,
            json!({"error": {"message": "no ready endpoint"}}),
            "distribution",
            "no ready endpoint",
        ),
    ] {
        let url = serve(move |_, _| reply(status, &body)).await;
        let report = check(&["--url", &url, "--concurrency", "3"]).await;
        let check = report
            .checks
            .iter()
            .find(|check| check.name == name)
            .unwrap();
        assert_eq!(check.status, Status::Fail);
        assert!(check.seen.contains(expected), "{check:#?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_ready_fails_pool_health_by_name() {
    let fake = Fake::start(Habits::default()).await;
    let mut state = admin_state(&fake.engines);
    state["pools"][0]["endpoints"][1]["health"] = json!("ejected");
    state["pools"][0]["endpoints"][1]["reason"] = json!("5 failures in a row");
    let admin = serve(move |_, _| reply(200, &state)).await;
    let report = check(&["--url", &fake.url, "--admin", &admin]).await;
    let health = report.checks.last().unwrap();
    assert_eq!(health.status, Status::Fail);
    assert!(
        health
            .seen
            .contains("engine-1 is ejected (5 failures in a row)"),
        "{health:#?}"
    );
    expect(&report, &[("distribution", Status::Pass)]);
}

#[tokio::test]
async fn engines_that_are_down_fail_pool_health_by_address() {
    let fake = Fake::start(Habits::default()).await;
    let gone = nobody().await;
    let report = check(&[
        "--url",
        &fake.url,
        "--engines",
        &format!("{},{gone}", fake.engines[0]),
    ])
    .await;
    let health = report.checks.last().unwrap();
    assert_eq!(health.status, Status::Fail);
    assert!(
        health.seen.contains("1 of 2") && health.seen.contains(&gone),
        "{health:#?}"
    );
}

#[tokio::test]
async fn a_wrong_admin_address_is_a_failed_check_not_a_crash() {
    let fake = Fake::start(Habits::default()).await;
    let page = serve(|_, _| reply(200, "hello")).await;
    for admin in [nobody().await, page] {
        let report = check(&["--url", &fake.url, "--admin", &admin]).await;
        expect(
            &report,
            &[("pool-health", Status::Fail), ("affinity", Status::Pass)],
        );
        assert!(
            report.checks.last().unwrap().seen.contains(&admin),
            "{report:#?}"
        );
    }
}

#[tokio::test]
async fn a_path_prefix_is_kept_and_a_missing_health_is_no_failure() {
    let url = serve(|path, _| match path {
        "/ns/name/v1/models" => reply(200, json!({"data": [{"id": "m"}]})),
        "/ns/name/v1/completions" | "/ns/name/v1/chat/completions" => reply(
            200,
            json!({"choices": [{"text": "a", "message": {"content": "a"}}],
                   "usage": {"prompt_tokens": 9, "completion_tokens": 1}}),
        ),
        _ => reply(404, json!({"detail": "Not Found"})),
    })
    .await;
    let report = check(&["--url", &format!("{url}/ns/name")]).await;
    expect(
        &report,
        &[("health", Status::Skip), ("models", Status::Pass)],
    );
    expect(
        &report,
        &[("completion", Status::Pass), ("chat", Status::Pass)],
    );
}

#[tokio::test]
async fn a_model_that_is_not_listed_fails_and_names_those_that_are() {
    let fake = Fake::start(Habits::default()).await;
    let report = check(&["--url", &fake.url, "--model", "other"]).await;
    let models = &report.checks[1];
    assert_eq!(models.status, Status::Fail);
    assert_eq!(models.seen, "m");
}
