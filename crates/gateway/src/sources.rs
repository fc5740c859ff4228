//! How current is what discovery last said?
//!
//! The data path serves from the last view whatever happens to its sources; this is where they say how old it is.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use serde::Serialize;

/// One thing that is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    /// What is watched, such as `pods`.
    pub name: String,
    /// Whether changes would be heard of now.
    pub connected: bool,
    /// Whether it was ever read in full.
    pub synced: bool,
    /// Milliseconds since that last changed.
    pub since_ms: u64,
    /// Objects in the last view.
    pub objects: u64,
    /// Times the connection was lost or could not be made.
    pub failures: u64,
    /// Times everything was read anew because changes had been missed.
    pub resyncs: u64,
    /// Why it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Says how all sources are.
pub type Sources = Box<dyn Fn() -> Vec<SourceReport> + Send + Sync>;

/// Reads the sources when asked.
pub(crate) struct SourceFigures(pub(crate) std::sync::Arc<std::sync::OnceLock<Sources>>);

impl std::fmt::Debug for SourceFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceFigures")
    }
}

type Read = fn(&SourceReport) -> f64;

static GAUGES: [(&str, &str, Read); 4] = [
    (
        "prefixgate_discovery_connected",
        "1 if changes of this source would be heard of; 0 while its last view is served",
        |report| f64::from(u8::from(report.connected)),
    ),
    (
        "prefixgate_discovery_synced",
        "1 once the source was read in full",
        |report| f64::from(u8::from(report.synced)),
    ),
    (
        "prefixgate_discovery_since_seconds",
        "Time since the source was connected or lost",
        |report| report.since_ms as f64 / 1_000.0,
    ),
    (
        "prefixgate_discovery_objects",
        "Objects in the last view",
        |report| report.objects as f64,
    ),
];

static COUNTERS: [(&str, &str, Read); 2] = [
    (
        "prefixgate_discovery_failures",
        "Times the source was lost or could not be reached",
        |report| report.failures as f64,
    ),
    (
        "prefixgate_discovery_resyncs",
        "Times the source was read anew because changes had been missed",
        |report| report.resyncs as f64,
    ),
];

impl Collector for SourceFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(sources) = self.0.get() else {
            return Ok(());
        };
        let reports = sources();
        for (name, help, read) in &GAUGES {
            let zero = ConstGauge::new(0.0);
            let mut family = encoder.encode_descriptor(name, help, None, zero.metric_type())?;
            for report in &reports {
                let labels = [("source", report.name.as_str())];
                ConstGauge::new(read(report)).encode(family.encode_family(&labels)?)?;
            }
        }
        for (name, help, read) in &COUNTERS {
            let zero = ConstCounter::new(0.0);
            let mut family = encoder.encode_descriptor(name, help, None, zero.metric_type())?;
            for report in &reports {
                let labels = [("source", report.name.as_str())];
                ConstCounter::new(read(report)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
