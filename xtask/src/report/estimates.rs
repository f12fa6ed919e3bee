//! Estimates of GC compared with the exact value of the same images.

use super::results::{Results, Run};
use super::table::{Table, three_digits};
use crate::study::estimator::{GcEstimate, GcEstimator};
use crate::study::measurement::Measurement;

/// The independent estimates of one estimator at one measuring point of one run, with the exact value.
#[derive(Debug, Clone)]
pub(crate) struct RepeatedEstimates {
    /// Images seen, divided by the number of training images.
    pub(crate) epoch: f64,
    /// The exact value.
    pub(crate) exact: f64,
    /// The estimates.
    pub(crate) values: Vec<f64>,
    /// Their estimated standard errors, for those that have one.
    pub(crate) stated: Vec<f64>,
    /// Number of estimates whose interval contains the exact value.
    pub(crate) contained: usize,
    /// Passes per estimate.
    pub(crate) passes: f64,
}

impl RepeatedEstimates {
    fn of(measurement: &Measurement, how: GcEstimator) -> Option<Self> {
        let find = |how: GcEstimator| measurement.estimates.iter().filter(move |found| found.how == how);
        let exact = find(GcEstimator::Exact).find_map(|found| found.value)?;
        let repeats: Vec<&GcEstimate> = find(how).filter(|found| found.value.is_some()).collect();
        let first = repeats.first()?;
        // An estimate from a sample of everything is exact up to rounding, and its interval may have no width.
        let slack = 1e-9 * exact.abs();
        let contains = |found: &&&GcEstimate| {
            found.interval.is_some_and(|(low, high)| low - slack <= exact && exact <= high + slack)
        };
        Some(Self {
            epoch: measurement.epoch,
            exact,
            values: repeats.iter().filter_map(|found| found.value).collect(),
            stated: repeats.iter().filter_map(|found| found.standard_error).collect(),
            contained: repeats.iter().filter(contains).count(),
            passes: first.passes as f64,
        })
    }

    /// The root mean square of (estimate − exact)/exact.
    pub(crate) fn relative_error(&self) -> Option<f64> {
        let squares: f64 = self.values.iter().map(|value| (value / self.exact - 1.0).powi(2)).sum();
        Some((squares / self.values.len() as f64).sqrt()).filter(|error| error.is_finite())
    }
}

/// The estimators with their settings, by kind.
pub(crate) fn kinds(results: &Results) -> Vec<Vec<GcEstimator>> {
    let Some(settings) = &results.experiment.plan.measure.estimators else { return Vec::new() };
    let all = GcEstimator::all(settings);
    let mut kinds: Vec<Vec<GcEstimator>> = Vec::new();
    for how in all {
        match kinds.last_mut().filter(|kind| kind.first().is_some_and(|first| first.kind() == how.kind())) {
            Some(kind) => kind.push(how),
            None => kinds.push(vec![how]),
        }
    }
    kinds
}

/// The kind of estimator with the unit of its setting.
pub(crate) fn unit(kind: &str) -> &'static str {
    match kind {
        "batch sample" => "batch sample, by images",
        "entry mask" => "entry mask, by rate",
        _ => "output sample, by outputs",
    }
}

/// The estimates of an estimator at one share of training, for each run that is done.
pub(crate) fn at(results: &Results, how: GcEstimator, share: f64) -> Vec<RepeatedEstimates> {
    let ended = results.runs.iter().filter(|run| run.trained_on.is_some());
    ended.filter_map(|run| in_run(run, how).find(|(at, _)| *at == share).map(|(_, found)| found)).collect()
}

/// The estimates of an estimator at every scheduled point of a run.
pub(crate) fn in_run(run: &Run, how: GcEstimator) -> impl Iterator<Item = (f64, RepeatedEstimates)> {
    run.scheduled().filter_map(move |(share, measurement)| Some((share, RepeatedEstimates::of(measurement, how)?)))
}

/// A table for each kind of estimator: its errors, its estimated standard errors, and its passes.
pub(crate) fn tables(results: &Results) -> Vec<Table> {
    kinds(results).iter().map(|settings| table(results, settings)).collect()
}

fn table(results: &Results, settings: &[GcEstimator]) -> Table {
    let kind = settings.first().map_or("", |how| how.kind());
    let row = |how: &GcEstimator| {
        let found: Vec<RepeatedEstimates> =
            results.runs.iter().flat_map(|run| in_run(run, *how).map(|(_, found)| found)).collect();
        let estimates: usize = found.iter().map(|found| found.values.len()).sum();
        let actual = root_mean_square(found.iter().flat_map(|at| at.values.iter().map(|v| v / at.exact - 1.0)));
        let estimated = root_mean_square(found.iter().flat_map(|at| at.stated.iter().map(|error| error / at.exact)));
        let mean = mean(found.iter().flat_map(|at| at.values.iter().map(|value| value / at.exact)));
        let contained: usize = found.iter().map(|found| found.contained).sum();
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        vec![
            super::chart::plain(how.amount()),
            estimates.to_string(),
            mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.3}")),
            actual.map_or_else(|| "–".to_owned(), percent),
            estimated.map_or_else(|| "–".to_owned(), percent),
            if estimates == 0 { "–".to_owned() } else { percent(contained as f64 / estimates as f64) },
            super::estimates::mean(found.iter().map(|found| found.passes)).map_or_else(|| "–".to_owned(), three_digits),
        ]
    };
    let header = ["setting", "estimates", "mean / exact", "RMS error", "RMS standard error", "coverage", "passes"];
    Table {
        caption: format!("Estimates by {}, all points of training", unit(kind)),
        header: header.map(str::to_owned).to_vec(),
        rows: settings.iter().map(row).collect(),
        summed: false,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn root_mean_square(values: impl Iterator<Item = f64>) -> Option<f64> {
    mean(values.map(|value| value * value)).map(f64::sqrt)
}
