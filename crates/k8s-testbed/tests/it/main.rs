//! Does the in-project API server behave as clients rely on?

mod apply;
mod kubectl;
mod objects;
mod watch;
