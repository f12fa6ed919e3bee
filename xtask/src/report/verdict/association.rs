//! Associations: two metrics over all runs, given the swept values and the training loss, with seeds as blocks.

use statistics::{
    Block, ChangeScale, ClaimTest, CovariateBlock, Effect, SeedValue, granulated_coefficient, partial_rank_correlation,
    partial_slopes, worst_sign_error,
};

use super::across_runs::{compared, interval_of_coefficients, saturated, saturation};
use super::claim::Claim;
use super::covariates::{covariates, names, seeds};
use super::{ClaimKind, Finding, Size, permutations, reasons};
use crate::report::results::{ComparedRun, Results, Run};
use crate::study::experiment::{ComparisonPoint, Direction};
use crate::study::metric::{Metric, Scale};
use crate::study::plan::Association;

/// A claim for each comparison point of a claimed association.
pub(super) fn claims(results: &Results, claim: &Association) -> Vec<Claim> {
    claim.comparisons.iter().map(|comparison| one(results, claim, *comparison)).collect()
}

/// Every run counts once, in whatever number of sweeps it is.
fn one(results: &Results, claim: &Association, comparison: ComparisonPoint) -> Claim {
    let (plan, rules) = (&results.experiment.plan, &results.experiment.plan.rules);
    let (x, y) = (plan.task.label_of(claim.x), plan.task.label_of(claim.y));
    let goes = if claim.direction == Direction::Rises { "lower" } else { "higher" };
    let words = format!("lower {x} ↔ {goes} {y}, given swept values and loss");
    let all: Vec<&Run> = results.runs.iter().collect();
    let runs: Vec<&Run> = all.iter().copied().filter(|run| run.counts()).collect();
    let (at, level) = compared(results, &runs, comparison);
    let points = Points::of(results, &at, claim.x, claim.y);
    let mut finding = Finding::new(words, ClaimKind::Association, vec![claim.x, claim.y], rules.confidence);
    finding.source.clone_from(&claim.source);
    finding.direction = Some(claim.direction);
    (finding.comparison, finding.level) = (Some(comparison), level);
    (finding.runs, finding.excluded) = (points.runs(), all.len() - runs.len());
    (finding.seeds, finding.single_runs) = (points.seeds.len(), points.single_runs);
    finding.primary = claim.primary && claim.comparisons.first() == Some(&comparison);
    let found = points.runs() + points.single_runs;
    if let Some(reason) = reasons::without_runs(results, &all, &finding.metrics, finding.comparison, found) {
        return Claim::untested(finding, reason);
    }
    if points.seeds.is_empty() {
        return Claim::untested(finding, "no seed has two counted runs".to_owned());
    }
    describe(&mut finding, results, &at, claim);
    let mut tested = test(finding, &points, results, claim.direction);
    let saturated = saturated(&at, &tested.finding.metrics, rules);
    if 2 * saturated > at.len() {
        tested.prevented = Some(saturation(saturated, at.len(), rules));
    }
    tested
}

fn test(mut finding: Finding, points: &Points, results: &Results, direction: Direction) -> Claim {
    let rules = &results.experiment.plan.rules;
    let covariates: Vec<Vec<&[f64]>> =
        points.seeds.iter().map(|seed| seed.covariates.iter().map(Vec::as_slice).collect()).collect();
    let blocks = points
        .seeds
        .iter()
        .zip(&covariates)
        .map(|(seed, covariates)| CovariateBlock { block: Block { x: &seed.x, y: &seed.y }, covariates });
    let found = match partial_rank_correlation(&blocks.collect::<Vec<_>>(), &permutations(rules)) {
        Ok(found) => found,
        Err(statistics::Error::NoVariation { which, .. }) => {
            let metric = if which == "first" { finding.metrics.first() } else { finding.metrics.last() };
            let label = metric.map_or("a metric", |metric| results.experiment.plan.task.label_of(*metric));
            let given = names(&results.experiment.plan);
            return Claim::untested(finding, format!("{label} does not vary within seeds given {given}"));
        }
        Err(error) => return Claim::untested(finding, error.to_string()),
    };
    let values = points.seeds.iter().zip(&found.per_block);
    finding.per_seed = values.map(|(seed, &value)| SeedValue { seed: seed.seed, value }).collect();
    finding.interval = interval_of_coefficients(&finding.per_seed, rules.confidence);
    let slopes = match points.slopes(&covariates, rules.confidence) {
        Ok(slopes) => slopes,
        Err(error) => return Claim::untested(finding, error.to_string()),
    };
    finding.size = Some(Size::of_doubling(&slopes, points.scale));
    let test = ClaimTest {
        positive: direction == Direction::Rises,
        coefficient: found.coefficient,
        permutation_p_value: Some(found.p_value),
        smallest_p_value: 1.0 / found.permutations as f64,
        effect: slopes,
        margin: None,
    };
    Claim::tested(finding, test)
}

/// Adds the granulated coefficient and the worst sign error, each over the runs of one sweep and one seed.
fn describe(finding: &mut Finding, results: &Results, at: &[ComparedRun], claim: &Association) {
    let plan = &results.experiment.plan;
    let mut axes: Vec<Vec<(String, [Vec<f64>; 2])>> = Vec::new();
    for (name, sweep) in &plan.sweeps {
        let mut environments = Vec::new();
        for seed in seeds(at.iter().map(|at| at.run)) {
            let own = at.iter().filter(|at| at.run.planned.configuration.seed == seed);
            let own = own.filter(|at| at.run.planned.value_in(name).is_some());
            let (x, y): (Vec<f64>, Vec<f64>) =
                own.filter_map(|at| Some((at.value(claim.x)?, at.value(claim.y)?))).unzip();
            if x.len() > 1 {
                environments.push((format!("{} sweep, seed {seed}", sweep.label), [x, y]));
            }
        }
        if !environments.is_empty() {
            axes.push(environments);
        }
    }
    let blocks: Vec<Vec<Block<'_>>> =
        axes.iter().map(|axis| axis.iter().map(|(_, [x, y])| Block { x, y }).collect()).collect();
    let per_axis: Vec<&[Block<'_>]> = blocks.iter().map(Vec::as_slice).collect();
    finding.granulated_coefficient = granulated_coefficient(&per_axis).ok().map(|found| found.coefficient);
    // The measure should rise with the outcome: where it is claimed to fall, its sign is changed.
    let sign = if claim.direction == Direction::Rises { 1.0 } else { -1.0 };
    let signed: Vec<(&str, Vec<f64>, &[f64])> = axes
        .iter()
        .flatten()
        .map(|(name, [x, y])| (name.as_str(), x.iter().map(|x| sign * x).collect(), y.as_slice()))
        .collect();
    let environments: Vec<Block<'_>> = signed.iter().map(|(_, x, y)| Block { x, y }).collect();
    if let Ok(found) = worst_sign_error(&environments, 0.0) {
        finding.sign_error = Some(found.worst);
        finding.sign_error_in = signed.get(found.worst_environment).map(|(name, ..)| (*name).to_owned());
    }
}

/// The points of an association, by seed.
struct Points {
    seeds: Vec<SeedPoints>,
    single_runs: usize,
    /// The scale of y: factors, or percentage points of an accuracy.
    scale: ChangeScale,
}

/// The points of one seed.
struct SeedPoints {
    seed: u64,
    x: Vec<f64>,
    y: Vec<f64>,
    /// `covariates[covariate][run]`.
    covariates: Vec<Vec<f64>>,
}

impl Points {
    fn of(results: &Results, at: &[ComparedRun], x: Metric, y: Metric) -> Self {
        let point = |at: &ComparedRun| Some((at.value(x)?, at.value(y)?, covariates(&results.experiment, at)?));
        let scale = if y.scale() == Scale::Percent { ChangeScale::Difference } else { ChangeScale::Factor };
        let mut found = Self { seeds: Vec::new(), single_runs: 0, scale };
        for seed in seeds(at.iter().map(|at| at.run)) {
            let own = at.iter().filter(|at| at.run.planned.configuration.seed == seed);
            let points: Vec<(f64, f64, Vec<f64>)> = own.filter_map(point).collect();
            match points.len() {
                0 => {}
                1 => found.single_runs += 1,
                _ => {
                    let column = |index: usize| points.iter().filter_map(|point| point.2.get(index).copied()).collect();
                    found.seeds.push(SeedPoints {
                        seed,
                        x: points.iter().map(|point| point.0).collect(),
                        y: points.iter().map(|point| point.1).collect(),
                        covariates: (0..points.first().map_or(0, |point| point.2.len())).map(column).collect(),
                    });
                }
            }
        }
        found
    }

    /// The slopes of log y (of y, in percentage points) on log x within each seed, given the covariates.
    fn slopes(&self, covariates: &[Vec<&[f64]>], level: f64) -> statistics::Result<Effect> {
        let logarithm = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
        let values: Vec<[Vec<f64>; 2]> = self
            .seeds
            .iter()
            .map(|seed| match self.scale {
                ChangeScale::Factor => [logarithm(&seed.x), logarithm(&seed.y)],
                ChangeScale::Difference => [logarithm(&seed.x), seed.y.iter().map(|y| 100.0 * y).collect()],
            })
            .collect();
        let blocks: Vec<CovariateBlock<'_>> = values
            .iter()
            .zip(covariates)
            .map(|([x, y], covariates)| CovariateBlock { block: Block { x, y }, covariates })
            .collect();
        let slopes = partial_slopes(&blocks)?;
        let seeds = self.seeds.iter().zip(slopes).map(|(seed, value)| SeedValue { seed: seed.seed, value });
        Effect::over_seeds(seeds.collect(), level)
    }

    fn runs(&self) -> usize {
        self.seeds.iter().map(|seed| seed.x.len()).sum()
    }
}
