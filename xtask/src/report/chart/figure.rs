//! The figure: a grid of panels, on a page or as one drawing.

use maud::{Markup, PreEscaped, html};

use super::STYLE;
use super::lines::{Detail, LinePanel, PANEL, Point, SeedLine, Series};
use super::plot_area::marker;
use super::quantity::Quantity;
use super::scale::Axis;
use crate::report::results::{Results, Run};
use crate::study::metric::Scale;

/// Panels of a single column that are placed side by side.
const ACROSS: usize = 2;

/// Height of a line of the key, in units of the view box.
const KEY_LINE: f64 = 17.0;

/// One column of the grid, such as a sweep, with a panel for each metric.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// Its title, such as the swept quantity.
    pub(crate) label: String,
    /// The panels, from top to bottom.
    pub(crate) panels: Vec<LinePanel>,
}

impl Column {
    /// The column with the panels of the paper's figure alone.
    fn in_figure(&self) -> Self {
        let panels = self.panels.iter().filter(|panel| panel.in_figure).cloned().collect();
        Self { label: self.label.clone(), panels }
    }

    /// The curves of the key, which are the same in every panel of the column.
    pub(crate) fn key(&self) -> &[Series] {
        self.panels.first().map_or(&[], |panel| &panel.series)
    }
}

/// The last values of a panel, for screen readers.
pub(super) fn described(label: &str, swept: &str, series: &[Series]) -> String {
    let ends = series.iter().filter_map(|series| {
        let last = series.points.last()?;
        let note = if series.diverged {
            ", diverged"
        } else if series.excluded {
            ", excluded by rule"
        } else {
            ""
        };
        Some(format!("{} at {swept} {}{note}", significant(last.middle), series.label))
    });
    format!("The last {label}: {}.", ends.collect::<Vec<_>>().join("; "))
}

/// Three significant digits.
pub(super) fn significant(value: f64) -> String {
    crate::report::table::three_digits(value)
}

/// A point for each scheduled share of training at which all of the runs measured the quantity.
pub(super) fn points(results: &Results, runs: &[&Run], quantity: Quantity) -> Vec<Point> {
    let at = |wanted: f64| -> Option<Point> {
        let found: Vec<(f64, f64)> = runs
            .iter()
            .map(|run| {
                let (_, measurement) = run.scheduled().find(|(share, _)| *share == wanted)?;
                Some((measurement.epoch, quantity.value(measurement)?))
            })
            .collect::<Option<_>>()?;
        let (x, _) = *found.first()?;
        point(x, &found.iter().map(|(_, value)| *value).collect::<Vec<_>>(), quantity.scale())
    };
    results.experiment.plan.measure.schedule.iter().filter_map(|share| at(*share)).collect()
}

/// The line of each run; none of a single run, which is the curve itself.
pub(super) fn seed_lines(runs: &[&Run], quantity: Quantity) -> Vec<SeedLine> {
    let line = |run: &&Run| {
        let points = run.scheduled().filter_map(|(_, at)| Some((at.epoch, quantity.value(at)?))).collect();
        SeedLine { seed: run.planned.configuration.seed, points }
    };
    if runs.len() > 1 { runs.iter().map(line).collect() } else { Vec::new() }
}

/// The mean of values; on a logarithmic scale the geometric mean.
pub(super) fn middle(values: &[f64], scale: Scale) -> f64 {
    let count = values.len() as f64;
    match scale {
        Scale::Logarithmic => (values.iter().map(|value| value.ln()).sum::<f64>() / count).exp(),
        Scale::Linear | Scale::Percent => values.iter().sum::<f64>() / count,
    }
}

/// The axis of training, to its end, or to the last step of a run if that is later.
pub(super) fn epochs(planned: f64, series: &[Series]) -> Axis {
    let reached = series.iter().flat_map(|series| &series.points).map(|point| point.x);
    Axis::exactly(0.0, reached.fold(planned, f64::max))
}

/// The mean and the range of these values; none without values.
pub(super) fn point(x: f64, values: &[f64], scale: Scale) -> Option<Point> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (!values.is_empty()).then(|| Point { x, middle: middle(values, scale), low, high })
}

/// The vertical axis of a row. Diverged runs are not considered and may leave it, so that the others can be read.
pub(super) fn shared_axis(scale: Scale, row: &[Vec<Series>]) -> Axis {
    let steady = row.iter().flatten().filter(|series| !series.diverged);
    let values = steady.flat_map(|series| &series.points).flat_map(|point| [point.low, point.high]);
    Axis::over(values, scale)
}

/// The panels of the paper's figure as one drawing with its own style, for other pages. The panels of a single column are
/// placed side by side.
pub(crate) fn standalone(columns: &[Column], title: &str, note: &str) -> Markup {
    let columns: Vec<Column> = columns.iter().map(Column::in_figure).collect();
    let columns = &columns[..];
    let lines = columns.iter().map(|column| key_lines(column).len()).max().unwrap_or(1).max(1);
    let (gap, top) = (14.0, 98.0 + (lines - 1) as f64 * KEY_LINE);
    let panels = columns.iter().map(|column| column.panels.len()).max().unwrap_or(0);
    let across = if columns.len() == 1 { panels.min(ACROSS) } else { 1 };
    let width = (columns.len() * across) as f64 * (PANEL.0 + gap) + gap;
    let height = top + panels.div_ceil(across.max(1)) as f64 * (PANEL.1 + 8.0) + 30.0;
    let place = |column: usize, panel: usize| {
        let (left, down) = (column + panel % across, panel / across);
        format!("translate({} {})", gap + left as f64 * (PANEL.0 + gap), top + down as f64 * (PANEL.1 + 8.0))
    };
    html! {
        svg.standalone xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}"))
            width=(width) height=(height) role="img" aria-labelledby="figure-t figure-d" {
            title id="figure-t" { (title) }
            desc id="figure-d" { (note) }
            style { (PreEscaped(STYLE)) }
            rect.ground width=(width) height=(height) {}
            text.title x=(gap + 6.0) y="32" { (title) }
            @for (index, column) in columns.iter().enumerate() {
                g transform=(format!("translate({} 64)", gap + index as f64 * (PANEL.0 + gap))) { (key(column)) }
                @for (row, panel) in column.panels.iter().enumerate() {
                    g transform=(place(index, row)) { (panel.draw(Detail::Drawing)) }
                }
            }
            text.quiet x=(gap + 6.0) y=(height - 14.0) { (note) }
        }
    }
}

/// The title of a column and the key of its curves. Positions are estimated from the number of characters.
fn key(column: &Column) -> Markup {
    html! {
        text.head x="6" y="4" { (column.label) }
        @for (line, entries) in key_lines(column).into_iter().enumerate() {
            @let middle = 20.0 + line as f64 * KEY_LINE;
            @for (at, series) in entries {
                g class=(series.class) {
                    path class=(if series.excluded { "curve excluded" } else { "curve" }) d=(format!("M{at} {middle}L{} {middle}", at + 20.0)) {}
                    (marker(series.shape, (at + 10.0, middle), 3.4, if series.excluded { "mark hollow" } else { "mark" }, None))
                }
                text x=(at + 25.0) y=(middle + 4.0) { (series.label) }
            }
        }
    }
}

/// The curves of a key in lines no wider than a panel, each with its position.
fn key_lines(column: &Column) -> Vec<Vec<(f64, &Series)>> {
    let mut lines: Vec<Vec<(f64, &Series)>> = Vec::new();
    let mut left = f64::INFINITY;
    for series in column.key() {
        let width = 26.0 + series.label.chars().count() as f64 * 6.8 + 10.0;
        if left + width > PANEL.0 {
            lines.push(Vec::new());
            left = 6.0;
        }
        if let Some(line) = lines.last_mut() {
            line.push((left, series));
        }
        left += width;
    }
    lines
}
