//! How do a few figures per arm become a picture?

use std::fmt::Write as _;

use crate::report::plot::escape;

/// One arm.
pub(crate) struct Row {
    pub(crate) name: String,
    /// Named values, drawn under each other.
    pub(crate) values: Vec<(&'static str, f64)>,
}

const WIDTH: f64 = 640.0;
const NAMES: f64 = 190.0;
const FIGURES: f64 = 90.0;
const BAR: f64 = 13.0;
const GAP: f64 = 7.0;
const TOP: f64 = 44.0;
const COLOURS: [&str; 3] = ["#0072b2", "#56b4e9", "#009e73"];

/// Horizontal bars from zero, each with its figure.
pub(crate) fn svg(title: &str, unit: &str, rows: &[Row]) -> String {
    let most = rows
        .iter()
        .flat_map(|row| &row.values)
        .map(|(_, value)| *value)
        .filter(|value| value.is_finite())
        .fold(0.0, f64::max)
        .max(1e-9);
    let bars: usize = rows.iter().map(|row| row.values.len()).sum();
    let height = TOP + bars as f64 * BAR + rows.len() as f64 * GAP + 8.0;
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\">\n<text x=\"8\" y=\"18\" class=\"title\">{0}</text>\n<text x=\"8\" y=\"34\">{1}</text>\n",
        escape(title),
        escape(unit)
    );
    let mut y = TOP;
    for row in rows {
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            NAMES - 8.0,
            y + BAR - 3.0,
            escape(&row.name)
        );
        for (index, (name, value)) in row.values.iter().enumerate() {
            let width = (WIDTH - NAMES - FIGURES) * (value / most).clamp(0.0, 1.0);
            let label = if row.values.len() > 1 { *name } else { "" };
            let _ = writeln!(
                out,
                "<rect x=\"{NAMES}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{:.1}\">{value:.2} {label}</text>",
                BAR - 2.0,
                COLOURS[index % COLOURS.len()],
                NAMES + width + 4.0,
                y + BAR - 3.0
            );
            y += BAR;
        }
        y += GAP;
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_width_and_words_are_escaped() {
        let row = |name: &str, value| Row {
            name: name.into(),
            values: vec![("v", value)],
        };
        let svg = svg(
            "t",
            "u",
            &[row("a<b", 2.0), row("c", 1.0), row("d", f64::NAN)],
        );
        assert!(svg.contains("a&lt;b"));
        assert!(
            svg.contains("width=\"360.0\"") && svg.contains("width=\"180.0\""),
            "{svg}"
        );
    }
}
