//! What do the engines themselves say they looked up, found and served?

use std::sync::Arc;

use engine_api::dialect;
use engine_api::metrics::{self, EngineMetrics, Selector};

use crate::load::{Client, ClientOptions, Target};

/// The engines behind a gateway, each by its own address.
pub struct Engines {
    clients: Vec<Arc<Client>>,
}

/// One engine's counters at one moment; `None` is "the page did not say".
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub url: String,
    pub metrics: EngineMetrics,
    /// Requests finished since the engine started.
    pub finished_requests: Option<f64>,
    /// Steps of an engine of ours, and by how many seconds they were late in all.
    pub step_lag: Option<(f64, f64)>,
}

/// What one engine's counters gained between two readings.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Gain {
    pub url: String,
    pub queried_tokens: Option<f64>,
    pub hit_tokens: Option<f64>,
    pub finished_requests: Option<f64>,
    pub preemptions: Option<f64>,
}

impl Engines {
    /// Fails on an address that cannot be used.
    pub fn new(urls: &[String], options: &ClientOptions) -> anyhow::Result<Self> {
        let clients = urls
            .iter()
            .map(|url| Ok(Arc::new(Client::new(Target::parse(url)?, options.clone())?)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { clients })
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub fn clients(&self) -> &[Arc<Client>] {
        &self.clients
    }

    /// Every engine's counters now, all read at once; an engine that cannot be read is an error naming it.
    pub async fn read(&self) -> anyhow::Result<Vec<Counters>> {
        futures_util::future::try_join_all(self.clients.iter().map(|client| read_one(client))).await
    }
}

async fn read_one(client: &Client) -> anyhow::Result<Counters> {
    let answer = client.get("/metrics").await?;
    let url = client.target().to_string();
    anyhow::ensure!(
        answer.status.is_success(),
        "GET {url}/metrics answered {}",
        answer.status
    );
    let dialect = metrics::detect(&answer.body).unwrap_or(&dialect::VLLM);
    Ok(Counters {
        url,
        metrics: metrics::parse(&answer.body, dialect, Selector::default()),
        finished_requests: sum_of(&answer.body, "vllm:request_success_total"),
        step_lag: sum_of(&answer.body, "prefixgate:engine_step_lag_seconds_count").zip(sum_of(
            &answer.body,
            "prefixgate:engine_step_lag_seconds_sum",
        )),
    })
}

/// The sum over all series of `name` in a Prometheus text page; `None` when there is none.
pub fn sum_of(page: &[u8], name: &str) -> Option<f64> {
    let text = String::from_utf8_lossy(page);
    let mut sum = None;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        let value = match rest.as_bytes().first() {
            Some(b' ') => rest,
            Some(b'{') => rest.rsplit_once('}').map_or("", |(_, value)| value),
            _ => continue,
        };
        // A time stamp may follow the value.
        let value = value
            .split_ascii_whitespace()
            .next()
            .and_then(|value| value.parse::<f64>().ok());
        sum = value.map_or(sum, |value| Some(sum.unwrap_or(0.0) + value));
    }
    sum
}

/// What each engine's counters gained; engines are matched by address. A counter that fell (a restart)
/// counts from zero.
pub fn gains(before: &[Counters], after: &[Counters]) -> Vec<Gain> {
    after
        .iter()
        .map(|after| {
            let before = before.iter().find(|before| before.url == after.url);
            let was = |field: fn(&Counters) -> Option<f64>| before.and_then(field);
            let gained = |field: fn(&Counters) -> Option<f64>| {
                let (was, is) = (was(field).unwrap_or(0.0), field(after)?);
                Some(if is >= was { is - was } else { is })
            };
            Gain {
                url: after.url.clone(),
                queried_tokens: gained(|counters| counters.metrics.prefix_queries_tokens),
                hit_tokens: gained(|counters| counters.metrics.prefix_hits_tokens),
                finished_requests: gained(|counters| counters.finished_requests),
                preemptions: gained(|counters| counters.metrics.preemptions),
            }
        })
        .collect()
}

/// Tokens found over tokens looked up, over all engines; `None` where they do not say or looked up nothing.
pub fn hit_rate(gains: &[Gain]) -> Option<f64> {
    let queried: f64 = gains.iter().filter_map(|gain| gain.queried_tokens).sum();
    let hits: Vec<f64> = gains.iter().filter_map(|gain| gain.hit_tokens).collect();
    (queried > 0.0 && !hits.is_empty()).then(|| hits.iter().sum::<f64>() / queried)
}

/// Mean time by which the engines' steps were late between two readings, in ms; `None` where they do not say.
pub fn step_lag_ms(before: &[Counters], after: &[Counters]) -> Option<f64> {
    let sum = |counters: &[Counters]| {
        (counters.iter().filter_map(|counters| counters.step_lag))
            .fold((0.0, 0.0), |sum, lag| (sum.0 + lag.0, sum.1 + lag.1))
    };
    let (was, is) = (sum(before), sum(after));
    let steps = is.0 - was.0;
    (steps > 0.0).then(|| (is.1 - was.1) / steps * 1e3)
}

/// The engines' block size in tokens where they all say the same.
pub fn block_size_tokens(counters: &[Counters]) -> Option<u32> {
    let mut sizes = counters
        .iter()
        .map(|counters| counters.metrics.block_size_tokens);
    let first = sizes.next()??;
    sizes.all(|size| size == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_and_lookalikes_are_not() {
        let page =
            b"# HELP a:b_total x\na:b_total{r=\"stop\"} 3.0\na:b_total{r=\"le}n\"} 4 1700000000\n\
            a:b_total_created{r=\"x\"} 9\na:c_total 5\n";
        assert_eq!(sum_of(page, "a:b_total"), Some(7.0));
        assert_eq!(sum_of(page, "a:c_total"), Some(5.0));
        assert_eq!(sum_of(page, "a:d_total"), None);
    }

    fn counters(url: &str, queries: f64, hits: f64) -> Counters {
        let metrics = EngineMetrics {
            prefix_queries_tokens: Some(queries),
            prefix_hits_tokens: Some(hits),
            block_size_tokens: Some(16),
            ..EngineMetrics::default()
        };
        Counters {
            url: url.to_owned(),
            metrics,
            finished_requests: None,
            step_lag: None,
        }
    }

    #[test]
    fn gains_are_differences_and_a_restart_counts_from_zero() {
        let before = [counters("a", 100.0, 50.0), counters("b", 1000.0, 900.0)];
        let after = [counters("b", 60.0, 30.0), counters("a", 200.0, 110.0)];
        let gains = gains(&before, &after);
        assert_eq!(
            (gains[0].queried_tokens, gains[0].hit_tokens),
            (Some(60.0), Some(30.0))
        );
        assert_eq!(
            (gains[1].queried_tokens, gains[1].hit_tokens),
            (Some(100.0), Some(60.0))
        );
        assert_eq!(hit_rate(&gains), Some(90.0 / 160.0));
        assert_eq!(hit_rate(&[]), None);
        assert_eq!(block_size_tokens(&after), Some(16));
    }
}
