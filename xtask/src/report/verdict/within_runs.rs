//! Claims with one statistic per run, averaged over runs: inequalities, courses, and the coverage of estimators.

use super::across_runs::rank_coefficient;
use super::{ClaimKind, Finding, Verdict, settings};
use crate::report::estimates;
use crate::report::results::{Results, Run};
use crate::report::table::three_digits;
use crate::study::estimator::STATED_LEVEL;
use crate::study::experiment::{Course, Direction, Inequality};
use crate::study::metric::Metric;

/// A claim with one value per run.
struct Shares {
    claim: String,
    kind: ClaimKind,
    metrics: Vec<Metric>,
    primary: bool,
    values: Vec<f64>,
}

impl Shares {
    /// The mean over runs with its bootstrap interval, and the verdict of `judge` on these two.
    fn decide(self, results: &Results, judge: impl Fn(f64, (f64, f64)) -> (Verdict, String)) -> Finding {
        let found = statistics::estimate_mean(&self.values, &settings(&results.experiment.plan.rules));
        let (verdict, reason) = match &found {
            Err(error) => (Verdict::Undecided, error.to_string()),
            Ok(found) => judge(found.mean, (found.bootstrap.low, found.bootstrap.high)),
        };
        let found = found.ok();
        Finding {
            claim: self.claim,
            kind: self.kind,
            sweep: None,
            metrics: self.metrics,
            comparison: None,
            level: None,
            statistic: found.as_ref().map(|found| found.mean),
            interval: found.as_ref().map(|found| (found.bootstrap.low, found.bootstrap.high)),
            p_value: None,
            runs: self.values.len(),
            with_excluded: None,
            excluded: results.runs.iter().filter(|run| !run.counts()).count(),
            size: None,
            primary: self.primary,
            verdict,
            reason,
        }
    }
}

/// Whether one metric is never above another after the initial network: the mean share of points without a violation.
pub(super) fn inequality(results: &Results, claim: &Inequality) -> Finding {
    let plan = &results.experiment.plan;
    let statement =
        format!("{} ≤ {} at every measured point", claim.lesser.label(plan.task), claim.greater.label(plan.task));
    let shares = Shares {
        claim: statement,
        kind: ClaimKind::Inequality,
        metrics: vec![claim.lesser, claim.greater],
        primary: claim.primary,
        values: counted(results).filter_map(|run| satisfied(run, claim)).collect(),
    };
    let vacuous =
        smallest_bound(results, claim).zip(claim.lesser.maximum()).filter(|(bound, maximum)| bound >= maximum);
    shares.decide(results, |share, (_, high)| {
        if let Some((bound, maximum)) = vacuous {
            let (bound, maximum) = (three_digits(bound), three_digits(maximum));
            let reason = format!("the bound is at least {bound} at every point, and no value can be above {maximum}");
            (Verdict::Vacuous, reason)
        } else if share == 1.0 {
            (Verdict::Holds, "it is satisfied everywhere".to_owned())
        } else if high < 1.0 {
            (Verdict::Fails, "it is violated, and the interval of the share lies below 1".to_owned())
        } else {
            (Verdict::Undecided, "it is violated at too few points to decide".to_owned())
        }
    })
}

/// The smallest value of the bound over all measuring points after the initial network.
fn smallest_bound(results: &Results, claim: &Inequality) -> Option<f64> {
    let measurements = counted(results).flat_map(|run| &run.measurements).filter(|measurement| measurement.step > 0);
    measurements.filter_map(|measurement| measurement.value(claim.greater)).min_by(f64::total_cmp)
}

/// Whether two metrics are correlated along training: the mean over runs of Spearman's ρ within each run.
pub(super) fn course(results: &Results, claim: &Course) -> Finding {
    let plan = &results.experiment.plan;
    let (x, y) = (claim.x.label(plan.task), claim.y.label(plan.task));
    let goes = if claim.direction == Direction::Rises { "with" } else { "against" };
    let shares = Shares {
        claim: format!("{y} goes {goes} {x} in the course of training"),
        kind: ClaimKind::Course,
        metrics: vec![claim.x, claim.y],
        primary: claim.primary,
        values: counted(results).filter_map(|run| correlation(run, claim)).collect(),
    };
    let sign = if claim.direction == Direction::Rises { 1.0 } else { -1.0 };
    shares.decide(results, |_, (low, high)| {
        let (low, high) = if sign > 0.0 { (low, high) } else { (-high, -low) };
        if low > 0.0 {
            (Verdict::Holds, "the whole interval lies on the claimed side of zero".to_owned())
        } else if high < 0.0 {
            (Verdict::Fails, "the whole interval lies on the other side of zero".to_owned())
        } else {
            (Verdict::Undecided, "the interval contains zero".to_owned())
        }
    })
}

/// Whether the coverage of each estimator's intervals is at least its level less the tolerance.
pub(super) fn coverage(results: &Results) -> Vec<Finding> {
    let wanted = STATED_LEVEL - results.experiment.plan.rules.coverage_tolerance;
    let settings = estimates::kinds(results).into_iter().flatten();
    settings
        .map(|how| {
            let amount = crate::report::chart::plain(how.amount());
            let shares = Shares {
                claim: format!("{} {amount}: {:.0} % intervals contain the exact GC", how.kind(), STATED_LEVEL * 100.0),
                kind: ClaimKind::Coverage,
                metrics: Vec::new(),
                primary: false,
                values: counted(results).filter_map(|run| contained(run, how)).collect(),
            };
            shares.decide(results, |_, (low, high)| {
                if low >= wanted {
                    (Verdict::Holds, format!("the whole interval of the share lies at or above {wanted:.2}"))
                } else if high < wanted {
                    (Verdict::Fails, format!("the whole interval of the share lies below {wanted:.2}"))
                } else {
                    (Verdict::Undecided, format!("the interval of the share contains {wanted:.2}"))
                }
            })
        })
        .collect()
}

fn counted(results: &Results) -> impl Iterator<Item = &Run> {
    results.runs.iter().filter(|run| run.counts())
}

fn contained(run: &Run, how: crate::study::estimator::GcEstimator) -> Option<f64> {
    let (contained, all) = estimates::in_run(run, how)
        .fold((0, 0), |(contained, all), (_, found)| (contained + found.contained, all + found.values.len()));
    (all > 0).then(|| contained as f64 / all as f64)
}

fn correlation(run: &Run, claim: &Course) -> Option<f64> {
    let after = run.scheduled().filter(|(_, measurement)| measurement.step > 0);
    let points: Vec<(f64, f64)> = after.filter_map(|(_, at)| Some((at.value(claim.x)?, at.value(claim.y)?))).collect();
    rank_coefficient(&points)
}

/// The share of a run's measuring points after the initial network at which the inequality is satisfied.
fn satisfied(run: &Run, claim: &Inequality) -> Option<f64> {
    let trained = run.measurements.iter().filter(|measurement| measurement.step > 0);
    let sides =
        trained.filter_map(|measurement| Some((measurement.value(claim.lesser)?, measurement.value(claim.greater)?)));
    let (mut all, mut satisfied) = (0usize, 0usize);
    for (lesser, greater) in sides {
        all += 1;
        satisfied += usize::from(lesser <= greater);
    }
    (all > 0).then(|| satisfied as f64 / all as f64)
}
