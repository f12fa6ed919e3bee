//! Sums and products per channel of NHWC data, of which batch norm is composed.
//!
//! ⟨x·s, g⟩ with one factor s per channel is trilinear in x, s and g. Its three derivatives are [`channel_scale`] (twice) and
//! [`channel_dot`], so the operations are closed under differentiation.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use super::channel_moments::ChannelMoments;
use super::composed::{self, Compose, apply1, apply2, is_composed, on_cuda};
use super::cpu::{dispatch_float, elements, require_float, same_dtype};
use crate::kernels::{Element, channel};
use crate::{Error, Result};

/// Σ x over all dimensions except the last.
///
/// **Shapes** `x` `[…, c]`, result `[c]`.
///
/// **Errors** [`Error::Shape`] if there is no channel, [`Error::DType`] unless `x` is f32 or f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
/// assert_eq!(ops::nhwc::channel_sum(&x)?.to_vec1::<f64>()?, [4., 6.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn channel_sum(x: &Tensor) -> Result<Tensor> {
    channels("channel-sum", x)?;
    apply1(x, Sum)
}

/// Σ a·b over all dimensions except the last.
///
/// **Shapes** `a` and `b` `[…, c]`, result `[c]`.
///
/// **Errors** as [`channel_sum`], and [`Error::Shape`] if the shapes differ.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let a = Tensor::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
/// assert_eq!(ops::nhwc::channel_dot(&a, &a)?.to_vec1::<f64>()?, [10., 20.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn channel_dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    channels("channel-dot", a)?;
    same_dtype("channel-dot", a, b)?;
    if a.dims() != b.dims() {
        return Err(Error::shape("channel-dot", a.dims(), b.dims(), "both have the same shape"));
    }
    apply2(a, b, Dot)
}

/// x·s with one factor per channel.
///
/// **Shapes** `x` `[…, c]`, `s` `[c]`.
///
/// **Errors** as [`channel_sum`], and [`Error::Shape`] if `s` is not `[c]`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
/// let s = Tensor::new(&[10f64, 0.5], &Device::Cpu)?;
/// assert_eq!(ops::nhwc::channel_scale(&x, &s)?.to_vec2::<f64>()?, [[10., 1.], [30., 2.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn channel_scale(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    by_channel("channel-scale", x, s)?;
    apply2(x, s, Scale)
}

/// x + b with one summand per channel.
///
/// **Shapes** `x` `[…, c]`, `b` `[c]`.
///
/// **Errors** as [`channel_scale`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
/// let b = Tensor::new(&[10f64, -1.], &Device::Cpu)?;
/// assert_eq!(ops::nhwc::channel_shift(&x, &b)?.to_vec2::<f64>()?, [[11., 1.], [13., 3.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn channel_shift(x: &Tensor, b: &Tensor) -> Result<Tensor> {
    by_channel("channel-shift", x, b)?;
    apply2(x, b, Shift)
}

impl ChannelMoments {
    /// The moments of `x` `[…, c]`.
    ///
    /// **Errors** [`Error::Shape`] for an empty tensor, [`Error::DType`] unless `x` is f32 or f64.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use ops::nhwc::ChannelMoments;
    /// let moments = ChannelMoments::of(&Tensor::new(&[[1f64, 2.], [3., 2.]], &Device::Cpu)?)?;
    /// assert_eq!((moments.mean()?, moments.variance()?, moments.count()), (vec![2., 2.], vec![1., 0.], 2));
    /// # Ok::<(), ops::Error>(())
    /// ```
    pub fn of(x: &Tensor) -> Result<Self> {
        const OP: &str = "channel-moments";
        require_float(OP, x)?;
        let channels = x.dims().last().copied().unwrap_or(0);
        if x.elem_count() == 0 {
            return Err(Error::shape(OP, x.dims(), &[], "the batch is not empty"));
        }
        let (x, count) = (x.detach().contiguous()?, x.elem_count() / channels.max(1));
        let (storage, layout) = x.storage_and_layout();
        match &*storage {
            candle_core::Storage::Cpu(storage) if !is_composed(&x) => {
                let moments = dispatch_float!(OP, storage, T => {
                    CandleResult::Ok(channel::moments(elements::<T>(OP, storage, layout)?, channels))
                })?;
                Ok(Self::on_cpu(moments, count))
            }
            _ => Ok(Self::on_device(composed::moments(&x)?, count)),
        }
    }
}

/// Checks the shapes and dtypes of a batch and its parameters.
pub(crate) fn check_batch_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor) -> Result<()> {
    const OP: &str = "batch-norm";
    require_float(OP, x)?;
    for parameter in [gamma, beta] {
        same_dtype(OP, x, parameter)?;
        if parameter.dims() != [x.dims().last().copied().unwrap_or(0)] || x.elem_count() == 0 {
            return Err(Error::shape(
                OP,
                x.dims(),
                parameter.dims(),
                "the input is not empty, and scale and shift have one value per channel (the last size of the input)",
            ));
        }
    }
    Ok(())
}

fn channels(op: &'static str, x: &Tensor) -> Result<usize> {
    require_float(op, x)?;
    match x.dims().last() {
        Some(&channels) if channels > 0 => Ok(channels),
        _ => Err(Error::shape(op, x.dims(), &[], "the last dimension, the channels, is not empty")),
    }
}

fn by_channel(op: &'static str, x: &Tensor, s: &Tensor) -> Result<()> {
    let channels = channels(op, x)?;
    same_dtype(op, x, s)?;
    if s.dims() == [channels] {
        Ok(())
    } else {
        Err(Error::shape(op, x.dims(), s.dims(), "the second has one value per channel"))
    }
}

struct Sum;
struct Dot;
struct Scale;
struct Shift;

/// Σ over all dimensions except the last, with candle's sum.
fn sum_of_rows(x: &Tensor) -> Result<Tensor> {
    let channels = x.dims().last().copied().unwrap_or(1);
    Ok(x.contiguous()?.reshape(((), channels))?.sum(0)?)
}

impl Compose<1> for Sum {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        on_cuda!(x, channel_sum(x));
        sum_of_rows(x)
    }
}

impl Compose<2> for Dot {
    fn compose(&self, [a, b]: [&Tensor; 2]) -> Result<Tensor> {
        on_cuda!(a, channel_dot(a, b));
        sum_of_rows(&(a * b)?)
    }
}

impl Compose<2> for Scale {
    fn compose(&self, [x, s]: [&Tensor; 2]) -> Result<Tensor> {
        Ok(x.broadcast_mul(s)?)
    }
}

impl Compose<2> for Shift {
    fn compose(&self, [x, b]: [&Tensor; 2]) -> Result<Tensor> {
        on_cuda!(x, shift(x, b, false));
        Ok(x.broadcast_add(b)?)
    }
}

fn channel_vector<T: Element + WithDType>(values: Vec<f64>) -> (CpuStorage, Shape) {
    let shape = Shape::from(values.len());
    let values = values.into_iter().map(<T as Element>::from_f64).collect();
    (<T as WithDType>::to_cpu_storage_owned(values), shape)
}

fn tracked(argument: &Tensor, gradient: impl FnOnce() -> Result<Tensor>) -> CandleResult<Option<Tensor>> {
    if !argument.track_op() {
        return Ok(None);
    }
    gradient().map(Some).map_err(Error::into_candle)
}

impl CustomOp1 for Sum {
    fn name(&self) -> &'static str {
        "channel-sum"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let channels = layout.dims().last().copied().unwrap_or(1);
        dispatch_float!(self.name(), x, T => {
            Ok(channel_vector::<T>(channel::sum(elements::<T>(self.name(), x, layout)?, channels)))
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        Ok(Some(g.broadcast_as(x.shape())?.contiguous()?))
    }
}

impl CustomOp2 for Dot {
    fn name(&self) -> &'static str {
        "channel-dot"
    }

    fn cpu_fwd(&self, a: &CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let channels = la.dims().last().copied().unwrap_or(1);
        dispatch_float!(self.name(), a, T => {
            let (a, b) = (elements::<T>(self.name(), a, la)?, elements::<T>(self.name(), b, lb)?);
            Ok(channel_vector::<T>(channel::dot(a, b, channels)))
        })
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        Ok((tracked(a, || channel_scale(b, g))?, tracked(b, || channel_scale(a, g))?))
    }
}

impl CustomOp2 for Scale {
    fn name(&self) -> &'static str {
        "channel-scale"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, s: &CpuStorage, ls: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => {
            let (x, s) = (elements::<T>(self.name(), x, lx)?, elements::<T>(self.name(), s, ls)?);
            Ok((T::to_cpu_storage_owned(channel::scale(x, s)), lx.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, s: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        Ok((tracked(x, || channel_scale(g, s))?, tracked(s, || channel_dot(x, g))?))
    }
}

impl CustomOp2 for Shift {
    fn name(&self) -> &'static str {
        "channel-shift"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, b: &CpuStorage, lb: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => {
            let (x, b) = (elements::<T>(self.name(), x, lx)?, elements::<T>(self.name(), b, lb)?);
            Ok((T::to_cpu_storage_owned(channel::shift(x, b)), lx.shape().clone()))
        })
    }

    fn bwd(&self, x: &Tensor, b: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        Ok((tracked(x, || Ok(g.clone()))?, tracked(b, || channel_sum(g))?))
    }
}
