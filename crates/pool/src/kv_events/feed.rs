//! How is one endpoint's publisher kept in hearing?

use std::time::Duration;

use engine_api::zmtp::SocketType;
use tokio::time::{Instant, MissedTickBehavior};

use super::address::Address;
use super::follower::Follower;
use super::silence::{Silence, Work};
use super::sink::FleetSink;
use super::socket::Connection;
use super::source::{self, Configured, SOURCES_PATH};
use super::state::{State, Why};
use crate::config::ms;
use crate::pace;
use crate::watched::Watched;

/// Pause before a lost or refused connection is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Spacing of looks at whether an engine that does not answer has come.
const READY_POLL: Duration = Duration::from_millis(50);

/// Spacing of looks at whether an engine is silent, or a replay is owed.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Longest wait for `/kv_event_sources`.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// One endpoint's messages, and what was told of them.
struct Feed<'a> {
    endpoint: &'a Watched,
    follower: Follower<FleetSink<'a>>,
    silence: Silence,
    told: Option<State>,
    /// Looks since the connection was made.
    looks: u32,
}

/// Follows the endpoint's events as long as it is there; nothing where they are not wanted.
pub(crate) async fn run(endpoint: &Watched) {
    if !endpoint.shared.config.kv_events.enabled {
        return;
    }
    let mut feed = Feed {
        endpoint,
        follower: Follower::new(FleetSink::new(endpoint), endpoint.spec.rank),
        silence: Silence::default(),
        told: None,
        looks: 0,
    };
    let mut rng = pace::seeded(&endpoint.spec.name, "kv_events");
    loop {
        feed.until_it_answers().await;
        let state = feed.attend().await;
        feed.tell(state);
        let wait = pace::spread(RETRY_EVERY, endpoint.count(), &mut rng);
        // An engine that connects to us is not kept waiting.
        let _ = tokio::time::timeout(wait, endpoint.kv_arrived.notified()).await;
    }
}

impl Feed<'_> {
    /// An engine that is still starting publishes nothing, and that is no news; the moment it answers it is asked.
    async fn until_it_answers(&mut self) {
        if self.told.is_none() && !self.endpoint.answers() {
            let reason = "the engine has not answered yet";
            (self.follower.sink).tell(&State::stale(Why::NotConnected, reason));
        }
        while !self.endpoint.answers() {
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// Connects and listens until that ends; what to tell then.
    async fn attend(&mut self) -> State {
        let (mut connection, replay, from) = match self.connect().await {
            Ok(line) => line,
            Err(state) => return state,
        };
        let topic = &self.endpoint.shared.config.kv_events.topic;
        if let Err(error) = connection.subscribe(topic).await {
            return self.ended(&from, &error);
        }
        self.follower.connected(replay.as_ref()).await;
        self.silence.heard(self.endpoint.figures.look());
        self.looks = 0;
        self.tell_all();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.reset();
        loop {
            tokio::select! {
                message = connection.receive() => match message {
                    Ok(message) => {
                        self.follower.message(&message, replay.as_ref()).await;
                        self.silence.heard(self.endpoint.figures.look());
                        self.tell_change();
                    }
                    Err(error) => return self.ended(&from, &error),
                },
                _ = looks.tick() => self.look(replay.as_ref()).await,
                () = self.endpoint.kv_arrived.notified() => {
                    return State::stale(Why::Disconnected, "the engine connected anew");
                }
            }
        }
    }

    fn ended(&self, from: &str, error: &super::socket::SocketError) -> State {
        State::stale(Why::Disconnected, format!("{from}: {error}"))
    }

    /// A connection, where to ask for what was missed, and what to call it.
    async fn connect(&mut self) -> Result<(Connection, Option<Address>, String), State> {
        let endpoint = self.endpoint;
        let config = &endpoint.shared.config.kv_events;
        let no_source = |reason: String| State::stale(Why::NoSource, reason);
        let configured = Configured::of(config, &endpoint.spec).map_err(no_source)?;
        let source = match configured {
            Configured::Here(source) => source,
            Configured::Ask => self.ask().await.map_err(no_source)?,
            Configured::Bound(replay) => {
                let bind = config.bind.as_deref().unwrap_or_default();
                let arrived = endpoint.kv_inbox.lock().take();
                let connection = arrived.ok_or_else(|| {
                    let reason = format!("the engine has not connected to {bind}");
                    State::stale(Why::NotConnected, reason)
                })?;
                return Ok((connection, replay, format!("connection to {bind}")));
            }
        };
        let connection = Connection::open(&source.events, SocketType::Sub).await;
        let connection = connection.map_err(|error| {
            State::stale(Why::NotConnected, format!("{}: {error}", source.events))
        })?;
        Ok((connection, source.replay, source.events.to_string()))
    }

    async fn ask(&self) -> Result<source::Source, String> {
        if !self.endpoint.shared.config.kv_events.discover {
            return Err("no source of events is configured for it".to_owned());
        }
        let answer = self.endpoint.client.get(SOURCES_PATH, ASK_WITHIN).await;
        let answer = answer.map_err(|error| format!("{SOURCES_PATH}: {error}"))?;
        source::told(answer.status, &answer.body, &self.endpoint.spec)
    }

    /// What is due beside messages: a replay that is owed, one that closes the gap between our subscription and its
    /// being heard, and a look at whether the engine keeps silent.
    async fn look(&mut self, replay: Option<&Address>) {
        self.looks = self.looks.saturating_add(1);
        let limit = ms(self.endpoint.shared.config.kv_events.silent_after_ms);
        let silent = self.silence.look(self.work(), Instant::now());
        let silent = silent.filter(|silent| *silent >= limit);
        match replay {
            Some(address) if self.looks == 1 || silent.is_some() || self.owes(replay) => {
                self.follower.settle(address).await;
                self.silence.heard(self.endpoint.figures.look());
            }
            Some(_) => {}
            None => self.follower.check(),
        }
        match (silent, replay) {
            (Some(silent), None) => {
                let reason = format!(
                    "the engine computed prompts for {} s and published nothing; are its events enabled, and is this its publisher?",
                    silent.as_secs()
                );
                self.tell(State::stale(Why::Silent, reason));
            }
            _ => self.tell_all(),
        }
    }

    fn work(&self) -> Work {
        Work {
            seen: self.endpoint.figures.look(),
            picks: self.endpoint.state.picks(),
            active_requests: self.endpoint.state.active_requests(),
        }
    }

    /// Whether a replay is owed and it is time to try: not at every look.
    fn owes(&self, replay: Option<&Address>) -> bool {
        replay.is_some() && self.looks.is_multiple_of(4) && self.follower.owes_replay()
    }

    fn tell_all(&mut self) {
        let state = self.follower.state();
        self.tell(state);
    }

    /// As [`tell_all`](Self::tell_all), but not for figures alone.
    fn tell_change(&mut self) {
        let state = self.follower.state();
        if self.told.as_ref().map(|told| told.why) != Some(state.why) {
            self.tell(state);
        }
    }

    fn tell(&mut self, state: State) {
        if self.told.as_ref() == Some(&state) {
            return;
        }
        self.follower.sink.tell(&state);
        let name = &*self.endpoint.spec.name;
        let before = self.told.replace(state);
        let Some(now) = &self.told else { return };
        if before.is_some_and(|before| before.why == now.why) {
            return;
        }
        match now.is_exact() {
            true => tracing::info!(endpoint = name, "KV-cache events: exact"),
            false => {
                tracing::warn!(
                    endpoint = name,
                    reason = now.reason,
                    "KV-cache events: stale, routed by history"
                );
            }
        }
    }
}
