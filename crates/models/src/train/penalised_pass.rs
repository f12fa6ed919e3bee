//! Loss and gradients of a batch with geometric complexity as a term of the loss, without a graph.

use candle_core::{DType, Tensor};
use ops::cross_entropy_with_gradient;
use serde::{Deserialize, Serialize};

use super::{Gradients, LabelledBatch};
use crate::layer::{GradientAccumulator, TangentCotangentTerms};
use crate::linearization::LogitsTape;
use crate::squared_vjp::ForwardResiduals;
use crate::{Network, Pass, Result};

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
        let (loss, cotangent) = cross_entropy_with_gradient(&forward.logits, batch.labels, batch.label_smoothing)?;
        let loss = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        Ok(Self { network, images: batch.images, pass, forward, loss, cotangent })
    }

    /// The mean cross-entropy alone, in nats.
    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// The estimated geometric complexity of the batch, and the gradients of loss + λ·complexity.
    ///
    /// Where J depends on the input of a layer (training-mode batch norm, smooth activations), the penalty's gradient by that
    /// input is added to the cotangent in the backward pass of the loss, so that no further backward pass is needed.
    pub(super) fn gradients(
        self,
        GcPenalty { strength, estimator }: &GcPenalty,
        step: u64,
    ) -> Result<(f64, Gradients)> {
        let Self { network, images, pass, forward, cotangent, .. } = self;
        let LogitsTape { features, residuals, tape, .. } = forward;
        let view = network.tracked();
        let probes = estimator.probes(&features, view.batch_norm_mode(&pass), step)?;
        let forward = ForwardResiduals { view, layers: &view.layers().body, residuals, images, pass: &pass };
        let (units, factor) = (estimator.input_units(), strength * probes.gradient_factor());
        let mut sums = GradientAccumulator::default();
        let mut terms = TangentCotangentTerms::AddedTo(&mut sums);
        let squared_norms = probes.cotangents().iter().map(|v| forward.squared_vjp(v, units, factor, &mut terms));
        let squared_norms = squared_norms.collect::<Result<Vec<_>>>()?;
        let (complexity, _) = probes.complexity(&squared_norms, || view.first_non_finite_layer(images, &pass))?;
        drop(forward);
        tape.into_vjp(cotangent, &mut sums)?;
        Ok((complexity, Gradients::from_sums(network.params(), sums)))
    }
}
