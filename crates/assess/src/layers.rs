//! Measures of the outputs of single layers.

use serde::{Deserialize, Serialize};

use crate::Measured;

/// Measures of the output of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerMeasures {
    /// Name of the layer.
    pub layer: String,
    /// Number of its outputs.
    pub outputs: usize,
    /// Geometric complexity on training images.
    pub gc: Measured,
    /// Neural collapse on training images, from unbiased variances and squared distances.
    pub nc_unbiased: Measured,
    /// The same of the target classes of a transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_nc_unbiased: Option<Measured>,
    /// Accuracy of the ridge head on the layer's outputs: in few-shot episodes on the target classes, or, without target
    /// classes, fitted to training images and evaluated on test images.
    pub probe_accuracy: Measured,
}
