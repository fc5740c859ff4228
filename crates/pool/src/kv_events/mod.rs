//! What do engines tell of their caches, and can it be relied on?
//!
//! Each endpoint has a [`run`] of its own: it finds the publisher ([`source`]), keeps a connection ([`socket`]), asks for
//! what was missed ([`replay`]), and says what all of it came to ([`follower`]). Engines that connect to us come in
//! through a [`Listener`].

mod address;
mod bound;
mod config;
mod feed;
mod follower;
mod known;
mod replay;
mod silence;
mod sink;
mod socket;
mod source;
mod state;

pub(crate) use bound::Listener;
pub use config::{KvEventsConfig, KvSource};
pub(crate) use feed::run;
pub(crate) use sink::{Figures, Inbox};
