//! Which server is measured, and how is it reached?

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::engines::Engines;
use crate::load::{Client, ClientOptions, Target, probe};

/// Flags of every command that sends load.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// Address of an OpenAI-compatible server, with its path prefix if it has one.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    pub url: String,
    /// Model to ask for [default: the first one the server lists].
    #[arg(long)]
    pub model: Option<String>,
    /// Sent as a bearer token.
    #[arg(long, env = "PREFIXGATE_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// Seconds until an unanswered request counts as failed.
    #[arg(long, default_value_t = 300)]
    pub timeout_s: u64,
    /// Seconds to wait for the server to become ready.
    #[arg(long, default_value_t = 60)]
    pub ready_timeout_s: u64,
}

/// Where the engines behind a gateway are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EngineAddresses {
    /// Addresses of the engines themselves, whose counters are read; commas between them.
    #[arg(long, value_delimiter = ',')]
    pub engines: Vec<String>,
    /// Admin address of a prefixgate gateway, to ask for its engines instead.
    #[arg(long)]
    pub admin: Option<String>,
}

impl Connection {
    pub fn options(&self) -> ClientOptions {
        ClientOptions {
            timeout: Duration::from_secs(self.timeout_s.max(1)),
            api_key: self.api_key.clone(),
            ..ClientOptions::default()
        }
    }

    pub fn client(&self) -> anyhow::Result<Arc<Client>> {
        Ok(Arc::new(Client::new(
            Target::parse(&self.url)?,
            self.options(),
        )?))
    }

    /// A client of a server that answered as ready, and the model to ask for.
    pub async fn ready(&self) -> anyhow::Result<(Arc<Client>, String)> {
        let client = self.client()?;
        probe::wait_ready(&client, Duration::from_secs(self.ready_timeout_s)).await?;
        let model = probe::model(&client, self.model.as_deref()).await?;
        Ok((client, model))
    }
}

impl EngineAddresses {
    /// Clients of the engines: those named, else those that the gateway's admin address lists for `model`; else
    /// none.
    pub async fn connect(&self, model: &str) -> anyhow::Result<Engines> {
        // Engines answer metrics quickly or not at all.
        let options = ClientOptions {
            timeout: Duration::from_secs(10),
            ..ClientOptions::default()
        };
        if !self.engines.is_empty() {
            return Engines::new(&self.engines, &options);
        }
        let Some(admin) = &self.admin else {
            return Engines::new(&[], &options);
        };
        let client = Client::new(Target::parse(admin)?, options.clone())?;
        let answer = client.get("/admin/state").await?;
        let state: State = serde_json::from_slice(&answer.body).map_err(|error| {
            anyhow::anyhow!(
                "GET {}/admin/state answered {}: {error}",
                client.target(),
                answer.status
            )
        })?;
        let endpoints = state.pools.into_iter().flat_map(|pool| pool.endpoints);
        let serving = endpoints.filter(|endpoint| endpoint.serves(model));
        let urls = serving.map(|endpoint| endpoint.url);
        Engines::new(&urls.collect::<Vec<_>>(), &options)
    }
}

/// What is read of `/admin/state`.
#[derive(Deserialize)]
struct State {
    pools: Vec<Pool>,
}

#[derive(Deserialize)]
struct Pool {
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    url: String,
    /// `None` where the gateway has not read the list: it may serve any.
    models: Option<Vec<String>>,
}

impl Endpoint {
    fn serves(&self, model: &str) -> bool {
        self.models
            .as_ref()
            .is_none_or(|models| models.iter().any(|served| served == model))
    }
}
