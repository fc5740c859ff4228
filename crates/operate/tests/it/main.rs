//! Do the tools see what is right and what is wrong with a running system?

#![allow(clippy::unwrap_used, reason = "support code of tests")]

mod engine;
mod explain;
mod fake;
mod verify;
mod verify_broken;
