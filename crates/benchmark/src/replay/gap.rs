//! How much of the distance between the best reference rule and the oracle is covered?
//!
//! For each arm that runs our scheduling and each figure: the best rule in the same comparison (bounds are not rules), the
//! ratio to it, and `(rule - ours) / (rule - oracle)`. Over 1 where ours is better than the oracle, which is greedy; no
//! share where the oracle is no better than the best rule.

use crate::report::Table;

/// What is set side by side of one arm; `None` where there is no sample.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// TTFT mean, p50, p99, TPOT p99, E2E mean, goodput.
    pub(crate) figures: [Option<f64>; 6],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Rule,
    Oracle,
    /// Other bounds.
    Bound,
}

const FIGURES: [&str; 6] = [
    "TTFT mean ms",
    "TTFT p50 ms",
    "TTFT p99 ms",
    "TPOT p99 ms",
    "E2E mean ms",
    "goodput/s",
];

/// Goodput is the one figure of which more is better.
const MORE_IS_BETTER: usize = 5;

/// The table; empty where there is nothing to set side by side.
pub(crate) fn table(sides: &[Side]) -> String {
    let of = |kind: Kind| sides.iter().filter(move |side| side.kind == kind);
    if of(Kind::Ours).next().is_none() || of(Kind::Rule).next().is_none() {
        return String::new();
    }
    let oracle = of(Kind::Oracle).next();
    let mut table = Table::new(&[
        "ours",
        "figure",
        "value",
        "best rule",
        "its value",
        "ours/rule",
        "oracle",
        "gap closed %",
    ])
    .left(1)
    .left(3);
    for ours in of(Kind::Ours) {
        for (at, figure) in FIGURES.iter().enumerate() {
            let Some(value) = ours.figures[at] else {
                continue;
            };
            let better = |a: f64, b: f64| {
                if at == MORE_IS_BETTER {
                    b.total_cmp(&a)
                } else {
                    a.total_cmp(&b)
                }
            };
            let known = of(Kind::Rule).filter_map(|rule| Some((rule, rule.figures[at]?)));
            let Some((rule, best)) = known.min_by(|a, b| better(a.1, b.1)) else {
                continue;
            };
            let bound = oracle.and_then(|oracle| oracle.figures[at]);
            table.row(vec![
                ours.name.clone(),
                (*figure).to_owned(),
                show(value),
                rule.name.clone(),
                show(best),
                format!("{:.3}", value / best),
                bound.map_or_else(|| "n/a".to_owned(), show),
                bound
                    .and_then(|bound| closed(value, best, bound, at))
                    .map_or_else(|| "n/a".to_owned(), |share| format!("{:.0}", share * 100.0)),
            ]);
        }
    }
    table.render()
}

/// `None` where the oracle is not better than the rule by a thousandth.
fn closed(ours: f64, rule: f64, oracle: f64, at: usize) -> Option<f64> {
    let gap = if at == MORE_IS_BETTER {
        oracle - rule
    } else {
        rule - oracle
    };
    let won = if at == MORE_IS_BETTER {
        ours - rule
    } else {
        rule - ours
    };
    (gap > rule.abs() * 1e-3).then(|| won / gap)
}

fn show(value: f64) -> String {
    match value {
        value if value < 100.0 => format!("{value:.2}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &str, kind: Kind, ttft: f64, goodput: f64) -> Side {
        Side {
            name: name.to_owned(),
            kind,
            figures: [Some(ttft), None, None, None, None, Some(goodput)],
        }
    }

    #[test]
    fn shares_of_the_gap() {
        let sides = [
            side("adaptive", Kind::Ours, 90.0, 9.5),
            side("round-robin", Kind::Rule, 200.0, 8.0),
            side("dynamo-cost", Kind::Rule, 110.0, 9.0),
            side("bound:oracle", Kind::Oracle, 70.0, 10.0),
            side("bound:infinite-cache", Kind::Bound, 10.0, 20.0),
        ];
        let text = table(&sides);
        let line = |figure: &str| {
            text.lines()
                .find(|line| line.contains(figure))
                .unwrap()
                .to_owned()
        };
        for part in ["dynamo-cost", "0.818", " 50"] {
            assert!(line("TTFT mean").contains(part), "{text}");
        }
        assert!(
            line("goodput").contains("1.056") && line("goodput").ends_with("50"),
            "{text}"
        );
        assert_eq!(table(&sides[1..]), "");
        assert_eq!(closed(90.0, 100.0, 100.0, 0), None);
        assert_eq!(closed(90.0, 100.0, 95.0, 0), Some(2.0));
    }
}
