//! Courses: two metrics along the training of each run, with seeds as blocks.

use statistics::{Block, ClaimTest, Effect, SeedValue, course_correlation, smallest_trend_p_value};

use super::across_runs::interval_of_coefficients;
use super::claim::Claim;
use super::covariates::seeds;
use super::{ClaimKind, Finding, counted, permutations, reasons};
use crate::report::results::{Results, Run};
use crate::study::experiment::{Course, Direction};

/// The claim about the correlation of two metrics within each run, over the scheduled points after the initial network.
pub(super) fn claim(results: &Results, claim: &Course) -> Claim {
    let (plan, rules) = (&results.experiment.plan, &results.experiment.plan.rules);
    let (x, y) = (plan.task.label_of(claim.x), plan.task.label_of(claim.y));
    let goes = if claim.direction == Direction::Rises { "with" } else { "against" };
    let words = format!("{y} goes {goes} {x} in the course of training");
    let all: Vec<&Run> = results.runs.iter().collect();
    let courses: Vec<(u64, [Vec<f64>; 2])> = counted(results).filter_map(|run| course(run, claim)).collect();
    // Runs of a seed are permuted together, so all of them need the same points: those with fewer are left out.
    let points = courses.iter().map(|(_, [x, _])| x.len()).max().unwrap_or(0);
    let complete: Vec<&(u64, [Vec<f64>; 2])> = courses.iter().filter(|(_, [x, _])| x.len() == points).collect();
    let mut finding = Finding::new(words, ClaimKind::Course, vec![claim.x, claim.y], rules.confidence);
    finding.source.clone_from(&claim.source);
    finding.direction = Some(claim.direction);
    finding.primary = claim.primary;
    finding.runs = complete.len();
    finding.excluded = all.len() - counted(results).count();
    if let Some(reason) = reasons::without_runs(results, &all, &finding.metrics, None, complete.len()) {
        return Claim::untested(finding, reason);
    }
    let seeds = seeds(counted(results));
    let blocks: Vec<(u64, Vec<Block<'_>>)> = seeds
        .into_iter()
        .map(|seed| {
            let own = complete.iter().filter(|(of, _)| *of == seed);
            (seed, own.map(|(_, [x, y])| Block { x, y }).collect())
        })
        .filter(|(_, blocks): &(u64, Vec<Block<'_>>)| !blocks.is_empty())
        .collect();
    finding.seeds = blocks.len();
    let per_seed: Vec<&[Block<'_>]> = blocks.iter().map(|(_, blocks)| blocks.as_slice()).collect();
    let found = match course_correlation(&per_seed, &permutations(rules)) {
        Ok(found) => found,
        Err(error) => return Claim::untested(finding, error.to_string()),
    };
    let values = blocks.iter().zip(&found.per_block);
    finding.per_seed =
        values.map(|((seed, _), value)| SeedValue { seed: *seed, value: value.unwrap_or(0.0) }).collect();
    finding.interval = interval_of_coefficients(&finding.per_seed, rules.confidence);
    let smallest = smallest_trend_p_value(&vec![points; blocks.len()]);
    match Effect::over_seeds(finding.per_seed.clone(), rules.confidence) {
        Err(error) => Claim::untested(finding, error.to_string()),
        Ok(effect) => {
            let test = ClaimTest {
                positive: claim.direction == Direction::Rises,
                coefficient: found.mean,
                permutation_p_value: Some(found.p_value),
                smallest_p_value: if found.exact { smallest } else { smallest.max(1.0 / found.permutations) },
                effect,
                margin: None,
            };
            Claim::tested(finding, test)
        }
    }
}

/// The seed of a run, and the two metrics at its scheduled points after the initial network.
fn course(run: &Run, claim: &Course) -> Option<(u64, [Vec<f64>; 2])> {
    let after = run.scheduled().filter(|(_, measurement)| measurement.step > 0);
    let points = after.filter_map(|(_, at)| Some((at.value(claim.x)?, at.value(claim.y)?)));
    let (x, y): (Vec<f64>, Vec<f64>) = points.unzip();
    (x.len() > 1).then_some((run.planned.configuration.seed, [x, y]))
}
