//! Claims become statistics with intervals, and statistics become verdicts, by rules that were fixed beforehand.

mod along;
mod correlated;

use std::collections::BTreeSet;

use fewshot::IntervalSettings;
use serde::Serialize;

use super::results::Results;
use crate::reproduce::experiment::{Readout, Rules};
use crate::reproduce::metric::Metric;

/// What the data say about one claim.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// The claim in words.
    pub(crate) claim: String,
    /// What kind of statement it is.
    pub(crate) kind: Kind,
    /// The sweep whose runs it is about; all runs where there is none.
    pub(crate) sweep: Option<String>,
    /// The metrics that it is about.
    pub(crate) metrics: Vec<Metric>,
    /// When the runs were compared; along all of training where there is none.
    pub(crate) readout: Option<Readout>,
    /// The level of training loss, as a share of ln k, at which they were compared.
    pub(crate) level: Option<f64>,
    /// Spearman's rank correlation, or the share of points that satisfy an inequality.
    pub(crate) statistic: Option<f64>,
    /// Lower and upper end of its bootstrap interval.
    pub(crate) interval: Option<(f64, f64)>,
    /// Two-sided p-value of a permutation test of a rank correlation.
    pub(crate) p_value: Option<f64>,
    /// Runs that it rests on.
    pub(crate) runs: usize,
    /// The same statistic with the excluded runs that reached the readout.
    pub(crate) with_excluded: Option<f64>,
    /// Runs that were excluded.
    pub(crate) excluded: usize,
    /// What follows.
    pub(crate) verdict: Verdict,
    /// Why, in words.
    pub(crate) reason: String,
}

/// What a claim is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A metric goes one way as a swept value rises.
    Trend,
    /// Two metrics go together, or oppositely.
    Association,
    /// A metric is never larger than another.
    Inequality,
    /// Two metrics go together, or oppositely, in the course of each run.
    Course,
    /// The intervals of an estimator contain the exact value as often as they say.
    Coverage,
}

/// What the data say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The interval lies on the claimed side.
    Holds,
    /// The interval lies on the other side.
    Fails,
    /// Neither.
    Undecided,
}

impl Verdict {
    /// The word in tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Undecided => "undecided",
        }
    }
}

/// Every claim of the experiment, decided.
pub(crate) fn findings(results: &Results) -> Vec<Finding> {
    let claims = &results.experiment.plan.claims;
    let mut findings = correlated::trends(results);
    findings.extend(correlated::associations(results));
    findings.extend(claims.inequalities.iter().map(|claim| along::inequality(results, claim)));
    findings.extend(claims.courses.iter().map(|claim| along::course(results, claim)));
    if claims.coverage {
        findings.extend(along::coverage(results));
    }
    findings
}

/// How intervals are made, as the rules say; the seed fixes the resamples.
fn settings(rules: &Rules) -> IntervalSettings {
    IntervalSettings { level: rules.confidence, resamples: rules.resamples, seed: 0 }
}

/// Excluded runs with the rules that excluded them, each once.
pub(crate) fn exclusions(results: &Results) -> BTreeSet<(String, String)> {
    let excluded = results.runs.iter().filter(|run| !run.counts());
    excluded.map(|run| (run.planned.description(), run.standing.explained())).collect()
}
