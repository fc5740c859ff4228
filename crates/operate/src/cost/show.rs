//! How does a person read the answer?

use benchmark::report::Table;

use super::args::Format;
use super::tables::{FleetRow, LoadRow, Report};

/// A heading, rows under a head, and lines below them.
pub(super) struct Section {
    pub(super) title: String,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    pub(super) notes: Vec<String>,
}

impl Section {
    pub(super) fn new(title: impl Into<String>, head: &[&'static str]) -> Self {
        Self {
            title: title.into(),
            head: head.to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// All sections as aligned text or as Markdown.
pub(super) fn render(title: &str, sections: &[Section], format: Format) -> String {
    let markdown = format == Format::Markdown;
    let mut out = if markdown {
        format!("# {title}\n")
    } else {
        format!("{title}\n")
    };
    for section in sections {
        let mark = if markdown { "## " } else { "" };
        out.push_str(&format!("\n{mark}{}\n", section.title));
        if !section.rows.is_empty() {
            out.push_str(&if markdown {
                markdown_table(section)
            } else {
                text_table(section)
            });
        }
        if markdown && !section.notes.is_empty() {
            out.push('\n');
        }
        for note in &section.notes {
            let bullet = if markdown { "- " } else { "  " };
            out.push_str(&format!("{bullet}{note}\n"));
        }
    }
    out
}

fn text_table(section: &Section) -> String {
    let mut table = Table::new(&section.head);
    for row in &section.rows {
        table.row(row.clone());
    }
    table.render()
}

fn markdown_table(section: &Section) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = section.head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule: Vec<String> = (0..head.len())
        .map(|column| if column == 0 { "---" } else { "---:" }.to_owned())
        .collect();
    let mut out = format!("\n{}{}", line(&head), line(&rule));
    for row in &section.rows {
        out.push_str(&line(row));
    }
    out
}

pub(super) fn money(value: f64) -> String {
    format!("{value:.2}")
}

/// Thousands apart: `1382400` as `1,382,400`.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits
        .strip_prefix('-')
        .map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{sign}{out}")
}

pub(super) fn or_na(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "n/a".to_owned(), show)
}

pub(super) fn sections(report: &Report) -> Vec<Section> {
    let mut sections = vec![basis(report), fleets(report), break_even(report)];
    sections.push(loads(report));
    sections.push(schedule(report));
    sections.push(cache(report));
    sections.push(comparison(report));
    sections.push(super::show_audit::section(&report.documentation));
    sections
}

fn basis(report: &Report) -> Section {
    let mut section = Section::new("What this starts from", &[]);
    section.notes.clone_from(&report.basis.origins);
    section.notes.push(format!(
        "planned use: {:.0} % of full use; a month has {:.0} days; prices in {}",
        report.basis.service.utilisation * 100.0,
        report.basis.days_per_month,
        report.basis.currency
    ));
    if report.basis.simulated {
        section
            .notes
            .push("simulated: the report's engines model their compute".to_owned());
    }
    section
}

fn fleets(report: &Report) -> Section {
    let mut section = Section::new(
        "Cost of a fleet that is used as planned",
        &[
            "fleet",
            "req/s at full use",
            "per day",
            "per month",
            "requests per day",
            "per 1M requests",
            "per 1M input tokens",
            "per 1M output tokens",
            "per 1M tokens",
        ],
    );
    section.rows = report.fleets.iter().map(fleet_cells).collect();
    section.notes.push(match &report.tokens {
        Some(tokens) => format!(
            "{:.0} input and {:.0} output tokens a request; {:.1} % of its cost is its prompt's, {}",
            tokens.input_tokens,
            tokens.output_tokens,
            tokens.input_share * 100.0,
            tokens.how
        ),
        None => "per token: give --input-tokens and --output-tokens, or a --report".to_owned(),
    });
    section
}

fn fleet_cells(row: &FleetRow) -> Vec<String> {
    let fine = |value: f64| format!("{value:.4}");
    vec![
        row.name.clone(),
        money(row.requests_per_s),
        money(row.per_day),
        money(row.per_month),
        grouped(row.requests_per_day),
        money(row.per_million_requests),
        or_na(row.per_million_input_tokens, fine),
        or_na(row.per_million_output_tokens, fine),
        or_na(row.per_million_tokens, fine),
    ]
}

fn break_even(report: &Report) -> Section {
    let mut section = Section::new("Break-even between the patterns", &[]);
    let point = &report.break_even;
    let has = report.basis.service.pattern3_rps;
    section.notes.push(format!(
        "per request, Pattern 3 costs less than Pattern 1 only above {:.2} req/s, {:.3} times Pattern 1; it is taken at {has:.2}, {}",
        point.pattern3_rps,
        point.times_pattern1,
        if has > point.pattern3_rps { "above that" } else { "below that" }
    ));
    section.notes.push(match point.requests_per_day {
        Some((from, to)) => format!(
            "by load, copies of Pattern 3 cost less than copies of Pattern 1 between {} and {} requests a day, for the first time",
            grouped(from),
            grouped(to)
        ),
        None => "at no load do copies of Pattern 3 cost less than copies of Pattern 1".to_owned(),
    });
    section
}

fn loads(report: &Report) -> Section {
    let mut section = Section::new(
        "Best number of replicas behind one gateway",
        &[
            "requests per day",
            "replicas",
            "per day",
            "per month",
            "per 1M requests",
            "as Pattern 1",
            "as Pattern 3",
            "N+1 adds per day",
            "N+1 per 1M",
        ],
    );
    section.rows = report.loads.iter().map(load_cells).collect();
    section.notes.push(
        "N+1: one replica more, so that the load is carried with one gone; the percentage is what it adds".to_owned(),
    );
    section
}

fn load_cells(row: &LoadRow) -> Vec<String> {
    vec![
        grouped(row.requests_per_day),
        row.replicas.to_string(),
        money(row.per_day),
        money(row.per_month),
        money(row.per_million_requests),
        format!("{} x, {}", row.pattern1_copies, money(row.pattern1_per_day)),
        format!("{} x, {}", row.pattern3_copies, money(row.pattern3_per_day)),
        format!(
            "{} ({:.1} %)",
            money(row.n_plus_1_extra_per_day),
            row.n_plus_1_extra_percent
        ),
        money(row.n_plus_1_per_million_requests),
    ]
}

fn schedule(report: &Report) -> Section {
    let schedule = &report.schedule;
    let mut section = Section::new("A day/night schedule", &[]);
    section.notes.push(format!(
        "{} h a night with {} replicas fewer at {:.2} an hour saves {:.2} a day before start-up, {:.2} net of {:.0} s of start-up each",
        schedule.night_hours,
        schedule.replicas_fewer,
        schedule.node_per_hour,
        schedule.saved_per_day_before_startup,
        schedule.saved_per_day,
        schedule.startup_s
    ));
    section
}

fn cache(report: &Report) -> Section {
    let mut section = Section::new(
        "Saving from cache hits",
        &[
            "requests per day",
            "prompt tokens avoided",
            "replica-hours of prefill",
            "replicas",
            "saved per day",
        ],
    );
    let Some(cache) = &report.cache else {
        section
            .notes
            .push("give --input-tokens and --hit-rate, or a --report that has them".to_owned());
        return section;
    };
    section.rows = (cache.savings.iter())
        .map(|saving| {
            vec![
                grouped(saving.requests_per_day),
                grouped(saving.tokens_avoided_per_day),
                format!("{:.2}", saving.replica_seconds_per_day / 3600.0),
                format!("{:.3}", saving.replicas),
                money(saving.saved_per_day),
            ]
        })
        .collect();
    let rate = cache
        .savings
        .first()
        .map_or(0.0, |saving| saving.prefill_tokens_per_s);
    section.notes.push(format!(
        "{:.1} % of {:.0} prompt tokens found; prefill at {} tokens/s of one replica ({})",
        cache.hit_rate * 100.0,
        cache.input_tokens,
        grouped(rate),
        cache.prefill_origin
    ));
    section
}

fn comparison(report: &Report) -> Section {
    let mut section = Section::new(
        "Accelerators at an SLO that both meet",
        &["accelerator", "req/s of one replica", "per 1M requests"],
    );
    for row in &report.comparison.rows {
        section.rows.push(vec![
            row.accelerator.clone(),
            or_na(row.replica_rps, money),
            or_na(row.per_million, money),
        ]);
        if let Some(why) = &row.why_not {
            section.notes.push(format!("{}: {why}", row.accelerator));
        } else {
            section
                .notes
                .push(format!("{}: {}", row.accelerator, row.source));
        }
    }
    section.notes.push(report.comparison.verdict.clone());
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_apart() {
        let check = |value: f64, expected: &str| assert_eq!(grouped(value), expected);
        check(0.0, "0");
        check(999.0, "999");
        check(1_000.0, "1,000");
        check(1_382_400.0, "1,382,400");
        check(-12_345.0, "-12,345");
    }
}
