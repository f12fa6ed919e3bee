//! Smooth activations and their derivatives on tensors, in the precision of the data.

use candle_core::Tensor;

use crate::Result;
use crate::kernels::Activation;

/// The derivative of this order (0 to 3) of a smooth activation, or `None` for other orders and activations.
///
/// The formulas are those of the kernels. In the negative tail the error is relative to 1, not to the small value.
pub(crate) fn smooth_derivative(activation: Activation, order: u8, x: &Tensor) -> Result<Option<Tensor>> {
    let value = match (activation, order) {
        (Activation::Tanh, 0) => x.tanh()?,
        (Activation::Tanh, 1) => sech_squared(x)?,
        (Activation::Tanh, 2) => (x.tanh()?.affine(-2.0, 0.0)? * sech_squared(x)?)?,
        (Activation::Tanh, 3) => (sech_squared(x)? * x.tanh()?.sqr()?.affine(6.0, -2.0)?)?,
        (Activation::Softplus, 0) => softplus(x)?,
        (Activation::Softplus, 1) => logistic(x)?,
        (Activation::Softplus, 2) => logistic_slope(x)?,
        (Activation::Softplus, 3) => logistic_curvature(x)?,
        (Activation::Silu, 0) => (x * logistic(x)?)?,
        (Activation::Silu, 1) => (logistic(x)? + (x * logistic_slope(x)?)?)?,
        (Activation::Silu, 2) => ((logistic_slope(x)? * 2.0)? + (x * logistic_curvature(x)?)?)?,
        (Activation::Silu, 3) => {
            let slope = logistic_slope(x)?;
            let tilt = logistic(x)?.affine(-2.0, 1.0)?.sqr()?;
            ((logistic_curvature(x)? * 3.0)? + (x * &slope * (tilt - (slope * 2.0)?)?)?)?
        }
        (Activation::Gelu, 0) => (x * normal_distribution(x)?)?,
        (Activation::Gelu, 1) => (normal_distribution(x)? + (x * normal_density(x)?)?)?,
        (Activation::Gelu, 2) => (x.sqr()?.affine(-1.0, 2.0)? * normal_density(x)?)?,
        (Activation::Gelu, 3) => (x.sqr()?.affine(1.0, -4.0)? * x * normal_density(x)?)?,
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn sech_squared(x: &Tensor) -> Result<Tensor> {
    let t = x.tanh()?;
    Ok((t.affine(-1.0, 1.0)? * t.affine(1.0, 1.0)?)?)
}

/// e^{−|x|}, which never overflows.
fn decay(x: &Tensor) -> Result<Tensor> {
    Ok(x.abs()?.neg()?.exp()?)
}

fn softplus(x: &Tensor) -> Result<Tensor> {
    let small = decay(x)?;
    let above = small.affine(1.0, 1.0)?;
    // ln(1 + s) = s·ln(u)/(u − 1) with u the rounded 1 + s, and s where u is 1 (W. Kahan).
    let one = small.ones_like()?;
    let quotient = ((&small * above.log()?)? / above.affine(1.0, -1.0)?)?;
    let log = above.eq(&one)?.where_cond(&small, &quotient)?;
    Ok((x.maximum(&x.zeros_like()?)? + log)?)
}

fn logistic(x: &Tensor) -> Result<Tensor> {
    let small = decay(x)?;
    let numerator = x.ge(&x.zeros_like()?)?.where_cond(&small.ones_like()?, &small)?;
    Ok((numerator / small.affine(1.0, 1.0)?)?)
}

fn logistic_slope(x: &Tensor) -> Result<Tensor> {
    let small = decay(x)?;
    Ok((&small / small.affine(1.0, 1.0)?.sqr()?)?)
}

fn logistic_curvature(x: &Tensor) -> Result<Tensor> {
    Ok((logistic_slope(x)? * logistic(x)?.affine(-2.0, 1.0)?)?)
}

fn normal_density(x: &Tensor) -> Result<Tensor> {
    Ok(x.sqr()?.affine(-0.5, 0.0)?.exp()?.affine((2.0 * std::f64::consts::PI).sqrt().recip(), 0.0)?)
}

fn normal_distribution(x: &Tensor) -> Result<Tensor> {
    Ok(x.affine(std::f64::consts::FRAC_1_SQRT_2, 0.0)?.erf()?.affine(0.5, 0.5)?)
}
