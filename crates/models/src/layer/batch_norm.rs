//! Batch norm as a layer that owns its running statistics.

use candle_core::{DType, Tensor, Var};
use ops::nhwc::{
    BatchNormLinearization, BatchNormTangent, ChannelMoments, batch_norm_eval_affine, batch_norm_train,
    batch_norm_train_jvp, channel_affine, channel_dot, channel_scale, channel_sum,
};

use super::{
    Cotangents, GradientAccumulator, Layer, LayerInput, LayerLinearization, LayerResiduals, ReluMask, Residuals,
    TangentCotangentTerms,
};
use crate::params::{Builder, Role};
use crate::{Error, Pass, Result};

/// PyTorch's default ε.
const EPSILON: f64 = 1e-5;
/// PyTorch's default momentum: the share of a new batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Batch norm with PyTorch's names `weight`, `bias`, `running_mean`, `running_var`, `num_batches_tracked`.
pub(crate) struct BatchNorm2d {
    gamma: Tensor,
    beta: Tensor,
    running_mean: Var,
    running_variance: Var,
    batch_count: Var,
}

impl BatchNorm2d {
    pub(crate) fn new(mut builder: Builder<'_>, channels: usize) -> Result<Self> {
        Ok(Self {
            gamma: builder.tensor("weight", &[channels], Role::NormScale)?,
            beta: builder.tensor("bias", &[channels], Role::NormShift)?,
            running_mean: builder.var("running_mean", &[channels], Role::RunningMean)?,
            running_variance: builder.var("running_var", &[channels], Role::RunningVariance)?,
            batch_count: builder.var("num_batches_tracked", &[], Role::BatchCount)?,
        })
    }

    fn update(&self, moments: &ChannelMoments) -> Result<()> {
        blend(&self.running_mean, &moments.mean)?;
        blend(&self.running_variance, &moments.unbiased_variance())?;
        let count = (self.batch_count.as_detached_tensor() + 1.0)?;
        Ok(self.batch_count.set(&count)?)
    }

    /// Factor and summand in evaluation mode; γ and β stay in the graph, the statistics do not.
    fn affine(&self) -> Result<(Tensor, Tensor)> {
        let (mean, variance) = (self.running_mean.as_detached_tensor(), self.running_variance.as_detached_tensor());
        Ok(batch_norm_eval_affine(&self.gamma, &self.beta, &mean, &variance, EPSILON)?)
    }

    /// Factor and summand in evaluation mode, unless one of γ and β is a variable.
    pub(super) fn constants(&self) -> Result<Option<(Tensor, Tensor)>> {
        let tracked = self.gamma.track_op() || self.beta.track_op();
        (!tracked).then(|| self.affine()).transpose()
    }

    /// In training mode. `mask` is the layer that applies the mask of a fused ReLU; none without a ReLU.
    fn linearize_training<'a>(
        &'a self,
        input: &LayerInput,
        mask: Option<ReluMask>,
        pass: &Pass,
    ) -> Result<LayerLinearization<'a>> {
        let batch = BatchNormLinearization::of_batch(&input.x, &self.gamma, &self.beta, EPSILON, mask.is_some())?;
        let y = batch.value()?;
        if pass.update_running {
            self.update(batch.moments())?;
        }
        let batch = batch.with_fused_relu(mask == Some(ReluMask::ThisLayer));
        let residuals = input.residuals(|| Residuals::Moments(batch.moments().clone()));
        let (needs_gradient, x) = (input.needs_gradient, input.x.clone());
        let vjp = move |g: &Tensor, into: &mut GradientAccumulator| -> Result<Option<Tensor>> {
            // The penalty's gradient by this input is added in the same pass over the memory.
            let penalty = into.take(&x);
            let gradients = batch.gradients(g, needs_gradient, penalty.as_ref())?;
            for (parameter, gradient) in [(&self.gamma, gradients.gamma), (&self.beta, gradients.beta)] {
                if parameter.track_op() {
                    into.add(parameter, gradient)?;
                }
            }
            Ok(gradients.input.filter(|_| needs_gradient))
        };
        let any = input.needs_gradient_for(&[&self.gamma, &self.beta]);
        Ok(LayerLinearization { residuals, ..LayerLinearization::new(y, any, vjp) })
    }

    /// In evaluation mode.
    fn linearize_evaluation<'a>(&'a self, input: &LayerInput) -> Result<LayerLinearization<'a>> {
        let (factor, summand) = self.affine()?;
        let (factor, summand) = (factor.detach(), summand.detach());
        let y = channel_affine(&input.x, &factor, &summand)?;
        let (needs_gradient, x) = (input.needs_gradient, self.gamma.track_op().then(|| input.x.clone()));
        let vjp = move |g: &Tensor, into: &mut GradientAccumulator| -> Result<Option<Tensor>> {
            if let Some(x) = &x {
                into.add(&self.gamma, self.gamma_gradient(x, g)?)?;
            }
            if self.beta.track_op() {
                into.add(&self.beta, channel_sum(g)?)?;
            }
            Ok(if needs_gradient { Some(channel_scale(g, &factor)?) } else { None })
        };
        Ok(LayerLinearization::new(y, input.needs_gradient_for(&[&self.gamma, &self.beta]), vjp))
    }

    /// Σ g·(x − μ)/√(σ² + ε) with the running statistics.
    fn gamma_gradient(&self, x: &Tensor, g: &Tensor) -> Result<Tensor> {
        let mean = self.running_mean.as_detached_tensor();
        let centred = (channel_dot(x, g)? - (mean * channel_sum(g)?)?)?;
        Ok((centred / self.running_deviation()?)?)
    }

    /// √(σ² + ε) with the running variance.
    fn running_deviation(&self) -> Result<Tensor> {
        Ok(self.running_variance.as_detached_tensor().affine(1.0, EPSILON)?.sqrt()?)
    }

    /// The normalised batch of the forward pass; none where the running statistics normalised it.
    fn normalised(&self, residuals: &LayerResiduals, with_relu: bool) -> Result<Option<BatchNormLinearization>> {
        let Residuals::Moments(moments) = &residuals.extra else { return Ok(None) };
        let (x, gamma, beta) = (&residuals.input, &self.gamma, &self.beta);
        Ok(Some(BatchNormLinearization::with_moments(x, gamma, beta, EPSILON, moments, with_relu)?))
    }

    fn penalty_jvp_of_batch(
        &self,
        batch: &BatchNormLinearization,
        residuals: &LayerResiduals,
        cotangents: &Cotangents,
        t: &Tensor,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        let BatchNormTangent { tangent, by_input, by_gamma } = batch.tangent_cotangent_term(&cotangents.output, t)?;
        terms.add(&residuals.input, by_input)?;
        if self.gamma.track_op() {
            terms.add(&self.gamma, by_gamma)?;
        }
        Ok(tangent)
    }
}

/// running ← (1 − momentum)·running + momentum·batch.
fn blend(running: &Var, batch: &[f64]) -> Result<()> {
    let old: Vec<f64> = running.as_detached_tensor().to_dtype(DType::F64)?.to_vec1()?;
    let new: Vec<f64> = old.iter().zip(batch).map(|(old, batch)| (1.0 - MOMENTUM) * old + MOMENTUM * batch).collect();
    let new = Tensor::from_vec(new, running.shape(), running.device())?.to_dtype(running.dtype())?;
    Ok(running.set(&new)?)
}

impl Layer for BatchNorm2d {
    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok(self.forward_with_residuals(x, pass)?.output)
    }

    fn forward_with_residuals(&self, x: &Tensor, pass: &Pass) -> Result<LayerResiduals> {
        if !pass.batch_statistics {
            let (factor, summand) = self.affine()?;
            return Ok(LayerResiduals::new(x, channel_affine(x, &factor, &summand)?));
        }
        let (y, moments) = batch_norm_train(x, &self.gamma, &self.beta, EPSILON)?;
        if pass.update_running {
            self.update(&moments)?;
        }
        Ok(LayerResiduals { extra: Residuals::Moments(moments), ..LayerResiduals::new(x, y) })
    }

    fn linearize<'a>(&'a self, input: &LayerInput, pass: &Pass) -> Result<LayerLinearization<'a>> {
        if pass.batch_statistics {
            self.linearize_training(input, None, pass)
        } else {
            self.linearize_evaluation(input)
        }
    }

    fn linearize_with_relu<'a>(
        &'a self,
        input: &LayerInput,
        mask: ReluMask,
        pass: &Pass,
    ) -> Result<Option<LayerLinearization<'a>>> {
        pass.batch_statistics.then(|| self.linearize_training(input, Some(mask), pass)).transpose()
    }

    fn as_batch_norm(&self) -> Option<&BatchNorm2d> {
        Some(self)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        if pass.batch_statistics {
            return Ok(batch_norm_train_jvp(x, dx, &self.gamma, &self.beta, EPSILON)?);
        }
        let (factor, summand) = self.affine()?;
        Ok((channel_affine(x, &factor, &summand)?, channel_scale(dx, &factor)?))
    }

    fn vjp(&self, residuals: &LayerResiduals, g: &Tensor, _: &Pass) -> Result<Cotangents> {
        let input = match self.normalised(residuals, false)? {
            Some(batch) => batch.input_gradient(g)?,
            None => channel_scale(g, &self.affine()?.0.detach())?,
        };
        Ok(Cotangents::leaf(g, input))
    }

    fn vjp_with_relu(&self, residuals: &LayerResiduals, g: &Tensor) -> Result<Option<Cotangents>> {
        let Some(batch) = self.normalised(residuals, true)? else { return Ok(None) };
        Ok(Some(Cotangents::leaf(g, batch.input_gradient(g)?)))
    }

    fn penalty_jvp(
        &self,
        residuals: &LayerResiduals,
        cotangents: Cotangents,
        t: &Tensor,
        _: &Pass,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        if let Some(batch) = self.normalised(residuals, false)? {
            return self.penalty_jvp_of_batch(&batch, residuals, &cotangents, t, terms);
        }
        if self.gamma.track_op() {
            let by_factor = channel_dot(t, &cotangents.output)?;
            terms.add(&self.gamma, (by_factor / self.running_deviation()?)?)?;
        }
        Ok(channel_scale(t, &self.affine()?.0.detach())?)
    }

    fn penalty_jvp_with_relu(
        &self,
        residuals: &LayerResiduals,
        cotangents: Cotangents,
        t: &Tensor,
        terms: &mut TangentCotangentTerms<'_>,
    ) -> Result<Tensor> {
        match self.normalised(residuals, true)? {
            Some(batch) => self.penalty_jvp_of_batch(&batch, residuals, &cotangents, t, terms),
            None => Err(Error::Candle(candle_core::Error::BackwardNotSupported { op: "penalty-jvp-with-relu" })),
        }
    }
}
