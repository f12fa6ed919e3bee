//! Loss and gradients of a batch with geometric complexity as a term of the loss, without a graph.

use candle_core::Tensor;
use gc_core::PenaltyProbes;
use ops::cross_entropy_with_gradient;
use serde::{Deserialize, Serialize};

use super::{Gradients, LabelledBatch};
use crate::layer::GradientAccumulator;
use crate::linearization::LogitsTape;
use crate::squared_vjp::{SquaredNorms, SquaredVjp, SquaredVjps};
use crate::{Error, Network, Pass, Result};

/// λ·GC as a term of the loss.
///
/// **Source** Dherin, Munn, Rosca and Barrett, 2022 (arXiv 2209.13083).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GcPenalty {
    /// λ.
    pub strength: f64,
    /// The estimator of the geometric complexity of a batch; it draws new probes at each step.
    pub estimator: gc_core::Penalty,
}

/// The forward pass of a penalised step; the loss is known before any backward pass.
pub(super) struct PenalisedPass<'a> {
    network: &'a Network,
    images: Tensor,
    pass: Pass,
    forward: LogitsTape<'a>,
    /// The mean cross-entropy alone, in nats: a scalar on the device.
    loss: Tensor,
    /// The gradient of the loss by the class scores.
    cotangent: Tensor,
}

/// The penalty of a batch, whose values are still on the device.
pub(super) struct UnreadPenalty<'a> {
    network: &'a Network,
    images: Tensor,
    pass: Pass,
    probes: PenaltyProbes,
    vjps: Vec<SquaredVjp>,
}

/// The values of a penalty.
pub(super) struct PenaltyValues {
    /// The estimated geometric complexity of the batch.
    pub(super) complexity: f64,
    /// The error of the tangents: see [`PenalisedLoss::mismatch`](super::PenalisedLoss::mismatch).
    pub(super) mismatch: f64,
}

impl<'a> PenalisedPass<'a> {
    pub(super) fn new(network: &'a Network, batch: &LabelledBatch<'_>, pass: Pass) -> Result<Self> {
        let forward = network.tracked().linearize_logits(batch.images, true, &pass)?;
        let (loss, cotangent) = cross_entropy_with_gradient(&forward.head.output, batch.labels, batch.label_smoothing)?;
        Ok(Self { network, images: batch.images.clone(), pass, forward, loss, cotangent })
    }

    /// The mean cross-entropy alone, in nats: a scalar on the device.
    pub(super) fn loss(&self) -> &Tensor {
        &self.loss
    }

    /// Whether candle's graph differentiates a layer. Such a layer reads values in the passes of the penalty, and refuses those that
    /// are not finite.
    pub(super) fn by_graph(&self) -> bool {
        self.forward.body.by_graph()
    }

    /// The penalty, and the gradients of loss + λ·complexity. No value is read, unless [by a graph](Self::by_graph).
    ///
    /// Where J depends on the input of a layer (training-mode batch norm, smooth activations), the penalty's gradient by that
    /// input is added to the cotangent in the backward pass of the loss, so that no further backward pass is needed.
    pub(super) fn gradients(
        self,
        GcPenalty { strength, estimator }: &GcPenalty,
        step: u64,
    ) -> Result<(UnreadPenalty<'a>, Gradients)> {
        let Self { network, images, pass, forward, cotangent, .. } = self;
        let view = network.tracked();
        let probes = estimator.probes(&forward.features, view.batch_norm_mode(&pass), step)?;
        let factor = strength * probes.gradient_factor();
        let mut sums = GradientAccumulator::of_parameters();
        let vjps = SquaredVjps { view, tape: &forward.body, images: &images, units: estimator.input_units() };
        let vjps = probes.cotangents().iter().map(|v| vjps.of(v, factor, &mut sums)).collect::<Result<Vec<_>>>()?;
        forward.into_vjp(&cotangent, &mut sums)?;
        let penalty = UnreadPenalty { network, images, pass, probes, vjps };
        Ok((penalty, Gradients::from_sums(network.params(), sums)))
    }
}

impl UnreadPenalty<'_> {
    /// The tensors whose elements [`UnreadPenalty::values`] takes.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.vjps.iter().flat_map(SquaredVjp::tensors)
    }

    /// Takes the elements of [`UnreadPenalty::tensors`].
    pub(super) fn values(&self, elements: &mut impl Iterator<Item = Vec<f64>>) -> Result<PenaltyValues> {
        let SquaredNorms { norms, mismatch } = SquaredNorms::of(&self.vjps, elements);
        require_agreement(mismatch)?;
        let layer = || self.network.tracked().first_non_finite_layer(&self.images, &self.pass);
        let (complexity, _) = self.probes.complexity(&norms, layer)?;
        Ok(PenaltyValues { complexity, mismatch })
    }
}

/// The largest relative difference of Σ⟨v, J u⟩ and Σ‖u‖² with which a step is done. Central differences in f32 stay below a
/// tenth of it for the maps that were tried, and a wrong derivative rule is far above it.
const LARGEST_MISMATCH: f64 = 0.05;

/// Returns an error if tangents and VJPs contradict each other. Layers with rules of their own always agree.
fn require_agreement(mismatch: f64) -> Result<()> {
    // A complexity that is not finite has an error of its own.
    if mismatch > LARGEST_MISMATCH { Err(Error::TangentMismatch { mismatch }) } else { Ok(()) }
}
