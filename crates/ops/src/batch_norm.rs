//! Batch norm: in training mode with the statistics of the batch, in evaluation mode with running statistics.
//!
//! S. Ioffe and C. Szegedy, "Batch Normalization", ICML 2015 (arXiv 1502.03167). As in PyTorch, the batch is normalised
//! with the variance with divisor m, and running statistics use the variance with divisor m − 1.

use candle_core::{CpuStorage, CustomOp3, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use super::batch_norm_linearization::BatchNormLinearization;
use super::channel::{channel_dot, channel_scale, channel_shift, channel_sum, check_batch_norm};
use super::channel_moments::ChannelMoments;
use super::composed::{self, Compose, apply3, on_cuda};
use super::cpu::{dispatch_float, elements, require_float, same_dtype};
use crate::kernels::batch_norm::{self, Normalisation};
use crate::kernels::channel;
use crate::{Error, Result};

/// Batch norm in training mode, and the statistics of the batch.
///
/// **Definition** y = (x − μ)/√(σ² + ε)·γ + β per channel, with mean μ and variance σ² (divisor m) of the m = n·h·w values.
///
/// **Shapes** `x` `[n, h, w, c]`, `gamma` and `beta` `[c]`.
///
/// **Errors** [`Error::Shape`] if the sizes do not match, [`Error::DType`] unless all tensors are f32 or all are f64.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::new(&[[[[1f64]]], [[[3.]]]], &Device::Cpu)?;
/// let (gamma, beta) = (Tensor::ones(1, DType::F64, &Device::Cpu)?, Tensor::zeros(1, DType::F64, &Device::Cpu)?);
/// let (y, moments) = ops::nhwc::batch_norm_train(&x, &gamma, &beta, 0.0)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [-1., 1.]);
/// assert_eq!(moments.unbiased_variance()?, [2.0]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn batch_norm_train(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<(Tensor, ChannelMoments)> {
    check_batch_norm(x, gamma, beta)?;
    let x = x.contiguous()?;
    let moments = ChannelMoments::of(&x)?;
    let op = Training { moments: moments.clone(), epsilon };
    Ok((apply3(&x, gamma, beta, op)?, moments))
}

/// The value and JVP of training-mode batch norm, both differentiable.
///
/// **Definition** With the normalised batch x̂ and means over the batch: dy = γ/σ·(dx − mean(dx) − x̂·mean(x̂·dx)).
///
/// **Shapes** `x` and `dx` `[n, h, w, c]`, `gamma` and `beta` `[c]`.
///
/// **Errors** as [`batch_norm_train`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let column = |values: [f64; 2]| Tensor::new(&values, &Device::Cpu)?.reshape((2, 1, 1, 1));
/// let (gamma, beta) = (Tensor::ones(1, DType::F64, &Device::Cpu)?, Tensor::zeros(1, DType::F64, &Device::Cpu)?);
/// // Two values are always normalised to ∓1, so every tangent gives zero.
/// let (y, dy) = ops::nhwc::batch_norm_train_jvp(&column([1., 3.])?, &column([5., 7.])?, &gamma, &beta, 0.0)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [-1., 1.]);
/// assert_eq!(dy.flatten_all()?.to_vec1::<f64>()?, [0., 0.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn batch_norm_train_jvp(
    x: &Tensor,
    dx: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
) -> Result<(Tensor, Tensor)> {
    check_batch_norm(x, gamma, beta)?;
    let count = (x.elem_count() / gamma.elem_count().max(1)) as f64;
    let centred = channel_shift(x, &channel_sum(x)?.affine(-1.0 / count, 0.0)?)?;
    let tangent = channel_shift(dx, &channel_sum(dx)?.affine(-1.0 / count, 0.0)?)?;
    let variance = channel_dot(&centred, &centred)?.affine(1.0 / count, epsilon)?;
    let covariance = channel_dot(&centred, &tangent)?.affine(1.0 / count, 0.0)?;
    let factor = (gamma / variance.sqrt()?)?;
    let slope = (&factor * (covariance / variance)?)?;
    let y = channel_shift(&channel_scale(&centred, &factor)?, beta)?;
    let dy = (channel_scale(&tangent, &factor)? - channel_scale(&centred, &slope)?)?;
    Ok((y, dy))
}

/// The VJP Jᵀg of training-mode batch norm at `x`, without a graph.
///
/// **Shapes** `x` and `g` `[n, h, w, c]`, `gamma` `[c]`.
///
/// **Errors** as [`batch_norm_train`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let column = |values: [f64; 4]| Tensor::new(&values, &Device::Cpu)?.reshape((4, 1, 1, 1));
/// let gamma = Tensor::ones(1, DType::F64, &Device::Cpu)?;
/// let dx = ops::nhwc::batch_norm_train_vjp(&column([-1., 1., -1., 1.])?, &column([1., 0., 0., 0.])?, &gamma, 0.0)?;
/// // g minus its mean 1/4 and minus x̂ times the mean −1/4 of g·x̂.
/// assert_eq!(dx.flatten_all()?.to_vec1::<f64>()?, [0.5, 0., -0.5, 0.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn batch_norm_train_vjp(x: &Tensor, g: &Tensor, gamma: &Tensor, epsilon: f64) -> Result<Tensor> {
    check_batch_norm(x, gamma, gamma)?;
    // Without a fused ReLU the gradient does not depend on β, so γ is passed in its place.
    BatchNormLinearization::of_batch(x, gamma, gamma, epsilon, false)?.input_gradient(g)
}

/// Factor γ/√(σ² + ε) and summand β − μ·γ/√(σ² + ε) per channel, which evaluation-mode batch norm applies.
///
/// **Shapes** all `[c]`.
///
/// **Errors** [`Error::Shape`] if the shapes differ, [`Error::DType`] unless all tensors are f32 or all are f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let one = |value: f64| Tensor::new(&[value], &Device::Cpu);
/// let (factor, summand) = ops::nhwc::batch_norm_eval_affine(&one(6.)?, &one(1.)?, &one(2.)?, &one(9.)?, 0.0)?;
/// assert_eq!((factor.to_vec1::<f64>()?, summand.to_vec1::<f64>()?), (vec![2.], vec![-3.]));
/// # Ok::<(), ops::Error>(())
/// ```
pub fn batch_norm_eval_affine(
    gamma: &Tensor,
    beta: &Tensor,
    running_mean: &Tensor,
    running_variance: &Tensor,
    epsilon: f64,
) -> Result<(Tensor, Tensor)> {
    const OP: &str = "batch-norm";
    require_float(OP, gamma)?;
    for other in [beta, running_mean, running_variance] {
        same_dtype(OP, gamma, other)?;
        if gamma.rank() != 1 || other.dims() != gamma.dims() {
            return Err(Error::shape(
                OP,
                gamma.dims(),
                other.dims(),
                "scale, shift, mean and variance hold one value a channel",
            ));
        }
    }
    let deviation = running_variance.detach().affine(1.0, epsilon)?.sqrt()?;
    let factor = (gamma / deviation)?;
    let summand = (beta - (running_mean.detach() * &factor)?)?;
    Ok((factor, summand))
}

/// x·factor + summand per channel: evaluation-mode batch norm with the result of [`batch_norm_eval_affine`].
///
/// **Shapes** `x` `[…, c]`, `factor` and `summand` `[c]`.
///
/// **Errors** as [`batch_norm_train`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
/// let (factor, summand) = (Tensor::new(&[2f64, 1.], &Device::Cpu)?, Tensor::new(&[0f64, 5.], &Device::Cpu)?);
/// assert_eq!(ops::nhwc::channel_affine(&x, &factor, &summand)?.to_vec2::<f64>()?, [[2., 7.], [6., 9.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn channel_affine(x: &Tensor, factor: &Tensor, summand: &Tensor) -> Result<Tensor> {
    check_batch_norm(x, factor, summand)?;
    apply3(x, factor, summand, Affine)
}

struct Training {
    moments: ChannelMoments,
    epsilon: f64,
}

struct Affine;

impl Compose<3> for Training {
    fn compose(&self, [x, gamma, beta]: [&Tensor; 3]) -> Result<Tensor> {
        composed::normalised(x, &self.moments, self.epsilon, gamma, beta)
    }
}

impl Compose<3> for Affine {
    fn compose(&self, [x, factor, summand]: [&Tensor; 3]) -> Result<Tensor> {
        on_cuda!(x, affine(x, factor, summand));
        Ok(x.broadcast_mul(factor)?.broadcast_add(summand)?)
    }
}

impl CustomOp3 for Training {
    fn name(&self) -> &'static str {
        "batch-norm-train"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        gamma: &CpuStorage,
        lg: &Layout,
        beta: &CpuStorage,
        lb: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let moments = self.moments.vectors()?;
        let inverse = moments.inverse_deviation(self.epsilon);
        dispatch_float!(self.name(), x, T => {
            let x = elements::<T>(self.name(), x, lx)?;
            let (gamma, beta) = (elements::<T>(self.name(), gamma, lg)?, elements::<T>(self.name(), beta, lb)?);
            let by = Normalisation { mean: &moments.mean, inverse_deviation: &inverse, scale: gamma, shift: beta };
            let y = batch_norm::normalise(x, &by, false);
            Ok((T::to_cpu_storage_owned(y), lx.shape().clone()))
        })
    }

    // First order only: candle's `backward` detaches gradients. Second derivatives use `batch_norm_train_jvp`, which is composed of
    // differentiable operations.
    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let batch = BatchNormLinearization::with_moments(x, gamma, beta, self.epsilon, &self.moments, false);
        let gradients = batch.and_then(|batch| batch.gradients(g, x.track_op(), None)).map_err(Error::into_candle)?;
        let input = gradients.input.filter(|_| x.track_op());
        Ok((input, gamma.track_op().then_some(gradients.gamma), beta.track_op().then_some(gradients.beta)))
    }
}

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "channel-affine"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        factor: &CpuStorage,
        lf: &Layout,
        summand: &CpuStorage,
        ls: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => {
            let x = elements::<T>(self.name(), x, lx)?;
            let factor = elements::<T>(self.name(), factor, lf)?;
            let summand = elements::<T>(self.name(), summand, ls)?;
            Ok((T::to_cpu_storage_owned(channel::affine(x, factor, summand)), lx.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        factor: &Tensor,
        summand: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let tracked = |argument: &Tensor, gradient: &dyn Fn() -> Result<Tensor>| -> CandleResult<Option<Tensor>> {
            if argument.track_op() { gradient().map(Some).map_err(Error::into_candle) } else { Ok(None) }
        };
        Ok((
            tracked(x, &|| channel_scale(g, factor))?,
            tracked(factor, &|| channel_dot(x, g))?,
            tracked(summand, &|| channel_sum(g))?,
        ))
    }
}
