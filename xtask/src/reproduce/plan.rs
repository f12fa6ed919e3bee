//! The contents of an experiment file: what is varied, what is drawn, what is claimed, and when a claim holds.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::configuration::{Data, Measure, Model, Train};
use super::metric::Metric;

/// Which classes the measures look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    /// Train on source classes, measure there and on target classes that training never saw.
    Transfer,
    /// Train on all classes, measure on their training and test images.
    Classification,
}

/// The contents of an experiment file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// What the experiment is about, in one line.
    pub(crate) title: String,
    /// Which figure of the paper it reproduces.
    pub(crate) figure: String,
    /// Which classes the measures look at.
    pub(crate) task: Task,
    /// One run of every configuration for each seed.
    pub(crate) seeds: Vec<u64>,
    /// What images there are.
    pub(crate) data: Data,
    /// What is trained.
    pub(crate) model: Model,
    /// How it is trained.
    pub(crate) train: Train,
    /// What is measured, when, and on how many images.
    pub(crate) measure: Measure,
    /// What is varied, one key at a time.
    pub(crate) sweeps: BTreeMap<String, Sweep>,
    /// What the report draws.
    pub(crate) report: Layout,
    /// When a run counts and when a claim holds.
    pub(crate) rules: Rules,
    /// What the paper says will be seen.
    pub(crate) claims: Claims,
}

impl Task {
    /// The name in experiment files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Classification => "classification",
        }
    }
}

impl Plan {
    /// Every metric that the report draws or the claims are about.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = Metric> {
        let (report, claims) = (&self.report, &self.claims);
        let drawn = report.rows.iter().chain(report.together.iter().flat_map(|group| &group.metrics)).copied();
        let scattered = report.scatter.iter().flat_map(|axes| [axes.x, axes.y]);
        let trends = claims.trends.iter().flat_map(|trend| &trend.metrics).copied();
        let associations = claims.associations.iter().flat_map(|claim| [claim.x, claim.y]);
        let inequalities = claims.inequalities.iter().flat_map(|claim| [claim.lesser, claim.greater]);
        let courses = claims.courses.iter().flat_map(|claim| [claim.x, claim.y]);
        drawn.chain(scattered).chain(trends).chain(associations).chain(inequalities).chain(courses)
    }
}

/// One key of the configuration and the values that it takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sweep {
    /// Name for people.
    pub(crate) label: String,
    /// Dotted key of the configuration.
    pub(crate) key: String,
    /// Its values, in rising order.
    pub(crate) values: Vec<toml::Value>,
}

impl Sweep {
    /// The values as numbers.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        self.values.iter().filter_map(number).collect()
    }
}

/// The number in a TOML value, if it is one.
pub(crate) fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// What the figure shows: a column for each sweep, a row for each metric, then scatter plots.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// Sweeps, left to right.
    pub(crate) columns: Vec<String>,
    /// Metrics along training, top to bottom.
    pub(crate) rows: Vec<Metric>,
    /// Metrics drawn together along training, each group in a column of its own.
    #[serde(default)]
    pub(crate) together: Vec<Together>,
    /// Pairs of metrics at the end of training.
    pub(crate) scatter: Vec<Axes>,
}

/// Metrics that share one drawing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Together {
    /// Name for people.
    pub(crate) label: String,
    /// The curves.
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

/// The rules by which runs are excluded and verdicts given, fixed before any result is seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    /// A run whose training loss ends above this share of ln k (the loss of a uniform guess) is under-trained.
    pub(crate) under_trained_above: f64,
    /// An accuracy at or above this is saturated; a claim about accuracies of which most are so is undecided.
    pub(crate) saturated_above: f64,
    /// Level of the bootstrap interval; a verdict also needs a permutation test below one minus this.
    pub(crate) confidence: f64,
    /// Bootstrap resamples.
    pub(crate) resamples: usize,
    /// How far the share of intervals that contain the exact value may lie below the level that they state.
    pub(crate) coverage_tolerance: f64,
}

/// What the paper claims, as statements that numbers can decide.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    /// Metrics that move one way as a swept value rises.
    pub(crate) trends: Vec<Trend>,
    /// Metrics that move together, or oppositely, over runs.
    pub(crate) associations: Vec<Association>,
    /// Metrics of which one is never larger than the other.
    pub(crate) inequalities: Vec<Inequality>,
    /// Metrics that move together in the course of each run.
    #[serde(default)]
    pub(crate) courses: Vec<Course>,
    /// Whether the intervals of the estimators contain the exact value as often as they say.
    #[serde(default)]
    pub(crate) coverage: bool,
}

/// Each of `metrics` moves as stated with the value of each of `sweeps`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trend {
    /// What moves.
    pub(crate) metrics: Vec<Metric>,
    /// Which way, as the swept value rises.
    pub(crate) sweeps: BTreeMap<String, Direction>,
    /// When the runs are compared.
    pub(crate) readouts: Vec<Readout>,
}

/// Over the runs of a sweep, and of all sweeps, `x` and `y` move together or oppositely.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Association {
    /// One metric.
    pub(crate) x: Metric,
    /// The other.
    pub(crate) y: Metric,
    /// Which way `y` goes as `x` rises.
    pub(crate) direction: Direction,
    /// When the runs are compared.
    pub(crate) readouts: Vec<Readout>,
}

/// At every measured point of every run, `lesser` ≤ `greater`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inequality {
    /// The side that is bounded.
    pub(crate) lesser: Metric,
    /// The side that bounds.
    pub(crate) greater: Metric,
}

/// In the course of every run, `x` and `y` move together or oppositely over the scheduled points after the
/// initialisation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Course {
    /// One metric.
    pub(crate) x: Metric,
    /// The other.
    pub(crate) y: Metric,
    /// Which way `y` goes as `x` rises.
    pub(crate) direction: Direction,
}

/// Which way a metric goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// Up.
    Rises,
    /// Down.
    Falls,
}

/// At which point of training runs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Readout {
    /// At the end, all runs having seen the same number of images.
    EqualEpochs,
    /// After as many steps as the run with the largest batches, so the fewest steps, takes in all.
    EqualSteps,
    /// When the running training loss first fell below the lowest level that all compared runs reached.
    MatchedLoss,
}

impl Claims {
    /// The points of training at which runs are compared, as often as they are named.
    pub(crate) fn readouts(&self) -> impl Iterator<Item = Readout> {
        let trends = self.trends.iter().flat_map(|claim| &claim.readouts);
        trends.chain(self.associations.iter().flat_map(|claim| &claim.readouts)).copied()
    }
}

impl Rules {
    /// Refuses levels and counts that decide nothing.
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            bail!("rules.confidence: expected a number between 0 and 1, got {}", self.confidence);
        }
        if self.resamples < 100 {
            bail!("rules.resamples: expected at least 100, got {}", self.resamples);
        }
        if !(self.under_trained_above > 0.0 && self.under_trained_above <= 1.0) {
            bail!("rules.under_trained_above: expected a share of ln k in (0, 1], got {}", self.under_trained_above);
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
