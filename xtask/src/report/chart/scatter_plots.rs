//! Scatter plots of two metrics at the end of training, with a mark for each run.

use super::scale::Axis;
use super::scatter::{Group, Mark, ScatterPanel};
use crate::report::results::{Results, Run};
use crate::study::experiment::Axes;

/// The scatter plots of the experiment.
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
    let label = format!("{} ({})", run.planned.description(), run.status.word());
    Some(Mark { group, at: (last.value(axes.x)?, last.value(axes.y)?), excluded: !run.counts(), label })
}
