//! The measurements and the estimates as named columns, for the CSV and Parquet files.

use super::results::{Results, Run};
use crate::study::measurement::{LayerMeasures, Measured, Measurement, MeasuringPoint};
use crate::study::metric::Metric;

/// A column with its values, one per line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its values.
    pub(crate) values: Values,
}

/// Values of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    /// Words.
    Text(Vec<String>),
    /// Counts.
    Whole(Vec<i64>),
    /// Numbers, with gaps.
    Number(Vec<Option<f64>>),
}

impl Values {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Whole(values) => values.len(),
            Self::Number(values) => values.len(),
        }
    }

    /// A value as the shortest text that is parsed to the same value; empty in a gap.
    pub(crate) fn written(&self, line: usize) -> String {
        match self {
            Self::Text(values) => values.get(line).cloned().unwrap_or_default(),
            Self::Whole(values) => values.get(line).map(ToString::to_string).unwrap_or_default(),
            Self::Number(values) => {
                values.get(line).copied().flatten().map(|value| value.to_string()).unwrap_or_default()
            }
        }
    }
}

/// The settings of a run and whether it counts: the first columns of several files.
fn settings(of: &Of) -> Vec<Column> {
    vec![
        of.text("run", |run, _| run.planned.key.clone()),
        of.text("data", |run, _| run.planned.configuration.data.set.clone()),
        of.whole("seed", |run, _| run.planned.configuration.seed),
        of.number("learning_rate", |run, _| Some(run.planned.configuration.train.learning_rate)),
        of.whole("batch_size", |run, _| run.planned.configuration.train.batch_size as u64),
        of.number("l2", |run, _| Some(run.planned.configuration.train.l2)),
        of.number("gc_penalty", |run, _| Some(run.planned.configuration.train.gc_penalty)),
        of.text("sweeps", |run, _| {
            run.planned.positions.iter().map(|position| position.sweep.as_str()).collect::<Vec<_>>().join(" ")
        }),
        of.text("status", |run, _| run.status.word().to_owned()),
    ]
}

/// The measurements: one line per run and measuring point.
pub(crate) fn measurements(results: &Results) -> Vec<Column> {
    let lines: Vec<(&Run, &Measurement)> = results
        .runs
        .iter()
        .flat_map(|run| run.measurements.iter().map(move |measurement| (run, measurement)))
        .collect();
    let of = Of { lines: &lines };
    let mut columns = settings(&of);
    columns.extend([
        of.text("measuring_point", |_, line| measuring_point(line).0.to_owned()),
        of.number("at", |_, line| measuring_point(line).1),
        of.whole("step", |_, line| line.step as u64),
        of.number("epoch", |_, line| Some(line.epoch)),
        of.number("train_loss", |_, line| line.train_loss),
    ]);
    for metric in results.metrics() {
        let error = format!("{}_standard_error", metric.key());
        columns.push(of.number(metric.key(), |_, line| line.value(metric)));
        columns.push(of.number(&error, |_, line| standard_error(line, metric)));
    }
    columns.extend(levels(results, &of));
    columns
}

/// The levels of a run in the sweeps that the settings do not show, if there are such sweeps.
fn levels(results: &Results, of: &Of) -> Option<Column> {
    let described = results.runs.iter().any(|run| !run.planned.levels.is_empty());
    described.then(|| of.text("levels", |run, _| run.planned.levels.join("; ")))
}

fn standard_error(line: &Measurement, metric: Metric) -> Option<f64> {
    line.values.get(&metric).and_then(|measured| measured.standard_error)
}

/// The kind of a measuring point, and its share or level if it has one.
fn measuring_point(line: &Measurement) -> (&'static str, Option<f64>) {
    match line.measuring_point {
        MeasuringPoint::Schedule { share } if line.step == 0 => ("initial-network", Some(share)),
        MeasuringPoint::Schedule { share } => ("schedule", Some(share)),
        MeasuringPoint::EqualSteps => ("equal-steps", None),
        MeasuringPoint::LossLevel { level } => ("loss-level", Some(level)),
    }
}

/// The estimates of GC and its exact values: one line per estimate.
pub(crate) fn estimates(results: &Results) -> Vec<Column> {
    let scheduled = results.runs.iter().flat_map(|run| run.scheduled().map(move |(_, measurement)| (run, measurement)));
    let found = scheduled.flat_map(|(run, line)| line.estimates.iter().map(move |estimate| (run, line, estimate)));
    let found: Vec<_> = found.collect();
    let lines: Vec<(&Run, &Measurement)> = found.iter().map(|(run, line, _)| (*run, *line)).collect();
    let of = Of { lines: &lines };
    let number =
        |name: &str, values: Vec<Option<f64>>| Column { name: name.to_owned(), values: Values::Number(values) };
    let each = |value: &dyn Fn(&crate::study::estimator::GcEstimate) -> Option<f64>| {
        found.iter().map(|(_, _, estimate)| value(estimate)).collect::<Vec<_>>()
    };
    let kinds = found.iter().map(|(_, _, estimate)| estimate.how.kind().to_owned()).collect();
    let whole = |value: &dyn Fn(&crate::study::estimator::GcEstimate) -> u64| {
        Values::Whole(found.iter().map(|(_, _, estimate)| count(value(estimate))).collect())
    };
    vec![
        of.text("run", |run, _| run.planned.key.clone()),
        of.whole("seed", |run, _| run.planned.configuration.seed),
        of.number("at", |_, line| measuring_point(line).1),
        of.whole("step", |_, line| line.step as u64),
        of.number("epoch", |_, line| Some(line.epoch)),
        Column { name: "estimator".to_owned(), values: Values::Text(kinds) },
        number("setting", each(&|estimate| Some(estimate.how.amount()))),
        Column { name: "repeat".to_owned(), values: whole(&|estimate| estimate.repeat as u64) },
        number("value", each(&|estimate| estimate.value)),
        number("standard_error", each(&|estimate| estimate.standard_error)),
        number("interval_low", each(&|estimate| estimate.interval.map(|(low, _)| low))),
        number("interval_high", each(&|estimate| estimate.interval.map(|(_, high)| high))),
        Column { name: "passes".to_owned(), values: whole(&|estimate| estimate.passes) },
    ]
}

/// A measure of a layer.
type OfLayer = fn(&LayerMeasures) -> Option<Measured>;

/// The measures of single layers at the end of training: one line per run and layer.
pub(crate) fn layers(results: &Results) -> Vec<Column> {
    let found = results.runs.iter().flat_map(|run| Some((run, run.last()?)));
    let found = found.flat_map(|(run, line)| line.layers.iter().map(move |layer| (run, line, layer)));
    let found: Vec<(&Run, &Measurement, &LayerMeasures)> = found.collect();
    let lines: Vec<(&Run, &Measurement)> = found.iter().map(|(run, line, _)| (*run, *line)).collect();
    let of = Of { lines: &lines };
    let mut columns = settings(&of);
    let names = found.iter().map(|(_, _, layer)| layer.layer.clone()).collect();
    columns.push(Column { name: "layer".to_owned(), values: Values::Text(names) });
    let outputs = found.iter().map(|(_, _, layer)| count(layer.outputs as u64)).collect();
    columns.push(Column { name: "outputs".to_owned(), values: Values::Whole(outputs) });
    let measures: [(&str, OfLayer); 4] = [
        ("gc", |layer| Some(layer.gc)),
        ("nc_unbiased", |layer| Some(layer.nc_unbiased)),
        ("target_nc_unbiased", |layer| layer.target_nc_unbiased),
        ("probe_accuracy", |layer| Some(layer.probe_accuracy)),
    ];
    for (name, measured) in measures {
        let values = |part: fn(Measured) -> Option<f64>| {
            Values::Number(found.iter().map(|(_, _, layer)| measured(layer).and_then(part)).collect())
        };
        columns.push(Column { name: name.to_owned(), values: values(|measured| measured.value) });
        let error = values(|measured| measured.standard_error);
        columns.push(Column { name: format!("{name}_standard_error"), values: error });
    }
    columns.extend(levels(results, &of));
    columns
}

/// A count as a signed number, as Parquet has it.
fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Makes columns whose lines are measurements of runs.
struct Of<'a> {
    lines: &'a [(&'a Run, &'a Measurement)],
}

impl Of<'_> {
    fn text(&self, name: &str, value: impl Fn(&Run, &Measurement) -> String) -> Column {
        let values = self.lines.iter().map(|(run, line)| value(run, line)).collect();
        Column { name: name.to_owned(), values: Values::Text(values) }
    }

    fn whole(&self, name: &str, value: impl Fn(&Run, &Measurement) -> u64) -> Column {
        let values = self.lines.iter().map(|(run, line)| count(value(run, line))).collect();
        Column { name: name.to_owned(), values: Values::Whole(values) }
    }

    fn number(&self, name: &str, value: impl Fn(&Run, &Measurement) -> Option<f64>) -> Column {
        let values = self.lines.iter().map(|(run, line)| value(run, line)).collect();
        Column { name: name.to_owned(), values: Values::Number(values) }
    }
}
