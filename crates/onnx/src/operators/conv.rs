//! Convolution and transposed convolution in one to three dimensions.

use candle_core::Tensor;
use ops::{ConvSettings, nchw, nhwc};

use super::padding::pad_constant;
use super::windows::{Windows, numbers};
use super::{Call, one};
use crate::Result;
use crate::error::operand;
use crate::value::Value;

fn groups(call: &Call) -> Result<usize> {
    let groups = call.node.integer("group", 1)?;
    usize::try_from(groups).ok().filter(|groups| *groups > 0).ok_or_else(|| operand(format!("group = {groups}")))
}

/// `Conv`. Padding that differs between the sides is a tensor of zeros.
pub(super) fn convolution(call: &Call) -> Result<Vec<Value>> {
    let (x, weight, bias) = (call.float(0)?, call.float(1)?, call.optional_float(2)?);
    if !(3..=5).contains(&x.rank()) || weight.rank() != x.rank() {
        return Err(operand("expected an input and a kernel of one to three spatial dimensions"));
    }
    let windows = Windows::of(call, &x.dims()[2..], Some(&weight.dims()[2..]))?;
    if windows.kernel != weight.dims()[2..] {
        return Err(operand(format!("kernel_shape is {:?}", windows.kernel)));
    }
    let mut x = x.clone();
    let mut padding = Vec::new();
    for (at, pads) in windows.pads.iter().enumerate() {
        let native = pads[0] == pads[1] && at + 3 >= x.rank() - 1;
        padding.push(if native { pads[0] } else { 0 });
        if !native {
            x = pad_constant(&x.into(), at + 2, pads.map(|pad| pad as i64), 0.0)?.float()?.clone();
        }
    }
    let settings = Planar { windows: &windows, padding: &padding, groups: groups(call)? };
    one(match x.rank() {
        3 => settings.line(&x, weight, bias)?,
        4 => settings.plane(&x, weight, bias)?,
        _ => settings.volume(&x, weight, bias)?,
    })
}

/// A convolution whose remaining padding is the same on both sides.
struct Planar<'a> {
    windows: &'a Windows,
    padding: &'a [usize],
    groups: usize,
}

impl Planar<'_> {
    /// The last two of the settings of each dimension.
    fn settings(&self) -> ConvSettings {
        let last = |values: &[usize], default: usize| match values {
            [.., a, b] => [*a, *b],
            [b] => [default, *b],
            [] => [default; 2],
        };
        ConvSettings {
            stride: last(&self.windows.strides, 1),
            padding: last(self.padding, 0),
            dilation: last(&self.windows.dilations, 1),
            groups: self.groups,
            ..ConvSettings::default()
        }
    }

    fn plane(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let zeros = match bias {
            Some(_) => None,
            None => Some(Tensor::zeros(weight.dim(0)?, x.dtype(), x.device())?),
        };
        let bias = bias.or(zeros.as_ref()).ok_or_else(|| operand("there is no bias"))?;
        Ok(nchw::conv2d_with_bias(x, weight, bias, self.settings())?)
    }

    /// A line is an image of one row.
    fn line(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(self.plane(&x.unsqueeze(2)?, &weight.unsqueeze(2)?, bias)?.squeeze(2)?)
    }

    /// The sum over the depth of the kernel of convolutions of planes.
    fn volume(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let &[n, channels, _, height, width] = x.dims() else { return Err(operand("expected [n, c, d, h, w]")) };
        let (count, stride, dilation) = (self.windows.counts[0], self.windows.strides[0], self.windows.dilations[0]);
        let mut sum: Option<Tensor> = None;
        for tap in 0..self.windows.kernel[0] {
            let depths: Vec<usize> = (0..count).map(|at| at * stride + tap * dilation).collect();
            let planes = super::indexing::select(&x.clone().into(), 2, &depths)?;
            let planes =
                planes.float()?.transpose(1, 2)?.contiguous()?.reshape((n * count, channels, height, width))?;
            let own = weight.narrow(2, tap, 1)?.squeeze(2)?.contiguous()?;
            let y = self.plane(&planes, &own, if tap == 0 { bias } else { None })?;
            sum = Some(match sum {
                None => y,
                Some(sum) => sum.add(&y)?,
            });
        }
        let y = sum.ok_or_else(|| operand("a kernel without depth"))?;
        let (_, out, h, w) = y.dims4()?;
        Ok(y.reshape((n, count, out, h, w))?.transpose(1, 2)?.contiguous()?)
    }
}

/// `ConvTranspose`: the adjoint of a convolution by its input.
pub(super) fn transposed(call: &Call) -> Result<Vec<Value>> {
    let (x, weight, bias) = (call.float(0)?, call.float(1)?, call.optional_float(2)?);
    if !(3..=5).contains(&x.rank()) || weight.rank() != x.rank() {
        return Err(operand("expected an input and a kernel of one to three spatial dimensions"));
    }
    let rank = x.rank() - 2;
    let kernel = &weight.dims()[2..];
    let (strides, dilations) = (numbers(call.node, "strides", rank)?, numbers(call.node, "dilations", rank)?);
    if strides.len() != rank || dilations.len() != rank {
        return Err(operand(format!("strides {strides:?} in {rank} dimensions")));
    }
    let full: Vec<usize> = (0..rank)
        .map(|at| (x.dims()[at + 2].max(1) - 1) * strides[at] + (kernel[at].max(1) - 1) * dilations[at] + 1)
        .collect();
    let cuts = Cuts::of(call, &x.dims()[2..], &full, &strides)?;
    let adjoint = Adjoint { strides: &strides, dilations: &dilations, groups: groups(call)? };
    let y = match rank {
        1 => adjoint.plane(&x.unsqueeze(2)?, &weight.unsqueeze(2)?)?.squeeze(2)?,
        2 => adjoint.plane(x, weight)?,
        _ => adjoint.volume(x, weight)?,
    };
    let mut y = Value::from(y);
    for (at, [before, after]) in cuts.0.iter().enumerate() {
        y = pad_constant(&y, at + 2, [-before, -after], 0.0)?;
    }
    let y = y.float()?.contiguous()?;
    match bias {
        None => one(y),
        Some(bias) => {
            let mut dims = vec![1; y.rank()];
            dims[1] = bias.elem_count();
            one(super::arithmetic::add(&y, &bias.reshape(dims)?)?)
        }
    }
}

/// What is cut from both sides of the full result; negative numbers add zeros.
struct Cuts(Vec<[i64; 2]>);

impl Cuts {
    fn of(call: &Call, sizes: &[usize], full: &[usize], strides: &[usize]) -> Result<Self> {
        let node = call.node;
        let rank = sizes.len();
        let list = |name: &str| -> Result<Vec<i64>> { Ok(node.integers(name)?.map_or(vec![0; rank], <[i64]>::to_vec)) };
        let extra = list("output_padding")?;
        let stated = node.integers("output_shape")?.map(|shape| shape[shape.len().saturating_sub(rank)..].to_vec());
        let pads = node.integers("pads")?.map_or(vec![0; 2 * rank], <[i64]>::to_vec);
        if extra.len() != rank || pads.len() != 2 * rank || stated.as_ref().is_some_and(|shape| shape.len() != rank) {
            return Err(operand(format!("pads {pads:?} and output_padding {extra:?} in {rank} dimensions")));
        }
        let auto = node.text("auto_pad", "NOTSET")?;
        let cut = |at: usize| -> [i64; 2] {
            let total = full[at] as i64 + extra[at];
            let target = match (&stated, auto) {
                (Some(shape), _) => Some(shape[at]),
                (None, "SAME_UPPER" | "SAME_LOWER") => Some((sizes[at] * strides[at]) as i64),
                _ => None,
            };
            let [before, after] = match target {
                // The cut is divided as padding is: the larger half in front with SAME_UPPER of a given shape.
                Some(target) => {
                    let cut = (total - target).max(0);
                    if auto == "SAME_UPPER" { [cut / 2, cut - cut / 2] } else { [cut - cut / 2, cut / 2] }
                }
                None if auto == "VALID" => [0, 0],
                None => [pads[at], pads[at + rank]],
            };
            let grown = target.map_or(0, |target| (target - total).max(0));
            [before, after - extra[at] - grown]
        };
        Ok(Self((0..rank).map(cut).collect()))
    }
}

/// A transposed convolution without padding.
struct Adjoint<'a> {
    strides: &'a [usize],
    dilations: &'a [usize],
    groups: usize,
}

impl Adjoint<'_> {
    fn plane(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let last = |values: &[usize]| match values {
            [.., a, b] => [*a, *b],
            [b] => [1, *b],
            [] => [1; 2],
        };
        let (stride, dilation) = (last(self.strides), last(self.dilations));
        let settings = ConvSettings { stride, dilation, groups: self.groups, ..ConvSettings::default() };
        let (&[n, _, h, w], &[_, out, kh, kw]) = (x.dims(), weight.dims()) else {
            return Err(operand("expected [n, c, h, w]"));
        };
        let size = |size: usize, kernel: usize, axis: usize| {
            (size.max(1) - 1) * stride[axis] + (kernel.max(1) - 1) * dilation[axis] + 1
        };
        let shape = [n, size(h, kh, 0), size(w, kw, 1), out * self.groups];
        let g = x.permute((0, 2, 3, 1))?.contiguous()?;
        Ok(nhwc::conv2d_input_gradient(&g, weight, &shape, settings)?.permute((0, 3, 1, 2))?.contiguous()?)
    }

    /// The sum over the depth of the kernel, each shifted by its depth.
    fn volume(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let &[n, channels, depth, height, width] = x.dims() else { return Err(operand("expected [n, c, d, h, w]")) };
        let planes = x.transpose(1, 2)?.contiguous()?.reshape((n * depth, channels, height, width))?;
        let (taps, stride, dilation) = (weight.dim(2)?, self.strides[0], self.dilations[0]);
        let mut sum: Option<Value> = None;
        for tap in 0..taps {
            let y = self.plane(&planes, &weight.narrow(2, tap, 1)?.squeeze(2)?.contiguous()?)?;
            let (_, out, h, w) = y.dims4()?;
            let mut y = Value::from(y.reshape((n, depth, 1, out, h, w))?);
            y = pad_constant(&y, 2, [0, stride as i64 - 1], 0.0)?.reshaped(vec![n, depth * stride, out, h, w])?;
            let after = ((taps - 1 - tap) * dilation) as i64 - (stride as i64 - 1);
            y = pad_constant(&y, 1, [(tap * dilation) as i64, after], 0.0)?;
            sum = Some(match sum {
                None => y,
                Some(sum) => sum.float()?.add(y.float()?)?.into(),
            });
        }
        let y = sum.ok_or_else(|| operand("a kernel without depth"))?;
        Ok(y.float()?.transpose(1, 2)?.contiguous()?)
    }
}
