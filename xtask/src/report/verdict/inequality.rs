//! Inequalities: a metric that is never above another, at every measured point of every run.

use statistics::normal_quantile;

use super::{ClaimKind, Finding, Verdict, counted, reasons};
use crate::report::results::{Results, Run};
use crate::report::table::three_digits;
use crate::study::experiment::Inequality;
use crate::study::measurement::Measured;
use crate::study::metric::{Metric, measures};

/// A measured point of a run.
struct Point {
    lesser: f64,
    greater: f64,
    /// Standard error of their difference, as far as the two have one.
    error: f64,
}

/// The verdict on an inequality over the points after the initial network.
///
/// It *fails* when one point violates it by more than its own error: z standard errors of the difference of the two sides,
/// with z for the confidence level of the rules, corrected (Bonferroni) for the number of points, because among hundreds of
/// points at equality some would exceed an uncorrected z by chance. Standard errors of the two sides are added as if the
/// sides were independent; both come from the same images, which makes the error of the difference smaller. It is *vacuous*
/// when the bound is at or above the largest possible value at every point, and when it is a theorem for the images of both
/// sides: such a claim checks the program, not the paper.
pub(super) fn finding(results: &Results, claim: &Inequality) -> Finding {
    let (plan, rules) = (&results.experiment.plan, &results.experiment.plan.rules);
    let (lesser, greater) = (plan.task.label_of(claim.lesser), plan.task.label_of(claim.greater));
    let words = format!("{lesser} ≤ {greater} at every measured point");
    let mut finding = Finding::new(words, ClaimKind::Inequality, vec![claim.lesser, claim.greater], rules.confidence);
    let all: Vec<&Run> = results.runs.iter().collect();
    let per_run: Vec<Vec<Point>> = counted(results).map(|run| points(run, claim)).collect();
    let points: Vec<&Point> = per_run.iter().flatten().collect();
    finding.primary = claim.primary;
    finding.runs = per_run.iter().filter(|points| !points.is_empty()).count();
    finding.excluded = all.len() - per_run.len();
    finding.seeds = super::covariates::seeds(counted(results)).len();
    if let Some(reason) = reasons::without_runs(results, &all, &finding.metrics, None, points.len()) {
        finding.undecided(reason);
        return finding;
    }
    let violated = points.iter().filter(|point| point.lesser > point.greater).count();
    finding.statistic = Some(1.0 - violated as f64 / points.len() as f64);
    let ratios = points.iter().map(|point| point.lesser / point.greater);
    finding.largest_ratio = ratios.filter(|ratio| ratio.is_finite()).max_by(f64::total_cmp);
    let z = normal_quantile(1.0 - (1.0 - rules.confidence) / points.len() as f64);
    let beyond = points.iter().filter(|point| point.lesser - point.greater > z * point.error).count();
    let smallest = points.iter().map(|point| point.greater).min_by(f64::total_cmp);
    let vacuous = smallest.zip(claim.lesser.maximum()).filter(|(bound, maximum)| bound >= maximum);
    (finding.verdict, finding.reason) = if let Some((bound, maximum)) = vacuous {
        let (bound, maximum) = (three_digits(bound), three_digits(maximum));
        let reason = format!("the bound is at least {bound} at every point, and no value can be above {maximum}");
        (Verdict::Vacuous, reason)
    } else if beyond > 0 {
        (Verdict::Fails, format!("violated by more than its error at {beyond} of {} points", points.len()))
    } else if violated > 0 {
        (Verdict::Undecided, format!("violated at {violated} of {} points, within the error of each", points.len()))
    } else {
        let informative = claim.lesser.maximum().map_or_else(String::new, |maximum| {
            let count = points.iter().filter(|point| point.greater < maximum).count();
            format!("; the bound is below {} at {count} of them", three_digits(maximum))
        });
        let satisfied = format!("satisfied at all {} points{informative}", points.len());
        if is_theorem(claim) {
            (
                Verdict::Vacuous,
                format!("a theorem for the images of both sides, so no data can violate it; {satisfied}"),
            )
        } else {
            (Verdict::Holds, satisfied)
        }
    };
    finding
}

/// Whether the inequality is true for any images: both bounds of a mean and a variance are computed from the same margins as
/// the error (Cantelli's inequality for their empirical distribution, and the union bound over pairs of classes).
fn is_theorem(claim: &Inequality) -> bool {
    let [error, cantelli, directional] =
        [measures::NEAREST_MEAN_ERROR, measures::CANTELLI_BOUND, measures::DIRECTIONAL_BOUND];
    let of_targets =
        [measures::TARGET_NEAREST_MEAN_ERROR, measures::TARGET_CANTELLI_BOUND, measures::TARGET_DIRECTIONAL_BOUND];
    [[error, cantelli, directional], of_targets].iter().any(|rising| {
        let at = |metric: Metric| rising.iter().position(|other| *other == metric);
        at(claim.lesser).zip(at(claim.greater)).is_some_and(|(lesser, greater)| lesser < greater)
    })
}

/// The points of a run after the initial network that have both sides.
fn points(run: &Run, claim: &Inequality) -> Vec<Point> {
    let trained = run.measurements.iter().filter(|measurement| measurement.step > 0);
    let sides = trained.filter_map(|measurement| {
        let (lesser, greater) = (measurement.values.get(&claim.lesser)?, measurement.values.get(&claim.greater)?);
        let squared = |measured: &Measured| measured.standard_error.map_or(0.0, |error| error * error);
        let error = (squared(lesser) + squared(greater)).sqrt();
        Some(Point { lesser: lesser.value?, greater: greater.value?, error })
    });
    sides.collect()
}
