//! Does the in-project API server behave as clients rely on?

// A test that cannot go on should stop where it is; what is skipped is said.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod apply;
mod kubectl;
mod objects;
mod watch;
