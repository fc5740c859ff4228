//! What does an operator want to know of a running system?
//!
//! Only public surfaces are used: the OpenAI API, response headers, engines' metrics, the gateway's admin API.

pub mod admin;
pub mod cost;
pub mod explain;
pub mod verify;
