//! How does load reach a server, and when did what come back?

pub mod arrivals;
pub mod client;
pub mod connect;
pub mod driver;
pub mod error;
pub mod host;
pub mod probe;
pub mod sample;
pub mod stream;
pub mod target;
pub mod traffic;

pub use client::{Answer, Client, ClientOptions};
pub use error::ClientError;
pub use sample::{Failure, Sample};
pub use target::Target;
