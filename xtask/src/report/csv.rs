//! Every number as CSV: no time, no host, nothing that two equal runs could differ in.

use anyhow::Result;

use super::results::{Results, Run};
use super::verdict::Finding;
use crate::reproduce::measurement::{Measurement, Moment};
use crate::reproduce::metric::Metric;

/// One line for each measuring point of each run.
pub(crate) fn measurements(results: &Results) -> Result<Vec<u8>> {
    let metrics = results.metrics();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header: Vec<String> = [
        "run",
        "data",
        "seed",
        "learning_rate",
        "batch_size",
        "l2",
        "gc_penalty",
        "sweeps",
        "standing",
        "moment",
        "at",
        "step",
        "epoch",
        "train_loss",
    ]
    .map(str::to_owned)
    .to_vec();
    for metric in &metrics {
        header.extend([metric.name().to_owned(), format!("{}_standard_error", metric.name())]);
    }
    writer.write_record(&header)?;
    for run in &results.runs {
        for measurement in &run.measurements {
            writer.write_record(line(run, measurement, &metrics))?;
        }
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

fn line(run: &Run, measurement: &Measurement, metrics: &[Metric]) -> Vec<String> {
    let configuration = &run.planned.configuration;
    let (moment, at) = match measurement.moment {
        Moment::Schedule { share } => ("schedule", Some(share)),
        Moment::EqualSteps => ("equal-steps", None),
        Moment::LossLevel { level } => ("loss-level", Some(level)),
    };
    let sweeps: Vec<&str> = run.planned.places.iter().map(|place| place.sweep.as_str()).collect();
    let mut cells = vec![
        run.planned.key.clone(),
        configuration.data.set.clone(),
        configuration.seed.to_string(),
        configuration.train.learning_rate.to_string(),
        configuration.train.batch_size.to_string(),
        configuration.train.l2.to_string(),
        configuration.train.gc_penalty.to_string(),
        sweeps.join(" "),
        run.standing.word().to_owned(),
        moment.to_owned(),
        written(at),
        measurement.step.to_string(),
        measurement.epoch.to_string(),
        written(measurement.train_loss),
    ];
    for metric in metrics {
        let measured = measurement.values.get(metric);
        cells.push(written(measured.and_then(|measured| measured.value)));
        cells.push(written(measured.and_then(|measured| measured.standard_error)));
    }
    cells
}

/// The shortest text that reads back to the same number; nothing where there is none.
fn written(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// One line for each estimate of GC beside its exact value.
pub(crate) fn estimates(results: &Results) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "run",
        "seed",
        "at",
        "step",
        "epoch",
        "estimator",
        "setting",
        "repeat",
        "value",
        "standard_error",
        "interval_low",
        "interval_high",
        "passes",
    ])?;
    for run in &results.runs {
        for (share, measurement) in run.scheduled() {
            for found in &measurement.estimates {
                writer.write_record([
                    run.planned.key.clone(),
                    run.planned.configuration.seed.to_string(),
                    share.to_string(),
                    measurement.step.to_string(),
                    measurement.epoch.to_string(),
                    found.how.kind().to_owned(),
                    found.how.amount().to_string(),
                    found.repeat.to_string(),
                    written(found.value),
                    written(found.standard_error),
                    written(found.interval.map(|(low, _)| low)),
                    written(found.interval.map(|(_, high)| high)),
                    found.passes.to_string(),
                ])?;
            }
        }
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

/// One line for each claim.
pub(crate) fn claims(findings: &[Finding]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "claim",
        "sweep",
        "compared_at",
        "runs",
        "excluded",
        "statistic",
        "interval_low",
        "interval_high",
        "p_value",
        "statistic_with_excluded",
        "verdict",
        "reason",
    ])?;
    for finding in findings {
        writer.write_record([
            finding.claim.clone(),
            finding.sweep.clone().unwrap_or_default(),
            super::table::readout(finding),
            finding.runs.to_string(),
            finding.excluded.to_string(),
            written(finding.statistic),
            written(finding.interval.map(|(low, _)| low)),
            written(finding.interval.map(|(_, high)| high)),
            written(finding.p_value),
            written(finding.with_excluded),
            finding.verdict.word().to_owned(),
            finding.reason.clone(),
        ])?;
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}
