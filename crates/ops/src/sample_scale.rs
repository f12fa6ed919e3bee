//! One factor per sample and channel (squeeze-and-excitation), and the channel shuffle.

use candle_core::Tensor;

use super::composed::{in_graph, is_composed};
use super::cpu::{require_float, same_dtype, with_elements};
use crate::kernels::sample_scale as kernel;
use crate::{Error, Result};

/// x·s with one factor per sample and channel, in candle's graph. ⟨x·s, g⟩ is trilinear, so the VJP by x and the JVP are the operation
/// itself, and the gradient by s is [`sample_dot`].
///
/// **Shapes** `x` and the result `[k·n, …, c]`, `s` `[n, c]`. Row r of `x` belongs to row r mod n of `s`. The result is
/// differentiable for k = 1.
///
/// **Errors** [`Error::Shape`] if the sizes do not match, [`Error::DType`] unless both tensors are f32 or both are f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[[1f64, 2.], [3., 4.]]], &Device::Cpu)?;
/// let s = Tensor::new(&[[10f64, 100.]], &Device::Cpu)?;
/// assert_eq!(ops::nhwc::sample_scale(&x, &s)?.to_vec3::<f64>()?, [[[10., 200.], [30., 400.]]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn sample_scale(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    const OP: &str = "sample-scale";
    require_float(OP, x)?;
    same_dtype(OP, x, s)?;
    let each = match (x.dims(), s.dims()) {
        ([rows, .., channels], [n, width]) if channels == width && *n > 0 && *rows > 0 && rows.is_multiple_of(*n) => {
            rows / n
        }
        _ => {
            return Err(Error::shape(
                OP,
                x.dims(),
                s.dims(),
                "the second has one value per sample and channel of the first",
            ));
        }
    };
    let value = scaled(&x.detach(), &s.detach())?;
    if each > 1 {
        return Ok(value);
    }
    let (by_x, by_s) = (x.track_op(), s.track_op());
    let (x_value, s_value) = (x.detach(), s.detach());
    in_graph(&[x, s], value, move |g| {
        let towards_x = by_x.then(|| scaled(g, &s_value)).transpose()?;
        Ok(vec![towards_x, by_s.then(|| sample_dot(g, &x_value)).transpose()?])
    })
}

fn scaled(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    const OP: &str = "sample-scale";
    let (samples, channels) = s.dims2()?;
    if is_composed(x) {
        let mut shape = vec![1; x.rank()];
        if let [first, .., last] = shape.as_mut_slice() {
            (*first, *last) = (x.dim(0)?, channels);
        }
        let repeated = Tensor::cat(&vec![s; x.dim(0)? / samples.max(1)], 0)?;
        return Ok(x.broadcast_mul(&repeated.reshape(shape)?)?);
    }
    let sample = x.elem_count() / x.dim(0)?;
    Ok(with_elements!(OP, [values: x, s: s], T => {
        Tensor::from_vec(kernel::scale::<T>(values, s, sample, channels), x.shape(), x.device())?
    }))
}

/// Σ a·b over the pixels of each sample, without a graph.
///
/// **Shapes** `a` `[k·n, …, c]`, `b` `[n, …, c]`, result `[k·n, c]`. Row r of `a` belongs to row r mod n of `b`.
///
/// **Errors** as [`sample_scale`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[[1f64, 2.], [3., 4.]]], &Device::Cpu)?;
/// assert_eq!(ops::nhwc::sample_dot(&x, &x)?.to_vec2::<f64>()?, [[10., 20.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn sample_dot(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "sample-dot";
    require_float(OP, a)?;
    same_dtype(OP, a, b)?;
    let each = super::fused_relu::cotangents_per_row(OP, b, a)?;
    let ([rows, .., channels], false) = (a.dims(), a.elem_count() == 0) else {
        return Err(Error::shape(OP, a.dims(), b.dims(), "both are [n, …, c] and not empty"));
    };
    let (rows, channels, sample) = (*rows, *channels, a.elem_count() / rows);
    if is_composed(a) {
        let product = (a.detach() * Tensor::cat(&vec![b.detach(); each], 0)?)?;
        return Ok(product.contiguous()?.reshape((rows, sample / channels, channels))?.sum(1)?);
    }
    Ok(with_elements!(OP, [a_values: a.detach(), b: b.detach()], T => {
        Tensor::from_vec(kernel::dot::<T>(a_values, b, sample, channels), (rows, channels), a.device())?
    }))
}

/// The channels of `groups` equal groups, interleaved: channel j of group i becomes channel j·groups + i.
///
/// It is a permutation. Its VJP is the shuffle with c / groups groups, its JVP the operation itself.
///
/// **Shapes** `x` and the result `[…, c]`.
///
/// **Errors** [`Error::Setting`] if the groups do not divide the channels.
///
/// **Source** X. Zhang et al., "ShuffleNet", CVPR 2018 (arXiv 1707.01083).
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 2., 3., 10., 20., 30.], &Device::Cpu)?;
/// let y = ops::nhwc::channel_shuffle(&x, 2)?;
/// assert_eq!(y.to_vec1::<f64>()?, [1., 10., 2., 20., 3., 30.]);
/// assert_eq!(ops::nhwc::channel_shuffle(&y, 3)?.to_vec1::<f64>()?, x.to_vec1::<f64>()?);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn channel_shuffle(x: &Tensor, groups: usize) -> Result<Tensor> {
    let channels = x.dims().last().copied().unwrap_or(0);
    if groups == 0 || channels == 0 || !channels.is_multiple_of(groups) {
        let (op, value) = ("channel-shuffle", format!("{groups} for {channels} channels"));
        return Err(Error::Setting { op, name: "groups", value, rule: "the number of groups divides the channels" });
    }
    let split = x.contiguous()?.reshape(((), groups, channels / groups))?;
    Ok(split.transpose(1, 2)?.contiguous()?.reshape(x.shape())?)
}
