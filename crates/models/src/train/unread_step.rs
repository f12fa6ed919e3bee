//! The values of a training step that the host needs, in one read after the backward passes.

use candle_core::Tensor;
use ops::host;

use super::Gradients;
use super::penalised_pass::UnreadPenalty;
use crate::Result;

/// The batches of a step after their backward passes, and their mean gradients. The values are still on the device.
pub(super) struct UnreadStep<'a> {
    pub(super) batches: Vec<UnreadBatch<'a>>,
    /// Of the loss with the penalty.
    pub(super) gradients: Gradients,
}

/// The loss of one batch.
pub(super) struct UnreadBatch<'a> {
    /// The mean cross-entropy alone, in nats: a scalar.
    pub(super) loss: Tensor,
    pub(super) penalty: Option<UnreadPenalty<'a>>,
}

/// The values of a step.
pub(super) struct StepValues {
    /// The mean cross-entropy of the batches alone, in nats.
    pub(super) loss: f64,
    /// The mean of their estimated geometric complexity, where the loss has a penalty.
    pub(super) complexity: Option<f64>,
    /// ‖∇θ loss‖², with the penalty.
    pub(super) squared_norm: f64,
}

/// A step, or its divergence: a loss or gradient that broke the divergence rule.
pub(super) enum Attempt<T> {
    Done(T),
    Diverged {
        /// The cross-entropy at which the rule was broken, in nats.
        loss: f64,
    },
}

impl UnreadStep<'_> {
    /// Reads all values at once. The divergence rule is applied to the loss of each batch in their order, before its complexity.
    pub(super) fn read(&self, has_diverged: impl Fn(f64) -> bool) -> Result<Attempt<StepValues>> {
        let squares = self.gradients.squares()?;
        let tensors: Vec<&Tensor> = self.batches.iter().flat_map(UnreadBatch::tensors).chain(&squares).collect();
        let mut elements = host::read_together(&tensors)?.into_iter();
        let (mut mean, mut complexity, count) = (0.0, None, self.batches.len() as f64);
        for batch in &self.batches {
            let loss = elements.next().into_iter().flatten().sum::<f64>();
            if has_diverged(loss) {
                return Ok(Attempt::Diverged { loss });
            }
            mean += loss / count;
            if let Some(penalty) = &batch.penalty {
                *complexity.get_or_insert(0.0) += penalty.values(&mut elements)?.complexity / count;
            }
        }
        let squared_norm = elements.flatten().fold(0.0, |sum, square| sum + square);
        Ok(Attempt::Done(StepValues { loss: mean, complexity, squared_norm }))
    }
}

impl UnreadBatch<'_> {
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        [&self.loss].into_iter().chain(self.penalty.iter().flat_map(UnreadPenalty::tensors))
    }
}
