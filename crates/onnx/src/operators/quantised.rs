//! `QuantizeLinear` and `DequantizeLinear`.
//!
//! Weights that a file stores as small integers become floats when the graph is read. A measured tensor must not depend on the input
//! through `QuantizeLinear` or an operator of [`ROUNDING`]: rounding has derivative 0 almost everywhere.

use super::{Call, one};
use crate::Result;
use crate::error::{operand, unsupported};
use crate::message::Kind;
use crate::value::{Value, Whole, axis};

/// Operators that round what they are given or compute with rounded numbers, and have no derivative of use.
pub(crate) const ROUNDING: [&str; 6] =
    ["ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear"];

/// Why they are refused, and what to do.
pub(crate) const REASON: &str = "computes with rounded numbers, whose derivative is 0 almost everywhere; measure the network before it is quantised, or quantise its weights alone";

/// Scale and zero point for every element.
struct Scales {
    scales: Vec<f64>,
    zeros: Vec<f64>,
    /// Elements after the axis, sizes of the axis in the tensor and in the scales, and elements in a block.
    inner: usize,
    size: usize,
    stored: usize,
    block: usize,
}

impl Scales {
    fn of(call: &Call, dims: &[usize]) -> Result<Self> {
        let (scales, zeros) = (call.at(1)?.numbers()?, call.optional(2).map(Value::numbers).transpose()?);
        let zeros = zeros.unwrap_or_else(|| vec![0.0; scales.len()]);
        let given = call.at(1)?.dims();
        let wrong = || operand(format!("scales {given:?} for a tensor {dims:?}"));
        if zeros.len() != scales.len() {
            return Err(wrong());
        }
        if scales.len() == 1 {
            return Ok(Self { scales, zeros, inner: 1, size: 1, stored: 1, block: 1 });
        }
        let at = axis(call.node.integer("axis", 1)?, dims.len())?;
        let (size, inner) = (dims[at], dims[at + 1..].iter().product());
        let block = usize::try_from(call.node.integer("block_size", 0)?).map_err(|_| wrong())?;
        if block == 0 {
            return if scales.len() == size && given.len() == 1 {
                Ok(Self { scales, zeros, inner, size, stored: 0, block: 1 })
            } else {
                Err(wrong())
            };
        }
        let stored = size.div_ceil(block);
        let fits = given.len() == dims.len()
            && (0..dims.len()).all(|other| given[other] == if other == at { stored } else { dims[other] });
        if fits { Ok(Self { scales, zeros, inner, size, stored, block }) } else { Err(wrong()) }
    }

    /// Scale and zero point of an element.
    fn at(&self, index: usize) -> (f64, f64) {
        let along = index / self.inner.max(1) % self.size.max(1);
        let at = match (self.scales.len(), self.stored) {
            (1, _) => 0,
            (_, 0) => along,
            (_, stored) => {
                let outer = index / (self.inner * self.size).max(1);
                (outer * stored + along / self.block) * self.inner + index % self.inner.max(1)
            }
        };
        (self.scales[at], self.zeros[at])
    }
}

/// (x − zero)·scale.
pub(super) fn dequantize(call: &Call) -> Result<Vec<Value>> {
    let x = call.at(0)?.whole()?;
    let scales = Scales::of(call, &x.dims)?;
    let of = |(index, value): (usize, &i64)| {
        let (scale, zero) = scales.at(index);
        (*value as f64 - zero) * scale
    };
    let values: Vec<f64> = x.data.iter().enumerate().map(of).collect();
    let tensor = candle_core::Tensor::from_vec(values, x.dims.as_slice(), &candle_core::Device::Cpu)?;
    one(tensor.to_dtype(call.context.dtype)?.to_device(call.context.device)?)
}

/// round(x/scale) + zero, within the numbers of the kind of the zero point.
pub(super) fn quantize(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    if x.track_op() {
        return Err(unsupported(format!("QuantizeLinear {REASON}")));
    }
    let kind = match call.optional(2) {
        Some(zero) => zero.whole()?.kind,
        None => match call.node.integer("output_dtype", 2)? {
            0 => Kind::U8,
            given => Kind::of(given).map_err(|name| unsupported(format!("numbers of the type {name}")))?,
        },
    };
    let [least, most] = match kind {
        Kind::U8 => [0, 255],
        Kind::I8 => [-128, 127],
        Kind::U16 => [0, 65_535],
        Kind::I16 => [-32_768, 32_767],
        _ => return Err(unsupported("numbers of more than 16 bits")),
    };
    let scales = Scales::of(call, x.dims())?;
    let is_single = x.dtype() == candle_core::DType::F32;
    let of = |(index, value): (usize, f64)| {
        let (scale, zero) = scales.at(index);
        // The quotient is one of the dtype, as in the standard.
        let quotient = if is_single { f64::from(value as f32 / scale as f32) } else { value / scale };
        ((quotient.round_ties_even() + zero) as i64).clamp(least, most)
    };
    let values = call.at(0)?.numbers()?.into_iter().enumerate().map(of).collect();
    one(Whole::new(kind, x.dims().to_vec(), values))
}
