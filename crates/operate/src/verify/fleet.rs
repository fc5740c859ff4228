//! Which replicas stand behind the address, and are they well?

use std::collections::BTreeMap;

use benchmark::engines::{self, Counters, Engines};
use benchmark::load::Client;
use benchmark::load::stream::{ENDPOINT_HEADER, error_message};

use super::Args;
use super::outcome::Check;
use crate::admin::{self, Endpoint, State};

/// Where a gateway of this machine keeps its admin address.
const LOCAL_ADMIN: &str = "http://127.0.0.1:9090";

/// What can be known of the replicas.
pub(crate) struct Fleet {
    admin: Option<Client>,
    /// Given by the operator rather than found on this machine.
    admin_asked: bool,
    state: Result<State, String>,
    pub(crate) engines: Engines,
    replicas: Option<usize>,
}

impl Fleet {
    /// Reads the admin address that was given; without one, that of this machine counts if the checked
    /// address is on this machine too and answers name endpoints it knows.
    pub(crate) async fn find(args: &Args, client: &Client) -> anyhow::Result<Self> {
        let asked = args.engines.admin.as_deref();
        let local = client.target().is_loopback() && args.engines.engines.is_empty();
        let url = asked.or(local.then_some(LOCAL_ADMIN));
        let admin = url.map(admin::client).transpose()?;
        let state = match &admin {
            Some(admin) => admin::state(admin).await.map_err(|error| error.to_string()),
            None => Err("neither --admin nor --engines given".to_owned()),
        };
        let known = state
            .iter()
            .flat_map(|state| &state.pools)
            .flat_map(|pool| &pool.endpoints);
        let mut urls = args.engines.engines.clone();
        if urls.is_empty() && asked.is_some() {
            urls = known.map(|endpoint| endpoint.url.clone()).collect();
        }
        let options = benchmark::load::ClientOptions {
            timeout: std::time::Duration::from_secs(10),
            ..Default::default()
        };
        Ok(Self {
            admin,
            admin_asked: asked.is_some(),
            state,
            engines: Engines::new(&urls, &options)?,
            replicas: args.replicas,
        })
    }

    /// Endpoints by the admin state, as far as they can be those of the checked address.
    fn endpoints(&self, model: Option<&str>, named: Option<&str>) -> Option<Vec<&Endpoint>> {
        let state = self.state.as_ref().ok()?;
        let endpoints = state.serving(model, named);
        let ours =
            named.is_some_and(|named| endpoints.iter().any(|endpoint| endpoint.is_called(named)));
        (self.admin_asked || ours).then_some(endpoints)
    }

    /// How many replicas should serve, and how that is known.
    pub(crate) fn expected(
        &self,
        model: Option<&str>,
        named: Option<&str>,
    ) -> Option<(usize, &'static str)> {
        if let Some(replicas) = self.replicas {
            return Some((replicas, "--replicas"));
        }
        if let Some(endpoints) = self.endpoints(model, named) {
            let ready = endpoints
                .iter()
                .filter(|endpoint| endpoint.is_ready())
                .count();
            return Some((ready, "ready by the admin state"));
        }
        (!self.engines.is_empty()).then(|| (self.engines.len(), "--engines"))
    }

    /// Engine counters now; `None` where no engine address is known, an error where one cannot be read.
    pub(crate) async fn counters(&self) -> Result<Option<Vec<Counters>>, String> {
        if self.engines.is_empty() {
            return Ok(None);
        }
        self.engines
            .read()
            .await
            .map(Some)
            .map_err(|error| error.to_string())
    }

    /// Tokens per block by the admin state, else by the engines' metrics.
    pub(crate) fn block_size_tokens(
        &self,
        model: Option<&str>,
        named: Option<&str>,
        counters: Option<&[Counters]>,
    ) -> Option<u32> {
        let by_state = self.endpoints(model, named).unwrap_or_default();
        let stated = by_state
            .iter()
            .find_map(|endpoint| endpoint.block_size_tokens);
        stated.or_else(|| counters.and_then(engines::block_size_tokens))
    }

    /// Are all endpoints ready: by the admin state, else by the engines' own `/health`? `named` is the endpoint
    /// that some answer named, to tell this gateway's state from another's.
    pub(crate) async fn health(&self, named: Option<&str>) -> Check {
        let (name, expected) = ("pool-health", "every endpoint is ready");
        if self.admin_asked
            && let Err(why) = &self.state
        {
            return Check::fail(name, expected, why.clone())
                .hint("is --admin the gateway's admin address, and is the gateway running?");
        }
        if let Some(endpoints) = self.endpoints(None, named) {
            return self.by_state(name, expected, &endpoints);
        }
        if self.engines.is_empty() {
            return Check::skip(
                name,
                expected,
                "no admin address and no engine addresses known",
            )
            .hint(
                "give --admin http://127.0.0.1:9090 of a prefixgate gateway, or --engines URL,URL",
            );
        }
        let mut sick = Vec::new();
        for client in self.engines.clients() {
            let said = match client.get("/health").await {
                Ok(answer) if answer.status.is_success() => continue,
                Ok(answer) => format!("{} {}", answer.status, error_message(&answer.body)),
                Err(error) => error.to_string(),
            };
            sick.push(format!("{}: {said}", client.target()));
        }
        let all = self.engines.len();
        let seen = format!(
            "{} of {all} engines answer /health with 200",
            all - sick.len()
        );
        if sick.is_empty() {
            return Check::pass(name, expected, seen);
        }
        Check::fail(name, expected, format!("{seen}; {}", sick.join("; ")))
            .hint("start the engines that do not answer, or correct --engines")
    }

    fn by_state(&self, name: &str, expected: &str, endpoints: &[&Endpoint]) -> Check {
        let at = self
            .admin
            .as_ref()
            .map(|admin| admin.target().to_string())
            .unwrap_or_default();
        let sick: Vec<String> = endpoints
            .iter()
            .filter(|endpoint| !endpoint.is_ready())
            .map(|endpoint| {
                let why = endpoint.reason.as_deref().unwrap_or("no reason given");
                format!("{} is {} ({why})", endpoint.name, endpoint.health)
            })
            .collect();
        let all = endpoints.len();
        let seen = format!("{} of {all} endpoints ready (by {at})", all - sick.len());
        if all == 0 {
            Check::fail(name, expected, format!("no endpoint at all (by {at})"))
                .hint("add endpoints to the gateway's configuration")
        } else if sick.is_empty() {
            Check::pass(name, expected, seen)
        } else {
            Check::fail(name, expected, format!("{seen}: {}", sick.join(", "))).hint(
                "see those engines' logs; the gateway takes them back by itself once they answer",
            )
        }
    }
}

/// The endpoint that an answer names.
pub(crate) fn named(answer: &benchmark::load::Answer) -> Option<String> {
    answer.header(ENDPOINT_HEADER).map(str::to_owned)
}

/// `a 12, b 18`
pub(crate) fn show_counts(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    parts.join(", ")
}
