//! How one pass through a network treats what differs between training and evaluation.

use ops::kernels::Accuracy;

/// How one pass through a network treats batch norm, dropout and rounding.
///
/// ```
/// use models::Pass;
/// assert!(!Pass::evaluation().batch_statistics);
/// assert!(Pass::training(3, 0).update_running);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Whether batch norm uses the statistics of the batch (training) or the running ones (evaluation).
    pub batch_statistics: bool,
    /// Whether the forward pass moves the running statistics; the forward-mode pass never does.
    pub update_running: bool,
    /// Seed and step from which dropout draws, or no dropout.
    pub dropout: Option<(u64, u64)>,
    /// How much rounding convolutions in f32 may add.
    pub accuracy: Accuracy,
}

impl Pass {
    /// Running statistics, no dropout: what measuring uses unless asked otherwise.
    pub fn evaluation() -> Self {
        Self { batch_statistics: false, update_running: false, dropout: None, accuracy: Accuracy::Fast }
    }

    /// Batch statistics, which move the running ones, and dropout from the stream of this seed and step.
    pub fn training(seed: u64, step: u64) -> Self {
        Self { batch_statistics: true, update_running: true, dropout: Some((seed, step)), accuracy: Accuracy::Fast }
    }

    /// The same pass without Winograd's rounding.
    pub fn accurate(self) -> Self {
        Self { accuracy: Accuracy::Accurate, ..self }
    }

    /// The same pass with mixed precision: convolutions multiply in bf16 and add in f32; weights, activations, batch norm,
    /// the head and the loss stay f32. On CUDA with the feature `cudnn` only: elsewhere the convolutions refuse.
    pub fn mixed_precision(self) -> Self {
        Self { accuracy: Accuracy::Bf16, ..self }
    }

    /// The same pass with the running statistics left as they are.
    pub fn without_update(self) -> Self {
        Self { update_running: false, ..self }
    }
}
