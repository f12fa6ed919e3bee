//! Columns of curves by swept value, as in the paper's Figs. 1 and 4.

use super::figure::{Column, described, epochs, points, shared_axis};
use super::lines::{LinePanel, Series};
use super::scale::{Axis, plain};
use super::step;
use crate::report::results::{Results, Run, RunStatus};
use crate::study::metric::Metric;

/// A column for each sweep that the figure shows, a panel for each metric; panels of a row share their vertical axis.
pub(super) fn columns(results: &Results) -> Vec<Column> {
    let plan = &results.experiment.plan;
    let rows: Vec<Vec<Vec<Series>>> = plan
        .report
        .rows
        .iter()
        .map(|metric| plan.report.columns.iter().map(|name| curves(results, name, *metric)).collect())
        .collect();
    let axes: Vec<Axis> =
        plan.report.rows.iter().zip(&rows).map(|(metric, row)| shared_axis(metric.scale(), row)).collect();
    let column = |(index, name): (usize, &String)| {
        let sweep = &plan.sweeps[name];
        let panels = plan.report.rows.iter().enumerate().map(|(row, metric)| {
            let series = rows[row][index].clone();
            panel(results, name, *metric, axes[row].clone(), series)
        });
        Column { label: sweep.label.clone(), panels: panels.collect() }
    };
    plan.report.columns.iter().enumerate().map(column).collect()
}

fn panel(results: &Results, name: &str, metric: Metric, y: Axis, series: Vec<Series>) -> LinePanel {
    let plan = &results.experiment.plan;
    let sweep = &plan.sweeps[name];
    let label = metric.label(plan.task);
    LinePanel {
        id: format!("{name}-{}", metric.name()),
        title: format!("{label} along training, by {}", sweep.label),
        description: described(label, &sweep.label, &series),
        names: ("epochs".to_owned(), label.to_owned()),
        x: epochs(plan.train.epochs, &series),
        y,
        series,
    }
}

fn curves(results: &Results, name: &str, metric: Metric) -> Vec<Series> {
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
            points: points(results, &runs, metric),
        }
    };
    values.iter().enumerate().map(curve).collect()
}
