//! Columns of curves by swept value, as in the paper's Figs. 1 and 4.

use super::figure::{Column, described, epochs, points, seed_lines, shared_axis};
use super::lines::{LinePanel, Series};
use super::quantity::Quantity;
use super::scale::{Axis, plain};
use super::step;
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
        let panels = rows.iter().map(|row| panel(results, name, row, row.columns[index].clone()));
        Column { label: plan.sweeps[name].label.clone(), panels: panels.collect() }
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

fn curves(results: &Results, name: &str, quantity: Quantity) -> Vec<Series> {
    let values = results.experiment.plan.sweeps[name].numbers();
    let curve = |(index, value): (usize, &f64)| {
        let at_value = |run: &&Run| run.planned.value_in(name) == Some(index) && run.trained_on.is_some();
        let runs: Vec<&Run> = results.runs.iter().filter(at_value).collect();
        let diverged = runs.iter().any(|run| matches!(run.status, RunStatus::Diverged { .. }));
        Series {
            label: plain(*value),
            class: format!("seq-{}", step(index, values.len())),
            shape: index,
            excluded: runs.iter().any(|run| !run.counts()),
            diverged,
            points: points(results, &runs, quantity),
            seeds: seed_lines(&runs, quantity),
        }
    };
    values.iter().enumerate().map(curve).collect()
}
