//! What does a node cost, and where does each figure come from?
//!
//! The shipped file is `pricing.yaml` beside this module; a user's own file of the same shape overrides it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

/// The shipped file, as `cost pricing` prints it.
pub const SHIPPED: &str = include_str!("pricing.yaml");

/// Names further than this from every known one get no suggestion.
const MIN_SIMILARITY: f64 = 0.7;

/// Prices and throughputs, complete.
#[derive(Clone, Debug, Serialize)]
pub struct Pricing {
    pub currency: String,
    pub days_per_month: f64,
    /// Share of its throughput that a replica is planned for, above 0 and at most 1.
    pub utilisation: f64,
    pub shared: Vec<Item>,
    pub accelerators: BTreeMap<String, Accelerator>,
}

/// Something paid for once per service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    pub name: String,
    pub per_day: f64,
    #[serde(default = "yours")]
    pub origin: String,
}

/// One kind of node, which is one replica.
#[derive(Clone, Debug, Serialize)]
pub struct Accelerator {
    pub name: String,
    pub node: String,
    pub per_day: f64,
    pub per_hour: f64,
    pub startup_s: f64,
    pub origin: String,
    pub throughput: Vec<Throughput>,
    pub prefill_tokens_per_s: Option<Figure>,
    pub output_tokens_per_s: Option<Figure>,
}

/// What a fleet of `replicas` served, and how fast where that is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    pub replicas: u32,
    pub requests_per_s: f64,
    /// A planning figure, not a measurement.
    #[serde(default)]
    pub documented: bool,
    pub ttft_p95_ms: Option<f64>,
    pub tpot_p95_ms: Option<f64>,
    pub e2e_p95_ms: Option<f64>,
    pub input_tokens: Option<f64>,
    pub output_tokens: Option<f64>,
    #[serde(default = "yours")]
    pub origin: String,
}

/// A number with its origin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    pub value: f64,
    #[serde(default = "yours")]
    pub origin: String,
}

fn yours() -> String {
    "your pricing file".to_owned()
}

/// A file as written: everything may be absent.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    currency: Option<String>,
    days_per_month: Option<f64>,
    utilisation: Option<f64>,
    shared: Option<Vec<Item>>,
    #[serde(default)]
    accelerators: BTreeMap<String, WrittenAccelerator>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAccelerator {
    node: Option<String>,
    per_day: Option<f64>,
    per_hour: Option<f64>,
    startup_s: Option<f64>,
    origin: Option<String>,
    throughput: Option<Vec<Throughput>>,
    prefill_tokens_per_s: Option<Figure>,
    output_tokens_per_s: Option<Figure>,
}

impl Pricing {
    /// The shipped figures.
    ///
    /// # Errors
    /// None: a test reads the shipped file.
    pub fn shipped() -> anyhow::Result<Self> {
        let mut pricing = Self {
            currency: String::new(),
            days_per_month: 30.0,
            utilisation: 0.8,
            shared: Vec::new(),
            accelerators: BTreeMap::new(),
        };
        pricing.overlay(parse(SHIPPED)?, "the shipped pricing file")?;
        Ok(pricing)
    }

    /// The shipped figures, overridden by those of `file` where there is one.
    ///
    /// # Errors
    /// The file cannot be read, is no YAML of this shape, or holds an impossible figure.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut pricing = Self::shipped()?;
        if let Some(file) = file {
            let place = file.display();
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {place}"))?;
            let written = parse(&text).with_context(|| format!("{place} is no pricing file"))?;
            pricing.overlay(written, &format!("your {place}"))?;
        }
        Ok(pricing)
    }

    fn overlay(&mut self, written: Written, origin: &str) -> anyhow::Result<()> {
        replace(&mut self.currency, written.currency);
        replace(&mut self.days_per_month, written.days_per_month);
        replace(&mut self.utilisation, written.utilisation);
        replace(&mut self.shared, written.shared);
        for (name, entry) in written.accelerators {
            let overlaid = match self.accelerators.remove(&name) {
                Some(known) => known.overlay(entry, origin),
                None => Accelerator::new(&name, entry, origin)?,
            };
            self.accelerators.insert(name, overlaid);
        }
        self.validate()
    }

    fn validate(&self) -> anyhow::Result<()> {
        let price = |what: String, value: f64| {
            ensure!(
                value.is_finite() && value >= 0.0,
                "{what} is {value}; it must be 0 or more"
            );
            Ok(())
        };
        check_utilisation(self.utilisation)?;
        ensure!(
            self.days_per_month.is_finite() && self.days_per_month > 0.0,
            "days_per_month must be above 0"
        );
        for item in &self.shared {
            price(format!("per_day of {}", item.name), item.per_day)?;
        }
        for (name, accelerator) in &self.accelerators {
            price(format!("per_day of {name}"), accelerator.per_day)?;
            price(format!("per_hour of {name}"), accelerator.per_hour)?;
            price(format!("startup_s of {name}"), accelerator.startup_s)?;
            for entry in &accelerator.throughput {
                ensure!(
                    entry.replicas > 0
                        && entry.requests_per_s.is_finite()
                        && entry.requests_per_s > 0.0,
                    "a throughput of {name} has {} replicas at {} requests/s; both must be above 0",
                    entry.replicas,
                    entry.requests_per_s
                );
            }
        }
        Ok(())
    }

    /// The accelerator of that name.
    ///
    /// # Errors
    /// There is none; the error names those there are.
    pub fn accelerator(&self, name: &str) -> anyhow::Result<&Accelerator> {
        if let Some(accelerator) = self.accelerators.get(name) {
            return Ok(accelerator);
        }
        let known: Vec<&str> = self.accelerators.keys().map(String::as_str).collect();
        bail!(
            "no price is known for accelerator {name:?}; known: {}. Add it to a file of your own and give it with --pricing",
            known.join(", ")
        )
    }

    /// Everything paid for once per service, per day.
    pub fn shared_per_day(&self) -> f64 {
        self.shared.iter().map(|item| item.per_day).sum()
    }
}

/// Refuses a utilisation that is no share.
pub(crate) fn check_utilisation(value: f64) -> anyhow::Result<()> {
    ensure!(
        value > 0.0 && value <= 1.0,
        "utilisation is {value}; it is a share, above 0 and at most 1"
    );
    Ok(())
}

impl Accelerator {
    fn new(name: &str, entry: WrittenAccelerator, origin: &str) -> anyhow::Result<Self> {
        let per_day = entry.per_day.or(entry.per_hour.map(|price| price * 24.0));
        let Some(per_day) = per_day else {
            bail!("accelerator {name} has neither per_day nor per_hour");
        };
        Ok(Self {
            name: name.to_owned(),
            node: entry.node.unwrap_or_else(|| name.to_owned()),
            per_day,
            per_hour: entry.per_hour.unwrap_or(per_day / 24.0),
            startup_s: entry.startup_s.unwrap_or(0.0),
            origin: entry.origin.unwrap_or_else(|| origin.to_owned()),
            throughput: entry.throughput.unwrap_or_default(),
            prefill_tokens_per_s: entry.prefill_tokens_per_s,
            output_tokens_per_s: entry.output_tokens_per_s,
        })
    }

    fn overlay(mut self, entry: WrittenAccelerator, origin: &str) -> Self {
        let priced = entry.per_day.is_some() || entry.per_hour.is_some();
        // One price implies the other, unless both are given.
        if let Some(per_day) = entry.per_day.or(entry.per_hour.map(|price| price * 24.0)) {
            self.per_day = per_day;
            self.per_hour = entry.per_hour.unwrap_or(per_day / 24.0);
        }
        if priced {
            self.origin = origin.to_owned();
        }
        replace(&mut self.node, entry.node);
        replace(&mut self.startup_s, entry.startup_s);
        replace(&mut self.origin, entry.origin);
        replace(&mut self.throughput, entry.throughput);
        self.prefill_tokens_per_s = entry.prefill_tokens_per_s.or(self.prefill_tokens_per_s);
        self.output_tokens_per_s = entry.output_tokens_per_s.or(self.output_tokens_per_s);
        self
    }
}

fn replace<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn parse(text: &str) -> anyhow::Result<Written> {
    let only_comments = text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    if only_comments {
        return Ok(Written::default());
    }
    serde_saphyr::from_str(text)
        .map_err(|error| anyhow::anyhow!("{}", with_suggestion(&error.to_string())))
}

/// Adds what was probably meant to "unknown field `x`, expected one of `a`, `b`".
fn with_suggestion(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let Some((_, rest)) = first.split_once("unknown field `") else {
        return message.to_owned();
    };
    let (unknown, known) = rest.split_once('`').unwrap_or((rest, ""));
    let known = known
        .trim_start_matches(", expected one of ")
        .trim_start_matches(", expected ");
    let near = known
        .split(", ")
        .flat_map(|names| names.split(" or "))
        .map(|name| name.trim_matches('`'))
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .max_by(|left, right| left.0.total_cmp(&right.0));
    near.map_or_else(
        || message.to_owned(),
        |(_, name)| format!("{message}\n  did you mean `{name}`?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaid(text: &str) -> anyhow::Result<Pricing> {
        let mut pricing = Pricing::shipped()?;
        pricing.overlay(parse(text)?, "yours")?;
        Ok(pricing)
    }

    #[test]
    fn the_shipped_file_says_where_each_figure_comes_from() {
        let pricing = Pricing::shipped().unwrap();
        assert_eq!(pricing.shared_per_day(), 6.3);
        let tpu = pricing.accelerator("tpu-v6e-4").unwrap();
        assert_eq!((tpu.per_day, tpu.per_hour), (127.0, 5.29));
        for accelerator in pricing.accelerators.values() {
            assert!(!accelerator.origin.is_empty());
            for entry in &accelerator.throughput {
                assert_ne!(entry.origin, yours());
            }
        }
    }

    #[test]
    fn a_file_replaces_what_it_names_and_nothing_else() {
        let check = |text: &str, expected: (f64, f64, f64)| {
            let pricing = overlaid(text).unwrap();
            let tpu = pricing.accelerator("tpu-v6e-4").unwrap();
            let seen = (pricing.shared_per_day(), tpu.per_day, tpu.per_hour);
            assert_eq!(seen, expected, "{text}");
        };
        check("", (6.3, 127.0, 5.29));
        check("utilisation: 0.5", (6.3, 127.0, 5.29));
        check(
            "shared:\n- name: balancer\n  per_day: 1\n",
            (1.0, 127.0, 5.29),
        );
        check(
            "accelerators:\n  tpu-v6e-4:\n    per_day: 48\n",
            (6.3, 48.0, 2.0),
        );
        check(
            "accelerators:\n  tpu-v6e-4:\n    per_hour: 3\n",
            (6.3, 72.0, 3.0),
        );
        let pricing = overlaid("accelerators:\n  h100:\n    per_hour: 4\n").unwrap();
        assert_eq!(pricing.accelerator("h100").unwrap().per_day, 96.0);
        assert_eq!(pricing.accelerator("h100").unwrap().origin, "yours");
    }

    #[test]
    fn mistakes_are_told() {
        let check = |text: &str, expected: &str| {
            let message = format!("{:#}", overlaid(text).unwrap_err());
            assert!(message.contains(expected), "{text}: {message}");
        };
        check("utilization: 0.5", "did you mean `utilisation`?");
        check("utilisation: 80", "a share");
        check("accelerators:\n  x:\n    node: y\n", "neither per_day nor");
        check(
            "accelerators:\n  t4:\n    per_day: -1\n",
            "per_day of t4 is -1",
        );
        check(
            "accelerators:\n  t4:\n    per_dya: 1\n",
            "did you mean `per_day`?",
        );
        let unknown = overlaid("").unwrap().accelerator("tpu").err().unwrap();
        assert!(
            unknown.to_string().contains("known: t4, tpu-v6e-4"),
            "{unknown}"
        );
    }
}
