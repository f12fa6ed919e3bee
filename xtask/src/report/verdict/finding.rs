//! A finding: the statistics and the verdict of one claim.

use serde::Serialize;
use statistics::{Correction, SeedValue};

use super::Size;
use crate::study::experiment::{ComparisonPoint, Direction};
use crate::study::metric::Metric;

/// The statistics and the verdict of one claim.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// The claim in words.
    pub(crate) claim: String,
    /// The kind of claim.
    pub(crate) kind: ClaimKind,
    /// The source of a claim that is not of the reproduced paper, such as a competing one.
    pub(crate) source: Option<String>,
    /// The name of the sweep; none for all runs.
    pub(crate) sweep: Option<String>,
    /// The two levels of a contrast: the one that is compared with, and the one that is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) levels: Option<[String; 2]>,
    /// The metrics of the claim: one for a trend or a contrast, otherwise x and y, or the lesser and the greater side.
    pub(crate) metrics: Vec<Metric>,
    /// The claimed direction; none for inequalities and coverage.
    pub(crate) direction: Option<Direction>,
    /// The comparison point; none for claims about all points of training.
    pub(crate) comparison: Option<ComparisonPoint>,
    /// The level of training loss of a comparison at equal loss, as a share of ln k.
    pub(crate) level: Option<f64>,
    /// Of a trend and a course, the mean within-seed rank correlation; of a contrast, the mean over seeds of the sign of the change; of an association, the partial rank correlation; of
    /// an inequality, the share of points that satisfy it; of a coverage, the share of intervals that contain the value.
    pub(crate) statistic: Option<f64>,
    /// Student's t-interval of the statistic over seeds.
    pub(crate) interval: Option<(f64, f64)>,
    /// The statistic of each seed.
    pub(crate) per_seed: Vec<SeedValue>,
    /// Two-sided p-value of the permutation test within seeds (of a contrast, the sign-flip test); none where a contrast has too few
    /// seeds for it.
    pub(crate) permutation_p_value: Option<f64>,
    /// Two-sided p-value of Student's t-test of the size over seeds (of the statistic, for associations and courses).
    pub(crate) size_p_value: Option<f64>,
    /// The p-value of the claim: the larger of these two, or that of the size where there is no permutation test.
    pub(crate) p_value: Option<f64>,
    /// The p-value corrected for the number of claims.
    pub(crate) corrected_p_value: Option<f64>,
    /// The correction; none for claims without a test.
    pub(crate) correction: Option<Correction>,
    /// The number of claims in the correction.
    pub(crate) family: usize,
    /// The largest corrected p-value of a decision.
    pub(crate) decision_level: Option<f64>,
    /// The smallest p-value that the permutation test can have with the runs that count.
    pub(crate) smallest_p_value: Option<f64>,
    /// Confidence level of all intervals.
    pub(crate) confidence: f64,
    /// Number of runs in the statistic.
    pub(crate) runs: usize,
    /// Number of seeds in the statistic.
    pub(crate) seeds: usize,
    /// Number of seeds that are left out because they have a single run.
    pub(crate) single_runs: usize,
    /// Number of excluded runs.
    pub(crate) excluded: usize,
    /// The same statistic with the excluded runs that reached the comparison point.
    pub(crate) with_excluded: Option<f64>,
    /// The size of a trend or a contrast.
    pub(crate) size: Option<Size>,
    /// The size of a trend (of a contrast) over the values (if it is between levels) whose runs all ended below the training loss of the rules.
    pub(crate) trained_size: Option<Size>,
    /// Of an association: the granulated Kendall coefficient, the mean over sweeps of τ within each sweep and seed.
    pub(crate) granulated_coefficient: Option<f64>,
    /// Of an association: the largest share of wrongly ordered pairs over sweeps and seeds.
    pub(crate) sign_error: Option<f64>,
    /// The sweep and seed of this largest share.
    pub(crate) sign_error_in: Option<String>,
    /// Of an inequality: the largest ratio of the lesser to the greater side; it is violated above 1.
    pub(crate) largest_ratio: Option<f64>,
    /// Whether the claim is primary; the other claims are exploratory.
    pub(crate) primary: bool,
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// The reason of the verdict, in words.
    pub(crate) reason: String,
}

impl Finding {
    /// A finding without statistics, undecided.
    pub(super) fn new(claim: String, kind: ClaimKind, metrics: Vec<Metric>, confidence: f64) -> Self {
        Self {
            claim,
            kind,
            source: None,
            sweep: None,
            levels: None,
            metrics,
            direction: None,
            comparison: None,
            level: None,
            statistic: None,
            interval: None,
            per_seed: Vec::new(),
            permutation_p_value: None,
            size_p_value: None,
            p_value: None,
            corrected_p_value: None,
            correction: None,
            family: 0,
            decision_level: None,
            smallest_p_value: None,
            confidence,
            runs: 0,
            seeds: 0,
            single_runs: 0,
            excluded: 0,
            with_excluded: None,
            size: None,
            trained_size: None,
            granulated_coefficient: None,
            sign_error: None,
            sign_error_in: None,
            largest_ratio: None,
            primary: false,
            verdict: Verdict::Undecided,
            reason: String::new(),
        }
    }

    /// Makes it undecided for this reason.
    pub(super) fn undecided(&mut self, reason: String) {
        (self.verdict, self.reason) = (Verdict::Undecided, reason);
    }
}

/// The kind of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClaimKind {
    /// A metric rises or falls with a swept value.
    Trend,
    /// A metric differs between two levels of a sweep.
    Contrast,
    /// Two metrics are correlated over runs, given the swept values and the training loss.
    Association,
    /// A metric is never larger than another.
    Inequality,
    /// Two metrics are correlated along the training of each run.
    Course,
    /// The intervals of an estimator have their stated coverage.
    Coverage,
}

impl ClaimKind {
    /// The word in CSV.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Trend => "trend",
            Self::Contrast => "contrast",
            Self::Association => "association",
            Self::Inequality => "inequality",
            Self::Course => "course",
            Self::Coverage => "coverage",
        }
    }
}

/// A verdict on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Evidence and size lie on the other side of no effect, or a point violates an inequality.
    Fails,
    /// Evidence after correction and the interval of the size lie on the claimed side.
    Holds,
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
