//! Which misbehaviour is wanted, how often, and for how long?
//!
//! A fault is data: one line on the command line (`--fault stall:after=3,probability=0.5`) or the same
//! fields as JSON on the admin route. Deciding when one strikes is `fault/armed.rs`; carrying it out belongs
//! to the listener, the routes and the answer's body.

mod armed;

pub(crate) use armed::Faults;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text of `--fault` in `--help`.
pub const HELP: &str = "\
Misbehave on purpose: KIND[:key=value,...], repeatable (not a vLLM flag).
Kinds:
  refuse       close the listening socket; connections are refused, the admin route's too: give for_ms
  reset        accept connections and reset them at once, the admin route's too: give for_ms or count
  status       answer `code` (500 by default; kinds `500` and `503` are short forms) before any output
  hang         never answer, not even headers
  stall        go silent after `after` chunks, the connection stays open
  error        after `after` chunks send an in-band error event and [DONE]
  cut          close the connection after `after` chunks (0: before any byte)
  abort        end with finish_reason \"abort\" after `after` chunks
  drip         wait `delay_ms` before every chunk
  drain        answer 500 to new requests while /health stays 200
  sleep        /health 200, requests wait until the fault is removed
  slow-start   answer 503 everywhere for `for_ms` (default 5000)
Keys: code, after, delay_ms, for_ms (the fault ends by itself), probability (0..1), count (most times),
seed (default --seed), path (only requests whose path begins so; otherwise generation requests).
At run time: POST /admin/fault with the same keys as JSON and `kind`; GET lists; DELETE removes all.";

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Refuse,
    Reset,
    Status,
    Hang,
    Stall,
    Error,
    Cut,
    Abort,
    Drip,
    Drain,
    Sleep,
    SlowStart,
}

/// Where a kind takes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The listening socket.
    Listener,
    /// The batch model itself.
    Model,
    /// Before anything of the answer exists.
    Arrival,
    /// While the answer is written.
    Answer,
}

impl Kind {
    pub(crate) fn stage(self) -> Stage {
        match self {
            Self::Refuse | Self::Reset => Stage::Listener,
            Self::Sleep => Stage::Model,
            Self::Status | Self::Hang | Self::Drain | Self::SlowStart => Stage::Arrival,
            Self::Stall | Self::Error | Self::Cut | Self::Abort | Self::Drip => Stage::Answer,
        }
    }
}

/// One fault as asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub kind: Kind,
    /// HTTP status of `status`, 400..=599.
    #[serde(default = "default_code")]
    pub code: u16,
    /// Chunks of the answer that still pass.
    #[serde(default)]
    pub after: u32,
    /// Wait before every chunk of `drip`, milliseconds, at most an hour.
    #[serde(default = "default_delay_ms")]
    pub delay_ms: u64,
    /// The fault ends by itself this many milliseconds after it was armed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Chance that a matching request is struck, 0..=1.
    #[serde(default = "always")]
    pub probability: f64,
    /// Most requests struck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Seed of the chance; without it the engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Only requests whose path begins with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

fn default_code() -> u16 {
    500
}

fn default_delay_ms() -> u64 {
    200
}

fn always() -> f64 {
    1.0
}

/// `slow-start` without `for_ms`.
const SLOW_START_MS: u64 = 5_000;
/// Longest wait a fault may ask for: an hour between chunks, a day in all.
const MAX_DELAY_MS: u64 = 3_600_000;
const MAX_FOR_MS: u64 = 86_400_000;

impl Fault {
    /// `kind` with every key at its default.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            code: default_code(),
            after: 0,
            delay_ms: default_delay_ms(),
            for_ms: (kind == Kind::SlowStart).then_some(SLOW_START_MS),
            probability: always(),
            count: None,
            seed: None,
            path: None,
        }
    }

    /// Checks ranges and fills what depends on the kind. The error is a sentence for whoever asked.
    pub fn checked(mut self) -> Result<Self, String> {
        if !(400..=599).contains(&self.code) {
            return Err("code must be from 400 to 599".to_owned());
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return Err("probability must be from 0 to 1".to_owned());
        }
        if self.delay_ms > MAX_DELAY_MS {
            return Err(format!("delay_ms must be at most {MAX_DELAY_MS}"));
        }
        if self.kind == Kind::SlowStart {
            self.for_ms.get_or_insert(SLOW_START_MS);
        }
        if self.for_ms.is_some_and(|for_ms| for_ms > MAX_FOR_MS) {
            return Err(format!("for_ms must be at most {MAX_FOR_MS}"));
        }
        Ok(self)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(spec: &str) -> Result<Self, String> {
        let (name, keys) = spec.split_once(':').unwrap_or((spec, ""));
        let mut fault = named(name.trim())?;
        for pair in keys
            .split(',')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
        {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("`{pair}`: expected key=value"))?;
            set(&mut fault, key.trim(), value.trim())?;
        }
        fault.checked()
    }
}

fn named(name: &str) -> Result<Fault, String> {
    if let "500" | "503" = name {
        let code = if name == "500" { 500 } else { 503 };
        return Ok(Fault {
            code,
            ..Fault::new(Kind::Status)
        });
    }
    serde_json::from_value(serde_json::Value::from(name)).map(Fault::new).map_err(|_| {
        format!(
            "unknown fault `{name}`; one of refuse, reset, status, 500, 503, hang, stall, error, cut, abort, drip, \
             drain, sleep, slow-start"
        )
    })
}

fn set(fault: &mut Fault, key: &str, value: &str) -> Result<(), String> {
    let wrong = || format!("`{key}={value}`: not a number in range");
    match key {
        "code" => fault.code = value.parse().map_err(|_| wrong())?,
        "after" => fault.after = value.parse().map_err(|_| wrong())?,
        "delay_ms" => fault.delay_ms = value.parse().map_err(|_| wrong())?,
        "for_ms" => fault.for_ms = Some(value.parse().map_err(|_| wrong())?),
        "probability" => fault.probability = value.parse().map_err(|_| wrong())?,
        "count" => fault.count = Some(value.parse().map_err(|_| wrong())?),
        "seed" => fault.seed = Some(value.parse().map_err(|_| wrong())?),
        "path" => fault.path = Some(value.to_owned()),
        _ => {
            return Err(format!(
                "unknown key `{key}`; one of code, after, delay_ms, for_ms, probability, count, seed, path"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
