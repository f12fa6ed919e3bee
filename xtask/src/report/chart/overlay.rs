//! Columns with several metrics in one panel, as in the paper's Fig. 3: an error and the bounds on it.

use super::better::Better;
use super::figure::{Column, described, epochs, points, seed_lines, shared_axis};
use super::lines::{LinePanel, Series};
use super::quantity::Quantity;
use crate::report::results::{Results, Run, RunStatus};
use crate::study::experiment::Overlay;
use crate::study::metric::Scale;

/// A column of one panel for each overlay, over all runs that are in no sweep.
pub(super) fn columns(results: &Results) -> Vec<Column> {
    let group = |(index, group): (usize, &Overlay)| Column {
        label: group.label.clone(),
        panels: vec![panel(results, index, group)],
    };
    results.experiment.plan.report.overlays.iter().enumerate().map(group).collect()
}

fn panel(results: &Results, index: usize, group: &Overlay) -> LinePanel {
    let plan = &results.experiment.plan;
    let runs: Vec<&Run> =
        results.runs.iter().filter(|run| run.planned.positions.is_empty() && run.trained_on.is_some()).collect();
    let series: Vec<Series> = group
        .metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| Series {
            label: plan.task.label_of(*metric).to_owned(),
            class: format!("cat-{}", index % 4),
            shape: index,
            excluded: runs.iter().any(|run| !run.counts()),
            diverged: runs.iter().any(|run| matches!(run.status, RunStatus::Diverged { .. })),
            points: points(results, &runs, Quantity::Metric(*metric)),
            seeds: seed_lines(&runs, Quantity::Metric(*metric)),
        })
        .collect();
    LinePanel {
        id: format!("overlay-{index}"),
        title: format!("{} along training", group.label),
        description: described("value", "of", &series),
        names: ("epochs".to_owned(), String::new()),
        better: group.metrics.first().copied().and_then(Better::of),
        x: epochs(plan.train.epochs, &series),
        y: shared_axis(Scale::Logarithmic, std::slice::from_ref(&series)),
        series,
        in_figure: true,
        named: false,
    }
}
