//! Training-mode batch norm composed of sums over rows and products per channel, in the precision of the data.

use candle_core::Tensor;

use super::on_cuda;
use crate::channel_moments::{ChannelMoments, DeviceMoments, widest};
use crate::{Result, relu};

/// `[…, c]` as rows `[m, c]`.
fn rows(x: &Tensor) -> Result<Tensor> {
    let channels = x.dims().last().copied().unwrap_or(1).max(1);
    Ok(x.contiguous()?.reshape((x.elem_count() / channels, channels))?)
}

/// Values per channel as a row `[1, c]` in the dtype of `like`.
fn row(values: &Tensor, like: &Tensor) -> Result<Tensor> {
    Ok(values.unsqueeze(0)?.to_dtype(like.dtype())?)
}

/// Mean and variance (divisor: the number of rows) per channel, in two passes.
pub(crate) fn moments(x: &Tensor) -> Result<DeviceMoments> {
    on_cuda!(x, moments(x));
    let x = rows(x)?;
    let mean = x.mean_keepdim(0)?;
    let centred = x.broadcast_sub(&mean)?;
    // The mean is rounded; the variance is corrected for its error.
    let variance = (centred.sqr()?.mean_keepdim(0)? - centred.mean_keepdim(0)?.sqr()?)?;
    Ok(DeviceMoments { mean: widest(&mean.squeeze(0)?, &x)?, variance: widest(&relu(&variance.squeeze(0)?)?, &x)? })
}

/// x̂ = (x − μ)/√(σ² + ε) as rows.
fn standardised(x: &Tensor, moments: &ChannelMoments, epsilon: f64) -> Result<Tensor> {
    let moments = moments.tensors(x)?;
    let centred = rows(x)?.broadcast_sub(&row(&moments.mean, x)?)?;
    Ok(centred.broadcast_mul(&row(&moments.inverse_deviation(epsilon)?, x)?)?)
}

/// x̂·γ + β.
pub(crate) fn normalised(
    x: &Tensor,
    moments: &ChannelMoments,
    epsilon: f64,
    gamma: &Tensor,
    beta: &Tensor,
) -> Result<Tensor> {
    on_cuda!(x, normalise(x, &on_device(moments, epsilon, [gamma, beta], false)?));
    let y = standardised(x, moments, epsilon)?.broadcast_mul(gamma)?.broadcast_add(beta)?;
    Ok(y.reshape(x.shape())?)
}

/// The gradients by x, γ and β: dx = γ/σ · (g − mean(g) − x̂·mean(g·x̂)).
pub(crate) fn training_gradients(
    x: &Tensor,
    moments: &ChannelMoments,
    epsilon: f64,
    gamma: &Tensor,
    g: &Tensor,
) -> Result<[Tensor; 3]> {
    let (normal, cotangent) = (standardised(x, moments, epsilon)?, rows(g)?);
    let by_beta = cotangent.sum_keepdim(0)?;
    let by_gamma = (&cotangent * &normal)?.sum_keepdim(0)?;
    let share = 1.0 / moments.count() as f64;
    let centred = cotangent.broadcast_sub(&(&by_beta * share)?)?;
    let tilted = (centred - normal.broadcast_mul(&(&by_gamma * share)?)?)?;
    let factor = gamma.unsqueeze(0)?.mul(&row(&moments.tensors(x)?.inverse_deviation(epsilon)?, x)?)?;
    Ok([tilted.broadcast_mul(&factor)?.reshape(x.shape())?, by_gamma.squeeze(0)?, by_beta.squeeze(0)?])
}

/// The parameters of the CUDA kernels.
#[cfg(feature = "cuda")]
pub(crate) fn on_device(
    moments: &ChannelMoments,
    epsilon: f64,
    [gamma, beta]: [&Tensor; 2],
    fused_relu: bool,
) -> Result<crate::cuda::Normalising> {
    let moments = moments.tensors(gamma)?;
    let inverse = moments.inverse_deviation(epsilon)?;
    Ok(crate::cuda::Normalising::new([&moments.mean, &inverse], [gamma, beta], fused_relu))
}

/// J t, and the gradients of ⟨g, J t⟩ by x and γ with g and t held fixed; the formulas are those of the kernel.
pub(crate) fn training_tangent_cotangent_term(
    x: &Tensor,
    g: &Tensor,
    t: &Tensor,
    moments: &ChannelMoments,
    epsilon: f64,
    gamma: &Tensor,
) -> Result<[Tensor; 3]> {
    let share = 1.0 / moments.count() as f64;
    let normal = standardised(x, moments, epsilon)?;
    let centred = |x: &Tensor| -> Result<Tensor> {
        let x = rows(x)?;
        Ok(x.broadcast_sub(&x.mean_keepdim(0)?)?)
    };
    let (g, t) = (centred(g)?, centred(t)?);
    let mean_of_product = |a: &Tensor, b: &Tensor| -> Result<Tensor> { Ok(((a * b)?.sum_keepdim(0)? * share)?) };
    let (gt, xt, xg) = (mean_of_product(&g, &t)?, mean_of_product(&normal, &t)?, mean_of_product(&normal, &g)?);
    let inverse = row(&moments.tensors(x)?.inverse_deviation(epsilon)?, x)?;
    let factor = gamma.unsqueeze(0)?.mul(&inverse)?;
    let tangent = (&t - normal.broadcast_mul(&xt)?)?.broadcast_mul(&factor)?;
    // In terms of x̂, with means over the rows: γ/σ² · (x̂·(3·⟨x̂g⟩⟨x̂t⟩ − ⟨gt⟩) − ⟨x̂g⟩·t − ⟨x̂t⟩·g).
    let along = ((&xg * &xt)?.affine(3.0, 0.0)? - &gt)?;
    let by_input = ((normal.broadcast_mul(&along)? - t.broadcast_mul(&xg)?)? - g.broadcast_mul(&xt)?)?;
    let by_input = by_input.broadcast_mul(&(factor * &inverse)?)?;
    let by_scale = ((gt - (xt * xg)?)? * inverse)?.affine(moments.count() as f64, 0.0)?;
    Ok([tangent.reshape(x.shape())?, by_input.reshape(x.shape())?, by_scale.squeeze(0)?])
}
