//! Smooth activations and their derivatives on tensors, in the precision of the data.

use candle_core::{DType, Tensor};

use super::windows::filled;
use crate::Result;
use crate::kernels::Activation;
use crate::kernels::activation::{HARD_BOUND, TANH_CUBIC, TANH_SCALE};

/// The derivative of this order (0 to 3) of a smooth activation, or `None` for other orders, ReLU and the identity.
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
        (Activation::GeluTanh, 0) => (x * cubic(x)?.tanh()?.affine(0.5, 0.5)?)?,
        (Activation::GeluTanh, 1) => gelu_tanh_gate(x)?.derivative(x, 1)?.affine(0.5, 0.5)?,
        (Activation::GeluTanh, 2 | 3) => gelu_tanh_gate(x)?.derivative(x, order)?.affine(0.5, 0.0)?,
        (Activation::Sigmoid, 0) => logistic(x)?,
        (Activation::Sigmoid, 1) => logistic_slope(x)?,
        (Activation::Sigmoid, 2) => logistic_curvature(x)?,
        (Activation::Sigmoid, 3) => {
            let slope = logistic_slope(x)?;
            (&slope * (logistic(x)?.affine(-2.0, 1.0)?.sqr()? - (&slope * 2.0)?)?)?
        }
        (Activation::Mish, 0) => (x * mish_gate(x)?.tanh)?,
        (Activation::Mish, 1..=3) => mish_gate(x)?.derivative(x, order)?,
        (Activation::Relu6, 0) => x.clamp(0.0, 6.0)?,
        (Activation::Relu6, 1) => inside(&x.affine(1.0, -3.0)?)?,
        (Activation::HardSigmoid, 0) => hard_sigmoid(x)?,
        (Activation::HardSigmoid, 1) => inside(x)?.affine(1.0 / 6.0, 0.0)?,
        (Activation::HardSwish, 0) => (x * hard_sigmoid(x)?)?,
        (Activation::HardSwish, 1) => {
            let right = x.gt(&x.zeros_like()?)?.to_dtype(x.dtype())?;
            let is_inside = x.abs()?.lt(&filled(HARD_BOUND, x.dims(), x)?)?;
            is_inside.where_cond(&x.affine(1.0 / 3.0, 0.5)?, &right)?
        }
        (Activation::HardSwish, 2) => inside(x)?.affine(1.0 / 3.0, 0.0)?,
        (Activation::Relu6 | Activation::HardSigmoid | Activation::LeakyRelu { .. }, 2 | 3)
        | (Activation::HardSwish, 3) => x.zeros_like()?,
        (Activation::LeakyRelu { negative_slope }, 0) => on_sides(x, x, &x.affine(negative_slope, 0.0)?)?,
        (Activation::LeakyRelu { negative_slope }, 1) => {
            on_sides(x, &x.ones_like()?, &filled(negative_slope, x.dims(), x)?)?
        }
        (Activation::Elu { alpha }, 0) => on_sides(x, x, &negative_exp(x)?.affine(alpha, -alpha)?)?,
        (Activation::Elu { alpha }, 1) => on_sides(x, &x.ones_like()?, &negative_exp(x)?.affine(alpha, 0.0)?)?,
        (Activation::Elu { alpha }, 2 | 3) => on_sides(x, &x.zeros_like()?, &negative_exp(x)?.affine(alpha, 0.0)?)?,
        _ => return Ok(None),
    };
    Ok(Some(value))
}

/// `right` where x > 0, `left` elsewhere.
fn on_sides(x: &Tensor, right: &Tensor, left: &Tensor) -> Result<Tensor> {
    Ok(x.gt(&x.zeros_like()?)?.where_cond(right, left)?)
}

/// e to the power of min(x, 0), which never overflows.
fn negative_exp(x: &Tensor) -> Result<Tensor> {
    Ok(x.minimum(&x.zeros_like()?)?.exp()?)
}

/// 1 where |x| is below the bound of the hard sigmoid, 0 elsewhere.
fn inside(x: &Tensor) -> Result<Tensor> {
    Ok(x.abs()?.lt(&filled(HARD_BOUND, x.dims(), x)?)?.to_dtype(x.dtype())?)
}

fn hard_sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok(x.affine(1.0, HARD_BOUND)?.clamp(0.0, 6.0)?.affine(1.0 / 6.0, 0.0)?)
}

/// tanh u(x) with 1 − tanh² u and the derivatives of u, as in the kernels.
struct Gate {
    tanh: Tensor,
    complement: Tensor,
    inner: [Tensor; 3],
}

impl Gate {
    fn derivative(&self, x: &Tensor, order: u8) -> Result<Tensor> {
        let [first, second, third] = &self.inner;
        let slope = (&self.complement * first)?;
        if order == 1 {
            return Ok((&self.tanh + (x * slope)?)?);
        }
        let complement_slope = ((&self.tanh * &slope)? * -2.0)?;
        let curvature = ((&complement_slope * first)? + (&self.complement * second)?)?;
        if order == 2 {
            return Ok(((slope * 2.0)? + (x * curvature)?)?);
        }
        let complement_curvature = ((slope.sqr()? + (&self.tanh * &curvature)?)? * -2.0)?;
        let turn = ((complement_curvature * first)? + ((complement_slope * second)? * 2.0)?)?;
        let turn = (turn + (&self.complement * third)?)?;
        Ok(((curvature * 3.0)? + (x * turn)?)?)
    }
}

fn cubic(x: &Tensor) -> Result<Tensor> {
    Ok((x * x.sqr()?.affine(TANH_CUBIC, 1.0)?)?.affine(TANH_SCALE, 0.0)?)
}

fn gelu_tanh_gate(x: &Tensor) -> Result<Gate> {
    let (u, curvature) = (cubic(x)?, 6.0 * TANH_SCALE * TANH_CUBIC);
    let slope = x.sqr()?.affine(3.0 * TANH_CUBIC * TANH_SCALE, TANH_SCALE)?;
    let inner = [slope, x.affine(curvature, 0.0)?, filled(curvature, x.dims(), x)?];
    Ok(Gate { tanh: u.tanh()?, complement: sech_squared(&u)?, inner })
}

fn mish_gate(x: &Tensor) -> Result<Gate> {
    // From here on tanh is 1 in f64.
    let e = x.minimum(&filled(if x.dtype() == DType::F64 { 40.0 } else { 20.0 }, x.dims(), x)?)?.exp()?;
    let n = (&e * e.affine(1.0, 2.0)?)?;
    let below = n.affine(1.0, 2.0)?;
    let complement = (n.affine(4.0, 4.0)? / below.sqr()?)?;
    let inner = [logistic(x)?, logistic_slope(x)?, logistic_curvature(x)?];
    Ok(Gate { tanh: (n / below)?, complement, inner })
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
