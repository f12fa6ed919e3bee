//! One batch normalised by its own statistics, outside any graph: the value and the three gradients, alone or with a ReLU
//! behind it, each in as few passes over the memory as there can be.

use candle_core::{Tensor, WithDType};

use super::batch_norm::ChannelMoments;
use super::composed::{self, is_composed};
use super::cpu::with_elements;
use super::product::{gate, pair};
use super::relu;
use crate::Result;
use crate::kernels::Element;
use crate::kernels::batch_norm::{self, Normalisation};

const OP: &str = "batch-norm";

/// A batch and what normalises it. All tensors are plain ones, of shapes that fit.
pub(crate) struct NormalisedBatch {
    pub(crate) x: Tensor,
    pub(crate) gamma: Tensor,
    pub(crate) beta: Tensor,
    pub(crate) moments: ChannelMoments,
    pub(crate) epsilon: f64,
    /// Whether a ReLU follows.
    pub(crate) rectify: bool,
}

/// The gradients of one batch norm.
pub(crate) struct BatchNormGradients {
    /// By the input, if it was asked for.
    pub(crate) input: Option<Tensor>,
    pub(crate) gamma: Tensor,
    pub(crate) beta: Tensor,
}

impl NormalisedBatch {
    /// x̂·γ + β, or its positive part.
    pub(crate) fn value(&self) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if super::cuda::takes(&self.x) {
            return Ok(super::cuda::normalise(&self.x, &self.on_device()?)?);
        }
        if is_composed(&self.x) {
            let y = composed::normalised(&self.x, &self.moments, self.epsilon, &self.gamma, &self.beta)?;
            return if self.rectify { relu(&y) } else { Ok(y) };
        }
        let inverse = self.moments.inverse_deviation(self.epsilon);
        Ok(with_elements!(OP, [x: self.x, gamma: self.gamma, beta: self.beta], T => {
            let y = batch_norm::normalise(x, &self.normalisation(&inverse, gamma, beta), self.rectify);
            Tensor::from_vec(y, self.x.shape(), self.x.device())?
        }))
    }

    /// The gradients for a cotangent `g` of the value: one, as statistics of a batch mix its images.
    ///
    /// **Errors** as [`hadamard`](super::hadamard).
    pub(crate) fn gradients(&self, g: &Tensor, of_input: bool) -> Result<BatchNormGradients> {
        pair(OP, g, &self.x)?;
        if is_composed(&self.x) {
            return self.composed_gradients(g);
        }
        let inverse = self.moments.inverse_deviation(self.epsilon);
        Ok(with_elements!(OP, [x: self.x, g: g.detach(), gamma: self.gamma, beta: self.beta], T => {
            let by = self.normalisation(&inverse, gamma, beta);
            let (plain, weighted) = batch_norm::normalised_sums(x, g, &by, self.rectify);
            let input = of_input.then(|| batch_norm::input_gradient(x, g, &by, (&plain, &weighted), self.rectify));
            let input = input.map(|input| Tensor::from_vec(input, self.x.shape(), self.x.device())).transpose()?;
            BatchNormGradients { input, gamma: self.vector::<T>(weighted)?, beta: self.vector::<T>(plain)? }
        }))
    }

    fn composed_gradients(&self, g: &Tensor) -> Result<BatchNormGradients> {
        #[cfg(feature = "cuda")]
        if super::cuda::takes(&self.x) {
            let [input, gamma, beta] = super::cuda::norm_gradients(&self.x, &g.detach(), &self.on_device()?)?;
            return Ok(BatchNormGradients { input: Some(input), gamma, beta });
        }
        let g = if self.rectify { gate(g, &self.value()?)? } else { g.clone() };
        let [input, gamma, beta] = composed::training_gradients(&self.x, &self.moments, self.epsilon, &self.gamma, &g)?;
        Ok(BatchNormGradients { input: Some(input), gamma, beta })
    }

    /// What the kernels for CUDA need of it.
    #[cfg(feature = "cuda")]
    fn on_device(&self) -> Result<super::cuda::Normalising> {
        let inverse = self.moments.inverse_deviation(self.epsilon);
        Ok(super::cuda::Normalising::new((&self.moments.mean, &inverse), (&self.gamma, &self.beta), self.rectify)?)
    }

    fn normalisation<'a, T>(
        &'a self,
        inverse_deviation: &'a [f64],
        scale: &'a [T],
        shift: &'a [T],
    ) -> Normalisation<'a, T> {
        Normalisation { mean: &self.moments.mean, inverse_deviation, scale, shift }
    }

    fn vector<T: Element + WithDType>(&self, values: Vec<f64>) -> candle_core::Result<Tensor> {
        let values: Vec<T> = values.into_iter().map(<T as Element>::from_f64).collect();
        Tensor::from_vec(values, self.gamma.shape(), self.x.device())
    }
}
