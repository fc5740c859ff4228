//! What do we believe of a pool's endpoints, and which one takes this request?
//!
//! A state machine: [`Fleet::apply`] takes in what is seen (membership, scrapes, probes), [`Fleet::pick`]
//! decides and reserves in one step, [`Fleet::finish`] takes each request's single [`Outcome`] back. The
//! gateway, the endpoint picker and replay drive this same code.
//!
//! Nothing here does I/O, reads a clock or owns randomness: `now` (time since process start) and `rng` are
//! arguments.

mod adapters;
mod apply;
mod change;
mod config;
mod event;
mod finish;
mod fleet;
mod forecast;
mod kv;
mod learn;
mod member;
mod observe;
mod part;
mod pick;
mod report;
mod saturation;
mod slot_state;
mod view;

pub use change::{Change, EndpointSpec};
pub use config::FleetConfig;
pub use event::{End, Event, Failure, Outcome};
pub use fleet::Fleet;
pub use kv::{KvMode, KvReport};
pub use part::Part;
pub use pick::{Explanation, Pick, Request, Reservation};
pub use report::{EndpointReport, FleetReport, PredictionReport};
pub use slot_state::{ScrapeMark, SlotState};
pub use view::{EndpointView, Health, View};
