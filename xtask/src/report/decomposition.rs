//! The decomposition log NC = log GC + log mean(1/d²) + log(Var/GC), and the share of each term in the variance of log NC.

use serde::Serialize;
use statistics::{Effect, SeedValue};

use super::results::{Results, Run};
use super::table::{Table, signed};
use super::verdict::seeds;
use crate::study::measurement::{Measurement, MeasuringPoint};
use crate::study::metric::{Metric, measures};

/// The three terms, in the order of all lists.
pub(crate) const TERMS: [Metric; 3] =
    [measures::GC, measures::MEAN_INVERSE_SQUARED_DISTANCE, measures::VARIANCE_OVER_GC];

/// Confidence level of the intervals of shares.
const LEVEL: f64 = 0.95;

/// The scope of the shares over all runs.
pub(crate) const ALL_RUNS: &str = "all runs, at the end of training";

/// The scope of the shares along training.
pub(crate) const ALONG_TRAINING: &str = "along the training of each run";

/// The decomposition of the NC of training images.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Decomposition {
    /// The shares of the terms, over the runs at the end of training and along training.
    pub(crate) shares: Vec<Shares>,
    /// The terms at every scheduled point of every run.
    pub(crate) points: Vec<DecomposedPoint>,
}

/// The shares of the terms in the variance of log NC.
///
/// **Definition** within a group of points, the share of a term t is Cov(t, log NC)/Var(log NC), and the three sum to 1. A
/// share above 1 or below 0 means that other terms undo it. The share of a seed is over its runs (along training: the mean
/// over its runs of the share within each run); then the mean over seeds with Student's t-interval.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Shares {
    /// What the points of a group differ in.
    pub(crate) scope: String,
    /// The name of the sweep; none for all runs and along training.
    pub(crate) sweep: Option<String>,
    /// Number of runs.
    pub(crate) runs: usize,
    /// Number of seeds.
    pub(crate) seeds: usize,
    /// Mean over seeds of the standard deviation of log NC.
    pub(crate) standard_deviation: f64,
    /// The share of each term, in the order of [`TERMS`].
    pub(crate) terms: [Share; 3],
}

/// The share of one term.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Share {
    /// The term.
    pub(crate) metric: Metric,
    /// Mean over seeds.
    pub(crate) share: f64,
    /// Student's t-interval over seeds; none for one seed.
    pub(crate) interval: Option<(f64, f64)>,
}

/// The terms at one point of one run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DecomposedPoint {
    /// Name of the run's folder.
    pub(crate) run: String,
    /// Its seed.
    pub(crate) seed: u64,
    /// Whether it counts in verdicts.
    pub(crate) counts: bool,
    /// Share of the training steps.
    pub(crate) at: f64,
    /// Steps taken.
    pub(crate) step: usize,
    /// Images seen, divided by the number of training images.
    pub(crate) epoch: f64,
    /// NC.
    pub(crate) nc: f64,
    /// The terms before the logarithm, in the order of [`TERMS`]: their product is NC.
    pub(crate) terms: [f64; 3],
    /// Mean variance within classes, if it is measured.
    pub(crate) mean_variance: Option<f64>,
}

/// The decomposition; none where its terms are not measured.
pub(crate) fn decomposition(results: &Results) -> Option<Decomposition> {
    let points: Vec<DecomposedPoint> = results.runs.iter().flat_map(points).collect();
    if points.is_empty() {
        return None;
    }
    let plan = &results.experiment.plan;
    let counted: Vec<&Run> = results.runs.iter().filter(|run| run.counts()).collect();
    let mut shares = Vec::new();
    if !plan.sweeps.is_empty() {
        shares.extend(at_the_end(ALL_RUNS.to_owned(), None, &counted));
    }
    for name in plan.report.columns.iter().filter(|name| plan.sweeps.contains_key(*name)) {
        let own: Vec<&Run> = counted.iter().copied().filter(|run| run.planned.value_in(name).is_some()).collect();
        let scope = format!("{} sweep, at the end of training", plan.sweeps[name].label);
        shares.extend(at_the_end(scope, Some(name), &own));
    }
    shares.extend(along_training(&counted));
    Some(Decomposition { shares, points })
}

fn points(run: &Run) -> Vec<DecomposedPoint> {
    let each = run.measurements.iter().filter_map(|measurement| {
        let MeasuringPoint::Schedule { share } = measurement.measuring_point else { return None };
        let (nc, terms) = terms(measurement)?;
        Some(DecomposedPoint {
            run: run.planned.key.clone(),
            seed: run.planned.configuration.seed,
            counts: run.counts(),
            at: share,
            step: measurement.step,
            epoch: measurement.epoch,
            nc,
            terms,
            mean_variance: measurement.value(measures::MEAN_VARIANCE),
        })
    });
    each.collect()
}

/// NC and its terms, all positive.
fn terms(measurement: &Measurement) -> Option<(f64, [f64; 3])> {
    let [gc, inverse, ratio] = TERMS.map(|metric| measurement.value(metric));
    let found = (measurement.value(measures::NC)?, [gc?, inverse?, ratio?]);
    (found.0 > 0.0 && found.1.iter().all(|term| *term > 0.0)).then_some(found)
}

/// The shares within one group of points, in the order of [`TERMS`].
#[derive(Debug, Clone, Copy)]
struct GroupShares {
    terms: [f64; 3],
    /// Standard deviation of log NC.
    deviation: f64,
}

impl GroupShares {
    /// None where log NC does not vary.
    fn of(points: &[(f64, [f64; 3])]) -> Option<Self> {
        let count = points.len() as f64;
        let log_nc: Vec<f64> = points.iter().map(|(nc, _)| nc.ln()).collect();
        let mean = log_nc.iter().sum::<f64>() / count;
        let variance: f64 = log_nc.iter().map(|value| (value - mean).powi(2)).sum();
        if points.len() < 2 || variance <= 0.0 {
            return None;
        }
        let mut terms = [0.0; 3];
        for ((_, values), nc) in points.iter().zip(&log_nc) {
            terms.iter_mut().zip(values).for_each(|(term, value)| *term += value.ln() * (nc - mean) / variance);
        }
        Some(Self { terms, deviation: (variance / (count - 1.0)).sqrt() })
    }

    /// The mean of several groups.
    fn mean(groups: &[Self]) -> Option<Self> {
        let count = groups.len() as f64;
        let mut mean = Self { terms: [0.0; 3], deviation: 0.0 };
        for group in groups {
            mean.terms.iter_mut().zip(group.terms).for_each(|(mean, term)| *mean += term / count);
            mean.deviation += group.deviation / count;
        }
        (!groups.is_empty()).then_some(mean)
    }
}

fn at_the_end(scope: String, sweep: Option<&str>, runs: &[&Run]) -> Option<Shares> {
    let per_seed = by_seed(runs, |own| {
        let points: Vec<_> = own.iter().filter_map(|run| terms(run.last()?)).collect();
        GroupShares::of(&points)
    });
    shares(scope, sweep, runs.len(), &per_seed)
}

fn along_training(runs: &[&Run]) -> Option<Shares> {
    let per_seed = by_seed(runs, |own| {
        let each = own.iter().filter_map(|run| {
            let after = run.scheduled().filter(|(_, measurement)| measurement.step > 0);
            GroupShares::of(&after.filter_map(|(_, measurement)| terms(measurement)).collect::<Vec<_>>())
        });
        GroupShares::mean(&each.collect::<Vec<_>>())
    });
    shares(ALONG_TRAINING.to_owned(), None, runs.len(), &per_seed)
}

fn by_seed(runs: &[&Run], of: impl Fn(&[&Run]) -> Option<GroupShares>) -> Vec<(u64, GroupShares)> {
    let each = seeds(runs.iter().copied()).into_iter().filter_map(|seed| {
        let own: Vec<&Run> = runs.iter().copied().filter(|run| run.planned.configuration.seed == seed).collect();
        Some((seed, of(&own)?))
    });
    each.collect()
}

fn shares(scope: String, sweep: Option<&str>, runs: usize, per_seed: &[(u64, GroupShares)]) -> Option<Shares> {
    let mut terms = Vec::new();
    for (index, metric) in TERMS.into_iter().enumerate() {
        let values = per_seed.iter().filter_map(|(seed, found)| Some((*seed, *found.terms.get(index)?)));
        let values = values.map(|(seed, value)| SeedValue { seed, value });
        let effect = Effect::over_seeds(values.collect(), LEVEL).ok()?;
        let interval = effect.interval.map(|interval| (interval.low, interval.high));
        terms.push(Share { metric, share: effect.mean, interval });
    }
    let deviation = per_seed.iter().map(|(_, found)| found.deviation).sum::<f64>() / per_seed.len() as f64;
    Some(Shares {
        scope,
        sweep: sweep.map(str::to_owned),
        runs,
        seeds: per_seed.len(),
        standard_deviation: deviation,
        terms: terms.try_into().ok()?,
    })
}

impl Decomposition {
    /// The shares as a table.
    pub(crate) fn table(&self) -> Table {
        let header = ["points", "runs", "std of log NC", "log GC", "log mean 1/d²", "log Var/GC"];
        let cell = |share: &Share| {
            let interval =
                share.interval.map_or_else(String::new, |(low, high)| format!(" [{}, {}]", signed(low), signed(high)));
            format!("{}{interval}", signed(share.share))
        };
        let row = |shares: &Shares| {
            let mut row =
                vec![shares.scope.clone(), shares.runs.to_string(), format!("{:.3}", shares.standard_deviation)];
            row.extend(shares.terms.iter().map(cell));
            row
        };
        Table {
            caption: "log NC = log GC + log mean(1/d²) + log(Var/GC): share of each term in the variance of log NC"
                .to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: self.shares.iter().map(row).collect(),
            summed: false,
        }
    }

    /// The terms of every point as CSV.
    pub(crate) fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let metrics = TERMS.map(Metric::key);
        let mut header = vec!["run", "seed", "counts", "at", "step", "epoch", "nc"];
        header.extend(metrics);
        header.push(measures::MEAN_VARIANCE.key());
        writer.write_record(header)?;
        for point in &self.points {
            let mut line = vec![
                point.run.clone(),
                point.seed.to_string(),
                point.counts.to_string(),
                point.at.to_string(),
                point.step.to_string(),
                point.epoch.to_string(),
                point.nc.to_string(),
            ];
            line.extend(point.terms.iter().map(f64::to_string));
            line.push(point.mean_variance.map_or_else(String::new, |value| value.to_string()));
            writer.write_record(line)?;
        }
        Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_one_and_a_term_can_undo_another() {
        // log GC = 2t, log 1/d² = 0, log Var/GC = −t: log NC = t, shares 2, 0, −1.
        let points: Vec<(f64, [f64; 3])> =
            (0..4).map(f64::from).map(|t| (t.exp(), [(2.0 * t).exp(), 1.0, (-t).exp()])).collect();
        let GroupShares { terms, deviation } = GroupShares::of(&points).unwrap();
        for (found, expected) in terms.iter().zip([2.0, 0.0, -1.0]) {
            assert!((found - expected).abs() < 1e-12, "{terms:?}");
        }
        // Standard deviation of 0, 1, 2, 3 with divisor n − 1: √(5/3).
        assert!((deviation - (5f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(GroupShares::of(&points[..1]).is_none() && GroupShares::of(&[points[0], points[0]]).is_none());
    }

    #[test]
    fn the_interval_is_over_seeds() {
        let first = GroupShares { terms: [1.0, 0.5, -0.5], deviation: 0.2 };
        let second = GroupShares { terms: [3.0, 0.5, -2.5], deviation: 0.4 };
        let found = shares("all".to_owned(), None, 8, &[(0, first), (1, second)]).unwrap();
        assert_eq!((found.terms[0].share, found.seeds), (2.0, 2));
        assert!((found.standard_deviation - 0.3).abs() < 1e-15);
        // Mean 2, standard error 1, t(1 degree of freedom, 97.5 %) = 12.706.
        let (low, high) = found.terms[0].interval.unwrap();
        assert!((low - (2.0 - 12.706_204_736)).abs() < 1e-6 && (high - (2.0 + 12.706_204_736)).abs() < 1e-6);
        let table = Decomposition { shares: vec![found], points: Vec::new() }.table();
        assert_eq!(table.rows[0][4], "+0.50 [+0.50, +0.50]");
        assert!(shares("none".to_owned(), None, 0, &[]).is_none());
    }
}
