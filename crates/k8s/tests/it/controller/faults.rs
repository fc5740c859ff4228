use std::time::Duration;

use k8s_testbed::Fault;
use serde_json::{Value, json};

use super::world::{NAME, World, condition, core, deployment, is_ready, service, serving};

/// A ready service of three.
async fn running() -> World {
    let world = World::start().await;
    world.apply(NAME, |_| ());
    world.until(&deployment(NAME), Value::is_object).await;
    world.pods(NAME, 3, &serving());
    world.until(&service(NAME), is_ready).await;
    world
}

/// After the fault, and while it lasts, a change still arrives, and the status is true in the end.
async fn passes(fault: Fault) {
    let world = running().await;
    let patch = json!({"spec": {"replicas": 4}});
    world.api().merge(&service(NAME), &patch).unwrap();
    world.server.inject(fault.clone());
    let deployed = world
        .until(&deployment(NAME), |found| found["spec"]["replicas"] == 4)
        .await;
    assert_eq!(deployed["spec"]["replicas"], 4, "{fault:?}");
    world
        .until(&service(NAME), |found| {
            found["status"]["observedGeneration"] == found["metadata"]["generation"]
                && found["status"]["endpoints"]["ready"]
                    .as_array()
                    .map(Vec::len)
                    == Some(3)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn faults_pass() {
    for fault in [
        Fault::WatchCut,
        Fault::Gone,
        Fault::ConflictStorm { count: 12 },
        Fault::EverySecondConflicts { count: 12 },
        Fault::Away {
            for_how_long: Duration::from_secs(60),
        },
    ] {
        passes(fault).await;
    }
}

/// What was deleted while nobody could look is noticed.
#[tokio::test(start_paused = true)]
async fn what_happened_meanwhile_is_seen() {
    for fault in [
        Fault::Gone,
        Fault::Away {
            for_how_long: Duration::from_secs(60),
        },
    ] {
        let world = running().await;
        world.server.inject(fault);
        let api = world.api();
        api.delete(&core(&format!("pods/{NAME}-1?gracePeriodSeconds=0")))
            .unwrap();
        api.delete(&deployment(NAME)).unwrap();
        world.until(&deployment(NAME), Value::is_object).await;
        world
            .until(&service(NAME), |found| {
                found["status"]["endpoints"]["ready"]
                    .as_array()
                    .map(Vec::len)
                    == Some(2)
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhooks_refusal_is_said_and_tried_again() {
    let world = World::start().await;
    world.server.inject(Fault::WebhookRefuses {
        kind: "Deployment".to_owned(),
        count: 3,
    });
    world.apply(NAME, |_| ());
    let refused = world
        .until(&service(NAME), |found| {
            condition(found, "Ready").1 == "ObjectRefused"
        })
        .await;
    let (.., message) = condition(&refused, "Ready");
    assert!(
        message.contains("Deployment/qwen2-3b-pattern3-kserve"),
        "{message}"
    );
    assert!(message.contains("admission webhook"), "{message}");
    world.until(&deployment(NAME), Value::is_object).await;
    world.pods(NAME, 3, &serving());
    world.until(&service(NAME), is_ready).await;
}

/// A pod that ends, and one whose node is gone, leave the ready endpoints with a reason.
#[tokio::test(start_paused = true)]
async fn lost_pods_are_named() {
    let world = running().await;
    let lost = json!({"status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady", "lastTransitionTime": "2026-03-01T11:00:00Z"}],
    }});
    let pod = core(&format!("pods/{NAME}-0/status"));
    world.api().merge(&pod, &lost).unwrap();
    let killed = core(&format!("pods/{NAME}-1?gracePeriodSeconds=0"));
    world.api().delete(&killed).unwrap();
    let seen = world
        .until(&service(NAME), |found| {
            found["status"]["endpoints"]["ready"]
                .as_array()
                .map(Vec::len)
                == Some(1)
        })
        .await;
    assert!(!is_ready(&seen), "{:#}", seen["status"]["conditions"]);
    let unready = seen["status"]["endpoints"]["unready"].as_array().unwrap();
    assert_eq!(unready[0]["pod"], format!("{NAME}-0"));
    assert_eq!(unready[0]["reason"], "NodeLost", "{unready:?}");
}
