//! Several pools: what one of them does not know of another.

use gateway::PoolRoute;

use crate::support::{FakeEngine, Running, config, fleet, json, ok};

const CHAT: &str = "/v1/chat/completions";

fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#)
}

/// A pool that nobody has heard of may serve any model once it is there: no reason to say that there is no such model, nor
/// to leave out those that there are.
#[tokio::test]
async fn a_model_that_no_list_has_while_some_are_unread() {
    let engine = FakeEngine::start(|_| ok()).await;
    let running = Running::start(
        config(),
        vec![
            PoolRoute::new("seen", fleet("seen", &[engine.address], Some(&["m"]))),
            PoolRoute {
                path: Some("/ns/unseen".to_owned()),
                ..PoolRoute::new("unseen", fleet("unseen", &[], None))
            },
        ],
    )
    .await;
    let cases: &[(&str, &str, u16, &[&str])] = &[
        (CHAT, "m", 200, &[]),
        (
            CHAT,
            "other",
            503,
            &["`other`", "known models: m;", "pool unseen"],
        ),
        (
            "/ns/unseen/v1/chat/completions",
            "other",
            503,
            &["no ready endpoint in pool unseen"],
        ),
        (
            "/ns/unseen/v1/chat/completions",
            "",
            503,
            &["no ready endpoint in pool unseen"],
        ),
    ];
    for (path, model, status, words) in cases {
        let answer = running.post(path, &chat(model)).await;
        assert_eq!(answer.status, *status, "{path} {model}: {answer:?}");
        if *status == 503 {
            assert!(answer.header("retry-after").is_some(), "{path} {model}");
        }
        for word in *words {
            assert!(answer.error().contains(word), "{path} {model}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_stored_response_is_found_by_no_other_pool_s_path() {
    let stored = |seen: &crate::support::Seen| match seen.path() {
        "/v1/responses" => json(200, r#"{"id":"resp_1","object":"response"}"#),
        _ => json(200, "{}"),
    };
    let (a, b) = (
        FakeEngine::start(stored).await,
        FakeEngine::start(stored).await,
    );
    let pool = |name: &str, engine: &FakeEngine| PoolRoute {
        path: Some(format!("/ns/{name}")),
        ..PoolRoute::new(name, fleet(name, &[engine.address], Some(&[name])))
    };
    let running = Running::start(config(), vec![pool("a", &a), pool("b", &b)]).await;
    let asked = r#"{"model":"b","input":"x"}"#;
    assert_eq!(running.post("/v1/responses", asked).await.status, 200);
    let continued = r#"{"model":"a","input":"x","previous_response_id":"resp_1"}"#;
    for (prefix, status) in [("", 200), ("/ns/b", 200), ("/ns/a", 404)] {
        let read = running.get(&format!("{prefix}/v1/responses/resp_1")).await;
        assert_eq!(read.status, status, "{prefix}");
        let path = format!("{prefix}/v1/responses");
        assert_eq!(
            running.post(&path, continued).await.status,
            status,
            "{prefix}"
        );
    }
    assert!(a.requests().is_empty());
}
