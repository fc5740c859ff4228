//! Do the loops keep their concurrency and their schedule?

use std::sync::Arc;
use std::time::Duration;

use benchmark::load::driver::{self, Progress};
use benchmark::report::Scenario;
use benchmark::workload::Workload;
use benchmark::workload::suite::Questions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::support::{DONE, Reply, TOKEN, client, serve, usage};

fn questions(requests: usize) -> Arc<dyn Workload> {
    Arc::new(Questions {
        model: "m".into(),
        requests,
        output_tokens: 4,
        seed: 1,
    })
}

fn quiet() -> Progress {
    Arc::new(|_| {})
}

/// Answers only once `together` requests wait.
async fn serve_together(together: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let barrier = Arc::new(Barrier::new(together));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let barrier = barrier.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 16384];
                while socket.read(&mut buffer).await.unwrap_or(0) > 0 {
                    barrier.wait().await;
                    let body = format!("{TOKEN}{DONE}");
                    let head =
                        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length";
                    let answer = format!("{head}: {}\r\n\r\n{body}", body.len());
                    socket.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_closed_loop_keeps_its_concurrency() {
    let url = serve_together(4).await;
    let run = driver::closed(&client(&url), &questions(12), 4, &quiet()).await;
    assert_eq!(run.samples.len(), 12);
    assert!(run.samples.iter().all(|sample| sample.is_ok()));
}

#[tokio::test]
async fn an_open_loop_sends_whether_or_not_answers_come() {
    // No answer before all ten are there: a loop that waited for answers would hang.
    let url = serve_together(10).await;
    let times = vec![Duration::ZERO; 10];
    let run = driver::open(&client(&url), &questions(10), &times, 64, &quiet()).await;
    assert!(run.samples.iter().all(|sample| sample.is_ok()));
}

#[tokio::test]
async fn waiting_for_the_bound_counts_from_the_intended_time() {
    let url = serve_together(1).await;
    // All are meant to go at once, and the bound lets one go at a time.
    let times = vec![Duration::ZERO; 3];
    let run = driver::open(&client(&url), &questions(3), &times, 1, &quiet()).await;
    let mut samples: Vec<_> = run.samples.iter().collect();
    samples.sort_by(|left, right| left.client_queue_ms().total_cmp(&right.client_queue_ms()));
    assert_eq!(samples.len(), 3);
    for pair in samples.windows(2) {
        let (before, queued) = (pair[0], pair[1]);
        assert!(queued.client_queue_ms() >= before.e2e_ms(), "one at a time");
        assert!(
            queued.ttft_ms().unwrap() >= queued.client_queue_ms(),
            "the wait counts"
        );
    }
    assert!(samples[1].client_queue_ms() > 0.0);
}

#[tokio::test]
async fn a_scenario_counts_failures_notes_and_endpoints() {
    let url = serve(|_, body| {
        let text = String::from_utf8_lossy(body).into_owned();
        if text.contains("bicycle") {
            return Reply::json(r#"{"error":{"message":"full"}}"#).status(503);
        }
        let event = usage(20, 3, 16);
        let reply = if text.contains("colleague") {
            Reply::stream(&[TOKEN, TOKEN, TOKEN])
        } else {
            Reply::stream(&[TOKEN, TOKEN, TOKEN, &event, DONE])
        };
        reply.header(
            "x-prefixgate-endpoint",
            if text.contains("bread") { "b" } else { "a" },
        )
    })
    .await;
    // Eight questions in turn, once each.
    let run = driver::closed(&client(&url), &questions(8), 2, &quiet()).await;
    let scenario = Scenario::of("eight", &run);
    assert_eq!(
        (scenario.requests, scenario.successful, scenario.failed),
        (8, 7, 1)
    );
    assert_eq!((scenario.prompt_tokens, scenario.output_tokens), (120, 18));
    assert_eq!(scenario.reported_hit_rate(), Some(0.8));
    assert_eq!(scenario.endpoints.get("a"), Some(&6));
    assert_eq!(scenario.endpoints.get("b"), Some(&1));
    assert_eq!(scenario.errors[0].message, "status 503: full");
    assert_eq!((scenario.ttft_ms.n, scenario.tpot_ms.n), (7, 6));
    assert_eq!(scenario.ttft_ms.p95, None, "seven samples carry no p95");
    let notes = scenario.notes.join("\n");
    assert!(
        notes.contains("1 of 7 streams ended without [DONE]"),
        "{notes}"
    );
    assert!(notes.contains("1 of 7 streams carried no usage"), "{notes}");
}
