//! How does what happens at real endpoints reach the fleet?
//!
//! Shells around [`fleet::Fleet`]: discovery sources say who is there, health probes whether they answer, scrapes
//! how loaded they are, model reads what they serve. Each turns something seen into one [`fleet::Event`] and
//! decides nothing itself. [`Feeds::start`] starts them all; the given token stops them all.

mod clock;
mod config;
mod discovery;
mod endpoint_url;
mod error;
mod feeds;
mod health;
mod http;
mod index_writer;
mod kv_events;
mod membership;
mod models;
mod pace;
mod scrape;
mod tls;
mod watched;

pub use clock::Clock;
pub use config::{
    DnsConfig, HealthConfig, ModelsConfig, PoolConfig, Scheme, ScrapeConfig, TlsConfig,
};
pub use endpoint_url::endpoint_from_url;
pub use error::PoolError;
pub use feeds::Feeds;
pub use kv_events::{KvEventsConfig, KvSource};
