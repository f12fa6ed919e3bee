//! Verdicts: the evidence and the size of each claim over seeds, and the verdict by rules that were fixed beforehand.

mod across_runs;
mod association;
mod claim;
mod contrast;
mod course;
mod covariates;
mod coverage;
mod finding;
mod inequality;
mod reasons;
mod rule_words;
mod size;
mod tables;
mod words;

use std::collections::BTreeSet;

use statistics::{Correction, DecisionRules, PermutationSettings};

use super::results::{Results, Run};
use crate::study::experiment::Rules;
use claim::Claim;

pub(crate) use covariates::seeds;
pub(crate) use finding::{ClaimKind, Finding, Verdict};
pub(crate) use reasons::p_value;
pub(crate) use rule_words::rules;
pub(crate) use size::{Size, SizeOver};
pub(crate) use tables::{short_tables, tables};
pub(crate) use words::{LeadSentence, correction_words, lead};

/// The verdicts on all claims of the experiment: those of trends, contrasts, associations and courses after a correction for the number
/// of claims, separately for the primary and the exploratory ones.
pub(crate) fn findings(results: &Results) -> Vec<Finding> {
    let plan = &results.experiment.plan;
    let mut claims = across_runs::trends(results);
    claims.extend(plan.claims.associations.iter().flat_map(|claim| association::claims(results, claim)));
    claims.extend(plan.claims.courses.iter().map(|claim| course::claim(results, claim)));
    let contrasts = || plan.claims.contrasts.iter();
    let all = claims.len() + contrasts().map(|claim| claim.metrics.len() * claim.comparisons.len()).sum::<usize>();
    let primary = claims.iter().filter(|claim| claim.finding.primary).count();
    let primary = primary + contrasts().map(|claim| claim.primary.len()).sum::<usize>();
    claims.extend(contrast::contrasts(results, [primary, all - primary]));
    decide(&mut claims, &plan.rules);
    let mut findings: Vec<Finding> = claims.into_iter().map(|claim| claim.finding).collect();
    findings.extend(plan.claims.inequalities.iter().map(|claim| inequality::finding(results, claim)));
    if plan.claims.coverage {
        findings.extend(coverage::findings(results));
    }
    findings
}

/// Decides the claims that have a test: Holm's correction over the primary ones at 1 minus the confidence level, Benjamini and
/// Hochberg's over the exploratory ones at the false discovery rate of the rules.
fn decide(claims: &mut [Claim], rules: &Rules) {
    let families = [
        (true, DecisionRules { correction: Correction::Holm, level: 1.0 - rules.confidence }),
        (false, DecisionRules { correction: Correction::BenjaminiHochberg, level: rules.false_discovery_rate }),
    ];
    for (primary, how) in families {
        let mut family: Vec<&mut Claim> = claims.iter_mut().filter(|claim| claim.finding.primary == primary).collect();
        let tests: Vec<_> = family.iter().map(|claim| claim.test.clone()).collect();
        let tested = tests.iter().flatten().count();
        let size = if how.correction == Correction::Holm { family.len() } else { tested };
        match statistics::decide_claims(&tests, &how) {
            Ok(judged) => {
                family.iter_mut().zip(judged).for_each(|(claim, judged)| claim.apply(judged, &how, size, rules));
            }
            Err(error) => family.iter_mut().for_each(|claim| claim.finding.undecided(error.to_string())),
        }
    }
}

/// How permutation tests are computed, from the rules.
fn permutations(rules: &Rules) -> PermutationSettings {
    PermutationSettings { draws: rules.resamples, ..PermutationSettings::default() }
}

/// The runs that count.
fn counted(results: &Results) -> impl Iterator<Item = &Run> {
    results.runs.iter().filter(|run| run.counts())
}

/// The excluded runs with their reasons.
pub(crate) fn exclusions(results: &Results) -> BTreeSet<(String, String)> {
    let excluded = results.runs.iter().filter(|run| !run.counts());
    excluded.map(|run| (run.planned.description(), run.status.explained())).collect()
}

#[cfg(test)]
mod tests;
