//! Which models does an endpoint say that it serves?

use std::time::Duration;

use engine_api::models::{ModelCard, parse};
use fleet::Event;

use crate::config::ms;
use crate::pace;
use crate::watched::Watched;

/// Reads the list again and again while the endpoint answers; the first read is the health check's.
pub(crate) async fn run(endpoint: &Watched) {
    let interval = ms(endpoint.shared.config.models.interval_ms);
    let mut rng = pace::seeded(&endpoint.spec.name, "models");
    loop {
        tokio::time::sleep(pace::spread(interval, endpoint.count(), &mut rng)).await;
        if !endpoint.answers() {
            continue;
        }
        // What was read before stands until a read succeeds.
        if let Err(reason) = read(endpoint).await {
            tracing::debug!(endpoint = %endpoint.spec.name, %reason, "model list not read");
        }
    }
}

/// Reads the list once and tells the fleet.
pub(crate) async fn read(endpoint: &Watched) -> Result<(), String> {
    let config = &endpoint.shared.config.models;
    let cards = ask(endpoint, &config.path, ms(config.timeout_ms))
        .await
        .map_err(|reason| format!("{}: {reason}", config.path))?;
    endpoint.shared.apply(Event::Models {
        slot: endpoint.slot,
        cards,
    });
    Ok(())
}

/// `None` where the endpoint has no such list for us: it then qualifies for every model of its pool.
async fn ask(
    endpoint: &Watched,
    path: &str,
    limit: Duration,
) -> Result<Option<Vec<ModelCard>>, String> {
    let answer = endpoint.client.get(path, limit).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status {
        200 => parse(&answer.body)
            .map(Some)
            .map_err(|error| error.to_string()),
        404 | 405 => Ok(None),
        // The key may be the clients' alone; they are passed on with it.
        status @ (401 | 403) => {
            tracing::warn!(
                endpoint = %endpoint.spec.name, status,
                "model list is not for us, any model is taken to be served; set `api_key_env` to read it"
            );
            Ok(None)
        }
        status => Err(format!("answered {status}")),
    }
}
