//! What does the gateway's admin API say, as far as these tools read it?

use std::time::Duration;

use benchmark::load::{Client, ClientOptions, Target};
use serde::Deserialize;

/// `GET /admin/state`; fields that are not read here are skipped.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct State {
    #[serde(default)]
    pub pools: Vec<Pool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Pool {
    #[serde(default, alias = "name")]
    pub pool: String,
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Endpoint {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub url: String,
    #[serde(default)]
    pub health: String,
    pub reason: Option<String>,
    pub models: Option<Vec<String>>,
    pub block_size_tokens: Option<u32>,
}

impl Endpoint {
    pub fn is_ready(&self) -> bool {
        self.health == "ready"
    }

    /// Is this the endpoint that an answer's header calls `named`?
    pub fn is_called(&self, named: &str) -> bool {
        let bare = |url: &str| {
            url.trim_end_matches('/')
                .split("://")
                .last()
                .map(str::to_owned)
        };
        self.name == named || bare(&self.url) == bare(named)
    }

    fn serves(&self, model: Option<&str>) -> bool {
        match (model, &self.models) {
            (Some(model), Some(models)) => models.iter().any(|served| served == model),
            _ => true,
        }
    }
}

impl State {
    /// The endpoints that serve `model`: of the pool that `named` (an answer's endpoint header) belongs to,
    /// else of every pool.
    pub fn serving(&self, model: Option<&str>, named: Option<&str>) -> Vec<&Endpoint> {
        let holds = |pool: &&Pool| {
            named.is_some_and(|named| {
                pool.endpoints
                    .iter()
                    .any(|endpoint| endpoint.is_called(named))
            })
        };
        let one = self.pools.iter().find(holds);
        let pools = one.map_or(self.pools.as_slice(), std::slice::from_ref);
        let endpoints = pools.iter().flat_map(|pool| &pool.endpoints);
        endpoints
            .filter(|endpoint| endpoint.serves(model))
            .collect()
    }
}

/// A client of the admin address; admin answers come quickly or not at all.
pub fn client(url: &str) -> anyhow::Result<Client> {
    let options = ClientOptions {
        timeout: Duration::from_secs(10),
        ..ClientOptions::default()
    };
    Ok(Client::new(Target::parse(url)?, options)?)
}

/// Reads the state; the error says what came instead.
pub async fn state(client: &Client) -> anyhow::Result<State> {
    let answer = client.get("/admin/state").await?;
    let url = client.target();
    anyhow::ensure!(
        answer.status.is_success(),
        "GET {url}/admin/state answered {}; is this the admin address (--admin), not the data port?",
        answer.status
    );
    serde_json::from_slice(&answer.body)
        .map_err(|error| anyhow::anyhow!("GET {url}/admin/state is not a gateway's state: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        serde_json::from_str(
            r#"{"version":"1","uptime_ms":5,"pools":[
              {"pool":"a","index_blocks":3,"endpoints":[
                {"name":"a-0","url":"http://127.0.0.1:8101/","health":"ready","models":["m"],"block_size_tokens":16,"picks":4},
                {"name":"a-1","url":"http://127.0.0.1:8102","health":"unready","reason":"refused","models":["other"]}]},
              {"pool":"b","endpoints":[{"name":"b-0","url":"http://127.0.0.1:8201","health":"ready","models":null}]}]}"#,
        )
        .unwrap()
    }

    #[track_caller]
    fn check(model: Option<&str>, named: Option<&str>, expected: &[&str]) {
        let state = state();
        let names: Vec<&str> = state
            .serving(model, named)
            .iter()
            .map(|endpoint| endpoint.name.as_str())
            .collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn endpoints_are_those_of_the_model_and_the_answering_pool() {
        check(None, None, &["a-0", "a-1", "b-0"]);
        check(Some("m"), None, &["a-0", "b-0"]);
        check(Some("m"), Some("a-0"), &["a-0"]);
        check(None, Some("127.0.0.1:8102"), &["a-0", "a-1"]);
        check(None, Some("http://127.0.0.1:8201/"), &["b-0"]);
        check(None, Some("stranger"), &["a-0", "a-1", "b-0"]);
    }
}
