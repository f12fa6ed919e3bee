//! A plot of points: one quantity against another, with error bars and with lines that join points.

use maud::{Markup, html};

use super::better::Better;
use super::plot_area::{PlotArea, marker, path, round};
use super::scale::Axis;

/// Size of a scatter plot, in the units of its view box: about its pixels on a phone, so that its text is readable there.
pub(super) const PLOT: (f64, f64) = (390.0, 258.0);

/// Half the width of the ends of an error bar.
const CAP: f64 = 2.5;

/// A scatter plot.
#[derive(Debug, Clone)]
pub(crate) struct ScatterPanel {
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
    /// The groups of marks, which have colours, in the order of the key.
    pub(crate) groups: Vec<Group>,
    /// The marks.
    pub(crate) marks: Vec<Mark>,
    /// Lines that join points.
    pub(crate) lines: Vec<Line>,
}

/// The marks of one colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Name in the key.
    pub(crate) label: String,
    /// Class of its colour.
    pub(crate) class: String,
}

/// A mark: one run, or one measuring point of a run.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// Index of its group.
    pub(crate) group: usize,
    /// Its shape: the position of its seed among the seeds.
    pub(crate) shape: usize,
    /// Its values.
    pub(crate) at: (f64, f64),
    /// Their standard errors, of those that have one.
    pub(crate) errors: (Option<f64>, Option<f64>),
    /// Whether a rule excludes it from verdicts.
    pub(crate) excluded: bool,
    /// Whether it is small, as the measuring points of a run before the end of training are.
    pub(crate) small: bool,
    /// Its name in the tooltip.
    pub(crate) label: String,
}

/// A line through points of one group.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Index of its group.
    pub(crate) group: usize,
    /// Shape of the marks of its seed; none for a line through all seeds.
    pub(crate) shape: Option<usize>,
    /// What it joins.
    pub(crate) kind: LineKind,
    /// Its points.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What a line joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// The runs of one seed in a sweep. It is drawn only when the reader asks for the lines of single seeds.
    Seed,
    /// The measuring points of one run.
    Course,
    /// It is a fit to the marks of a group.
    Fit,
}

impl ScatterPanel {
    /// The plot as an SVG element.
    pub(crate) fn svg(&self) -> Markup {
        let (width, height) = PLOT;
        let area = PlotArea::within(width, height);
        let axes = (&self.x, &self.y);
        html! {
            svg.chart xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) role="img" tabindex="0"
                aria-label=(self.title) aria-describedby=(format!("{}-d", self.id))
                data-hover="point" data-area=(area.corners()) data-x=(self.names.0) data-y=(self.names.1)
                data-percent[self.y.is_percent()] {
                desc id=(format!("{}-d", self.id)) { (self.description) }
                (area.draw(axes, (&self.names.0, &self.names.1), self.better))
                @for line in &self.lines { (self.line(line, &area)) }
                @for mark in &self.marks { (self.mark(mark, &area)) }
            }
        }
    }

    fn line(&self, line: &Line, area: &PlotArea) -> Markup {
        let places: Vec<(f64, f64)> =
            line.points.iter().filter_map(|point| area.at((&self.x, &self.y), *point)).collect();
        let class = match line.kind {
            LineKind::Seed => "seed",
            LineKind::Course => "course",
            LineKind::Fit => "fit",
        };
        html! {
            @if places.len() > 1 {
                path class=(format!("{class} {}", self.groups[line.group].class)) data-series=(keys(line.group, line.shape))
                    d=(path(&places)) {}
            }
        }
    }

    fn mark(&self, mark: &Mark, area: &PlotArea) -> Markup {
        let axes = (&self.x, &self.y);
        let class = match (mark.small, mark.excluded) {
            (true, _) => "mark small",
            (false, true) => "mark hollow",
            (false, false) => "mark",
        };
        let size = if mark.small { 1.7 } else { 4.2 };
        html! {
            @if let Some(place) = area.at(axes, mark.at) {
                g class=(format!("point {}", self.groups[mark.group].class)) data-series=(keys(mark.group, Some(mark.shape)))
                    data-label=(mark.label) data-x=(mark.at.0) data-y=(mark.at.1)
                    data-x-error=[mark.errors.0] data-y-error=[mark.errors.1] {
                    (error_bars(mark, area, axes, place))
                    (marker(mark.shape, place, size, class, Some(&mark.label)))
                }
            }
        }
    }
}

/// The names under which the key shows and hides a mark: its group and its seed.
fn keys(group: usize, shape: Option<usize>) -> String {
    shape.map_or_else(|| group.to_string(), |shape| format!("{group} s{shape}"))
}

/// Bars of one standard error on both sides of a mark, cut at the edge of the plot.
fn error_bars(mark: &Mark, area: &PlotArea, axes: (&Axis, &Axis), (x, y): (f64, f64)) -> Markup {
    let vertical = mark.errors.1.map(|error| {
        let ends = [mark.at.1 - error, mark.at.1 + error].map(|value| round(area.y_inside(axes.1, value)));
        let (left, right) = (round(x - CAP), round(x + CAP));
        format!("M{left} {0}H{right}M{x} {0}V{1}M{left} {1}H{right}", ends[0], ends[1], x = round(x))
    });
    let horizontal = mark.errors.0.map(|error| {
        let ends = [mark.at.0 - error, mark.at.0 + error].map(|value| round(area.x_inside(axes.0, value)));
        let (top, bottom) = (round(y - CAP), round(y + CAP));
        format!("M{0} {top}V{bottom}M{0} {y}H{1}M{1} {top}V{bottom}", ends[0], ends[1], y = round(y))
    });
    let d: String = horizontal.into_iter().chain(vertical).collect();
    html! { @if !d.is_empty() { path.error d=(d) {} } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::metric::Scale;

    #[test]
    fn error_bars_end_one_standard_error_from_the_mark_and_at_the_edge() {
        let mark = Mark {
            group: 0,
            shape: 1,
            at: (10.0, 0.5),
            errors: (Some(20.0), Some(0.1)),
            excluded: false,
            small: false,
            label: "run".to_owned(),
        };
        let axes = (Axis::over([1.0, 100.0], Scale::Logarithmic), Axis::over([0.0, 1.0], Scale::Percent));
        let area = PlotArea::within(PLOT.0, PLOT.1);
        let (x, y) = area.at((&axes.0, &axes.1), mark.at).unwrap();
        let bars = error_bars(&mark, &area, (&axes.0, &axes.1), (x, y)).into_string();
        let (low, high) = (round(area.y(0.4)), round(area.y(0.6)));
        assert!(bars.contains(&format!("{low}V{high}")) && (low - high - 0.2 * area.height).abs() < 0.02, "{bars}");
        // 10 − 20 is negative and has no position on a logarithmic axis: the bar begins at the left edge.
        assert!(bars.contains(&format!("M{} {}H", round(area.left), round(y))), "{bars}");
        let none = Mark { errors: (None, None), ..mark };
        assert_eq!(error_bars(&none, &area, (&axes.0, &axes.1), (x, y)).into_string(), "");
    }
}
