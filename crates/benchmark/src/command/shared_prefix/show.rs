//! How does a person read the result of one arm?

use super::Report;
use crate::engines::{self, Gain};
use crate::report::{Table, text};

/// The report for people.
pub(super) fn text(report: &Report) -> String {
    let shape = &report.shape;
    let mut out = format!(
        "shared-prefix on {} ({})\n{} groups, prefix {} + question {} tokens, {} turn(s), output {}, seed {}, warm-up {} with another seed\n",
        report.url,
        report.model,
        shape.groups,
        shape.prefix_tokens,
        shape.question_tokens,
        shape.turns,
        shape.output_tokens,
        shape.seed,
        report.warmup_requests,
    );
    if report.simulated {
        out.push_str(&format!("{}\n", text::SIMULATED));
    }
    out.push('\n');
    out.push_str(&text::scenario(&report.scenario));
    let measured = if report.engines.is_empty() {
        "n/a (give --engines or --admin)".to_owned()
    } else {
        text::percent(report.engine_hit_rate)
    };
    out.push_str(&format!(
        "\nprefix hit rate at the engines {measured}, reported in answers {}, ideal {}\n",
        text::percent(report.reported_hit_rate),
        text::percent(Some(report.ideal_hit_rate)),
    ));
    if let Some(ratio) = report.max_over_mean {
        out.push_str(&format!("busiest endpoint over the mean: {ratio:.2}\n"));
    }
    if !report.engines.is_empty() {
        out.push('\n');
        out.push_str(&engine_table(&report.engines));
    }
    out
}

fn engine_table(gains: &[Gain]) -> String {
    let mut table = Table::new(&[
        "engine",
        "requests",
        "looked up",
        "found",
        "hit rate",
        "preemptions",
    ]);
    let count =
        |value: Option<f64>| value.map_or_else(|| "n/a".to_owned(), |value| format!("{value:.0}"));
    for gain in gains {
        table.row(vec![
            gain.url.clone(),
            count(gain.finished_requests),
            count(gain.queried_tokens),
            count(gain.hit_tokens),
            text::percent(engines::hit_rate(std::slice::from_ref(gain))),
            count(gain.preemptions),
        ]);
    }
    table.render()
}
