//! Which of several controllers writes?
//!
//! The one that holds the lease. It renews every 2 s and stops writing when it could not for 10 s, before others may
//! take over after 15 s without a renewal. Times are those of `client-go`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Name of the lease.
pub(super) const LEASE: &str = "prefixgate-controller";
const DURATION: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);

/// Whether this process leads.
pub struct Leadership {
    leads: watch::Receiver<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Leadership {
    /// Begins to ask for the lease.
    pub fn start(client: Client, namespace: &str, identity: &str, stop: CancellationToken) -> Self {
        let (sender, leads) = watch::channel(false);
        let holder = Holder {
            api: Api::namespaced(client, namespace),
            identity: identity.to_owned(),
            seen: None,
        };
        Self {
            leads,
            task: tokio::spawn(hold(holder, sender, stop)),
        }
    }

    /// Waits to lead; false when the process is to stop instead.
    pub async fn gained(&mut self) -> bool {
        self.leads.wait_for(|leads| *leads).await.is_ok()
    }

    /// Waits until this process no longer leads.
    pub async fn lost(&mut self) {
        let _ = self.leads.wait_for(|leads| !*leads).await;
    }

    /// Waits until the lease is given back.
    pub async fn release(self) {
        let _ = self.task.await;
    }
}

struct Holder {
    api: Api<Lease>,
    identity: String,
    /// Another's lease as last seen, and when it last changed by our clock: clocks of machines differ.
    seen: Option<(String, Instant)>,
}

async fn hold(mut holder: Holder, leads: watch::Sender<bool>, stop: CancellationToken) {
    // When the last attempt that held began: the lease was renewed then or later.
    let mut renewed: Option<Instant> = None;
    let mut told = false;
    loop {
        let asked = Instant::now();
        let attempt = tokio::time::timeout(RENEW_DEADLINE / 2, holder.take_or_renew());
        tokio::select! {
            held = attempt => match held {
                Ok(Ok(true)) => {
                    renewed = Some(asked);
                    told = false;
                }
                Ok(Ok(false)) => renewed = None,
                Ok(Err(error)) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!("cannot take the lease {LEASE}, trying on: {error}");
                    }
                }
                Err(_) => tracing::debug!("lease: no answer"),
            },
            // An answer that does not come is not waited for past the deadline: another may write soon after it.
            () = deadline(renewed) => renewed = None,
            () = stop.cancelled() => break,
        }
        let still = renewed.is_some_and(|at| at.elapsed() < RENEW_DEADLINE);
        tell(&leads, still);
        tokio::select! {
            () = tokio::time::sleep(super::jittered(RETRY)) => {}
            () = deadline(renewed.filter(|_| still)) => tell(&leads, false),
            () = stop.cancelled() => break,
        }
    }
    tell(&leads, false);
    if renewed.is_some() {
        let _ = tokio::time::timeout(RETRY, holder.give_back()).await;
    }
}

fn tell(leads: &watch::Sender<bool>, now: bool) {
    leads.send_if_modified(|leads| std::mem::replace(leads, now) != now);
}

/// Waits until a lease renewed then may no longer be relied on.
async fn deadline(renewed: Option<Instant>) {
    match renewed {
        Some(at) => tokio::time::sleep_until(at + RENEW_DEADLINE).await,
        None => std::future::pending().await,
    }
}

impl Holder {
    /// True when the lease is ours after the call.
    async fn take_or_renew(&mut self) -> Result<bool, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let Some(mut lease) = self.api.get_opt(LEASE).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(LEASE.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(&now, &now, 0)),
            };
            return conflict_is_false(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let ours = holder == self.identity;
        if !ours && !holder.is_empty() && !self.expired(&lease) {
            return Ok(false);
        }
        let acquired = if ours {
            spec.acquire_time.clone()
        } else {
            None
        };
        let transitions = spec.lease_transitions.unwrap_or_default() + i32::from(!ours);
        lease.spec = Some(self.spec(acquired.as_ref().unwrap_or(&now), &now, transitions));
        // The resource version that was read makes two takers conflict instead of both winning.
        conflict_is_false(
            self.api
                .replace(LEASE, &PostParams::default(), &lease)
                .await,
        )
    }

    /// Another's lease has not changed for its whole duration.
    fn expired(&mut self, lease: &Lease) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let duration = seconds.map_or(DURATION, Duration::from_secs);
        match &self.seen {
            Some((seen, at)) if *seen == version => at.elapsed() >= duration,
            _ => {
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }

    fn spec(&self, acquired: &MicroTime, renewed: &MicroTime, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(acquired.clone()),
            renew_time: Some(renewed.clone()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    async fn give_back(&self) -> Result<(), kube::Error> {
        let mut lease = self.api.get(LEASE).await?;
        if let Some(spec) = &mut lease.spec
            && spec.holder_identity.as_deref() == Some(&self.identity)
        {
            spec.holder_identity = None;
            self.api
                .replace(LEASE, &PostParams::default(), &lease)
                .await?;
        }
        Ok(())
    }
}

fn conflict_is_false(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
