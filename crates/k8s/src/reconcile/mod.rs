//! How do the cluster and a service's manifest come to agree?
//!
//! Watches fill views of what there is and name the services that a change concerns; each named service is looked at
//! whole: resolve, desire, apply what differs, judge, say so. Nothing is remembered that a restart would lose, but
//! for which objects were applied last, which only saves calls.

mod apply;
mod certificate;
pub mod client;
mod events;
mod gateways;
mod kinds;
mod lease;
mod observe;
mod queue;
mod routes;
mod schedules;
mod service;
mod views;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::desired::Settings;
use apply::Applied;
use kinds::Kinds;
pub use lease::Leadership;
use queue::Queue;
use views::Views;

/// Services looked at at once.
pub const DEFAULT_CONCURRENCY: usize = 8;
/// Every service is looked at again after this long, whatever happened.
const RESYNC: Duration = Duration::from_secs(600);

/// Which services are ours to reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// All but those annotated for another controller; in a cluster where KServe's own controller is installed, only
    /// those annotated for this one.
    Auto,
    /// All but those annotated for another controller.
    Unclaimed,
    /// Only those annotated for this one.
    Annotated,
}

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Options {
    pub settings: Settings,
    pub claim: Claim,
    /// One namespace, or all.
    pub namespace: Option<String>,
    pub concurrency: usize,
    /// Name by which this process holds the lease; none: no other controller runs, and none is asked.
    pub identity: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            claim: Claim::Auto,
            namespace: None,
            concurrency: DEFAULT_CONCURRENCY,
            identity: None,
        }
    }
}

/// What every look at a service needs.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) views: Views,
    pub(crate) kinds: Kinds,
    pub(crate) applied: Mutex<Applied>,
    pub(crate) events: events::Events,
    pub(crate) queue: Queue,
}

/// Reconciles until `stop`, while this process leads.
///
/// # Errors
/// The API server cannot be reached at the start, or does not know the resources.
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    let Some(identity) = options.identity.clone() else {
        lead(client, options, stop).await;
        return Ok(());
    };
    let mut leadership = Leadership::start(
        client.clone(),
        &options.settings.system_namespace,
        &identity,
        stop.clone(),
    );
    while leadership.gained().await {
        tracing::info!(identity, "leading");
        let term = stop.child_token();
        tokio::select! {
            () = lead(client.clone(), options.clone(), term.clone()) => {}
            () = leadership.lost() => tracing::warn!(identity, "no longer leading: another controller may write now, this one has stopped"),
        }
        term.cancel();
    }
    leadership.release().await;
    Ok(())
}

/// One term of leading.
async fn lead(client: Client, options: Options, stop: CancellationToken) {
    let kinds = Kinds::new(client.clone());
    kinds.refresh().await;
    let concurrency = options.concurrency.max(1);
    let context = Arc::new(Context {
        events: events::Events::new(client.clone()),
        views: Views::default(),
        applied: Mutex::default(),
        queue: Queue::default(),
        kinds,
        client,
        options,
    });
    // Dropped with this future: a term that ended writes nothing more.
    let mut tasks = JoinSet::new();
    views::watch(&context, &mut tasks);
    tasks.spawn(kinds::refresh_forever(Arc::clone(&context)));
    tasks.spawn(gateways::reconcile_forever(Arc::clone(&context)));
    context.views.synced(&stop).await;
    for _ in 0..concurrency {
        tasks.spawn(look_forever(Arc::clone(&context)));
    }
    stop.cancelled().await;
    tasks.shutdown().await;
}

async fn look_forever(context: Arc<Context>) {
    loop {
        let key = context.queue.next().await;
        let again = match service::reconcile(&context, &key).await {
            Ok(again) => {
                context.queue.succeeded(&key);
                again
            }
            Err(error) => {
                let delay = context.queue.failed(&key, is_conflict(&error));
                tracing::warn!(
                    namespace = key.namespace,
                    name = key.name,
                    "will look again in {delay:?}: {error:#}"
                );
                Some(delay)
            }
        };
        context.queue.done(&key, again);
    }
}

fn is_conflict(error: &anyhow::Error) -> bool {
    let conflicts =
        |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 409);
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref())
        .any(conflicts)
}

/// A delay, moved by up to a tenth, so that many services do not come at once.
pub(crate) fn jittered(delay: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher};

    // Seeded anew by the standard library each time.
    let random = std::hash::RandomState::new().build_hasher().finish() % 1000;
    delay + delay.mul_f64(random as f64 / 10_000.0)
}
