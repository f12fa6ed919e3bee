//! What a run logs: one line of JSON for each point of training at which it measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::estimator::Estimated;
use super::metric::Metric;

/// Everything measured at one point of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measurement {
    /// Why here.
    pub(crate) moment: Moment,
    /// Steps taken.
    pub(crate) step: usize,
    /// Images seen, divided by the images that there are.
    pub(crate) epoch: f64,
    /// Mean training loss over the last window of images; none before the first step.
    pub(crate) train_loss: Option<f64>,
    /// The measured quantities.
    pub(crate) values: BTreeMap<Metric, Measured>,
    /// Estimates of GC beside its exact value, where they are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) estimates: Vec<Estimated>,
}

/// Why a measurement was taken where it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Moment {
    /// The schedule says so.
    Schedule {
        /// Share of training.
        share: f64,
    },
    /// The run with the largest batches takes no more steps than these.
    EqualSteps,
    /// The running training loss first fell below a level.
    LossLevel {
        /// Share of ln k.
        level: f64,
    },
}

/// A number with what is known of its error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measured {
    /// The value; none where it is undefined or not finite.
    pub(crate) value: Option<f64>,
    /// Its standard error, where one is estimated.
    pub(crate) standard_error: Option<f64>,
    /// Images, or episodes, that it rests on.
    pub(crate) samples: usize,
}

impl Measured {
    /// A value with its error; what is not finite becomes undefined, because JSON has no other way to say it.
    pub(crate) fn new(value: f64, standard_error: Option<f64>, samples: usize) -> Self {
        let finite = |number: &f64| number.is_finite();
        Self { value: Some(value).filter(finite), standard_error: standard_error.filter(finite), samples }
    }
}

impl Measurement {
    /// The value of a metric, if it was measured and is defined.
    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        self.values.get(&metric).and_then(|measured| measured.value)
    }
}

/// How a run that went to its end came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Outcome {
    /// It trained to the last step.
    Completed {
        /// Classes it was trained on.
        classes: usize,
        /// Images it was trained on.
        images: usize,
        /// Mean training loss over the last window of images.
        final_loss: f64,
    },
    /// The training loss, or a weight, was no longer a finite number.
    Diverged {
        /// Classes it was trained on.
        classes: usize,
        /// Images it was trained on.
        images: usize,
        /// The step at which it happened.
        step: usize,
    },
}
