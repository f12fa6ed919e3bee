//! One batch normalised by its own statistics, outside any graph: the value, the three gradients and what a penalty asks for,
//! alone or with a ReLU behind it, each in as few passes over the memory as there can be.

use candle_core::{Tensor, WithDType};

use super::batch_norm::ChannelMoments;
use super::composed::{self, is_composed};
use super::cpu::with_elements;
use super::plain::plain_sum;
use super::product::{gate, pair};
use super::relu;
use crate::kernels::Element;
use crate::kernels::batch_norm::{self, Normalisation};
use crate::{Error, Result};

const OP: &str = "batch-norm";

/// A batch and what normalises it. All tensors are plain ones, of shapes that fit.
pub struct NormalisedBatch {
    /// The batch x.
    pub x: Tensor,
    /// The scale γ of each channel.
    pub gamma: Tensor,
    /// The shift β of each channel.
    pub beta: Tensor,
    /// Mean and variance of each channel over the batch.
    pub moments: ChannelMoments,
    /// ε, added to the variance.
    pub epsilon: f64,
    /// Whether a ReLU follows.
    pub rectify: bool,
}

/// The gradients of one batch norm.
pub struct BatchNormGradients {
    /// By the input, if it was asked for.
    pub input: Option<Tensor>,
    /// By γ.
    pub gamma: Tensor,
    /// By β.
    pub beta: Tensor,
}

impl NormalisedBatch {
    /// x̂·γ + β, or its positive part.
    pub fn value(&self) -> Result<Tensor> {
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

    /// The gradients for a cotangent `g` of the value: one, as statistics of a batch mix its images. That by the input comes with
    /// `addend`, if there is one.
    ///
    /// **Errors** as [`hadamard`](super::hadamard).
    pub fn gradients(&self, g: &Tensor, of_input: bool, addend: Option<&Tensor>) -> Result<BatchNormGradients> {
        pair(OP, g, &self.x)?;
        addend.map(|addend| pair(OP, addend, &self.x)).transpose()?;
        if is_composed(&self.x) {
            let mut found = self.composed_gradients(g)?;
            if let (Some(input), Some(addend)) = (&mut found.input, addend) {
                *input = plain_sum(input, addend, false)?;
            }
            return Ok(found);
        }
        let inverse = self.moments.inverse_deviation(self.epsilon);
        let more = addend.unwrap_or(g).detach();
        Ok(with_elements!(OP, [x: self.x, g: g.detach(), gamma: self.gamma, beta: self.beta, more: more], T => {
            let by = self.normalisation(&inverse, gamma, beta);
            let sums = batch_norm::normalised_sums(x, g, &by, self.rectify);
            let input = of_input.then(|| {
                let addend = addend.map(|_| more);
                batch_norm::input_gradient(x, g, &by, (&sums.0, &sums.1), self.rectify, addend)
            });
            let input = input.map(|input| Tensor::from_vec(input, self.x.shape(), self.x.device())).transpose()?;
            BatchNormGradients { input, gamma: self.vector::<T>(sums.1)?, beta: self.vector::<T>(sums.0)? }
        }))
    }

    /// The gradient by the input alone.
    ///
    /// **Errors** as [`NormalisedBatch::gradients`].
    pub fn input_gradient(&self, g: &Tensor) -> Result<Tensor> {
        let input = self.gradients(g, true, None)?.input;
        input.ok_or_else(|| Error::Candle(candle_core::Error::BackwardNotSupported { op: OP }))
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

    /// J t, and the gradients of ⟨g, J t⟩ by the input and by γ, for the map to the value.
    ///
    /// **Errors** as [`hadamard`](super::hadamard).
    pub fn pairing(&self, g: &Tensor, t: &Tensor) -> Result<[Tensor; 3]> {
        pair(OP, g, &self.x)?;
        pair(OP, t, &self.x)?;
        if is_composed(&self.x) {
            let value = self.rectify.then(|| self.value()).transpose()?;
            let gated = |x: Tensor| value.as_ref().map_or_else(|| Ok(x.clone()), |value| gate(&x, value));
            let [tangent, by_input, by_scale] = composed::training_pairing(
                &self.x,
                &gated(g.detach())?,
                &t.detach(),
                &self.moments,
                self.epsilon,
                &self.gamma,
            )?;
            return Ok([gated(tangent)?, by_input, by_scale]);
        }
        let inverse = self.moments.inverse_deviation(self.epsilon);
        Ok(with_elements!(OP, [x: self.x, g: g.detach(), t: t.detach(), gamma: self.gamma, beta: self.beta], T => {
            let by = self.normalisation(&inverse, gamma, beta);
            let paired = batch_norm::pairing(x, g, t, &by, self.rectify);
            let tensor = |values: Vec<T>| Tensor::from_vec(values, self.x.shape(), self.x.device());
            [tensor(paired.tangent)?, tensor(paired.by_input)?, self.vector::<T>(paired.by_scale)?]
        }))
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
