//! What does an endpoint's metrics page say right now?

use std::time::Duration;

use engine_api::dialect::Dialect;
use engine_api::metrics::{EngineMetrics, Selector, detect, parse};
use fleet::Event;
use tokio::time::Instant;

use crate::config::{ScrapeConfig, ms};
use crate::pace::{self, Adaptive};
use crate::watched::Watched;

/// Longest pause between scrapes where cache events are followed, whatever `scrape.max_interval_ms` says: an engine that
/// works without telling is noticed by its metrics only.
const MOST_WITH_EVENTS: Duration = Duration::from_secs(1);

/// One scrape after the other, never two at once; often while there is work, seldom while there is none.
pub(crate) async fn run(endpoint: &Watched) {
    let config = &endpoint.shared.config.scrape;
    let mut rng = pace::seeded(&endpoint.spec.name, "scrape");
    let mut pace = pace(config, endpoint.shared.config.kv_events.enabled);
    loop {
        let begun = Instant::now();
        // One that does not answer has nothing to say; it is scraped as soon as it is back.
        let busy = endpoint.answers() && scrape(endpoint).await;
        let wait = pace.next(busy, begun.elapsed());
        let wait = pace::spread(wait, endpoint.count(), &mut rng);
        let soonest = wait.min(pace.least());
        tokio::time::sleep(soonest).await;
        // Either way it is time for the next one.
        let _ = tokio::time::timeout(wait - soonest, endpoint.traffic.notified()).await;
    }
}

/// How often an endpoint is scraped.
pub(crate) fn pace(config: &ScrapeConfig, follows_events: bool) -> Adaptive {
    let (least, most) = (ms(config.min_interval_ms), ms(config.max_interval_ms));
    match follows_events {
        true => Adaptive::new(least, most.min(MOST_WITH_EVENTS).max(least)),
        false => Adaptive::new(least, most),
    }
}

/// Scrapes once and tells the fleet; whether the engine or we have work there.
async fn scrape(endpoint: &Watched) -> bool {
    let slot = endpoint.slot;
    let mark = endpoint.shared.fleet.scrape_begin(slot);
    let picks = endpoint.state.picks();
    let result = read(endpoint).await;
    let working = result
        .as_ref()
        .is_ok_and(|metrics| metrics.running.unwrap_or(0) > 0 || metrics.waiting.unwrap_or(0) > 0);
    // Requests that came and went between two scrapes, past us.
    let mut worked = false;
    if let Ok(metrics) = &result {
        let before = endpoint.figures.look().computed_tokens;
        endpoint.figures.store(metrics);
        worked = before.is_some() && before != endpoint.figures.look().computed_tokens;
    }
    let failed = result.is_err();
    endpoint.shared.apply(Event::Scrape { slot, mark, result });
    let ours = endpoint.state.active_requests() > 0 || endpoint.state.picks() != picks;
    !failed && (working || worked || ours)
}

async fn read(endpoint: &Watched) -> Result<EngineMetrics, String> {
    let config = &endpoint.shared.config.scrape;
    let limit: Duration = ms(config.timeout_ms);
    let client = endpoint.metrics_client.as_ref().unwrap_or(&endpoint.client);
    let answer = client
        .get(&config.path, limit)
        .await
        .map_err(|error| format!("{}: {error}", config.path))?;
    if answer.status != 200 {
        return Err(format!("{} answered {}", config.path, answer.status));
    }
    let dialect = dialect(endpoint, &answer.body)
        .ok_or_else(|| format!("{} holds no metric of a known engine", config.path))?;
    let selector = Selector {
        rank: endpoint.spec.rank,
        model: None,
    };
    let metrics = parse(&answer.body, dialect, selector);
    if metrics.waiting.is_none() && metrics.running.is_none() && metrics.kv_usage.is_none() {
        return Err(format!(
            "{} holds no load of a {} engine",
            config.path, dialect.name
        ));
    }
    Ok(metrics)
}

fn dialect(endpoint: &Watched, page: &[u8]) -> Option<&'static Dialect> {
    endpoint.shared.dialect.or_else(|| detect(page))
}
