//! Loss and gradients of a batch with geometric complexity as a term of the loss, without a graph.

use candle_core::{DType, Tensor};
use ops::cross_entropy_with_gradient;
use serde::{Deserialize, Serialize};

use super::{Gradients, LabelledBatch};
use crate::layer::GradientAccumulator;
use crate::linearization::LogitsTape;
use crate::squared_vjp::{SquaredVjp, SquaredVjps, mismatch};
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
    images: &'a Tensor,
    pass: Pass,
    forward: LogitsTape<'a>,
    loss: f64,
    /// The gradient of the loss by the class scores.
    cotangent: Tensor,
}

impl<'a> PenalisedPass<'a> {
    pub(super) fn new(network: &'a Network, batch: &LabelledBatch<'a>, pass: Pass) -> Result<Self> {
        let forward = network.tracked().linearize_logits(batch.images, true, &pass)?;
        let (loss, cotangent) = cross_entropy_with_gradient(&forward.head.output, batch.labels, batch.label_smoothing)?;
        let loss = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        Ok(Self { network, images: batch.images, pass, forward, loss, cotangent })
    }

    /// The mean cross-entropy alone, in nats.
    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// The estimated geometric complexity of the batch, the error of the tangents, and the gradients of loss + λ·complexity.
    ///
    /// Where J depends on the input of a layer (training-mode batch norm, smooth activations), the penalty's gradient by that
    /// input is added to the cotangent in the backward pass of the loss, so that no further backward pass is needed.
    pub(super) fn gradients(
        self,
        GcPenalty { strength, estimator }: &GcPenalty,
        step: u64,
    ) -> Result<(f64, f64, Gradients)> {
        let Self { network, images, pass, forward, cotangent, .. } = self;
        let view = network.tracked();
        let probes = estimator.probes(&forward.features, view.batch_norm_mode(&pass), step)?;
        let factor = strength * probes.gradient_factor();
        let mut sums = GradientAccumulator::of_parameters();
        let vjps = SquaredVjps { view, tape: &forward.body, images, units: estimator.input_units() };
        let squared_norms = probes.cotangents().iter().map(|v| vjps.of(v, factor, &mut sums));
        let squared_norms = squared_norms.collect::<Result<Vec<_>>>()?;
        let mismatch = agreement(&squared_norms)?;
        let squared_norms: Vec<_> = squared_norms.into_iter().map(|vjp| vjp.norms).collect();
        let (complexity, _) = probes.complexity(&squared_norms, || view.first_non_finite_layer(images, &pass))?;
        forward.into_vjp(&cotangent, &mut sums)?;
        Ok((complexity, mismatch, Gradients::from_sums(network.params(), sums)))
    }
}

/// The largest relative difference of Σ⟨v, J u⟩ and Σ‖u‖² with which a step is done. Central differences in f32 stay below a
/// tenth of it for the maps that were tried, and a wrong derivative rule is far above it.
const LARGEST_MISMATCH: f64 = 0.05;

/// The relative difference of tangents and VJPs, or an error if they contradict each other. Layers with rules of their own always
/// agree.
fn agreement(vjps: &[SquaredVjp]) -> Result<f64> {
    let mismatch = mismatch(vjps);
    // A complexity that is not finite has an error of its own.
    if mismatch > LARGEST_MISMATCH { Err(Error::TangentMismatch { mismatch }) } else { Ok(mismatch) }
}
