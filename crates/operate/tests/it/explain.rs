//! Does explain send the body a client would send, and say what came back?

use std::sync::{Arc, Mutex};

use clap::Parser;
use operate::explain;
use serde_json::{Value, json};

use crate::fake::{nobody, reply, serve};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: explain::Args,
}

fn args(args: &[&str]) -> Result<explain::Args, clap::Error> {
    Cli::try_parse_from(std::iter::once("explain").chain(args.iter().copied())).map(|cli| cli.args)
}

/// Path with query, and body.
type Sent = (String, Vec<u8>);

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Sent>>>);

/// A gateway that always answers the same decision; what it was sent.
async fn gateway() -> (String, Log) {
    let log = Log::default();
    let seen = log.clone();
    let url = serve(move |path, body| {
        seen.0
            .lock()
            .unwrap()
            .push((path.to_owned(), body.to_vec()));
        reply(200, json!({"pool": "p", "endpoint": "e", "candidates": []}))
    })
    .await;
    (url, log)
}

#[tokio::test]
async fn each_form_becomes_the_body_of_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("body.json");
    let raw = "{ \"messages\": [],  \"x\": 1 }";
    std::fs::write(&file, raw).unwrap();
    let file = file.to_str().unwrap();
    let completion = json!({"prompt": "hi"}).to_string();
    let chat = json!({"messages": [{"role": "user", "content": "hi"}], "model": "m"}).to_string();
    for (form, path, body) in [
        (
            vec!["--prompt", "hi"],
            "%2Fv1%2Fcompletions",
            completion.as_str(),
        ),
        (
            vec!["--chat", "hi", "--model", "m"],
            "%2Fv1%2Fchat%2Fcompletions",
            chat.as_str(),
        ),
        (vec!["--body", file], "%2Fv1%2Fchat%2Fcompletions", raw),
        (
            vec!["--prompt", "hi", "--path", "/ns/n/v1/completions"],
            "%2Fns%2Fn%2Fv1%2Fcompletions",
            completion.as_str(),
        ),
    ] {
        let (url, log) = gateway().await;
        let mut all = vec!["--admin", &url];
        all.extend(form);
        let answer: Value = explain::ask(&args(&all).unwrap()).await.unwrap();
        assert_eq!(answer["endpoint"], "e");
        let sent = log.0.lock().unwrap().remove(0);
        assert_eq!(sent.0, format!("/admin/explain?path={path}"));
        assert_eq!(String::from_utf8(sent.1).unwrap(), body);
    }
}

#[tokio::test]
async fn refusals_name_the_place_and_the_reason() {
    let refusing = serve(|_, _| {
        reply(
            404,
            json!({"error": {"message": "unknown model `x`; known: m"}}),
        )
    })
    .await;
    let html = serve(|_, _| reply(200, "<html>")).await;
    for (url, expected) in [
        (refusing, "unknown model `x`; known: m"),
        (html, "not JSON"),
        (nobody().await, "refused"),
    ] {
        let asked = args(&["--admin", &url, "--prompt", "hi"]).unwrap();
        let said = explain::ask(&asked).await.unwrap_err().to_string();
        assert!(said.contains(expected) && said.contains(&url), "{said}");
    }
}

#[test]
fn exactly_one_form_is_asked_for() {
    assert!(args(&[]).is_err());
    assert!(args(&["--prompt", "a", "--chat", "b"]).is_err());
}
