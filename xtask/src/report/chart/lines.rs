//! A panel of curves along training, with a band for the range over seeds.

use maud::{Markup, html};

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
    /// The horizontal axis.
    pub(crate) x: Axis,
    /// The vertical axis.
    pub(crate) y: Axis,
    /// The curves, in the order of the key.
    pub(crate) series: Vec<Series>,
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

impl LinePanel {
    /// The panel as an SVG element.
    pub(crate) fn svg(&self) -> Markup {
        let (width, height) = PANEL;
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) role="img" tabindex="0"
                aria-labelledby=(format!("{id}-t {id}-d", id = self.id)) {
                title id=(format!("{}-t", self.id)) { (self.title) }
                desc id=(format!("{}-d", self.id)) { (self.description) }
                (self.draw())
            }
        }
    }

    /// The contents of the panel, for a drawing of several panels.
    pub(super) fn draw(&self) -> Markup {
        let area = PlotArea::within(PANEL.0, PANEL.1);
        let axes = (&self.x, &self.y);
        html! {
            (area.draw(axes, (&self.names.0, &self.names.1)))
            @for series in &self.series { (band(series, &area, axes)) }
            @for series in &self.series { (curve(series, &area, axes)) }
        }
    }
}

fn band(series: &Series, area: &PlotArea, axes: (&Axis, &Axis)) -> Markup {
    let upper = series.points.iter().filter_map(|point| area.at(axes, (point.x, point.high)));
    let lower = series.points.iter().rev().filter_map(|point| area.at(axes, (point.x, point.low)));
    let outline: Vec<(f64, f64)> = upper.chain(lower).collect();
    let spread = series.points.iter().any(|point| point.high > point.low);
    html! {
        @if spread && outline.len() > 2 {
            path class=(format!("band {}", series.class)) d=(format!("{}z", path(&outline))) {}
        }
    }
}

fn curve(series: &Series, area: &PlotArea, axes: (&Axis, &Axis)) -> Markup {
    let places: Vec<(&Point, (f64, f64))> =
        series.points.iter().filter_map(|point| Some((point, area.at(axes, (point.x, point.middle))?))).collect();
    let line: Vec<(f64, f64)> = places.iter().map(|(_, place)| *place).collect();
    let class = if series.excluded { "curve excluded" } else { "curve" };
    let mark = if series.excluded { "mark hollow" } else { "mark" };
    html! {
        @if !line.is_empty() {
            g class=(series.class) {
                path class=(class) d=(path(&line)) {}
                @for (point, place) in &places {
                    (marker(series.shape, *place, 3.4, mark, Some(&tooltip(series, point))))
                }
                @if let (true, Some(end)) = (series.diverged, line.last()) { (cross(*end, 6.0)) }
            }
        }
    }
}

/// The tooltip of a point.
fn tooltip(series: &Series, point: &Point) -> String {
    let range =
        if point.high > point.low { format!(" ({:.4} to {:.4})", point.low, point.high) } else { String::new() };
    format!("{}: {:.4}{range} after {:.2} epochs", series.label, point.middle, point.x)
}
