use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use k8s_testbed::{ApiServer, Fault};
use serde_json::{Value, json};

use crate::objects::server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A watch as a client has it: a stream of lines.
struct Watch {
    body: hyper::body::Incoming,
    rest: String,
}

impl Watch {
    async fn open(server: &ApiServer, query: &str) -> Result<Self, u16> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let url = format!("{}{MAPS}?watch=true&{query}", server.url());
        let answer = client.get(url.parse().unwrap()).await.unwrap();
        match answer.status().as_u16() {
            200 => Ok(Self {
                body: answer.into_body(),
                rest: String::new(),
            }),
            code => Err(code),
        }
    }

    /// The next event's type and object; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let event: Value = serde_json::from_str(line).unwrap();
                self.rest = rest.to_owned();
                return Some((
                    event["type"].as_str().unwrap().to_owned(),
                    event["object"].clone(),
                ));
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame())
                .await
                .unwrap()?;
            let data = frame.ok()?.into_data().ok()?;
            self.rest.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    async fn is(&mut self, expected: &str, name: &str) {
        let (kind, object) = self.next().await.unwrap();
        assert_eq!(
            (
                kind.as_str(),
                object["metadata"]["name"].as_str().unwrap_or_default()
            ),
            (expected, name)
        );
    }
}

fn map(name: &str, label: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"l": label}}})
}

fn version(server: &ApiServer) -> String {
    server.client().get(MAPS).unwrap()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn changes_come_in_order_from_where_the_list_ended() {
    let server = server().await;
    let client = server.client();
    client.create(MAPS, &map("before", "x")).unwrap();
    let mut watch = Watch::open(&server, &format!("resourceVersion={}", version(&server)))
        .await
        .unwrap();
    client.create(MAPS, &map("a", "x")).unwrap();
    client
        .merge(&format!("{MAPS}/a"), &json!({"data": {"k": "v"}}))
        .unwrap();
    client.delete(&format!("{MAPS}/a")).unwrap();
    watch.is("ADDED", "a").await;
    watch.is("MODIFIED", "a").await;
    watch.is("DELETED", "a").await;
}

#[tokio::test]
async fn a_selector_makes_labels_come_and_go() {
    let server = server().await;
    let client = server.client();
    let query = format!("labelSelector=l%3Dx&resourceVersion={}", version(&server));
    let mut watch = Watch::open(&server, &query).await.unwrap();
    client.create(MAPS, &map("a", "y")).unwrap();
    client.merge(&format!("{MAPS}/a"), &map("a", "x")).unwrap();
    client.merge(&format!("{MAPS}/a"), &map("a", "y")).unwrap();
    watch.is("ADDED", "a").await;
    watch.is("DELETED", "a").await;
}

#[tokio::test]
async fn streaming_lists_end_with_a_bookmark() {
    let server = server().await;
    server.client().create(MAPS, &map("a", "x")).unwrap();
    let mut watch = Watch::open(&server, "sendInitialEvents=true&allowWatchBookmarks=true")
        .await
        .unwrap();
    watch.is("ADDED", "a").await;
    let (kind, object) = watch.next().await.unwrap();
    assert_eq!(
        (
            kind.as_str(),
            &object["metadata"]["annotations"]["k8s.io/initial-events-end"]
        ),
        ("BOOKMARK", &json!("true"))
    );
}

#[tokio::test]
async fn faults_end_watches_and_forget_the_past() {
    let server = server().await;
    let from = version(&server);
    let mut watch = Watch::open(&server, &format!("resourceVersion={from}"))
        .await
        .unwrap();
    server.inject(Fault::WatchCut);
    assert!(watch.next().await.is_none());
    let mut again = Watch::open(&server, &format!("resourceVersion={from}"))
        .await
        .unwrap();
    server.inject(Fault::Gone);
    assert!(again.next().await.is_none());
    assert_eq!(
        Watch::open(&server, &format!("resourceVersion={from}"))
            .await
            .err(),
        Some(410)
    );
    assert!(
        Watch::open(&server, &format!("resourceVersion={}", version(&server)))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_absent_server_closes_connections_and_comes_back() {
    let server = server().await;
    server.inject(Fault::Away {
        for_how_long: Duration::from_millis(50),
    });
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let url: hyper::Uri = format!("{}/version", server.url()).parse().unwrap();
    assert!(client.get(url.clone()).await.is_err());
    let mut tries = 0;
    while client.get(url.clone()).await.is_err() {
        tries += 1;
        assert!(tries < 1_000, "it did not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
