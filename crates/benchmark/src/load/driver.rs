//! Who sends next: whoever is free (closed loop), or the clock (open loop)?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::client::Client;
use super::sample::Sample;
use crate::workload::Workload;

/// Called once for every finished request.
pub type Progress = Arc<dyn Fn(&Sample) + Send + Sync>;

/// Samples in order of completion, and how long the run took.
#[derive(Debug)]
pub struct Run {
    pub begun: Instant,
    pub duration: Duration,
    pub samples: Vec<Sample>,
}

/// `concurrency` lanes, each sending its next request as soon as its last one ended.
pub async fn closed(
    client: &Arc<Client>,
    workload: &Arc<dyn Workload>,
    concurrency: usize,
    progress: &Progress,
) -> Run {
    let begun = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut lanes = JoinSet::new();
    for _ in 0..concurrency.clamp(1, workload.len().max(1)) {
        let (client, workload) = (client.clone(), workload.clone());
        let (next, progress) = (next.clone(), progress.clone());
        lanes.spawn(async move { lane(&client, &*workload, &next, &progress).await });
    }
    let samples = lanes.join_all().await.into_iter().flatten().collect();
    Run {
        begun,
        duration: begun.elapsed(),
        samples,
    }
}

async fn lane(
    client: &Client,
    workload: &dyn Workload,
    next: &AtomicUsize,
    progress: &Progress,
) -> Vec<Sample> {
    let mut samples = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= workload.len() {
            return samples;
        }
        let prompted = workload.prompted(index);
        let sample = client.stream(&prompted, Instant::now()).await;
        progress(&sample);
        samples.push(sample);
    }
}

/// Asked after each finished request whether to go on; `false` gives the run up.
pub type KeepGoing<'a> = &'a (dyn Fn(&[Sample]) -> bool + Sync);

/// One request at each of `times` from now, whatever became of the others; at most `max_in_flight` at once.
/// A request held back by that bound, or by this tool being late, keeps its intended time.
pub async fn open(
    client: &Arc<Client>,
    workload: &Arc<dyn Workload>,
    times: &[Duration],
    max_in_flight: usize,
    progress: &Progress,
) -> Run {
    open_while(client, workload, times, max_in_flight, progress, &|_| true).await
}

/// As [`open`], until `keep_going` says no: then what is in flight is dropped and counts for nothing.
pub async fn open_while(
    client: &Arc<Client>,
    workload: &Arc<dyn Workload>,
    times: &[Duration],
    max_in_flight: usize,
    progress: &Progress,
    keep_going: KeepGoing<'_>,
) -> Run {
    let permits = Arc::new(Semaphore::new(max_in_flight.max(1)));
    let mut flights = JoinSet::new();
    let mut samples = Vec::with_capacity(times.len());
    let begun = Instant::now();
    let mut wanted = true;
    for (index, at) in times.iter().take(workload.len()).enumerate() {
        let prompted = workload.prompted(index);
        let intended = begun + *at;
        tokio::time::sleep_until(intended.into()).await;
        let Ok(permit) = permits.clone().acquire_owned().await else {
            break;
        };
        let (client, progress) = (client.clone(), progress.clone());
        flights.spawn(async move {
            let sample = client.stream(&prompted, intended).await;
            drop(permit);
            progress(&sample);
            sample
        });
        while let Some(Ok(sample)) = flights.try_join_next() {
            samples.push(sample);
            wanted &= keep_going(&samples);
        }
        if !wanted {
            break;
        }
    }
    while wanted && let Some(Ok(sample)) = flights.join_next().await {
        samples.push(sample);
        wanted &= keep_going(&samples);
    }
    flights.shutdown().await;
    Run {
        begun,
        duration: begun.elapsed(),
        samples,
    }
}
