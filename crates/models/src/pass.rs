//! The mode of a pass through a network.

use ops::kernels::Accuracy;

/// The mode of one pass through a network: batch norm, dropout and rounding.
///
/// ```
/// use models::Pass;
/// assert!(!Pass::evaluation().batch_statistics);
/// assert!(Pass::training(3, 0).update_running);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Whether batch norm normalises by the statistics of the batch (training) or by the running ones (evaluation).
    pub batch_statistics: bool,
    /// Whether the forward pass updates the running statistics; the forward-mode pass never does.
    pub update_running: bool,
    /// Seed and step that address the random numbers of dropout; none for no dropout.
    pub dropout: Option<(u64, u64)>,
    /// The precision of convolutions in f32.
    pub accuracy: Accuracy,
}

impl Pass {
    /// Running statistics and no dropout: the default for measuring.
    pub fn evaluation() -> Self {
        Self { batch_statistics: false, update_running: false, dropout: None, accuracy: Accuracy::Fast }
    }

    /// Batch statistics, an update of the running ones, and dropout addressed by this seed and step.
    pub fn training(seed: u64, step: u64) -> Self {
        Self { batch_statistics: true, update_running: true, dropout: Some((seed, step)), accuracy: Accuracy::Fast }
    }

    /// The same pass without the additional rounding of Winograd convolution.
    pub fn accurate(self) -> Self {
        Self { accuracy: Accuracy::Accurate, ..self }
    }

    /// The same pass with mixed precision: convolutions multiply in bf16 and add in f32; weights, activations, batch norm, the head
    /// and the loss stay f32. It needs CUDA with the feature `cudnn`; elsewhere convolutions return an error.
    pub fn mixed_precision(self) -> Self {
        Self { accuracy: Accuracy::Bf16, ..self }
    }

    /// The same pass with TF32 products: convolutions round their factors to ten bits of mantissa and add in f32; everything else stays
    /// f32, the matrix products of linear layers too. It has the conditions of [`Pass::mixed_precision`].
    ///
    /// ```
    /// use models::{Accuracy, Pass};
    /// assert_eq!(Pass::training(0, 0).accuracy, Accuracy::Fast);
    /// assert_eq!(Pass::training(0, 0).tf32().accuracy, Accuracy::Tf32);
    /// ```
    pub fn tf32(self) -> Self {
        Self { accuracy: Accuracy::Tf32, ..self }
    }

    /// The same pass without an update of the running statistics.
    pub fn without_update(self) -> Self {
        Self { update_running: false, ..self }
    }
}
