//! Is a simulated figure near enough to the published one?

use std::fmt::Write as _;

use serde::Serialize;

use crate::report;

/// Share by which a simulated figure may miss the published one.
const TOLERANCE: f64 = 0.25;

/// Published rows nearer than this to each other have no order to reproduce.
const TIE: f64 = 0.05;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) published: f64,
    pub(crate) simulated: f64,
    pub(crate) note: String,
}

impl Row {
    /// By which share it misses; positive is too high.
    pub(crate) fn miss(&self) -> f64 {
        self.simulated / self.published - 1.0
    }
}

/// Figures of one source.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) rows: Vec<Row>,
    /// Whether the order of rows, the largest first, is to be reproduced.
    pub(crate) ordered: bool,
}

impl Table {
    /// Rows that miss by more than a quarter, and pairs in another order than published.
    pub(crate) fn misses(&self) -> Vec<String> {
        let mut out: Vec<String> = self
            .rows
            .iter()
            .filter(|row| row.miss().abs() > TOLERANCE)
            .map(|row| format!("{} misses by {:+.0} %", row.name, row.miss() * 100.0))
            .collect();
        let pairs = self.rows.iter().enumerate();
        for (at, high) in pairs.filter(|_| self.ordered) {
            for low in &self.rows[at + 1..] {
                let tied = high.published <= low.published * (1.0 + TIE);
                if !tied && high.simulated <= low.simulated {
                    out.push(format!("{} is not above {}", high.name, low.name));
                }
            }
        }
        out
    }

    pub(crate) fn render(&self) -> String {
        let mut table =
            report::Table::new(&["row", "unit", "published", "simulated", "miss %", "note"])
                .left(1)
                .left(5);
        for row in &self.rows {
            table.row(vec![
                row.name.clone(),
                row.unit.to_owned(),
                format!("{:.1}", row.published),
                format!("{:.1}", row.simulated),
                format!("{:+.1}", row.miss() * 100.0),
                row.note.clone(),
            ]);
        }
        let mut out = format!("{}\n{}", self.title, table.render());
        match self.misses().as_slice() {
            [] => out.push_str("every row within 25 %, in order\n"),
            misses => misses.iter().for_each(|miss| {
                let _ = writeln!(out, "{miss}");
            }),
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(simulated: [f64; 3], expected: &[&str]) {
        let row = |(name, published, simulated): (&str, f64, f64)| Row {
            name: name.into(),
            unit: "x",
            published,
            simulated,
            note: String::new(),
        };
        let published = [("a", 200.0), ("b", 100.0), ("c", 97.0)];
        let rows = published.iter().zip(simulated);
        let table = Table {
            title: "t",
            rows: rows
                .map(|((name, published), simulated)| row((name, *published, simulated)))
                .collect(),
            ordered: true,
        };
        assert_eq!(table.misses(), expected);
    }

    #[test]
    fn misses_and_order() {
        check([210.0, 90.0, 95.0], &[]);
        check([260.0, 90.0, 95.0], &["a misses by +30 %"]);
        check([150.0, 90.0, 95.0], &[]);
        check(
            [150.0, 120.0, 150.0],
            &["c misses by +55 %", "a is not above c"],
        );
    }
}
