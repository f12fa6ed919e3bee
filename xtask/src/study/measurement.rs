//! The measurements of a run, one line of JSON for each measuring point, and its outcome.

use std::collections::BTreeMap;

pub(crate) use assess::{LayerMeasures, Measured};
use serde::{Deserialize, Serialize};

use super::estimator::GcEstimate;
use super::metric::Metric;

/// The measurements at one point of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measurement {
    /// The measuring point.
    #[serde(alias = "moment")]
    pub(crate) measuring_point: MeasuringPoint,
    /// Steps taken.
    pub(crate) step: usize,
    /// Images seen, divided by the number of training images.
    pub(crate) epoch: f64,
    /// Mean training loss over the last window of images; none before the first step.
    pub(crate) train_loss: Option<f64>,
    /// The measured values.
    pub(crate) values: BTreeMap<Metric, Measured>,
    /// Estimates of GC and its exact value, if they are configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) estimates: Vec<GcEstimate>,
    /// Measures of single layers at the end of training, if they are configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<LayerMeasures>,
}

/// A point of training at which a run measures, by its reason.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum MeasuringPoint {
    /// A point of the schedule.
    Schedule {
        /// Share of the training steps.
        share: f64,
    },
    /// After the number of steps of the run with the largest batches.
    EqualSteps,
    /// Where the running training loss first fell below a level.
    LossLevel {
        /// The level, as a share of ln k.
        level: f64,
    },
}

impl Measurement {
    /// The value of a metric, if it was measured and is defined.
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        self.values.get(&metric).and_then(|measured| measured.value)
    }
}

/// The outcome of a run that ended without an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum RunOutcome {
    /// It trained to the last step.
    Completed {
        /// Number of classes.
        classes: usize,
        /// Number of training images.
        images: usize,
        /// Mean training loss over the last window of images.
        final_loss: f64,
    },
    /// The training loss, a gradient, or the features were not finite.
    Diverged {
        /// Number of classes.
        classes: usize,
        /// Number of training images.
        images: usize,
        /// Steps taken before.
        step: usize,
    },
}
