//! Does the load tool see what a server really did?

mod client;
mod commands;
mod driver;
mod support;
