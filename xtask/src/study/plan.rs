//! The contents of an experiment file: sweeps, figures, claims, and the rules of verdicts.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::configuration::{Data, Measure, Model, Train};
use super::metric::Metric;
use crate::task::Task;

/// The contents of an experiment file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Title, in one line.
    pub(crate) title: String,
    /// The figure of the paper that it reproduces.
    pub(crate) figure: String,
    /// Which classes are measured.
    pub(crate) task: Task,
    /// Seeds; every configuration has one run per seed.
    pub(crate) seeds: Vec<u64>,
    /// The images.
    pub(crate) data: Data,
    /// The network.
    pub(crate) model: Model,
    /// The training.
    pub(crate) train: Train,
    /// The measurements.
    pub(crate) measure: Measure,
    /// The sweeps.
    #[serde(default)]
    pub(crate) sweeps: BTreeMap<String, Sweep>,
    /// The figures of the report.
    pub(crate) report: Layout,
    /// The rules of exclusions and verdicts.
    pub(crate) rules: Rules,
    /// The claims of the paper.
    pub(crate) claims: Claims,
}

impl Plan {
    /// The metrics of all figures and claims, with repetitions.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = Metric> {
        let (report, claims) = (&self.report, &self.claims);
        let drawn = report.rows.iter().chain(report.overlays.iter().flat_map(|group| &group.metrics)).copied();
        let scattered = report.scatter.iter().flat_map(|axes| [axes.x, axes.y]);
        let trends = claims.trends.iter().flat_map(|trend| &trend.metrics).copied();
        let associations = claims.associations.iter().flat_map(|claim| [claim.x, claim.y]);
        let inequalities = claims.inequalities.iter().flat_map(|claim| [claim.lesser, claim.greater]);
        let courses = claims.courses.iter().flat_map(|claim| [claim.x, claim.y]);
        let contrasts = claims.contrasts.iter().flat_map(|contrast| &contrast.metrics).copied();
        drawn.chain(scattered).chain(trends).chain(contrasts).chain(associations).chain(inequalities).chain(courses)
    }
}

/// One or several keys of the configuration and their values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sweep {
    /// Name on axes and in tables.
    pub(crate) label: String,
    /// Dotted key of the configuration; none where every value is a table of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// The levels: numbers in increasing order, names, or tables of keys.
    pub(crate) values: Vec<toml::Value>,
}

/// A TOML value as a number, if it is one.
pub(crate) fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// The figure: a column for each sweep, a row for each metric, then overlays and scatter plots.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// Names of the sweeps, from left to right.
    pub(crate) columns: Vec<String>,
    /// Metrics along training, from top to bottom.
    pub(crate) rows: Vec<Metric>,
    /// Panels with several metrics along training, each in its own column.
    #[serde(default, alias = "together")]
    pub(crate) overlays: Vec<Overlay>,
    /// Scatter plots of two metrics at the end of training.
    pub(crate) scatter: Vec<Axes>,
}

/// A panel with the curves of several metrics.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Overlay {
    /// Name on axes and in tables.
    pub(crate) label: String,
    /// The metrics.
    pub(crate) metrics: Vec<Metric>,
}

/// The two axes of a scatter plot.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Axes {
    /// Horizontal.
    pub(crate) x: Metric,
    /// Vertical.
    pub(crate) y: Metric,
}

/// The rules of exclusions and verdicts, fixed before any result is seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// The training loss in evaluation mode at which runs are compared at equal loss, as a share of ln k.
    #[serde(default = "equal_loss_level")]
    pub(crate) equal_loss_level: f64,
    /// A run whose training loss in evaluation mode ends above this share of ln k (the loss of a uniform guess) is under-trained.
    pub(crate) under_trained_above: f64,
    /// An accuracy at or above this is saturated. A claim about accuracies is undecided if more than half are saturated.
    pub(crate) saturated_above: f64,
    /// A size is also computed from the swept values whose runs all ended training at or below this share of ln k.
    #[serde(default = "trained_below")]
    pub(crate) trained_below: f64,
    /// Confidence level of all intervals. A primary claim is decided at 1 minus this, after Holm's correction.
    pub(crate) confidence: f64,
    /// Level of the correction of Benjamini and Hochberg over the exploratory claims.
    #[serde(default = "false_discovery_rate")]
    pub(crate) false_discovery_rate: f64,
    /// A change over a sweep is negligible if its interval lies between 1 over this factor and this factor.
    #[serde(default = "negligible_factor")]
    pub(crate) negligible_factor: f64,
    /// A change of an accuracy is negligible if its interval lies within ± this number of percentage points.
    #[serde(default = "negligible_points")]
    pub(crate) negligible_points: f64,
    /// Number of drawn permutations, where a permutation test has too many to count all.
    pub(crate) resamples: usize,
    /// Largest shortfall of an estimator's coverage (the share of intervals with the exact value inside) from its level.
    pub(crate) coverage_tolerance: f64,
}

fn trained_below() -> f64 {
    0.6
}

fn false_discovery_rate() -> f64 {
    0.1
}

fn equal_loss_level() -> f64 {
    0.6
}

fn negligible_factor() -> f64 {
    1.05
}

fn negligible_points() -> f64 {
    1.0
}

/// The claims of the paper, as statements that data can decide.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    /// Metrics that rise or fall with a swept value.
    #[serde(default)]
    pub(crate) trends: Vec<Trend>,
    /// Metrics that differ between two levels of a sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) contrasts: Vec<Contrast>,
    /// Pairs of metrics that are correlated over runs.
    #[serde(default)]
    pub(crate) associations: Vec<Association>,
    /// Pairs of metrics of which one is never larger than the other.
    #[serde(default)]
    pub(crate) inequalities: Vec<Inequality>,
    /// Pairs of metrics that are correlated along the training of each run.
    #[serde(default)]
    pub(crate) courses: Vec<Course>,
    /// Whether the intervals of the estimators are claimed to have their stated coverage.
    #[serde(default)]
    pub(crate) coverage: bool,
    /// Whether the coverage of each kind of estimator, over all of its settings, is a primary claim.
    #[serde(default)]
    pub(crate) coverage_primary: bool,
}

/// Each of `metrics` rises or falls with the value of each of `sweeps`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trend {
    /// The source of the claim, if it is not the reproduced paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// The metrics.
    pub(crate) metrics: Vec<Metric>,
    /// The metrics whose claims at the first comparison point are primary.
    #[serde(default)]
    pub(crate) primary: Vec<Metric>,
    /// The direction in each sweep, as the swept value rises.
    pub(crate) sweeps: BTreeMap<String, Direction>,
    /// Where along training the runs are compared.
    #[serde(alias = "readouts")]
    pub(crate) comparisons: Vec<ComparisonPoint>,
}

/// Each of `metrics` rises, falls or stays the same from one level of a sweep to another, with seeds as blocks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contrast {
    /// The source of the claim, if it is not the reproduced paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// The metrics.
    pub(crate) metrics: Vec<Metric>,
    /// The metrics whose claims at the first comparison point are primary.
    #[serde(default)]
    pub(crate) primary: Vec<Metric>,
    /// The sweep.
    pub(crate) sweep: String,
    /// The level that is compared with: a name, or the number of an ordered sweep.
    pub(crate) from: toml::Value,
    /// The level that is compared.
    pub(crate) to: toml::Value,
    /// The direction from one to the other.
    pub(crate) direction: Direction,
    /// Where along training the runs are compared.
    pub(crate) comparisons: Vec<ComparisonPoint>,
}

/// `x` and `y` are correlated over all runs within seeds, given the swept values and the training loss.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Association {
    /// The source of the claim, if it is not the reproduced paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// One metric.
    pub(crate) x: Metric,
    /// The other metric.
    pub(crate) y: Metric,
    /// The direction of `y` as `x` rises.
    pub(crate) direction: Direction,
    /// Whether the claim at the first comparison point is primary.
    #[serde(default)]
    pub(crate) primary: bool,
    /// Where along training the runs are compared.
    #[serde(alias = "readouts")]
    pub(crate) comparisons: Vec<ComparisonPoint>,
}

/// At every measured point of every run, `lesser` ≤ `greater`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inequality {
    /// The bounded side.
    pub(crate) lesser: Metric,
    /// The bound.
    pub(crate) greater: Metric,
    /// Whether the claim is primary.
    #[serde(default)]
    pub(crate) primary: bool,
}

/// `x` and `y` are correlated along the training of every run, over the scheduled points after the initial network.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Course {
    /// The source of the claim, if it is not the reproduced paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// One metric.
    pub(crate) x: Metric,
    /// The other metric.
    pub(crate) y: Metric,
    /// The direction of `y` as `x` rises.
    pub(crate) direction: Direction,
    /// Whether the claim is primary.
    #[serde(default)]
    pub(crate) primary: bool,
}

/// The direction of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// The metric rises.
    Rises,
    /// The metric falls.
    Falls,
    /// The metric stays the same within the margin of the rules; for trends and contrasts only.
    Unchanged,
}

impl Direction {
    /// The comparative for a metric that goes this way.
    pub(crate) fn comparative(self) -> &'static str {
        match self {
            Self::Rises => "higher",
            Self::Falls => "lower",
            Self::Unchanged => "the same",
        }
    }
}

/// The point of training at which runs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::enum_variant_names, reason = "the names in experiment files")]
pub(crate) enum ComparisonPoint {
    /// At the end of training, when all runs have seen the same number of images.
    EqualEpochs,
    /// After the number of steps of the run with the largest batches, which has the fewest.
    EqualSteps,
    /// Where the training loss in evaluation mode first falls to the level of the rules, interpolated between measured points.
    #[serde(alias = "matched-loss")]
    EqualLoss,
}

impl Claims {
    /// Number of primary claims.
    pub(crate) fn primary_count(&self) -> usize {
        let trends = self.trends.iter().map(|claim| claim.primary.len() * claim.sweeps.len());
        let associations = self.associations.iter().filter(|claim| claim.primary).count();
        let inequalities = self.inequalities.iter().filter(|claim| claim.primary).count();
        let courses = self.courses.iter().filter(|claim| claim.primary).count();
        let contrasts: usize = self.contrasts.iter().map(|claim| claim.primary.len()).sum();
        // The kinds of estimators: samples of images, of entries, of outputs.
        let coverages = if self.coverage && self.coverage_primary { 3 } else { 0 };
        trends.sum::<usize>() + contrasts + associations + inequalities + courses + coverages
    }

    /// The comparison points of all claims, with repetitions.
    pub(crate) fn comparisons(&self) -> impl Iterator<Item = ComparisonPoint> {
        let trends = self.trends.iter().flat_map(|claim| &claim.comparisons);
        let contrasts = self.contrasts.iter().flat_map(|claim| &claim.comparisons);
        let associations = self.associations.iter().flat_map(|claim| &claim.comparisons);
        trends.chain(contrasts).chain(associations).copied()
    }
}

impl Rules {
    /// Refuses values out of their range.
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            bail!("rules.confidence: expected a number between 0 and 1, got {}", self.confidence);
        }
        if !(self.negligible_factor.is_finite() && self.negligible_factor >= 1.0) {
            bail!("rules.negligible_factor: expected a number from 1, got {}", self.negligible_factor);
        }
        if !(self.negligible_points.is_finite() && self.negligible_points >= 0.0) {
            bail!("rules.negligible_points: expected a number from 0, got {}", self.negligible_points);
        }
        if !(self.equal_loss_level > 0.0 && self.equal_loss_level < 1.0) {
            bail!("rules.equal_loss_level: expected a share of ln k in (0, 1), got {}", self.equal_loss_level);
        }
        if self.resamples < 100 {
            bail!("rules.resamples: expected at least 100, got {}", self.resamples);
        }
        if !(self.under_trained_above > 0.0 && self.under_trained_above <= 1.0) {
            bail!("rules.under_trained_above: expected a share of ln k in (0, 1], got {}", self.under_trained_above);
        }
        if !(self.trained_below > 0.0 && self.trained_below <= self.under_trained_above) {
            bail!(
                "rules.trained_below: expected a share of ln k in (0, {}], which is rules.under_trained_above, got {}",
                self.under_trained_above,
                self.trained_below
            );
        }
        if !(self.false_discovery_rate > 0.0 && self.false_discovery_rate < 1.0) {
            bail!("rules.false_discovery_rate: expected a share between 0 and 1, got {}", self.false_discovery_rate);
        }
        if !(self.saturated_above > 0.0 && self.saturated_above <= 1.0) {
            bail!("rules.saturated_above: expected an accuracy in (0, 1], got {}", self.saturated_above);
        }
        if !(0.0..1.0).contains(&self.coverage_tolerance) {
            bail!("rules.coverage_tolerance: expected a share in [0, 1), got {}", self.coverage_tolerance);
        }
        Ok(())
    }
}
