//! What can be said on the command line about a cost?

use std::path::PathBuf;

/// Where prices come from and how the answer is written.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Your own prices: a YAML file of the shape that `cost pricing` prints, with only what differs.
    #[arg(long, value_name = "FILE")]
    pub pricing: Option<PathBuf>,
    /// Whose node prices and throughputs are taken.
    #[arg(long, value_name = "NAME", default_value = "tpu-v6e-4")]
    pub accelerator: String,
    /// Requests per second of one replica at full use [default: the report's, else the pricing file's].
    #[arg(long, value_name = "R", value_parser = positive)]
    pub throughput: Option<f64>,
    /// Share of that which is planned for [default: the pricing file's].
    #[arg(long, value_name = "SHARE")]
    pub utilisation: Option<f64>,
    /// A report of `prefixgate bench … --json`, or of `vllm bench serve`: throughput, token counts and hit rate are read
    /// from it where flags do not say them.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Replicas behind that report, where it does not say [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub report_replicas: Option<u32>,
    /// Plan with the pricing file's measured throughputs instead of the documented ones.
    #[arg(long)]
    pub measured: bool,
    /// Requests per second at the peak over the day's mean.
    #[arg(long, value_name = "FACTOR", value_parser = peak)]
    pub peak_factor: Option<f64>,
    /// The load must be carried with one replica gone.
    #[arg(long)]
    pub n_plus_1: bool,
    /// Uncached prompt tokens per second of one replica [default: the report's cache test, else the pricing file's].
    #[arg(long, value_name = "R", value_parser = positive)]
    pub prefill_tokens_per_s: Option<f64>,
    /// Longest time to first token that is acceptable, 95th percentile.
    #[arg(long, value_name = "MS", value_parser = positive)]
    pub slo_ttft_ms: Option<f64>,
    /// Longest time per output token that is acceptable, 95th percentile.
    #[arg(long, value_name = "MS", value_parser = positive)]
    pub slo_tpot_ms: Option<f64>,
    /// Longest request that is acceptable, 95th percentile.
    #[arg(long, value_name = "MS", value_parser = positive)]
    pub slo_e2e_ms: Option<f64>,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// How the answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    Json,
    Markdown,
}

impl Common {
    pub(super) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// The cost tables.
#[derive(Clone, Debug, clap::Args)]
pub struct TableArgs {
    #[command(flatten)]
    pub common: Common,
    /// Requests per second of Pattern 3 at full use [default: the pricing file's, else three times one replica's].
    #[arg(long, value_name = "R", value_parser = positive)]
    pub pattern3_throughput: Option<f64>,
    /// Loads to find the best number of replicas for; K and M are understood.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "50K,500K,2M", value_parser = count)]
    pub requests_per_day: Vec<f64>,
    /// Numbers of replicas to price beside Pattern 1 and Pattern 3.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "2,5", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub replicas: Vec<u32>,
    /// Prompt tokens per request [default: the report's].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub input_tokens: Option<f64>,
    /// Generated tokens per request [default: the report's].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub output_tokens: Option<f64>,
    /// Share of prompt tokens that is found in cache [default: the report's].
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub hit_rate: Option<f64>,
    /// What an output token costs, in input tokens: how cost is split between the two where no prefill rate is known.
    #[arg(long, value_name = "FACTOR", default_value_t = 4.0, value_parser = positive)]
    pub output_price_ratio: f64,
    /// Hours a day with fewer replicas.
    #[arg(long, value_name = "HOURS", default_value_t = 8.0, value_parser = hours)]
    pub night_hours: f64,
    /// Replicas fewer in those hours.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub night_replicas_fewer: u32,
    /// Seconds a replica is paid for before it serves [default: the pricing file's].
    #[arg(long, value_name = "S", value_parser = not_negative)]
    pub startup_s: Option<f64>,
    /// A report of another accelerator, to compare costs at an SLO that both meet; repeatable.
    #[arg(long, value_name = "ACCELERATOR=FILE", value_parser = named_report)]
    pub against: Vec<(String, PathBuf)>,
}

/// A load in requests: `50K`, `1.5M`, `2000000`.
pub(super) fn count(text: &str) -> Result<f64, String> {
    let trimmed = text.trim();
    let (digits, factor) = match trimmed.chars().last() {
        Some('k' | 'K') => (&trimmed[..trimmed.len() - 1], 1e3),
        Some('m' | 'M') => (&trimmed[..trimmed.len() - 1], 1e6),
        _ => (trimmed, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value * factor),
        _ => Err("expected a number above 0, such as 50K, 500000 or 2M".to_owned()),
    }
}

fn bounded(text: &str, low: f64, high: f64, expected: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= low && value <= high => Ok(value),
        _ => Err(format!("expected {expected}")),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    bounded(text, f64::MIN_POSITIVE, 1e12, "a number above 0")
}

fn not_negative(text: &str) -> Result<f64, String> {
    bounded(text, 0.0, 1e12, "a number of 0 or more")
}

fn share(text: &str) -> Result<f64, String> {
    bounded(text, 0.0, 1.0, "a share from 0 to 1")
}

fn hours(text: &str) -> Result<f64, String> {
    bounded(text, 0.0, 24.0, "hours from 0 to 24")
}

fn peak(text: &str) -> Result<f64, String> {
    bounded(text, 1.0, 1e6, "a factor of 1 or more")
}

fn named_report(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(file)))
        }
        _ => Err("expected ACCELERATOR=FILE, for example t4=sweep-t4.json".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_with_and_without_suffix() {
        let check = |text: &str, expected: Option<f64>| {
            assert_eq!(count(text).ok(), expected, "{text}");
        };
        check("50K", Some(50e3));
        check("2M", Some(2e6));
        check("1.5m", Some(1.5e6));
        check("123", Some(123.0));
        check("0", None);
        check("-5K", None);
        check("K", None);
        check("many", None);
        check("inf", None);
        check("", None);
    }
}
