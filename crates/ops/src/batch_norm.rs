//! Batch norm, with separate paths for training (statistics of the batch) and evaluation (running statistics).
//!
//! S. Ioffe and C. Szegedy, "Batch Normalization", ICML 2015 (arXiv 1502.03167). As in PyTorch, the batch is normalised
//! by its variance with divisor m, and running statistics take the one with divisor m − 1.

use candle_core::{CpuStorage, CustomOp3, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use super::channel::{channel_dot, channel_scale, channel_shift, channel_sum};
use super::composed::{self, Compose, apply3, is_composed, on_cuda};
use super::cpu::{dispatch_float, elements, require_float, same_dtype};
use super::normalised_batch::NormalisedBatch;
use crate::kernels::batch_norm::{self, Normalisation};
use crate::kernels::channel;
use crate::{Error, Result};

/// Mean and variance of each channel of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelMoments {
    /// Mean, `[c]`.
    pub mean: Vec<f64>,
    /// Variance with divisor `count`, `[c]`.
    pub variance: Vec<f64>,
    /// Values a channel: n·h·w.
    pub count: usize,
}

impl ChannelMoments {
    /// The moments of `x` `[…, c]`.
    ///
    /// **Errors** [`Error::Shape`] for an empty tensor, [`Error::DType`] unless f32 or f64.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::ChannelMoments;
    /// let moments = ChannelMoments::of(&Tensor::new(&[[1f64, 2.], [3., 2.]], &Device::Cpu)?)?;
    /// assert_eq!((moments.mean, moments.variance, moments.count), (vec![2., 2.], vec![1., 0.], 2));
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn of(x: &Tensor) -> Result<Self> {
        const OP: &str = "channel-moments";
        require_float(OP, x)?;
        let channels = x.dims().last().copied().unwrap_or(0);
        if x.elem_count() == 0 {
            return Err(Error::Shape {
                op: OP,
                left: x.dims().to_vec(),
                right: vec![],
                rule: "the batch holds at least one value".into(),
            });
        }
        let (x, count) = (x.detach().contiguous()?, x.elem_count() / channels);
        let (storage, layout) = x.storage_and_layout();
        let (mean, variance) = match &*storage {
            candle_core::Storage::Cpu(storage) if !is_composed(&x) => dispatch_float!(OP, storage, T => {
                CandleResult::Ok(channel::moments(elements::<T>(OP, storage, layout)?, channels))
            })?,
            _ => composed::moments(&x)?,
        };
        Ok(Self { mean, variance, count })
    }

    /// The variance with divisor `count` − 1 (with divisor 1 for a single value), as running statistics take it.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::ChannelMoments;
    /// let moments = ChannelMoments::of(&Tensor::new(&[[1f64], [3.]], &Device::Cpu)?)?;
    /// assert_eq!((moments.variance.clone(), moments.unbiased_variance()), (vec![1.], vec![2.]));
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn unbiased_variance(&self) -> Vec<f64> {
        let factor = self.count as f64 / (self.count.max(2) - 1) as f64;
        self.variance.iter().map(|variance| variance * factor).collect()
    }

    pub(crate) fn inverse_deviation(&self, epsilon: f64) -> Vec<f64> {
        self.variance.iter().map(|variance| 1.0 / (variance + epsilon).sqrt()).collect()
    }
}

/// Batch norm with the statistics of the batch itself, and those statistics.
///
/// **Definition** y = (x − μ)/√(σ² + ε)·γ + β by channel, μ and σ² (divisor m) over the m = n·h·w values of `x`.
///
/// **Shapes** `x` `[n, h, w, c]`, `gamma` and `beta` `[c]`.
///
/// **Errors** [`Error::Shape`] when the sizes do not fit, [`Error::DType`] unless all are f32 or all f64.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::new(&[[[[1f64]]], [[[3.]]]], &Device::Cpu)?;
/// let (gamma, beta) = (Tensor::ones(1, DType::F64, &Device::Cpu)?, Tensor::zeros(1, DType::F64, &Device::Cpu)?);
/// let (y, moments) = ops::batch_norm_train(&x, &gamma, &beta, 0.0)?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [-1., 1.]);
/// assert_eq!(moments.unbiased_variance(), [2.0]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn batch_norm_train(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<(Tensor, ChannelMoments)> {
    check(x, gamma, beta)?;
    let x = x.contiguous()?;
    let moments = ChannelMoments::of(&x)?;
    let op = Training { moments: moments.clone(), epsilon };
    Ok((apply3(&x, gamma, beta, op)?, moments))
}

/// Training-mode batch norm and its directional derivative, every part of it differentiable again.
///
/// **Definition** with x̂ the normalised batch and means over the batch:
/// dy = γ/σ·(dx − mean(dx) − x̂·mean(x̂·dx)).
///
/// **Errors** as [`batch_norm_train`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let column = |values: [f64; 2]| Tensor::new(&values, &Device::Cpu)?.reshape((2, 1, 1, 1));
/// let (gamma, beta) = (Tensor::ones(1, DType::F64, &Device::Cpu)?, Tensor::zeros(1, DType::F64, &Device::Cpu)?);
/// // Two values are normalised to ∓1 whatever they are, so no direction moves them.
/// let (y, dy) = ops::batch_norm_train_jvp(&column([1., 3.])?, &column([5., 7.])?, &gamma, &beta, 0.0)?;
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
    check(x, gamma, beta)?;
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

/// Jᵀg of training-mode batch norm at `x`, outside any graph.
///
/// **Shapes** `x` and `g` `[n, h, w, c]`, `gamma` `[c]`.
///
/// **Errors** as [`batch_norm_train`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let column = |values: [f64; 4]| Tensor::new(&values, &Device::Cpu)?.reshape((4, 1, 1, 1));
/// let gamma = Tensor::ones(1, DType::F64, &Device::Cpu)?;
/// let dx = ops::batch_norm_train_pullback(&column([-1., 1., -1., 1.])?, &column([1., 0., 0., 0.])?, &gamma, 0.0)?;
/// // g minus its mean 1/4 and minus x̂ times the mean −1/4 of g·x̂.
/// assert_eq!(dx.flatten_all()?.to_vec1::<f64>()?, [0.5, 0., -0.5, 0.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn batch_norm_train_pullback(x: &Tensor, g: &Tensor, gamma: &Tensor, epsilon: f64) -> Result<Tensor> {
    check(x, gamma, gamma)?;
    // Without a ReLU behind, the gradient does not depend on β.
    let batch = plain_batch(x, gamma, gamma, &ChannelMoments::of(x)?, epsilon)?;
    batch.input_gradient(g)
}

/// The batch without its graph.
fn plain_batch(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    moments: &ChannelMoments,
    epsilon: f64,
) -> CandleResult<NormalisedBatch> {
    let [x, gamma, beta] = [x.detach().contiguous()?, gamma.detach(), beta.detach()];
    Ok(NormalisedBatch { x, gamma, beta, moments: moments.clone(), epsilon, rectify: false })
}

/// Training-mode batch norm of a plain tensor, with a ReLU behind it or not, for a pass that keeps what its way back needs by
/// itself.
///
/// **Errors** as [`batch_norm_train`].
pub fn batch_norm_traced(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
    rectify: bool,
) -> Result<NormalisedBatch> {
    check(x, gamma, beta)?;
    batch_norm_recorded(x, gamma, beta, epsilon, &ChannelMoments::of(x)?, rectify)
}

/// The same where the moments of `x` are known.
pub fn batch_norm_recorded(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
    moments: &ChannelMoments,
    rectify: bool,
) -> Result<NormalisedBatch> {
    check(x, gamma, beta)?;
    Ok(NormalisedBatch { rectify, ..plain_batch(x, gamma, beta, moments, epsilon)? })
}

/// The factor and summand a channel, (γ/√(σ² + ε), β − μ·γ/√(σ² + ε)), that evaluation-mode batch norm applies.
///
/// **Shapes** all `[c]`.
///
/// **Errors** [`Error::Shape`] when the shapes differ, [`Error::DType`] unless all are f32 or all f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let one = |value: f64| Tensor::new(&[value], &Device::Cpu);
/// let (factor, summand) = ops::batch_norm_eval_affine(&one(6.)?, &one(1.)?, &one(2.)?, &one(9.)?, 0.0)?;
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
            return Err(Error::Shape {
                op: OP,
                left: gamma.dims().to_vec(),
                right: other.dims().to_vec(),
                rule: "scale, shift, mean and variance hold one value a channel".into(),
            });
        }
    }
    let deviation = running_variance.detach().affine(1.0, epsilon)?.sqrt()?;
    let factor = (gamma / deviation)?;
    let summand = (beta - (running_mean.detach() * &factor)?)?;
    Ok((factor, summand))
}

/// x·factor + summand by channel: evaluation-mode batch norm with what [`batch_norm_eval_affine`] gives.
///
/// **Errors** as [`batch_norm_train`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
/// let (factor, summand) = (Tensor::new(&[2f64, 1.], &Device::Cpu)?, Tensor::new(&[0f64, 5.], &Device::Cpu)?);
/// assert_eq!(ops::channel_affine(&x, &factor, &summand)?.to_vec2::<f64>()?, [[2., 7.], [6., 9.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn channel_affine(x: &Tensor, factor: &Tensor, summand: &Tensor) -> Result<Tensor> {
    check(x, factor, summand)?;
    apply3(x, factor, summand, Affine)
}

fn check(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<()> {
    const OP: &str = "batch-norm";
    require_float(OP, x)?;
    for parameter in [gamma, beta] {
        same_dtype(OP, x, parameter)?;
        if parameter.dims() != [x.dims().last().copied().unwrap_or(0)] || x.elem_count() == 0 {
            return Err(Error::Shape {
                op: OP,
                left: x.dims().to_vec(),
                right: parameter.dims().to_vec(),
                rule: "the input holds a value, and scale and shift hold one value a channel (its last size)".into(),
            });
        }
    }
    Ok(())
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
        let inverse = self.moments.inverse_deviation(self.epsilon);
        dispatch_float!(self.name(), x, T => {
            let x = elements::<T>(self.name(), x, lx)?;
            let (gamma, beta) = (elements::<T>(self.name(), gamma, lg)?, elements::<T>(self.name(), beta, lb)?);
            let by = Normalisation { mean: &self.moments.mean, inverse_deviation: &inverse, scale: gamma, shift: beta };
            let y = batch_norm::normalise(x, &by, false);
            Ok((T::to_cpu_storage_owned(y), lx.shape().clone()))
        })
    }

    // First order only: with candle's backward, whose gradients are detached, no higher order can be asked of it. The
    // forward-mode rule above is composed of operations that are differentiable again.
    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let batch = plain_batch(x, gamma, beta, &self.moments, self.epsilon)?;
        let gradients = batch.gradients(g, x.track_op(), None).map_err(Error::into_candle)?;
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
