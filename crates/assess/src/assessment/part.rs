//! What was measured on the images of one part.

use candle_core::Tensor;
use collapse::{ClassMoments, CollapseReport};
use gc_core::Estimate;

use crate::{Decomposition, Measured};

/// Features of labelled images.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Features {
    /// The features `[n, p]`, in the order of the images.
    pub rows: Tensor,
    /// The class of each image `[n]`.
    pub labels: Vec<u32>,
}

/// What was measured on the images of one part: training, test or target images.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Part {
    /// Number of images whose features were measured.
    pub samples: usize,
    /// Number of classes; labels are below it. 0 without labels.
    pub classes: usize,
    /// Geometric complexity, of all images or of those that were given for it.
    pub gc: Option<Estimate>,
    /// The features, of labelled images.
    pub features: Option<Features>,
    /// Counts, means and scatter of the classes.
    pub moments: Option<ClassMoments>,
    /// Every measure of collapse, where they are defined.
    pub collapse: Option<CollapseReport>,
    /// Why there is no collapse report.
    pub undefined: Option<String>,
    /// Why the measures of the head were left out, where there is a head.
    pub without_head: Option<String>,
    /// NC and its factors with standard errors, of labelled images.
    pub decomposition: Option<Decomposition>,
    /// Mean cross-entropy in nats in evaluation mode, where the network has a head.
    pub loss: Option<Measured>,
    /// Share of images that the head classifies correctly.
    pub accuracy: Option<Measured>,
}

impl Part {
    /// A part of which the collapse report alone is known, such as that of features in a file.
    pub fn of_report(report: CollapseReport) -> Self {
        Self {
            samples: usize::try_from(report.counts.samples).unwrap_or(usize::MAX),
            classes: report.counts.classes + report.counts.singleton_classes + report.counts.missing_classes,
            collapse: Some(report),
            ..Self::unlabelled(None)
        }
    }

    /// The geometric complexity with its standard error: the average over batches where these were given
    /// ([`crate::Data::with_training_batches`]), else of the images.
    pub fn complexity(&self) -> Option<Measured> {
        let gc = self.gc.as_ref()?;
        let plain = Measured::new(gc.value, gc.standard_error.total, gc.samples);
        Some(self.decomposition.as_ref().map_or(plain, |decomposition| decomposition.gc))
    }

    /// The geometric complexity of each class `[K]`; NaN for a class without measured images.
    pub fn complexity_per_class(&self) -> Vec<f64> {
        per_class(self.gc.as_ref(), self.classes)
    }
}

/// The geometric complexity of each class `[K]`; NaN for a class without measured images.
pub(crate) fn per_class(gc: Option<&Estimate>, classes: usize) -> Vec<f64> {
    let mut values = vec![f64::NAN; classes];
    for class in gc.iter().flat_map(|gc| gc.per_class.iter().flatten()) {
        if let Some(value) = values.get_mut(class.label as usize) {
            *value = class.value;
        }
    }
    values
}
