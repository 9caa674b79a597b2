//! Named series of points come in; one chart as SVG text goes out.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 36.0;
// Okabe and Ito's colours, told apart also by the colour-blind.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// One line of a chart.
pub struct Series<'a> {
    /// What the legend calls it.
    pub name: &'a str,
    /// Its points; those that are not finite are gaps.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over steps. Without a point it is an empty frame.
pub fn line_chart(title: &str, series: &[Series]) -> String {
    let finite = || {
        let all = series.iter().flat_map(|line| &line.points);
        all.filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let x = Axis::over(finite().map(|point| point.0), LEFT, WIDTH - RIGHT);
    let y = Axis::over(finite().map(|point| point.1), HEIGHT - BOTTOM, TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>\n",
        escape(title)
    );
    draw_grid(&mut svg, &x, &y);
    for (index, line) in series.iter().enumerate() {
        draw_line(&mut svg, line, COLOURS[index % COLOURS.len()], &x, &y);
        if series.len() > 1 {
            draw_legend(&mut svg, line.name, COLOURS[index % COLOURS.len()], index);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_grid(svg: &mut String, x: &Axis, y: &Axis) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in y.ticks() {
        let (at, label) = (y.place(tick), label(tick, y.step));
        append(
            svg,
            format_args!(
                "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
                LEFT - 6.0,
                at + 4.0,
            ),
        );
    }
    for tick in x.ticks() {
        let (at, label) = (x.place(tick), label(tick, x.step));
        append(
            svg,
            format_args!(
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n",
                bottom + 18.0,
            ),
        );
    }
    append(
        svg,
        format_args!(
            "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#444\"/>\n"
        ),
    );
}

fn draw_line(svg: &mut String, line: &Series, colour: &str, x: &Axis, y: &Axis) {
    for piece in thinned(&line.points).split(|(x, y)| !(x.is_finite() && y.is_finite())) {
        let points: Vec<String> = piece
            .iter()
            .map(|point| format!("{:.1},{:.1}", x.place(point.0), y.place(point.1)))
            .collect();
        match piece {
            [] => {}
            [(px, py)] => append(
                svg,
                format_args!(
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>\n",
                    x.place(*px),
                    y.place(*py),
                ),
            ),
            _ => append(
                svg,
                format_args!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n",
                    points.join(" "),
                ),
            ),
        }
    }
}

fn draw_legend(svg: &mut String, name: &str, colour: &str, index: usize) {
    let left = WIDTH - RIGHT - 110.0 * (index + 1) as f64;
    append(
        svg,
        format_args!(
            "<path d=\"M{left} 16h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\
         <text x=\"{}\" y=\"20\">{}</text>\n",
            left + 24.0,
            escape(name),
        ),
    );
}

// More points than pixels only make the file large.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let stride = points.len().div_ceil(2 * WIDTH as usize).max(1);
    let last = points.len().saturating_sub(1);
    points
        .iter()
        .enumerate()
        .filter(move |(index, _)| index % stride == 0 || *index == last)
        .map(|(_, point)| *point)
        .collect()
}

// A range of values laid over a range of pixels, with round ticks.
struct Axis {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        values.for_each(|value| (low, high) = (low.min(value), high.max(value)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-12 * high.abs().max(1e-300) {
            let margin = if high == 0.0 { 1.0 } else { high.abs() * 0.1 };
            (low, high) = (low - margin, high + margin);
        }
        Self { low, high, step: round_step((high - low) / 5.0), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let first = (self.low / self.step).ceil() as i64;
        let last = (self.high / self.step).floor() as i64;
        (first..=last).map(|tick| tick as f64 * self.step)
    }
}

// 1, 2 or 5 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let rounded = [1.0, 2.0, 5.0].into_iter().find(|factor| rough <= factor * power);
    rounded.unwrap_or(10.0) * power
}

fn label(value: f64, step: f64) -> String {
    if value != 0.0 && (value.abs() >= 1e6 || step < 1e-4) {
        return format!("{value:.1e}");
    }
    let digits = (-step.log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn append(svg: &mut String, text: std::fmt::Arguments) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(points: &[(f64, f64)], expected: &[&str]) {
        let svg = line_chart("a < b", &[Series { name: "train", points: points.to_vec() }]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        for text in expected {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }

    #[test]
    fn charts() {
        check(&[], &["a &lt; b"]);
        check(&[(1.0, 2.0)], &["<circle"]);
        check(&[(0.0, 1.0), (10.0, 3.0)], &["64.0,284.0 704.0,40.0", ">2.0<", ">10<"]);
        check(&[(0.0, 1e-9), (10.0, 3e-9), (20.0, f64::NAN)], &["<polyline", "e-9"]);
        check(&[(0.0, 5.0), (10.0, 5.0)], &["<polyline"]);
        let gap = [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 2.0), (5.0, 3.0)];
        let svg = line_chart("gap", &[Series { name: "train", points: gap.to_vec() }]);
        assert_eq!(svg.matches("<polyline").count(), 2);
    }
}
