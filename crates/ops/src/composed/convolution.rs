//! Convolution as one matrix product (im2col): each window of the input is one row, with one column per tap and channel.
//!
//! With the im2col matrix C(x) and the weight as a matrix W, y = C(x)·W, the weight gradient is C(x)ᵀ·g, and the input gradient is
//! the adjoint of C applied to g·Wᵀ. Groups are the batch of the products. C(x) needs the memory of the input times the number
//! of taps.

use candle_core::Tensor;

use super::windows::Windows;
use crate::Result;
use crate::kernels::ConvGeometry;

/// Whether each window is one pixel. All three operations are then matrix products of the operands as stored.
pub(crate) fn is_pointwise(g: &ConvGeometry) -> bool {
    g.kernel == [1, 1] && g.stride == [1, 1] && g.padding == [0, 0] && g.groups == 1
}

/// `[…, c]` as `[rows, c]`.
fn rows(x: &Tensor, channels: usize) -> Result<Tensor> {
    Ok(x.contiguous()?.reshape(((), channels))?)
}

/// The convolution of `x` with `weight`.
pub(crate) fn output(g: &ConvGeometry, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if is_pointwise(g) {
        let y = rows(x, g.in_channels)?.matmul(&weight.reshape((g.out_channels, g.in_channels))?.t()?)?;
        return Ok(y.reshape((g.batch, g.height, g.width, g.out_channels))?);
    }
    let y = columns(g, x)?.matmul(&matrix(g, weight)?)?;
    let y = y.permute((1, 0, 2))?.contiguous()?;
    Ok(y.reshape((g.batch, g.out_height(), g.out_width(), g.out_channels))?)
}

/// The gradient of ⟨conv(x, weight), cotangent⟩ by the weight.
pub(crate) fn weight_gradient(g: &ConvGeometry, x: &Tensor, cotangent: &Tensor) -> Result<Tensor> {
    if is_pointwise(g) {
        let product = rows(cotangent, g.out_channels)?.t()?.matmul(&rows(x, g.in_channels)?)?;
        return Ok(product.reshape((g.out_channels, g.in_channels, 1, 1))?);
    }
    let product = columns(g, x)?.transpose(1, 2)?.contiguous()?.matmul(&by_group(g, cotangent)?)?;
    let [height, width] = g.kernel;
    let product = product.reshape((g.groups, height * width, g.group_in_channels(), g.group_out_channels()))?;
    let weight = product.permute((0, 3, 2, 1))?.contiguous()?;
    Ok(weight.reshape((g.out_channels, g.group_in_channels(), height, width))?)
}

/// The gradient of ⟨conv(x, weight), cotangent⟩ by x.
pub(crate) fn input_gradient(g: &ConvGeometry, cotangent: &Tensor, weight: &Tensor) -> Result<Tensor> {
    if is_pointwise(g) {
        let x = rows(cotangent, g.out_channels)?.matmul(&weight.reshape((g.out_channels, g.in_channels))?)?;
        return Ok(x.reshape((g.batch, g.height, g.width, g.in_channels))?);
    }
    let rows = by_group(g, cotangent)?.matmul(&matrix(g, weight)?.transpose(1, 2)?.contiguous()?)?;
    let taps = g.kernel[0] * g.kernel[1];
    let positions = g.batch * g.out_height() * g.out_width();
    let rows = rows.reshape((g.groups, positions, taps, g.group_in_channels()))?.permute((2, 1, 0, 3))?.contiguous()?;
    let rows = rows.reshape(&[taps, g.batch, g.out_height(), g.out_width(), g.in_channels])?;
    let windows = windows(g);
    let mut sum: Option<Tensor> = None;
    for (index, tap) in windows.taps().enumerate() {
        let placed = windows.placed(&rows.get(index)?, tap)?;
        sum = Some(match sum {
            Some(sum) => (sum + placed)?,
            None => placed,
        });
    }
    match sum {
        Some(sum) => windows.unpadded(&sum),
        None => Ok(Tensor::zeros((g.batch, g.height, g.width, g.in_channels), rows.dtype(), rows.device())?),
    }
}

fn windows(g: &ConvGeometry) -> Windows {
    Windows {
        image: [g.height, g.width],
        out: [g.out_height(), g.out_width()],
        kernel: g.kernel,
        stride: g.stride,
        padding: g.padding,
        dilation: g.dilation,
    }
}

/// The im2col matrix: `[groups, n·h'·w', taps·in/groups]`.
fn columns(g: &ConvGeometry, x: &Tensor) -> Result<Tensor> {
    let windows = windows(g);
    let padded = windows.padded(x, 0.0)?;
    let taps = windows.taps().map(|tap| Ok(windows.tap(&padded, tap)?.contiguous()?)).collect::<Result<Vec<_>>>()?;
    let all = Tensor::cat(&taps, 3)?;
    let positions = g.batch * g.out_height() * g.out_width();
    let split = all.contiguous()?.reshape((positions, taps.len(), g.groups, g.group_in_channels()))?;
    let split = split.permute((2, 0, 1, 3))?.contiguous()?;
    Ok(split.reshape((g.groups, positions, taps.len() * g.group_in_channels()))?)
}

/// `[out, in/groups, kh, kw]` as `[groups, taps·in/groups, out/groups]`.
fn matrix(g: &ConvGeometry, weight: &Tensor) -> Result<Tensor> {
    let (taps, inputs, outputs) = (g.kernel[0] * g.kernel[1], g.group_in_channels(), g.group_out_channels());
    let weight = weight.contiguous()?.reshape((g.groups, outputs, inputs, taps))?;
    Ok(weight.permute((0, 3, 2, 1))?.contiguous()?.reshape((g.groups, taps * inputs, outputs))?)
}

/// `[n, h', w', out]` as `[groups, n·h'·w', out/groups]`.
fn by_group(g: &ConvGeometry, cotangent: &Tensor) -> Result<Tensor> {
    let positions = g.batch * g.out_height() * g.out_width();
    let split = cotangent.contiguous()?.reshape((positions, g.groups, g.group_out_channels()))?;
    Ok(split.permute((1, 0, 2))?.contiguous()?)
}
