//! Trends: a metric over a swept value, with seeds as blocks.

use statistics::{ChangeScale, ClaimTest, Effect, SeedValue, SweepRun, trend_evidence, trend_size};

use super::claim::Claim;
use super::covariates::seeds;
use super::size::{Size, margin};
use super::{ClaimKind, Finding, permutations, reasons};
use crate::report::results::{ComparedRun, Results, Run, compared_runs};
use crate::study::experiment::{ComparisonPoint, Direction, Rules, Sweep};
use crate::study::metric::{Metric, Scale};
use crate::study::plan::Trend;

/// A claim for each metric, sweep and comparison of each claimed trend.
pub(super) fn trends(results: &Results) -> Vec<Claim> {
    let plan = &results.experiment.plan;
    let mut claims = Vec::new();
    for trend in &plan.claims.trends {
        for (column, sweep) in plan.sweeps.iter().filter(|(name, _)| trend.sweeps.contains_key(*name)) {
            for comparison in &trend.comparisons {
                for metric in &trend.metrics {
                    let about = OneTrend { trend, column, sweep, metric: *metric, comparison: *comparison };
                    claims.push(about.claim(results));
                }
            }
        }
    }
    claims
}

/// The runs at a comparison point, and its level of training loss (a share of ln k) if it has one.
pub(super) fn compared<'a>(
    results: &Results,
    runs: &[&'a Run],
    comparison: ComparisonPoint,
) -> (Vec<ComparedRun<'a>>, Option<f64>) {
    let level = results.experiment.plan.rules.equal_loss_level;
    (compared_runs(runs, comparison, level), (comparison == ComparisonPoint::EqualLoss).then_some(level))
}

/// The claim about one metric in one sweep at one comparison point.
struct OneTrend<'a> {
    trend: &'a Trend,
    column: &'a str,
    sweep: &'a Sweep,
    metric: Metric,
    comparison: ComparisonPoint,
}

impl OneTrend<'_> {
    fn claim(&self, results: &Results) -> Claim {
        let (plan, rules) = (&results.experiment.plan, &results.experiment.plan.rules);
        let direction = self.trend.sweeps.get(self.column).copied().unwrap_or(Direction::Rises);
        let goes = direction.comparative();
        let words = format!("larger {} → {goes} {}", self.sweep.label, plan.task.label_of(self.metric));
        let all = results.of(Some(self.column));
        let runs: Vec<&Run> = all.iter().copied().filter(|run| run.counts()).collect();
        let (at, level) = compared(results, &runs, self.comparison);
        let points = self.points(&at);
        let mut finding = Finding::new(words, ClaimKind::Trend, vec![self.metric], rules.confidence);
        finding.source.clone_from(&self.trend.source);
        finding.sweep = Some(self.column.to_owned());
        finding.direction = Some(direction);
        (finding.comparison, finding.level) = (Some(self.comparison), level);
        (finding.runs, finding.excluded) = (points.len(), all.len() - runs.len());
        finding.primary =
            self.trend.primary.contains(&self.metric) && self.trend.comparisons.first() == Some(&self.comparison);
        finding.seeds = seeds(at.iter().map(|at| at.run)).len();
        finding.with_excluded = (finding.excluded > 0).then(|| self.with_excluded(results, &all)).flatten();
        if let Some(reason) = reasons::without_runs(results, &all, &finding.metrics, finding.comparison, points.len()) {
            return Claim::untested(finding, reason);
        }
        let claim = self.test(finding, &points, direction, rules);
        self.finish(claim, &at, &all, &points, rules)
    }

    fn points(&self, at: &[ComparedRun]) -> Vec<SweepRun> {
        let numbers = self.sweep.numbers();
        let factor = if self.metric.scale() == Scale::Percent { 100.0 } else { 1.0 };
        let point = |at: &ComparedRun| {
            let x = *numbers.get(at.run.planned.value_in(self.column)?)?;
            Some(SweepRun { seed: at.run.planned.configuration.seed, x, y: factor * at.value(self.metric)? })
        };
        at.iter().filter_map(point).collect()
    }

    fn with_excluded(&self, results: &Results, all: &[&Run]) -> Option<f64> {
        let points = self.points(&compared(results, all, self.comparison).0);
        let settings = permutations(&results.experiment.plan.rules);
        trend_evidence(&points, &settings).ok().map(|found| found.correlation.mean)
    }

    fn test(&self, mut finding: Finding, points: &[SweepRun], direction: Direction, rules: &Rules) -> Claim {
        let evidence = match trend_evidence(points, &permutations(rules)) {
            Ok(evidence) => evidence,
            Err(error) => return Claim::untested(finding, self.without_evidence(&error)),
        };
        (finding.seeds, finding.single_runs) = (evidence.seeds.len(), evidence.single_runs);
        let values = evidence.seeds.iter().zip(&evidence.correlation.per_block);
        finding.per_seed = values.map(|(&seed, value)| SeedValue { seed, value: value.unwrap_or(0.0) }).collect();
        finding.interval = interval_of_coefficients(&finding.per_seed, rules.confidence);
        finding.statistic = Some(evidence.correlation.mean);
        finding.permutation_p_value = Some(evidence.correlation.p_value);
        finding.smallest_p_value = Some(evidence.smallest_p_value);
        let scale = self.scale();
        match trend_size(points, scale, rules.confidence) {
            Err(statistics::Error::TooFewValues { .. }) => {
                Claim::untested(finding, "fewer than two swept values have a counted run in every seed".to_owned())
            }
            Err(error) => Claim::untested(finding, error.to_string()),
            Ok((effect, range)) => {
                finding.size = Some(Size::of(&effect, range, scale, &self.sweep.numbers()));
                let test = ClaimTest {
                    positive: direction == Direction::Rises,
                    coefficient: evidence.correlation.mean,
                    permutation_p_value: Some(evidence.correlation.p_value),
                    smallest_p_value: evidence.smallest_p_value,
                    effect,
                    margin: Some(margin(scale, rules)),
                };
                Claim::tested(finding, test)
            }
        }
    }

    fn without_evidence(&self, error: &statistics::Error) -> String {
        match error {
            statistics::Error::TooFewValues { .. } => "no seed has two counted runs".to_owned(),
            statistics::Error::NoVariation { .. } => {
                format!("`{}` is the same in all runs of each seed", self.metric.key())
            }
            other => other.to_string(),
        }
    }

    fn scale(&self) -> ChangeScale {
        if self.metric.scale() == Scale::Percent { ChangeScale::Difference } else { ChangeScale::Factor }
    }

    /// Adds the size from trained runs alone, and a reason that prevents a verdict.
    fn finish(&self, mut claim: Claim, at: &[ComparedRun], all: &[&Run], points: &[SweepRun], rules: &Rules) -> Claim {
        let trained: Vec<SweepRun> =
            points.iter().copied().filter(|point| self.is_trained(all, point.x, rules.trained_below)).collect();
        claim.finding.trained_size = trend_size(&trained, self.scale(), rules.confidence)
            .ok()
            .map(|(effect, range)| Size::of(&effect, range, self.scale(), &self.sweep.numbers()));
        // A saturated accuracy hides changes, so it can neither show a change nor that it is negligible.
        let saturated = saturated(at, &claim.finding.metrics, rules);
        if 2 * saturated > points.len() {
            claim.prevented = Some(saturation(saturated, points.len(), rules));
        }
        claim
    }

    /// Whether all runs at a swept value ended training below this share of ln k.
    fn is_trained(&self, all: &[&Run], value: f64, below: f64) -> bool {
        let numbers = self.sweep.numbers();
        let at = |run: &Run| run.planned.value_in(self.column).and_then(|index| numbers.get(index)) == Some(&value);
        let mut own = all.iter().filter(|run| at(run)).peekable();
        own.peek().is_some() && own.all(|run| run.counts() && run.final_share().is_some_and(|share| share <= below))
    }
}

/// Student's t-interval over seeds of correlation coefficients, within −1 to 1; none for one seed.
pub(super) fn interval_of_coefficients(per_seed: &[SeedValue], level: f64) -> Option<(f64, f64)> {
    let interval = Effect::over_seeds(per_seed.to_vec(), level).ok()?.interval?;
    Some((interval.low.max(-1.0), interval.high.min(1.0)))
}

/// Number of runs with a saturated accuracy among these metrics.
pub(super) fn saturated(runs: &[ComparedRun], metrics: &[Metric], rules: &Rules) -> usize {
    let accuracies: Vec<Metric> = metrics.iter().copied().filter(|metric| metric.scale() == Scale::Percent).collect();
    let high = |run: &ComparedRun, metric: &Metric| {
        run.value(*metric).is_some_and(|accuracy| accuracy >= rules.saturated_above)
    };
    runs.iter().filter(|run| accuracies.iter().any(|metric| high(run, metric))).count()
}

/// The reason of a claim that is undecided because of saturated accuracies.
pub(super) fn saturation(saturated: usize, points: usize, rules: &Rules) -> String {
    format!("{saturated} of {points} accuracies are saturated, at {} % or above", rules.saturated_above * 100.0)
}
