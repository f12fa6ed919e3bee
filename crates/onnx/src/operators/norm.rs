//! Normalisation.

use candle_core::Tensor;
use ops::SampleNormSettings;

use super::activation::Function;
use super::arithmetic::{add, multiply};
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::node::Node;
use crate::value::{Value, axis};

/// The mean over dimensions, which keep size 1.
fn mean(x: &Tensor, axes: &[usize]) -> candle_core::Result<Tensor> {
    let count: usize = axes.iter().map(|at| x.dims()[*at]).product();
    x.contiguous()?.sum_keepdim(axes)?.affine(1.0 / count.max(1) as f64, 0.0)
}

/// The norm of the crate `ops` over dimensions, without scale and shift: rows of these dimensions are normalised.
fn normalised(x: &Tensor, axes: &[usize], settings: SampleNormSettings) -> Result<Tensor> {
    let others = (0..x.rank()).filter(|at| !axes.contains(at));
    let order: Vec<usize> = others.chain(axes.iter().copied()).collect();
    let length: usize = axes.iter().map(|at| x.dims()[*at]).product();
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let moved = x.permute(order.as_slice())?.contiguous()?;
    let rows = ops::sample_norm(&moved.reshape(((), length))?, None, None, settings)?;
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, from)| inverse[*from] = to);
    Ok(rows.reshape(moved.dims())?.permute(inverse)?.contiguous()?)
}

/// y·scale + shift.
fn affine(y: &Tensor, scale: Option<&Tensor>, shift: Option<&Tensor>) -> Result<Tensor> {
    let y = match scale {
        Some(scale) => multiply(y, scale)?,
        None => y.clone(),
    };
    match shift {
        Some(shift) => add(&y, shift),
        None => Ok(y),
    }
}

/// One number for each channel, for tensors of this rank.
fn by_channel(values: &Tensor, rank: usize) -> Result<Tensor> {
    let mut dims = vec![1; rank];
    *dims.get_mut(1).ok_or_else(|| operand("expected [n, c, …]"))? = values.elem_count();
    Ok(values.reshape(dims)?)
}

/// `BatchNormalization` with running statistics.
pub(super) fn batch_norm(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let values = [call.float(1)?, call.float(2)?, call.float(3)?, call.float(4)?];
    let [gamma, beta, running_mean, variance] = values;
    let channels = x.dims().get(1).copied().unwrap_or(0);
    if values.iter().any(|value| value.elem_count() != channels) {
        return Err(operand(format!("expected {channels} numbers, one for each channel")));
    }
    let factor = gamma.div(&(variance + call.node.float("epsilon", 1e-5)?)?.sqrt()?)?;
    let shift = beta.sub(&running_mean.mul(&factor)?)?;
    one(affine(x, Some(&by_channel(&factor, x.rank())?), Some(&by_channel(&shift, x.rank())?))?)
}

pub(super) fn refuses_training(node: &Node) -> Option<String> {
    node.flag("training_mode", false).ok()?.then(|| {
        "training_mode = 1, which mixes the samples of a batch; export the network in evaluation mode".to_owned()
    })
}

/// `LayerNormalization` and `RMSNormalization`: over the dimensions from `axis` on.
pub(super) fn layer_norm(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let axes: Vec<usize> = (call.axis(-1, x.rank())?..x.rank()).collect();
    let epsilon = call.node.float("epsilon", 1e-5)?;
    let settings = if call.node.op == "RMSNormalization" {
        SampleNormSettings::rms_norm(epsilon)
    } else {
        SampleNormSettings::layer_norm(epsilon)
    };
    let y = normalised(x, &axes, settings)?;
    let mut outputs = one(affine(&y, call.optional_float(1)?, call.optional_float(2)?)?)?;
    // The mean, and the reciprocal of the standard deviation.
    if call.node.outputs.len() > 1 && call.node.op == "LayerNormalization" {
        let center = mean(x, &axes)?;
        let variance = mean(&x.broadcast_sub(&center)?.sqr()?, &axes)?;
        outputs.push(center.into());
        outputs.push((variance + epsilon)?.sqrt()?.recip()?.into());
    }
    Ok(outputs)
}

pub(super) fn instance_norm(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let axes: Vec<usize> = (2..x.rank()).collect();
    let y = normalised(x, &axes, SampleNormSettings::layer_norm(call.node.float("epsilon", 1e-5)?))?;
    let (scale, shift) = (by_channel(call.float(1)?, x.rank())?, by_channel(call.float(2)?, x.rank())?);
    one(affine(&y, Some(&scale), Some(&shift))?)
}

/// `GroupNormalization`: scale and shift by group up to operator set 20, then by channel.
pub(super) fn group_norm(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let groups = usize::try_from(call.node.integer("num_groups", 1)?).unwrap_or(0);
    let &[n, channels, ..] = x.dims() else { return Err(operand("expected [n, c, …]")) };
    if groups == 0 || channels % groups != 0 {
        return Err(operand(format!("{channels} channels in {groups} groups")));
    }
    let rows = x.contiguous()?.reshape((n, groups, x.elem_count() / (n * groups).max(1)))?;
    let settings = SampleNormSettings::layer_norm(call.node.float("epsilon", 1e-5)?);
    let y = normalised(&rows, &[2], settings)?.reshape(x.dims())?;
    let spread = |values: &Tensor| -> Result<Tensor> {
        let repeated = if values.elem_count() == channels {
            values.clone()
        } else {
            values.reshape((groups, 1))?.broadcast_as((groups, channels / groups))?.contiguous()?.flatten_all()?
        };
        by_channel(&repeated, x.rank())
    };
    one(affine(&y, Some(&spread(call.float(1)?)?), Some(&spread(call.float(2)?)?))?)
}

/// `MeanVarianceNormalization`, whose ε is 1e-9 beside the standard deviation.
pub(super) fn mean_variance(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let axes = call.node.integers("axes")?.unwrap_or(&[0, 2, 3]);
    let axes: Vec<usize> = axes.iter().map(|at| axis(*at, x.rank())).collect::<Result<_>>()?;
    one(normalised(x, &axes, SampleNormSettings::layer_norm(1e-18))?)
}

/// `LRN`: x / (bias + α/size · Σ x²)^β over neighbouring channels.
pub(super) fn local_response(call: &Call) -> Result<Vec<Value>> {
    let x = call.float(0)?;
    let size = usize::try_from(call.node.integer("size", 1)?).ok().filter(|size| *size > 0 && *size < 1 << 16);
    let size = size.ok_or_else(|| operand("`size` is not positive"))?;
    let before = (size - 1) / 2;
    let squares = super::padding::pad_constant(&x.sqr()?.into(), 1, [before as i64, (size - 1 - before) as i64], 0.0)?;
    let channels = x.dims().get(1).copied().unwrap_or(0);
    let mut total: Option<Tensor> = None;
    for shift in 0..size {
        let part = squares.float()?.narrow(1, shift, channels)?;
        total = Some(match total {
            None => part,
            Some(total) => total.add(&part)?,
        });
    }
    let total = total.ok_or_else(|| operand("`size` is 0"))?;
    let factor = call.node.float("alpha", 1e-4)? / size as f64;
    let base = total.affine(factor, call.node.float("bias", 1.0)?)?;
    one(x.mul(&Function::Power(-call.node.float("beta", 0.75)?).apply(&base)?)?)
}
