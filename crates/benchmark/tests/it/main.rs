//! Does the load tool see what a server really did?

#![allow(clippy::unwrap_used, reason = "support code of tests")]

mod client;
mod commands;
mod driver;
mod engine;
mod support;
