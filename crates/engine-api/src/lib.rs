//! What does a model server speak?
//!
//! OpenAI bodies (read only as far as routing needs), server-sent events, Prometheus text, model listings,
//! and per engine the names it gives to things. Codecs are total: any bytes in, a value or a typed error out.
//!
//! Nothing here does I/O or reads a clock.

pub mod dialect;
pub mod error_body;
mod json;
pub mod kv_events;
pub mod metrics;
pub mod models;
pub mod openai;
mod read;
pub mod sse;
pub mod usage;
pub mod zmtp;
