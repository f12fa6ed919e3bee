//! Columns of curves by swept value, as in the paper's Figs. 1 and 4.

use super::figure::{Column, described, epochs, points, seed_lines, shared_axis};
use super::lines::{LinePanel, Point, Series};
use super::quantity::Quantity;
use super::scale::Axis;
use super::{level_class, level_names};
use crate::report::results::{Results, Run, RunStatus};

/// A column for each sweep that the figure shows, a panel for each quantity; panels of a row share their vertical axis.
pub(super) fn columns(results: &Results) -> Vec<Column> {
    let plan = &results.experiment.plan;
    let drawn = |quantity: &Quantity| -> Option<Row> {
        let columns: Vec<Vec<Series>> =
            plan.report.columns.iter().map(|name| curves(results, name, *quantity)).collect();
        let shown = columns.iter().flatten().any(|series| !series.points.is_empty()) || quantity.in_figure(results);
        let axis = shared_axis(quantity.scale(), &columns);
        shown.then_some(Row { quantity: *quantity, axis, columns })
    };
    let rows: Vec<Row> = Quantity::rows(results).iter().filter_map(drawn).collect();
    let column = |(index, name): (usize, &String)| {
        let along = rows.iter().map(|row| panel(results, name, row, row.columns[index].clone()));
        // Categories are also compared side by side, at the end of training.
        let categories = if plan.sweeps[name].is_ordered() { &[][..] } else { &rows[..] };
        let at_the_end = categories.iter().map(|row| at_the_end(results, name, row, &row.columns[index]));
        Column { label: plan.sweeps[name].label.clone(), panels: along.chain(at_the_end).collect() }
    };
    plan.report.columns.iter().enumerate().map(column).collect()
}

/// A row of panels.
struct Row {
    quantity: Quantity,
    axis: Axis,
    /// The curves of each column.
    columns: Vec<Vec<Series>>,
}

fn panel(results: &Results, name: &str, row: &Row, series: Vec<Series>) -> LinePanel {
    let plan = &results.experiment.plan;
    let sweep = &plan.sweeps[name];
    let label = row.quantity.label(plan.task);
    LinePanel {
        id: format!("{name}-{}", row.quantity.name()),
        title: format!("{label} along training, by {}", sweep.label),
        description: described(label, &sweep.label, &series),
        names: ("epochs".to_owned(), label.to_owned()),
        better: row.quantity.better(),
        x: epochs(plan.train.epochs, &series),
        y: row.axis.clone(),
        series,
        in_figure: row.quantity.in_figure(results),
        named: false,
    }
}

/// The last point of each curve over an axis of the names of the levels.
fn at_the_end(results: &Results, name: &str, row: &Row, curves: &[Series]) -> LinePanel {
    let sweep = &results.experiment.plan.sweeps[name];
    let label = row.quantity.label(results.experiment.plan.task);
    let last = |(index, curve): (usize, &Series)| Series {
        points: curve.points.last().map(|last| Point { x: index as f64, ..*last }).into_iter().collect(),
        seeds: Vec::new(),
        ..curve.clone()
    };
    let series: Vec<Series> = curves.iter().enumerate().map(last).collect();
    LinePanel {
        id: format!("{name}-{}-end", row.quantity.name()),
        title: format!("{label} at the end of training, by {}", sweep.label),
        description: described(label, &sweep.label, &series),
        names: (sweep.label.clone(), label.to_owned()),
        better: row.quantity.better(),
        x: Axis::named(&level_names(sweep)),
        y: shared_axis(row.quantity.scale(), std::slice::from_ref(&series)),
        series,
        in_figure: false,
        named: true,
    }
}

fn curves(results: &Results, name: &str, quantity: Quantity) -> Vec<Series> {
    let sweep = &results.experiment.plan.sweeps[name];
    let levels = level_names(sweep);
    let curve = |(index, level): (usize, &String)| {
        let at_value = |run: &&Run| run.planned.value_in(name) == Some(index) && run.trained_on.is_some();
        let runs: Vec<&Run> = results.runs.iter().filter(at_value).collect();
        let diverged = runs.iter().any(|run| matches!(run.status, RunStatus::Diverged { .. }));
        Series {
            label: level.clone(),
            class: level_class(sweep, index),
            shape: index,
            excluded: runs.iter().any(|run| !run.counts()),
            diverged,
            points: points(results, &runs, quantity),
            seeds: seed_lines(&runs, quantity),
        }
    };
    levels.iter().enumerate().map(curve).collect()
}
