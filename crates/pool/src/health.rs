//! Does an endpoint answer that it is healthy?

use std::sync::atomic::Ordering::Relaxed;

use fleet::Event;

use crate::config::ms;
use crate::watched::Watched;
use crate::{models, pace};

/// Checks at once, then often until it is healthy, then at leisure.
pub(crate) async fn run(endpoint: &Watched) {
    let config = &endpoint.shared.config.health;
    let mut rng = pace::seeded(&endpoint.spec.name, "health");
    tokio::time::sleep(pace::first(endpoint.count(), &mut rng)).await;
    loop {
        let interval = if check(endpoint).await {
            config.interval_ms
        } else {
            config.unready_interval_ms
        };
        let wait = pace::spread(ms(interval), endpoint.count(), &mut rng);
        // Either way it is time for the next check.
        let _ = tokio::time::timeout(wait, endpoint.probe.notified()).await;
    }
}

/// One check, told to the fleet; whether it ended well.
async fn check(endpoint: &Watched) -> bool {
    // After any failure another process may answer here, with other models.
    let coming = !endpoint.healthy.load(Relaxed) || !endpoint.answers();
    let mut result = ask(endpoint).await;
    if result.is_ok() && coming {
        // Before it can be picked, so that no request reaches a model that is not there.
        result = models::read(endpoint).await;
    }
    let healthy = result.is_ok();
    endpoint.healthy.store(healthy, Relaxed);
    endpoint.shared.apply(Event::Probe {
        slot: endpoint.slot,
        result,
    });
    if healthy && coming {
        endpoint.traffic.notify_one();
    }
    healthy
}

async fn ask(endpoint: &Watched) -> Result<(), String> {
    let config = &endpoint.shared.config.health;
    let answer = endpoint
        .client
        .get(&config.path, ms(config.timeout_ms))
        .await;
    match answer {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(format!("{} answered {}", config.path, answer.status)),
        Err(error) => Err(format!("{}: {error}", config.path)),
    }
}
