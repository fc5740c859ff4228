//! How do figures become a picture that any browser draws, without scripts or files beside it?

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
/// Told apart in print and by most eyes (Okabe and Ito's palette).
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999",
];
/// Points drawn per series; longer ones are thinned evenly.
const MAX_POINTS: usize = 2_000;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Line,
    /// A line with a dot at each point.
    Dotted,
    Dots,
}

#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    pub mark: Mark,
}

/// A chart of points over two linear axes from 0, or with a logarithmic y axis.
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    pub x: String,
    pub y: String,
    pub log_y: bool,
    pub series: Vec<Series>,
}

impl Chart {
    pub fn new(title: &str, x: &str, y: &str) -> Self {
        Self {
            title: title.to_owned(),
            x: x.to_owned(),
            y: y.to_owned(),
            log_y: false,
            series: Vec::new(),
        }
    }

    /// Adds a series; points that are not finite are left out.
    pub fn add(&mut self, name: &str, mark: Mark, points: impl IntoIterator<Item = (f64, f64)>) {
        let points = points
            .into_iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite() && (!self.log_y || *y > 0.0));
        self.series.push(Series {
            name: name.to_owned(),
            points: points.collect(),
            mark,
        });
    }

    /// The picture; a sentence where there is nothing to draw.
    pub fn svg(&self) -> String {
        let all = || self.series.iter().flat_map(|series| &series.points);
        if all().next().is_none() {
            return format!("<p>{}: nothing to draw</p>\n", escape(&self.title));
        }
        let max = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(0.0, f64::max);
        // A logarithm has no place for 0: such points lie on the axis.
        let above_0 = all().map(|point| point.1).filter(|y| *y > 0.0);
        let low_y = above_0.fold(f64::INFINITY, f64::min).min(1e12);
        let scale = Scale {
            x: top_of_axis(max(|point| point.0)),
            y: if self.log_y {
                10_f64.powf(max(|point| point.1).max(low_y).log10().ceil())
            } else {
                top_of_axis(max(|point| point.1))
            },
            low_y: self.log_y.then(|| 10_f64.powf(low_y.log10().floor())),
        };
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\">\n<text x=\"{LEFT}\" y=\"20\" class=\"title\">{0}</text>\n",
            escape(&self.title)
        );
        self.axes(&mut out, &scale);
        for (index, series) in self.series.iter().enumerate() {
            draw(&mut out, series, index, &scale);
        }
        out.push_str("</svg>\n");
        out
    }

    fn axes(&self, out: &mut String, scale: &Scale) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for step in 0..=4 {
            let value = scale.x * f64::from(step) / 4.0;
            let x = scale.px(value);
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                short(value)
            );
        }
        for value in scale.y_ticks() {
            let y = scale.py(value);
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"grid\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                short(value)
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n<text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0,
            escape(&self.x),
            f64::midpoint(TOP, bottom),
            escape(&self.y)
        );
    }
}

struct Scale {
    x: f64,
    y: f64,
    low_y: Option<f64>,
}

impl Scale {
    fn px(&self, x: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * x / self.x
    }

    fn py(&self, y: f64) -> f64 {
        let share = match self.low_y {
            Some(low) => (y.max(low) / low).log10() / (self.y / low).log10().max(1e-9),
            None => y / self.y,
        };
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }

    fn y_ticks(&self) -> Vec<f64> {
        match self.low_y {
            None => (0..=4).map(|step| self.y * f64::from(step) / 4.0).collect(),
            Some(low) => {
                let (from, to) = (low.log10().round() as i32, self.y.log10().round() as i32);
                (from..=to).map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

fn draw(out: &mut String, series: &Series, index: usize, scale: &Scale) {
    let colour = COLOURS[index % COLOURS.len()];
    let step = series.points.len().div_ceil(MAX_POINTS).max(1);
    let places: Vec<(f64, f64)> = series
        .points
        .iter()
        .step_by(step)
        .map(|(x, y)| (scale.px(*x), scale.py(*y)))
        .collect();
    if series.mark != Mark::Dots {
        let path: Vec<String> = places
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
            path.join(" ")
        );
    }
    if series.mark != Mark::Line {
        let radius = if series.mark == Mark::Dots { 1.6 } else { 3.0 };
        for (x, y) in &places {
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"
            );
        }
    }
    let (x, y) = (WIDTH - RIGHT + 12.0, TOP + 8.0 + 16.0 * index as f64);
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"{y:.1}\">{}</text>",
        y - 9.0,
        x + 14.0,
        escape(&series.name)
    );
}

/// The next of 1, 2, 2.5, 5, 10 times a power of ten.
fn top_of_axis(max: f64) -> f64 {
    if max <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(max.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.iter().find(|step| *step * power >= max * 0.999_999);
    step.unwrap_or(&10.0) * power
}

fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 1.0 => 1,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Cumulative share of values at or below each.
pub fn distribution(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
    let mut sorted: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let share = |(index, value): (usize, f64)| (value, (index + 1) as f64 / n);
    sorted.into_iter().enumerate().map(share).collect()
}

/// Text that is safe inside HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let check = |max: f64, expected: f64| {
            assert!((top_of_axis(max) - expected).abs() < 1e-9, "{max}");
        };
        check(0.0, 1.0);
        check(0.9, 1.0);
        check(1.0, 1.0);
        check(1.1, 2.0);
        check(2.2, 2.5);
        check(37.0, 50.0);
        check(640.0, 1000.0);
    }

    #[test]
    fn a_chart_holds_its_points_and_escapes_its_words() {
        let mut chart = Chart::new("a < b", "x", "y & z");
        chart.add(
            "one",
            Mark::Dotted,
            [(0.0, 0.0), (10.0, 5.0), (f64::NAN, 1.0)],
        );
        let svg = chart.svg();
        assert!(svg.contains("a &lt; b") && svg.contains("y &amp; z"));
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("490.0,34.0"), "{svg}");
        assert!(!svg.contains("NaN"));
        assert!(
            Chart::new("none", "x", "y")
                .svg()
                .contains("nothing to draw")
        );
        chart.log_y = true;
        assert!(!chart.svg().contains("inf"));
    }

    #[test]
    fn a_distribution_ends_at_one() {
        assert_eq!(
            distribution([3.0, 1.0, f64::NAN]),
            vec![(1.0, 0.5), (3.0, 1.0)]
        );
    }
}
