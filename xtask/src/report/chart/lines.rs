//! A panel of curves along training, with a band for the range over seeds and a thin line for each seed.

use maud::{Markup, html};

use super::better::Better;
use super::plot_area::{PlotArea, cross, marker, path};
use super::scale::Axis;

/// Size of a panel, in the units of its view box.
pub(super) const PANEL: (f64, f64) = (340.0, 236.0);

/// A panel of curves.
#[derive(Debug, Clone)]
pub(crate) struct LinePanel {
    /// Unique in the page.
    pub(crate) id: String,
    /// Title, in one line.
    pub(crate) title: String,
    /// Description for screen readers.
    pub(crate) description: String,
    /// Names of the horizontal and the vertical axis.
    pub(crate) names: (String, String),
    /// The direction in which the vertical quantity is better.
    pub(crate) better: Option<Better>,
    /// The horizontal axis.
    pub(crate) x: Axis,
    /// The vertical axis.
    pub(crate) y: Axis,
    /// The curves, in the order of the key.
    pub(crate) series: Vec<Series>,
    /// Whether it is in the drawing of the paper's figure too, not on the page alone.
    pub(crate) in_figure: bool,
    /// Whether the horizontal axis has names in place of numbers.
    pub(crate) named: bool,
}

/// One curve.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// Its name in the key, such as the swept value.
    pub(crate) label: String,
    /// The class of its colour.
    pub(crate) class: String,
    /// The shape of its marks.
    pub(crate) shape: usize,
    /// Whether a rule excludes some of its runs from verdicts.
    pub(crate) excluded: bool,
    /// Whether some of its runs diverged.
    pub(crate) diverged: bool,
    /// Its points.
    pub(crate) points: Vec<Point>,
    /// The lines of its single seeds; empty with one seed.
    pub(crate) seeds: Vec<SeedLine>,
}

/// One point of a curve: the mean over seeds and their range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Epochs.
    pub(crate) x: f64,
    /// Mean over seeds; on a logarithmic axis the geometric mean.
    pub(crate) middle: f64,
    /// Smallest value over seeds.
    pub(crate) low: f64,
    /// Largest value over seeds.
    pub(crate) high: f64,
}

/// The line of one seed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeedLine {
    /// The seed.
    pub(crate) seed: u64,
    /// Epochs and values.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Whether a panel has what a script of the page reads: the values of its marks, and the lines of single seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// A panel of the page.
    Page,
    /// A panel in a drawing of its own.
    Drawing,
}

impl LinePanel {
    /// The name of a place on the horizontal axis, if that has names.
    pub(crate) fn x_name(&self, x: f64) -> Option<&str> {
        self.named.then(|| self.x.name_of(x)).flatten()
    }

    /// The panel as an SVG element of the page.
    pub(crate) fn svg(&self) -> Markup {
        let (width, height) = PANEL;
        let area = self.area();
        html! {
            svg.chart xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) role="img" tabindex="0"
                aria-label=(self.title) aria-describedby=(format!("{}-d", self.id))
                data-hover="column" data-area=(area.corners()) data-x=(self.names.0) data-percent[self.y.is_percent()] {
                desc id=(format!("{}-d", self.id)) { (self.description) }
                (self.draw(Detail::Page))
            }
        }
    }

    fn area(&self) -> PlotArea {
        let (width, height) = PANEL;
        if self.named { PlotArea::above(width, height, &self.x) } else { PlotArea::within(width, height) }
    }

    /// The contents of the panel.
    pub(super) fn draw(&self, detail: Detail) -> Markup {
        let area = self.area();
        let axes = (&self.x, &self.y);
        html! {
            (area.draw(axes, (&self.names.0, &self.names.1), self.better))
            @for (index, series) in self.series.iter().enumerate() { (band(series, index, &area, axes)) }
            @for (index, series) in self.series.iter().enumerate() { (self.curve(series, index, &area, detail)) }
        }
    }

    fn curve(&self, series: &Series, index: usize, area: &PlotArea, detail: Detail) -> Markup {
        let axes = (&self.x, &self.y);
        let places: Vec<(&Point, (f64, f64))> =
            series.points.iter().filter_map(|point| Some((point, area.at(axes, (point.x, point.middle))?))).collect();
        let line: Vec<(f64, f64)> = places.iter().map(|(_, place)| *place).collect();
        let class = if series.excluded { "curve excluded" } else { "curve" };
        let mark = if series.excluded { "mark hollow" } else { "mark" };
        html! {
            @if !line.is_empty() {
                g class=(series.class) data-series=(index) data-label=(series.label) {
                    @if detail == Detail::Page { @for seed in &series.seeds { (seed_line(seed, area, axes)) } }
                    path class=(class) d=(path(&line)) {}
                    @for (point, place) in &places {
                        @let shape = marker(series.shape, *place, 3.4, mark, Some(&self.tooltip(series, point)));
                        @if detail == Detail::Page {
                            g.point data-x=(point.x) data-name=[self.x_name(point.x)] data-y=(point.middle) data-low=(point.low) data-high=(point.high) { (shape) }
                        } @else { (shape) }
                    }
                    @if let (true, Some(end)) = (series.diverged, line.last()) { (cross(*end, 6.0)) }
                }
            }
        }
    }
}

fn band(series: &Series, index: usize, area: &PlotArea, axes: (&Axis, &Axis)) -> Markup {
    let upper = series.points.iter().filter_map(|point| area.at(axes, (point.x, point.high)));
    let lower = series.points.iter().rev().filter_map(|point| area.at(axes, (point.x, point.low)));
    let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
    let spread = series.points.iter().any(|point| point.high > point.low);
    html! {
        @if spread && outline.len() > 2 {
            path class=(format!("band {}", series.class)) data-series=(index) d=(format!("{}z", path(&outline))) {}
        } @else if spread && outline.len() == 2 {
            // The range of a single point.
            g class=(series.class) data-series=(index) { path.curve d=(path(&outline)) {} }
        }
    }
}

fn seed_line(seed: &SeedLine, area: &PlotArea, axes: (&Axis, &Axis)) -> Markup {
    let line: Vec<(f64, f64)> = seed.points.iter().filter_map(|point| area.at(axes, *point)).collect();
    html! { @if line.len() > 1 { path.seed data-seed=(seed.seed) d=(path(&line)) {} } }
}

impl LinePanel {
    /// The tooltip of a point, for pages without a script.
    fn tooltip(&self, series: &Series, point: &Point) -> String {
        let range =
            if point.high > point.low { format!(" ({:.4} to {:.4})", point.low, point.high) } else { String::new() };
        let place = match self.x_name(point.x) {
            Some(name) if name == series.label => String::new(),
            Some(name) => format!(" at {name}"),
            None => format!(" after {:.2} epochs", point.x),
        };
        format!("{}: {:.4}{range}{place}", series.label, point.middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::metric::Scale;

    #[test]
    fn the_values_of_a_mark_are_those_of_its_position() {
        let points = [(0.0, 3.0), (0.5, 40.0), (2.0, 900.0)];
        let points = points.map(|(x, middle)| Point { x, middle, low: middle / 2.0, high: middle * 2.0 }).to_vec();
        let values = points.iter().flat_map(|point| [point.low, point.high]);
        let panel = LinePanel {
            id: "p".to_owned(),
            title: "T".to_owned(),
            description: "D".to_owned(),
            names: ("epochs".to_owned(), "GC".to_owned()),
            better: Some(Better::LowerByThePaper),
            x: Axis::exactly(0.0, 2.0),
            y: Axis::over(values.collect::<Vec<_>>(), Scale::Logarithmic),
            series: vec![Series {
                label: "<0.1>".to_owned(),
                class: "seq-0".to_owned(),
                shape: 1,
                excluded: false,
                diverged: false,
                points: points.clone(),
                seeds: vec![SeedLine { seed: 3, points: vec![(0.0, 2.0), (2.0, 800.0)] }],
            }],
            in_figure: true,
            named: false,
        };
        let text = panel.svg().into_string();
        assert!(text.contains("data-label=\"&lt;0.1&gt;\"") && text.contains("↓ claimed better"), "{text}");
        let area = PlotArea::within(PANEL.0, PANEL.1);
        let marks: Vec<&str> = text.split("<g class=\"point\"").skip(1).collect();
        assert_eq!(marks.len(), points.len());
        for (mark, point) in marks.iter().zip(&points) {
            let value = |name: &str| -> f64 {
                let rest = mark.split(&format!("data-{name}=\"")).nth(1).unwrap();
                rest.split('"').next().unwrap().parse().unwrap()
            };
            let shown = Point { x: value("x"), middle: value("y"), low: value("low"), high: value("high") };
            assert_eq!(shown, *point, "the values that the script shows");
            // The first corner of a square of half-width 0.9 · 3.4 around the position.
            let place = area.at((&panel.x, &panel.y), (shown.x, shown.middle)).unwrap();
            let corner = mark.split("d=\"M").nth(1).unwrap().split('L').next().unwrap();
            let corner: Vec<f64> = corner.split(' ').map(|number| number.parse().unwrap()).collect();
            assert!((corner[0] - (place.0 - 3.06)).abs() <= 0.01 && (corner[1] - (place.1 - 3.06)).abs() <= 0.01);
        }
        // A drawing of its own has neither values for a script nor lines of seeds.
        let drawing = panel.draw(Detail::Drawing).into_string();
        assert!(text.contains("class=\"seed\" data-seed=\"3\"") && !drawing.contains("class=\"seed\""));
        assert!(!drawing.contains("data-x"));
    }
}
