//! Which answer does an HTTP request get?
//!
//! `server` accepts, `connection` carries, `route` is the table, one file per family of routes answers.
//! Every answer carries `x-prefixgate-simulated`, so that nobody takes its figures for real ones.

mod adapters;
mod admin;
mod answer;
mod body;
mod connection;
mod generate;
mod info;
mod logprobs;
mod loose;
mod plan;
mod render;
mod reply;
mod request;
mod route;
mod sequences;
mod server;
mod shell;
mod stream;
mod tokens;
mod values;
mod whole;

pub use server::{Engine, Server};
