//! The feeds against real sockets on loopback.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod files;
mod health;
mod index;
mod models;
mod scale;
mod scrape;
mod support;
mod tls;
mod urls;
