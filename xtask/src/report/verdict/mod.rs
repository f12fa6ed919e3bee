//! Verdicts: the statistic of each claim with its interval, and the verdict by rules that were fixed beforehand.

mod across_runs;
mod size;
mod within_runs;

use std::collections::BTreeSet;

use serde::Serialize;
use statistics::IntervalSettings;

use super::results::Results;
use crate::study::experiment::{ComparisonPoint, Rules};
use crate::study::metric::Metric;

pub(crate) use size::Size;

/// The statistic and the verdict of one claim.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// The claim in words.
    pub(crate) claim: String,
    /// The kind of claim.
    pub(crate) kind: ClaimKind,
    /// The sweep; none for all runs.
    pub(crate) sweep: Option<String>,
    /// The metrics of the claim.
    pub(crate) metrics: Vec<Metric>,
    /// The comparison point; none for claims along training.
    pub(crate) comparison: Option<ComparisonPoint>,
    /// The level of training loss of a comparison at equal loss, as a share of ln k.
    pub(crate) level: Option<f64>,
    /// Spearman's rank correlation, or the share of points that satisfy an inequality.
    pub(crate) statistic: Option<f64>,
    /// Lower and upper end of its bootstrap interval.
    pub(crate) interval: Option<(f64, f64)>,
    /// Two-sided p-value of a permutation test of a rank correlation.
    pub(crate) p_value: Option<f64>,
    /// Number of runs in the statistic.
    pub(crate) runs: usize,
    /// The same statistic with the excluded runs that reached the comparison point.
    pub(crate) with_excluded: Option<f64>,
    /// Number of excluded runs.
    pub(crate) excluded: usize,
    /// The size of a trend.
    pub(crate) size: Option<Size>,
    /// Whether the claim is primary; the other claims are exploratory.
    pub(crate) primary: bool,
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// The reason of the verdict, in words.
    pub(crate) reason: String,
}

impl Finding {
    /// The size of the effect in words; for a claim without a size, its statistic or reason.
    pub(crate) fn size_words(&self) -> String {
        let statistic = self.statistic.map(|rho| size::correlation_words(rho, self.interval));
        match (self.kind, self.size, statistic) {
            (_, Some(size), _) => format!("{}.", capital(&size.words())),
            (ClaimKind::Association | ClaimKind::Course, _, Some(words)) => format!("{words}."),
            _ => format!("{}.", capital(&self.reason)),
        }
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// The kind of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClaimKind {
    /// A metric rises or falls with a swept value.
    Trend,
    /// Two metrics are correlated over runs.
    Association,
    /// A metric is never larger than another.
    Inequality,
    /// Two metrics are correlated along the training of each run.
    Course,
    /// The intervals of an estimator have their stated coverage.
    Coverage,
}

/// A verdict on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The interval lies on the claimed side.
    Holds,
    /// The interval lies on the other side.
    Fails,
    /// The interval of the size lies within the margin of the rules.
    Negligible,
    /// The claim could not have been violated: a bound is at or above the largest possible value at every point.
    Vacuous,
    /// None of the others.
    Undecided,
}

impl Verdict {
    /// The word in tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Negligible => "negligible",
            Self::Vacuous => "vacuous",
            Self::Undecided => "undecided",
        }
    }
}

/// The verdicts on all claims of the experiment.
pub(crate) fn findings(results: &Results) -> Vec<Finding> {
    let claims = &results.experiment.plan.claims;
    let mut findings = across_runs::trends(results);
    findings.extend(across_runs::associations(results));
    findings.extend(claims.inequalities.iter().map(|claim| within_runs::inequality(results, claim)));
    findings.extend(claims.courses.iter().map(|claim| within_runs::course(results, claim)));
    if claims.coverage {
        findings.extend(within_runs::coverage(results));
    }
    findings
}

/// The settings of intervals, from the rules.
fn settings(rules: &Rules) -> IntervalSettings {
    IntervalSettings { level: rules.confidence, resamples: rules.resamples, seed: 0 }
}

/// The excluded runs with their reasons.
pub(crate) fn exclusions(results: &Results) -> BTreeSet<(String, String)> {
    let excluded = results.runs.iter().filter(|run| !run.counts());
    excluded.map(|run| (run.planned.description(), run.status.explained())).collect()
}
