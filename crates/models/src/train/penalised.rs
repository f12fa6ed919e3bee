//! A batch's gradients with geometric complexity as a term of the loss, without a graph.

use candle_core::{DType, Tensor};

use super::Gradients;
use crate::layer::{ByParameter, Pairings};
use crate::recorded::{Recorded, TracedLogits};
use crate::{Network, Pass, Result};
use ops::cross_entropy_with_gradient;

/// λ·GC as a term of the loss.
///
/// **Source** Dherin, Munn, Rosca and Barrett, 2022 (arXiv 2209.13083).
#[derive(Debug, Clone, PartialEq)]
pub struct GcPenalty {
    /// λ.
    pub strength: f64,
    /// How the geometric complexity of a batch is estimated, with fresh probes each step.
    pub estimator: gc_core::Penalty,
}

/// The pass forward of a penalised step, which tells the loss before anything is walked back.
pub(super) struct PenalisedPass<'a> {
    network: &'a Network,
    images: &'a Tensor,
    pass: Pass,
    forward: TracedLogits<'a>,
    loss: f64,
    /// The gradient of the loss by the class scores.
    cotangent: Tensor,
}

impl<'a> PenalisedPass<'a> {
    pub(super) fn new(
        network: &'a Network,
        images: &'a Tensor,
        labels: &Tensor,
        smoothing: f64,
        pass: Pass,
    ) -> Result<Self> {
        let forward = network.tracked().traced_logits(images, true, &pass)?;
        let (loss, cotangent) = cross_entropy_with_gradient(&forward.logits, labels, smoothing)?;
        let loss = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        Ok(Self { network, images, pass, forward, loss, cotangent })
    }

    /// The mean cross-entropy alone, in nats.
    pub(super) fn loss(&self) -> f64 {
        self.loss
    }

    /// The estimated geometric complexity of the batch, and the gradients of loss + λ·complexity.
    ///
    /// Where J varies with the input of a layer (batch norm by the batch, smooth activations), the gradient by that input
    /// joins the loss's way back there, so that no pass is walked for it.
    pub(super) fn gradients(
        self,
        GcPenalty { strength, estimator }: &GcPenalty,
        step: u64,
    ) -> Result<(f64, Gradients)> {
        let Self { network, images, pass, forward, cotangent, .. } = self;
        let TracedLogits { features, records, trace, .. } = forward;
        let view = network.tracked();
        let probes = estimator.probes(&features, view.batch_norm_mode(&pass), step)?;
        let recorded = Recorded { view, body: view.body(), records, images, pass: &pass };
        let (units, factor) = (estimator.input_units(), strength * probes.gradient_factor());
        let mut found = ByParameter::default();
        let mut pairings = Pairings::Added(&mut found);
        let walked = probes.cotangents().iter().map(|v| recorded.squared_pullback(v, units, factor, &mut pairings));
        let squared_norms = walked.collect::<Result<Vec<_>>>()?;
        let (complexity, _) = probes.complexity(&squared_norms, || view.first_non_finite_layer(images, &pass))?;
        drop(recorded);
        trace.into_pullback(cotangent, &mut found)?;
        Ok((complexity, Gradients::found(network.params(), found)))
    }
}
