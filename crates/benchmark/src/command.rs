//! Which measurements are there, and what do they all need?

pub mod bracket;
pub mod compare;
pub mod connection;
pub mod outputs;
pub mod probe;
pub mod progress;
pub mod shape;
pub mod shared_prefix;
pub mod situations;
pub mod suite;
pub mod sweep;
pub mod trace;

pub use connection::Connection;
