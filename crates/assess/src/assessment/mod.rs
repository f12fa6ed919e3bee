//! The result of an assessment: everything that was measured of a network on labelled images.

mod part;

use std::collections::BTreeMap;

use fewshot::{Evaluation, TransferScores};
use serde::{Deserialize, Serialize};

pub(crate) use part::per_class;
pub use part::{Features, Part};

use crate::{Bounds, LayerMeasures, Measure, Measured, PartOf};

/// Everything that was measured of a network on labelled images.
///
/// The parts hold the results of the measuring crates as they are. Every number has a [`Measure`], which reads it:
/// [`Assessment::values`] gives those of any measures.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Assessment {
    /// Training images, or the only images.
    pub train: Part,
    /// Test images of the training classes.
    pub test: Option<Part>,
    /// Images of target classes, which training never sees.
    pub target: Option<Part>,
    /// The nearest-mean error of the test images and the bounds on it; needs labelled training and test images.
    pub bounds: Option<Bounds>,
    /// Few-shot accuracy on the target images, or on the only images, if it was asked for.
    pub few_shot: Option<FewShotResult>,
    /// Transfer scores of the same images, if they were asked for.
    pub transfer: Option<TransferResult>,
    /// Measures of single layers, if they were asked for.
    pub layers: Vec<LayerMeasures>,
    /// Slopes along training, where the caller knows them.
    pub slopes: Option<Slopes>,
}

impl Assessment {
    /// An assessment of training images alone; the caller adds further parts.
    pub fn of_parts(train: Part) -> Self {
        Self {
            train,
            test: None,
            target: None,
            bounds: None,
            few_shot: None,
            transfer: None,
            layers: Vec::new(),
            slopes: None,
        }
    }

    /// The images of a part; none where there are none, and for [`PartOf::Training`].
    pub fn part(&self, part: PartOf) -> Option<&Part> {
        match part {
            PartOf::Train => Some(&self.train),
            PartOf::Test => self.test.as_ref(),
            PartOf::Target => self.target.as_ref(),
            PartOf::Training => None,
        }
    }

    /// The values of these measures, without those that the assessment does not measure. A value that is undefined on these data
    /// is a [`Measured`] without value.
    pub fn values(&self, measures: impl IntoIterator<Item = Measure>) -> BTreeMap<Measure, Measured> {
        measures.into_iter().filter_map(|measure| Some((measure, measure.read(self)?))).collect()
    }
}

/// Few-shot accuracy over episodes, and bounds on the error of the nearest class mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FewShotResult {
    /// The accuracies of all heads over the same episodes.
    pub evaluation: Evaluation,
    /// Mean over episodes of the Cantelli bound on the error of the nearest class mean, where it is among the heads.
    pub cantelli_bound: Option<Measured>,
    /// Mean over episodes of the bound by the directional CDNV, where the nearest class mean is among the heads.
    pub directional_bound: Option<Measured>,
}

impl FewShotResult {
    /// The accuracy of the first head whose name starts so: `ncm`, `ridge`.
    pub fn accuracy_of(&self, head: &str) -> Option<Measured> {
        let found = self.evaluation.heads.iter().find(|found| found.head.starts_with(head))?;
        let accuracy = &found.accuracy;
        Some(Measured::new(accuracy.mean, Some(accuracy.standard_error), self.evaluation.episodes))
    }
}

/// Transfer scores of labelled features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransferResult {
    /// The scores; none where they are undefined.
    pub scores: Option<TransferScores>,
    /// Why there are none.
    pub undefined: Option<String>,
    /// Number of images.
    pub samples: usize,
}

/// Squared norms of the loss gradient along training, which only the trainer knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Slopes {
    /// Mean over the steps so far, the slope of the learning path; none before the first step.
    pub path: Option<Measured>,
    /// At this step.
    pub step: Option<Measured>,
}

impl Slopes {
    /// The slopes after `steps` steps, from the sum of the squared norms and the last of them.
    pub fn new(sum: f64, steps: usize, last: Option<f64>) -> Self {
        Self {
            path: (steps > 0).then(|| Measured::new(sum / steps as f64, None, steps)),
            step: last.map(|last| Measured::new(last, None, 1)),
        }
    }
}
