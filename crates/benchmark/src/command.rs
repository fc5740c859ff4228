//! Which measurements are there, and what do they all need?

pub mod connection;
pub mod progress;
pub mod shared_prefix;
pub mod situations;
pub mod suite;

pub use connection::Connection;
