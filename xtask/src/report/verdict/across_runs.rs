//! Claims about rank correlations over runs: trends with a swept value, and associations of two metrics.

use statistics::{IntervalSettings, RankCorrelation, RankStatistic};

use super::size::{Size, SweepPoint, size};
use super::{ClaimKind, Finding, Verdict, settings};
use crate::report::results::{ComparedRun, Results, Run, compared_runs};
use crate::study::experiment::{ComparisonPoint, Direction, Rules};
use crate::study::metric::{Metric, Scale};

/// A finding for each metric, sweep and comparison of each claimed trend.
pub(super) fn trends(results: &Results) -> Vec<Finding> {
    let plan = &results.experiment.plan;
    let mut findings = Vec::new();
    for trend in &plan.claims.trends {
        for column in plan.sweeps.keys().filter(|name| trend.sweeps.contains_key(*name)) {
            let (sweep, direction) = (&plan.sweeps[column], trend.sweeps[column]);
            let numbers = sweep.numbers();
            for (metric, comparison) in pairs(&trend.metrics, &trend.comparisons) {
                let goes = if direction == Direction::Rises { "higher" } else { "lower" };
                let claim = format!("larger {} → {goes} {}", sweep.label, metric.label(plan.task));
                let about = Correlated {
                    kind: ClaimKind::Trend,
                    sweep: Some(column.as_str()),
                    metrics: vec![metric],
                    comparison,
                    direction,
                    primary: trend.primary.contains(&metric) && trend.comparisons.first() == Some(&comparison),
                    values: &numbers,
                };
                let point = |run: &ComparedRun| Some((numbers[run.run.planned.value_in(column)?], run.value(metric)?));
                findings.push(about.decide(results, claim, &point));
            }
        }
    }
    findings
}

/// A finding for each scope and comparison of each claimed association.
pub(super) fn associations(results: &Results) -> Vec<Finding> {
    let plan = &results.experiment.plan;
    let sweeps = plan.report.columns.iter().map(|name| Some(name.as_str()));
    let scopes: Vec<Option<&str>> = std::iter::once(None).chain(sweeps).collect();
    let mut findings = Vec::new();
    for claim in &plan.claims.associations {
        for (scope, comparison) in pairs(&scopes, &claim.comparisons) {
            let (x, y) = (claim.x.label(plan.task), claim.y.label(plan.task));
            let goes = if claim.direction == Direction::Rises { "lower" } else { "higher" };
            let where_ = scope.map_or_else(
                || "over all runs".to_owned(),
                |name| format!("over the {} sweep", plan.sweeps[name].label),
            );
            let about = Correlated {
                kind: ClaimKind::Association,
                sweep: scope,
                metrics: vec![claim.x, claim.y],
                comparison,
                direction: claim.direction,
                primary: claim.primary && scope.is_none() && claim.comparisons.first() == Some(&comparison),
                values: &[],
            };
            let point = |run: &ComparedRun| Some((run.value(claim.x)?, run.value(claim.y)?));
            findings.push(about.decide(results, format!("lower {x} ↔ {goes} {y}, {where_}"), &point));
        }
    }
    findings
}

fn pairs<A: Copy, B: Copy>(first: &[A], second: &[B]) -> Vec<(A, B)> {
    second.iter().flat_map(|b| first.iter().map(move |a| (*a, *b))).collect()
}

/// A claim about a rank correlation.
struct Correlated<'a> {
    kind: ClaimKind,
    sweep: Option<&'a str>,
    metrics: Vec<Metric>,
    comparison: ComparisonPoint,
    direction: Direction,
    primary: bool,
    /// The swept values of a trend.
    values: &'a [f64],
}

impl Correlated<'_> {
    fn decide(self, results: &Results, claim: String, point: &dyn Fn(&ComparedRun) -> Option<(f64, f64)>) -> Finding {
        let plan = &results.experiment.plan;
        let level = plan.rules.equal_loss_level;
        let all = results.of(self.sweep);
        let counted: Vec<&Run> = all.iter().copied().filter(|run| run.counts()).collect();
        let collect = |runs: &[&Run]| -> Vec<(f64, f64)> {
            compared_runs(runs, self.comparison, level).iter().filter_map(point).collect()
        };
        let points = collect(&counted);
        let compared = compared_runs(&counted, self.comparison, level);
        let size = self.size(&compared, point, &plan.rules);
        let found = spearman(&points, &plan.rules);
        let saturated = self.saturated(&compared, &plan.rules);
        // A saturated accuracy hides changes, so it cannot show that they are negligible.
        let negligible = 2 * saturated <= points.len() && size.is_some_and(|size| size.is_negligible(&plan.rules));
        let (verdict, reason) = if negligible {
            (Verdict::Negligible, "the interval of the size lies within the margin of the rules".to_owned())
        } else {
            self.judge(points.len(), saturated, found.as_ref(), &plan.rules)
        };
        let found = found.ok();
        let excluded = all.len() - counted.len();
        Finding {
            claim,
            kind: self.kind,
            sweep: self.sweep.map(str::to_owned),
            metrics: self.metrics,
            comparison: Some(self.comparison),
            level: (self.comparison == ComparisonPoint::EqualLoss).then_some(level),
            statistic: found.as_ref().map(|found| found.coefficient),
            interval: found.as_ref().map(|found| (found.bootstrap.low, found.bootstrap.high)),
            p_value: found.as_ref().map(|found| found.p_value),
            runs: points.len(),
            with_excluded: (excluded > 0)
                .then(|| spearman(&collect(&all), &plan.rules).ok().map(|found| found.coefficient))
                .flatten(),
            excluded,
            size,
            primary: self.primary,
            verdict,
            reason,
        }
    }

    /// The size of a trend over the runs that count.
    fn size(
        &self,
        compared: &[ComparedRun],
        point: &dyn Fn(&ComparedRun) -> Option<(f64, f64)>,
        rules: &Rules,
    ) -> Option<Size> {
        let ([metric], ClaimKind::Trend) = (&self.metrics[..], self.kind) else { return None };
        let points = compared.iter().filter_map(|run| {
            let (x, y) = point(run)?;
            Some(SweepPoint { seed: run.run.planned.configuration.seed, x, y })
        });
        size(&points.collect::<Vec<_>>(), self.values, metric.scale(), rules.confidence)
    }

    /// Number of runs with a saturated accuracy among the metrics of the claim.
    fn saturated(&self, compared_runs: &[ComparedRun], rules: &Rules) -> usize {
        let accuracies: Vec<Metric> =
            self.metrics.iter().copied().filter(|metric| metric.scale() == Scale::Percent).collect();
        let high = |run: &ComparedRun, metric: &Metric| {
            run.value(*metric).is_some_and(|accuracy| accuracy >= rules.saturated_above)
        };
        compared_runs.iter().filter(|run| accuracies.iter().any(|metric| high(run, metric))).count()
    }

    fn judge(
        &self,
        points: usize,
        saturated: usize,
        found: std::result::Result<&RankCorrelation, &statistics::Error>,
        rules: &Rules,
    ) -> (Verdict, String) {
        if points == 0 && self.comparison == ComparisonPoint::EqualLoss {
            let level = rules.equal_loss_level;
            return (Verdict::Undecided, format!("no counted run reached an evaluation loss of {level} ln k"));
        }
        if 2 * saturated > points {
            let limit = rules.saturated_above * 100.0;
            return (
                Verdict::Undecided,
                format!("{saturated} of {points} accuracies are saturated, at {limit} % or above"),
            );
        }
        let found = match found {
            Ok(found) => found,
            Err(error) => return (Verdict::Undecided, error.to_string()),
        };
        let chance = 1.0 - rules.confidence;
        if found.p_value > chance {
            return (Verdict::Undecided, format!("by chance alone such a ρ has probability {:.2}", found.p_value));
        }
        let (low, high) = (found.bootstrap.low, found.bootstrap.high);
        let (low, high) = if self.direction == Direction::Rises { (low, high) } else { (-high, -low) };
        if low > 0.0 {
            (Verdict::Holds, "the whole interval lies on the claimed side of zero".to_owned())
        } else if high < 0.0 {
            (Verdict::Fails, "the whole interval lies on the other side of zero".to_owned())
        } else {
            (Verdict::Undecided, "the interval contains zero".to_owned())
        }
    }
}

/// Spearman's rank correlation of the points with its interval and test.
fn spearman(points: &[(f64, f64)], rules: &Rules) -> statistics::Result<RankCorrelation> {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    statistics::rank_correlation(&x, &y, RankStatistic::Spearman, &settings(rules))
}

/// Spearman's ρ of the points, if it is defined.
pub(super) fn rank_coefficient(points: &[(f64, f64)]) -> Option<f64> {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    // The interval and the test are not used: the smallest number of resamples is enough.
    let settings = IntervalSettings { level: 0.95, resamples: 100, seed: 0 };
    statistics::rank_correlation(&x, &y, RankStatistic::Spearman, &settings).ok().map(|found| found.coefficient)
}
