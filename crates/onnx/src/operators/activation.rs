//! Elementwise functions of one float, with their derivatives.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result as CandleResult, Shape, Tensor};
use ops::Activation;
use rayon::prelude::*;

use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::node::Node;
use crate::value::{Value, Whole};

/// Elements per task of a thread.
const CHUNK: usize = 1 << 13;

/// A function of a number. The derivative at a kink is that of PyTorch's activation of the same name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Function {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    /// max(0, x) + min(0, α(e^{x/α} − 1)).
    Celu(f64),
    /// Between two bounds; the derivative at and beyond a bound is 0, as for ReLU6.
    Clip(f64, f64),
    Cos,
    Cosh,
    Erf,
    Exp,
    Floor,
    HardSigmoid(f64, f64),
    Log,
    Neg,
    /// x^e for a constant e.
    Power(f64),
    Reciprocal,
    Round,
    Selu(f64, f64),
    Shrink(f64, f64),
    Sign,
    Sin,
    Sinh,
    Softsign,
    Sqrt,
    /// x·s(αx).
    Swish(f64),
    Tan,
    ThresholdedRelu(f64),
}

fn logistic(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

impl Function {
    fn value(self, x: f64) -> f64 {
        match self {
            Self::Abs => x.abs(),
            Self::Acos => x.acos(),
            Self::Acosh => x.acosh(),
            Self::Asin => x.asin(),
            Self::Asinh => x.asinh(),
            Self::Atan => x.atan(),
            Self::Atanh => x.atanh(),
            Self::Ceil => x.ceil(),
            Self::Celu(alpha) => x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0),
            Self::Clip(low, high) => x.max(low).min(high),
            Self::Cos => x.cos(),
            Self::Cosh => x.cosh(),
            Self::Erf => libm::erf(x),
            Self::Exp => x.exp(),
            Self::Floor => x.floor(),
            Self::HardSigmoid(alpha, beta) => (alpha * x + beta).clamp(0.0, 1.0),
            Self::Log => x.ln(),
            Self::Neg => -x,
            Self::Power(exponent) => x.powf(exponent),
            Self::Reciprocal => 1.0 / x,
            Self::Round => x.round_ties_even(),
            Self::Selu(alpha, gamma) => gamma * if x > 0.0 { x } else { alpha * x.exp_m1() },
            Self::Shrink(bias, lambda) if x < -lambda => x + bias,
            Self::Shrink(bias, lambda) => {
                if x > lambda {
                    x - bias
                } else {
                    0.0
                }
            }
            Self::Sign => {
                if x == 0.0 || x.is_nan() {
                    x
                } else {
                    x.signum()
                }
            }
            Self::Sin => x.sin(),
            Self::Sinh => x.sinh(),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Sqrt => x.sqrt(),
            Self::Swish(alpha) => x * logistic(alpha * x),
            Self::Tan => x.tan(),
            Self::ThresholdedRelu(alpha) => {
                if x > alpha {
                    x
                } else {
                    0.0
                }
            }
        }
    }

    fn slope(self, x: f64) -> f64 {
        match self {
            Self::Abs => {
                if x == 0.0 {
                    0.0
                } else {
                    x.signum()
                }
            }
            Self::Acos => -1.0 / (1.0 - x * x).sqrt(),
            Self::Acosh => 1.0 / (x * x - 1.0).sqrt(),
            Self::Asin => 1.0 / (1.0 - x * x).sqrt(),
            Self::Asinh => 1.0 / (x * x + 1.0).sqrt(),
            Self::Atan => 1.0 / (1.0 + x * x),
            Self::Atanh => 1.0 / (1.0 - x * x),
            Self::Ceil | Self::Floor | Self::Round | Self::Sign => 0.0,
            Self::Celu(alpha) => {
                if x > 0.0 {
                    1.0
                } else {
                    (x / alpha).exp()
                }
            }
            Self::Clip(low, high) => f64::from(x > low && x < high),
            Self::Cos => -x.sin(),
            Self::Cosh => x.sinh(),
            Self::Erf => std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp(),
            Self::Exp => x.exp(),
            Self::HardSigmoid(alpha, beta) => {
                let inside = alpha * x + beta > 0.0 && alpha * x + beta < 1.0;
                if inside { alpha } else { 0.0 }
            }
            Self::Log => 1.0 / x,
            Self::Neg => -1.0,
            Self::Power(exponent) => {
                if exponent == 0.0 {
                    0.0
                } else {
                    exponent * x.powf(exponent - 1.0)
                }
            }
            Self::Reciprocal => -1.0 / (x * x),
            Self::Selu(alpha, gamma) => gamma * if x > 0.0 { 1.0 } else { alpha * x.exp() },
            Self::Shrink(_, lambda) => f64::from(x < -lambda || x > lambda),
            Self::Sin => x.cos(),
            Self::Sinh => x.cosh(),
            Self::Softsign => 1.0 / ((1.0 + x.abs()) * (1.0 + x.abs())),
            Self::Sqrt => 0.5 / x.sqrt(),
            Self::Swish(alpha) => {
                let s = logistic(alpha * x);
                s + alpha * x * s * (1.0 - s)
            }
            Self::Tan => 1.0 + x.tan() * x.tan(),
            Self::ThresholdedRelu(alpha) => f64::from(x > alpha),
        }
    }

    /// The function of every element. Outside the CPU it is computed there.
    pub(super) fn apply(self, x: &Tensor) -> Result<Tensor> {
        let y = x.contiguous()?.to_device(&Device::Cpu)?.apply_op1(Pointwise { function: self, is_slope: false })?;
        Ok(y.to_device(x.device())?)
    }
}

/// A function of every element, or its derivative.
struct Pointwise {
    function: Function,
    is_slope: bool,
}

impl Pointwise {
    fn map<T: Copy + Send + Sync>(&self, x: &[T], to: fn(T) -> f64, from: fn(f64) -> T) -> Vec<T> {
        let of = |x: &T| {
            let x = to(*x);
            // NaN stays NaN: comparisons would send it to a branch.
            from(if x.is_nan() {
                x
            } else if self.is_slope {
                self.function.slope(x)
            } else {
                self.function.value(x)
            })
        };
        if x.len() <= CHUNK { x.iter().map(of).collect() } else { x.par_iter().with_min_len(CHUNK).map(of).collect() }
    }
}

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        "onnx-elementwise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let range = layout.contiguous_offsets();
        let not_contiguous =
            || candle_core::Error::Msg("an elementwise function of elements that are not contiguous".into());
        let (start, end) = range.ok_or_else(not_contiguous)?;
        let values = match storage {
            CpuStorage::F32(x) => CpuStorage::F32(self.map(&x[start..end], f64::from, |y| y as f32)),
            CpuStorage::F64(x) => CpuStorage::F64(self.map(&x[start..end], |x| x, |y| y)),
            _ => {
                return Err(candle_core::Error::Msg(
                    "an elementwise function of other numbers than f32 and f64".into(),
                ));
            }
        };
        Ok((values, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        if self.is_slope {
            return Err(candle_core::Error::BackwardNotSupported { op: self.name() });
        }
        let slope = x.detach().apply_op1(Pointwise { function: self.function, is_slope: true })?;
        Ok(Some(g.mul(&slope)?))
    }
}

/// The activation of the crate `ops` that a node is, if it is one.
fn kernel(node: &Node) -> Result<Option<Activation>> {
    Ok(Some(match node.op.as_str() {
        "Relu" => Activation::Relu,
        "Tanh" => Activation::Tanh,
        "Softplus" => Activation::Softplus,
        "Gelu" if node.text("approximate", "none")? == "tanh" => Activation::GeluTanh,
        "Gelu" => Activation::Gelu,
        "Sigmoid" => Activation::Sigmoid,
        "Mish" => Activation::Mish,
        "HardSwish" => Activation::HardSwish,
        "Elu" => Activation::Elu { alpha: node.float("alpha", 1.0)? },
        "LeakyRelu" => Activation::LeakyRelu { negative_slope: node.float("alpha", 0.01)? },
        "Swish" if node.float("alpha", 1.0)? == 1.0 => Activation::Silu,
        _ => return Ok(None),
    }))
}

/// The function of a node that is no activation of the crate `ops`, by its operator and attributes.
fn function(node: &Node) -> Result<Function> {
    use Function as F;
    Ok(match node.op.as_str() {
        "Acos" => F::Acos,
        "Acosh" => F::Acosh,
        "Asin" => F::Asin,
        "Asinh" => F::Asinh,
        "Atan" => F::Atan,
        "Atanh" => F::Atanh,
        "Celu" => F::Celu(node.float("alpha", 1.0)?),
        "Cos" => F::Cos,
        "Cosh" => F::Cosh,
        "Erf" => F::Erf,
        "Exp" => F::Exp,
        "HardSigmoid" => F::HardSigmoid(node.float("alpha", 0.2)?, node.float("beta", 0.5)?),
        "Log" => F::Log,
        "Reciprocal" => F::Reciprocal,
        "Selu" => F::Selu(node.float("alpha", 1.673_263_2)?, node.float("gamma", 1.050_701)?),
        "Shrink" => F::Shrink(node.float("bias", 0.0)?, node.float("lambd", 0.5)?),
        "Sin" => F::Sin,
        "Sinh" => F::Sinh,
        "Softsign" => F::Softsign,
        "Sqrt" => F::Sqrt,
        "Swish" => F::Swish(node.float("alpha", 1.0)?),
        "Tan" => F::Tan,
        "ThresholdedRelu" => F::ThresholdedRelu(node.float("alpha", 1.0)?),
        other => return Err(operand(format!("`{other}` is no elementwise function"))),
    })
}

/// Elementwise functions of floats alone; activations by the kernels of the crate `ops`.
pub(super) fn elementwise(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    match kernel(call.node)? {
        Some(activation) => one(activation.forward(&x.contiguous()?)?),
        None => one(function(call.node)?.apply(x)?),
    }
}

pub(super) fn refuses_gelu(node: &Node) -> Option<String> {
    match node.text("approximate", "none") {
        Ok("none" | "tanh" | "") | Err(_) => None,
        Ok(other) => Some(format!("approximate = {other}")),
    }
}

/// Abs, Neg, Sign, Ceil, Floor and Round, which integers have too.
pub(super) fn with_integers(call: &Call) -> Result<Vec<Value>> {
    let float = match call.node.op.as_str() {
        "Abs" => Function::Abs,
        "Neg" => Function::Neg,
        "Sign" => Function::Sign,
        "Ceil" => Function::Ceil,
        "Floor" => Function::Floor,
        _ => Function::Round,
    };
    match call.at(0)? {
        Value::Float(x) => one(float.apply(x)?),
        Value::Whole(x) => {
            let of = |x: &i64| match float {
                Function::Abs => x.wrapping_abs(),
                Function::Neg => x.wrapping_neg(),
                Function::Sign => x.signum(),
                _ => *x,
            };
            one(Whole::new(x.kind, x.dims.clone(), x.data.iter().map(of).collect()))
        }
    }
}

/// The function of a `Clip`, whose bounds are attributes up to operator set 10, then inputs.
fn clip_function(call: &Call) -> Result<Function> {
    let bound = |name: &str, at: usize, default: f64| -> Result<f64> {
        match (call.node.attribute(name), call.optional(at)) {
            (Some(_), _) => call.node.float(name, 0.0),
            (None, Some(value)) => value.number(),
            (None, None) => Ok(default),
        }
    };
    Ok(Function::Clip(bound("min", 1, f64::NEG_INFINITY)?, bound("max", 2, f64::INFINITY)?))
}

pub(super) fn clip(call: &Call) -> Result<Vec<Value>> {
    let function = clip_function(call)?;
    match call.at(0)? {
        Value::Float(x) => one(function.apply(x)?),
        Value::Whole(x) => {
            let Function::Clip(low, high) = function else { return Err(operand("there are no bounds")) };
            let of = |x: &i64| (*x).max(low as i64).min(high as i64);
            one(Whole::new(x.kind, x.dims.clone(), x.data.iter().map(of).collect()))
        }
    }
}

/// `PRelu`: x for x > 0, slope·x else. The slopes broadcast; up to operator set 6 there is one for each channel.
pub(super) fn prelu(call: &Call) -> Result<Vec<Value>> {
    let (x, slope) = (call.float(0)?, call.float(1)?);
    let slope = if call.node.version < 7 && slope.rank() == 1 && x.rank() > 1 && slope.elem_count() > 1 {
        let mut dims = vec![1; x.rank()];
        dims[1] = slope.elem_count();
        slope.reshape(dims)?
    } else {
        slope.clone()
    };
    let positive = Activation::Relu.forward(x)?;
    let negative = Activation::Relu.forward(&x.neg()?)?;
    one(positive.sub(&negative.broadcast_mul(&slope)?)?)
}

/// Whether an operator is an elementwise function for which [`value_and_slope`] is defined.
pub(super) fn with_slope_rule(op: &str) -> bool {
    const ELEMENTWISE: [&str; 33] = [
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Celu",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Reciprocal",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
    ];
    ELEMENTWISE.contains(&op)
}

/// The value of an elementwise node at `x`, which is its first input in any layout, and its derivative there.
pub(super) fn value_and_slope(call: &Call, x: &Tensor) -> Result<(Tensor, Tensor)> {
    if let Some(activation) = kernel(call.node)? {
        let x = x.contiguous()?;
        return Ok((activation.forward(&x)?, ops::derivative(activation, 1, &x)?));
    }
    let function = match call.node.op.as_str() {
        "Abs" => Function::Abs,
        "Neg" => Function::Neg,
        "Clip" => clip_function(call)?,
        _ => function(call.node)?,
    };
    let slope = x.contiguous()?.to_device(&Device::Cpu)?.apply_op1_no_bwd(&Pointwise { function, is_slope: true })?;
    Ok((function.apply(x)?, slope.to_device(x.device())?))
}
