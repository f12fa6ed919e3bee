//! Plots of two metrics along training, one line for each run, as the claims about the course of training see them.

use super::better::Better;
use super::scale::Axis;
use super::scatter::{Line, LineKind, Mark, ScatterPanel};
use super::scatter_plots::{group, groups, shape};
use crate::report::results::{Results, Run};
use crate::study::metric::Metric;

/// A plot for each pair of metrics of which the experiment file claims something along training, if they were measured.
pub(crate) fn course_plots(results: &Results) -> Vec<ScatterPanel> {
    let mut pairs: Vec<(Metric, Metric)> = Vec::new();
    for course in &results.experiment.plan.claims.courses {
        if !pairs.contains(&(course.x, course.y)) {
            pairs.push((course.x, course.y));
        }
    }
    pairs.into_iter().map(|(x, y)| plot(results, x, y)).filter(|plot| !plot.marks.is_empty()).collect()
}

fn plot(results: &Results, x: Metric, y: Metric) -> ScatterPanel {
    let task = results.experiment.plan.task;
    let names = (task.label_of(x), task.label_of(y));
    let runs: Vec<(&Run, Vec<Mark>)> = results.runs.iter().map(|run| (run, marks(results, run, x, y))).collect();
    let lines = runs.iter().map(|(run, marks)| Line {
        group: group(results, run),
        shape: Some(shape(results, run)),
        kind: LineKind::Course,
        points: marks.iter().map(|mark| mark.at).collect(),
    });
    let lines: Vec<Line> = lines.collect();
    let marks: Vec<Mark> = runs.into_iter().flat_map(|(_, marks)| marks).collect();
    ScatterPanel {
        id: format!("course-{}-{}", x.key(), y.key()),
        title: format!("{} against {} along training", names.1, names.0),
        description: format!(
            "A line for each of {} runs, over the measuring points after the initial network.",
            lines.iter().filter(|line| line.points.len() > 1).count()
        ),
        names: (names.0.to_owned(), names.1.to_owned()),
        better: Better::of(y),
        x: Axis::over(marks.iter().map(|mark| mark.at.0), x.scale()),
        y: Axis::over(marks.iter().map(|mark| mark.at.1), y.scale()),
        groups: groups(results),
        marks,
        lines,
    }
}

/// The points of a run after the initial network. The mark of the end is large.
fn marks(results: &Results, run: &Run, x: Metric, y: Metric) -> Vec<Mark> {
    let trained = run.scheduled().filter(|(_, measurement)| measurement.step > 0);
    let mark = |(share, measurement): (f64, &crate::study::measurement::Measurement)| {
        Some(Mark {
            group: group(results, run),
            shape: shape(results, run),
            at: (measurement.value(x)?, measurement.value(y)?),
            errors: (None, None),
            excluded: !run.counts(),
            small: share < 1.0,
            label: format!("{}, after {:.2} epochs", run.planned.description(), measurement.epoch),
        })
    };
    trained.filter_map(mark).collect()
}
