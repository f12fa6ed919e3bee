//! From results to panels: the grid of the paper's figure, and the scatter plots below it.

use maud::{Markup, PreEscaped, html};

use super::frame::marker;
use super::lines::{LinePanel, PANEL, Point, Series};
use super::scale::{Axis, plain};
use super::scatter::{Group, Mark, ScatterPanel};
use super::{STYLE, step};
use crate::report::results::{Results, Run, Standing};
use crate::reproduce::experiment::{Axes, Sweep};
use crate::reproduce::metric::{Metric, Scale};

/// One column of the grid: a sweep, with a panel for each metric.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// The swept quantity.
    pub(crate) label: String,
    /// The panels, top to bottom.
    pub(crate) panels: Vec<LinePanel>,
}

impl Column {
    /// The curves by name; the same in every panel of the column.
    pub(crate) fn key(&self) -> &[Series] {
        self.panels.first().map_or(&[], |panel| &panel.series)
    }
}

/// The columns of the figure; panels of a row share their vertical axis.
pub(crate) fn columns(results: &Results) -> Vec<Column> {
    let plan = &results.experiment.plan;
    let rows: Vec<Vec<Vec<Series>>> = plan
        .report
        .rows
        .iter()
        .map(|metric| plan.report.columns.iter().map(|name| curves(results, name, *metric)).collect())
        .collect();
    let axes: Vec<Axis> = plan.report.rows.iter().zip(&rows).map(|(metric, row)| shared_axis(*metric, row)).collect();
    let column = |(index, name): (usize, &String)| {
        let sweep = &plan.sweeps[name];
        let panels = plan.report.rows.iter().enumerate().map(|(row, metric)| {
            let series = rows[row][index].clone();
            panel(results, (name, sweep), *metric, axes[row].clone(), series)
        });
        Column { label: sweep.label.clone(), panels: panels.collect() }
    };
    plan.report.columns.iter().enumerate().map(column).collect()
}

fn panel(results: &Results, (name, sweep): (&str, &Sweep), metric: Metric, y: Axis, series: Vec<Series>) -> LinePanel {
    let plan = &results.experiment.plan;
    let label = metric.label(plan.task);
    LinePanel {
        id: format!("{name}-{}", metric.name()),
        title: format!("{label} along training, by {}", sweep.label),
        description: described(label, &sweep.label, &series),
        names: ("epochs".to_owned(), label.to_owned()),
        x: Axis::exactly(0.0, plan.train.epochs),
        y,
        series,
    }
}

fn described(label: &str, swept: &str, series: &[Series]) -> String {
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
fn significant(value: f64) -> String {
    crate::report::table::three_digits(value)
}

fn curves(results: &Results, name: &str, metric: Metric) -> Vec<Series> {
    let values = results.experiment.plan.sweeps[name].numbers();
    let curve = |(index, value): (usize, &f64)| {
        let at_value = |run: &&Run| run.planned.value_in(name) == Some(index) && run.trained_on.is_some();
        let runs: Vec<&Run> = results.runs.iter().filter(at_value).collect();
        let diverged = runs.iter().any(|run| matches!(run.standing, Standing::Diverged { .. }));
        Series {
            label: plain(*value),
            step: step(index, values.len()),
            shape: index,
            excluded: runs.iter().any(|run| !run.counts()),
            diverged,
            points: points(results, &runs, metric),
        }
    };
    values.iter().enumerate().map(curve).collect()
}

/// A point for each scheduled share of training at which every one of the runs measured the metric.
fn points(results: &Results, runs: &[&Run], metric: Metric) -> Vec<Point> {
    let at = |wanted: f64| -> Option<Point> {
        let found: Vec<(f64, f64)> = runs
            .iter()
            .map(|run| {
                let (_, measurement) = run.scheduled().find(|(share, _)| *share == wanted)?;
                Some((measurement.epoch, measurement.value(metric)?))
            })
            .collect::<Option<_>>()?;
        let (x, _) = *found.first()?;
        let values: Vec<f64> = found.iter().map(|(_, value)| *value).collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Point { x, middle: middle(&values, metric.scale()), low, high })
    };
    results.experiment.plan.measure.schedule.iter().filter_map(|share| at(*share)).collect()
}

fn middle(values: &[f64], scale: Scale) -> f64 {
    let count = values.len() as f64;
    match scale {
        Scale::Logarithmic => (values.iter().map(|value| value.ln()).sum::<f64>() / count).exp(),
        Scale::Linear | Scale::Percent => values.iter().sum::<f64>() / count,
    }
}

/// The axis of a row; runs that diverged may leave it, so that the others can still be read.
fn shared_axis(metric: Metric, row: &[Vec<Series>]) -> Axis {
    let steady = row.iter().flatten().filter(|series| !series.diverged);
    let values = steady.flat_map(|series| &series.points).flat_map(|point| [point.low, point.high]);
    Axis::over(values, metric.scale())
}

/// The scatter plots that the experiment asks for.
pub(crate) fn scatters(results: &Results) -> Vec<ScatterPanel> {
    results.experiment.plan.report.scatter.iter().map(|axes| scatter(results, *axes)).collect()
}

fn scatter(results: &Results, axes: Axes) -> ScatterPanel {
    let plan = &results.experiment.plan;
    let marks: Vec<Mark> = results.runs.iter().filter_map(|run| mark(results, run, axes)).collect();
    let (x, y) = (axes.x.label(plan.task), axes.y.label(plan.task));
    let mut groups: Vec<Group> =
        vec![Group { label: "in every sweep".to_owned(), class: "cat-base".to_owned(), shape: 0 }];
    groups.extend(plan.report.columns.iter().enumerate().map(|(index, name)| Group {
        label: format!("{} sweep", plan.sweeps[name].label),
        class: format!("cat-{}", index % 4),
        shape: index + 1,
    }));
    ScatterPanel {
        id: format!("scatter-{}-{}", axes.x.name(), axes.y.name()),
        title: format!("{y} against {x} at the end of training"),
        description: format!("{} runs; the rank correlations are in the table of claims.", marks.len()),
        names: (x.to_owned(), y.to_owned()),
        x: Axis::over(marks.iter().map(|mark| mark.at.0), axes.x.scale()),
        y: Axis::over(marks.iter().map(|mark| mark.at.1), axes.y.scale()),
        groups,
        marks,
    }
}

fn mark(results: &Results, run: &Run, axes: Axes) -> Option<Mark> {
    let columns = &results.experiment.plan.report.columns;
    let last = run.last()?;
    let own: Vec<usize> = (0..columns.len()).filter(|index| run.planned.value_in(&columns[*index]).is_some()).collect();
    let group = if let [only] = own[..] { only + 1 } else { 0 };
    let label = format!("{} ({})", run.planned.description(), run.standing.word());
    Some(Mark { group, at: (last.value(axes.x)?, last.value(axes.y)?), excluded: !run.counts(), label })
}

/// The whole grid as one drawing with its own colours, for a page that is not ours.
pub(crate) fn standalone(columns: &[Column], title: &str, note: &str) -> Markup {
    let rows = columns.iter().map(|column| column.panels.len()).max().unwrap_or(0);
    let (gap, top) = (14.0, 98.0);
    let width = columns.len() as f64 * (PANEL.0 + gap) + gap;
    let height = top + rows as f64 * (PANEL.1 + 8.0) + 30.0;
    html! {
        svg.standalone xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}"))
            width=(width) height=(height) role="img" aria-labelledby="figure-t figure-d" {
            title id="figure-t" { (title) }
            desc id="figure-d" { (note) }
            style { (PreEscaped(STYLE)) }
            rect.ground width=(width) height=(height) {}
            text.title x=(gap + 6.0) y="32" { (title) }
            @for (index, column) in columns.iter().enumerate() {
                @let left = gap + index as f64 * (PANEL.0 + gap);
                g transform=(format!("translate({left} 64)")) { (key(column)) }
                @for (row, panel) in column.panels.iter().enumerate() {
                    g transform=(format!("translate({left} {})", top + row as f64 * (PANEL.1 + 8.0))) { (panel.draw()) }
                }
            }
            text.quiet x=(gap + 6.0) y=(height - 14.0) { (note) }
        }
    }
}

/// The name of a column with its curves; places are estimated from the number of characters.
fn key(column: &Column) -> Markup {
    let advance = |text: &str, size: f64| text.chars().count() as f64 * size;
    let mut left = 6.0;
    let entries: Vec<(f64, &Series)> = column
        .key()
        .iter()
        .map(|series| {
            let at = left;
            left += 26.0 + advance(&series.label, 6.8) + 10.0;
            (at, series)
        })
        .collect();
    html! {
        text.head x="6" y="4" { (column.label) }
        @for (at, series) in entries {
            g class=(format!("seq-{}", series.step)) {
                path class=(if series.excluded { "curve excluded" } else { "curve" }) d=(format!("M{at} 20L{} 20", at + 20.0)) {}
                (marker(series.shape, (at + 10.0, 20.0), 3.4, if series.excluded { "mark hollow" } else { "mark" }, None))
            }
            text x=(at + 25.0) y="24" { (series.label) }
        }
    }
}
