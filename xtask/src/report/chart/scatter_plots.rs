//! Scatter plots of two metrics at the end of training, with a mark for each run: its colour is the sweep, its shape the seed.

use super::better::Better;
use super::scale::Axis;
use super::scatter::{Group, Line, LineKind, Mark, ScatterPanel};
use crate::report::results::{Results, Run};
use crate::study::experiment::Axes;
use crate::study::measurement::Measurement;
use crate::study::metric::Metric;

/// The scatter plots of the experiment.
pub(crate) fn scatters(results: &Results) -> Vec<ScatterPanel> {
    results.experiment.plan.report.scatter.iter().map(|axes| scatter(results, *axes)).collect()
}

fn scatter(results: &Results, axes: Axes) -> ScatterPanel {
    let task = results.experiment.plan.task;
    let marks: Vec<Mark> = results.runs.iter().filter_map(|run| mark(results, run, axes)).collect();
    let (x, y) = (task.label_of(axes.x), task.label_of(axes.y));
    ScatterPanel {
        id: format!("scatter-{}-{}", axes.x.key(), axes.y.key()),
        title: format!("{y} against {x} at the end of training"),
        description: format!("{} runs; the rank correlations are in the tables of claims.", marks.len()),
        names: (x.to_owned(), y.to_owned()),
        better: Better::of(axes.y),
        x: Axis::over(marks.iter().map(|mark| mark.at.0), axes.x.scale()),
        y: Axis::over(marks.iter().map(|mark| mark.at.1), axes.y.scale()),
        groups: groups(results),
        marks,
        lines: lines(results, axes),
    }
}

/// The groups of runs: those in several sweeps or in none, then those of each sweep alone.
pub(super) fn groups(results: &Results) -> Vec<Group> {
    let plan = &results.experiment.plan;
    let shared = if plan.report.columns.len() > 1 { "in several sweeps" } else { "in no sweep" };
    let sweep = |(index, name): (usize, &String)| Group {
        label: format!("{} sweep", plan.sweeps[name].label),
        class: format!("cat-{}", index % 4),
    };
    let first = Group { label: shared.to_owned(), class: "cat-base".to_owned() };
    std::iter::once(first).chain(plan.report.columns.iter().enumerate().map(sweep)).collect()
}

/// The index of a run's group in [`groups`].
pub(super) fn group(results: &Results, run: &Run) -> usize {
    let columns = &results.experiment.plan.report.columns;
    let own: Vec<usize> = (0..columns.len()).filter(|index| run.planned.value_in(&columns[*index]).is_some()).collect();
    if let [only] = own[..] { only + 1 } else { 0 }
}

/// The shape of a run's mark: the position of its seed among the seeds.
pub(super) fn shape(results: &Results, run: &Run) -> usize {
    let seed = run.planned.configuration.seed;
    results.experiment.plan.seeds.iter().position(|other| *other == seed).unwrap_or(0)
}

fn mark(results: &Results, run: &Run, axes: Axes) -> Option<Mark> {
    let last = run.last()?;
    Some(Mark {
        group: group(results, run),
        shape: shape(results, run),
        at: (last.value(axes.x)?, last.value(axes.y)?),
        errors: (error(last, axes.x), error(last, axes.y)),
        excluded: !run.counts(),
        small: false,
        label: format!("{} ({})", run.planned.description(), run.status.word()),
    })
}

fn error(measurement: &Measurement, metric: Metric) -> Option<f64> {
    measurement.values.get(&metric).and_then(|measured| measured.standard_error).filter(|error| *error > 0.0)
}

/// A line for each sweep and seed through its runs, in the order of the swept values.
fn lines(results: &Results, axes: Axes) -> Vec<Line> {
    let plan = &results.experiment.plan;
    let mut lines = Vec::new();
    for (index, name) in plan.report.columns.iter().enumerate() {
        for (shape, seed) in plan.seeds.iter().enumerate() {
            let own = results.runs.iter().filter(|run| run.planned.configuration.seed == *seed);
            let mut points: Vec<(usize, (f64, f64))> = own
                .filter_map(|run| {
                    let last = run.last()?;
                    Some((run.planned.value_in(name)?, (last.value(axes.x)?, last.value(axes.y)?)))
                })
                .collect();
            points.sort_by_key(|(value, _)| *value);
            let points = points.into_iter().map(|(_, point)| point).collect();
            lines.push(Line { group: index + 1, shape: Some(shape), kind: LineKind::Seed, points });
        }
    }
    lines
}
