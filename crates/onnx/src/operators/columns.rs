//! `Col2Im`: the sum of the windows of images, the adjoint of their extraction (`Fold` in PyTorch).

use candle_core::{Device, Tensor};
use ops::{ConvSettings, nhwc};

use super::padding::pad_constant;
use super::windows::numbers;
use super::{Call, one, sizes};
use crate::Result;
use crate::error::{operand, unsupported};
use crate::value::Value;

/// Images `[n, c, h, w]` from windows `[n, c·kh·kw, windows]`.
pub(super) fn to_images(call: &Call) -> Result<Vec<Value>> {
    let (x, image, kernel) = (call.float(0)?, sizes(&call.list(1)?)?, sizes(&call.list(2)?)?);
    let (&[height, width], &[kh, kw]) = (image.as_slice(), kernel.as_slice()) else {
        return Err(unsupported("Col2Im of another number of spatial dimensions than two"));
    };
    let (samples, rows, windows) = x.dims3()?;
    let (strides, dilations) = (numbers(call.node, "strides", 2)?, numbers(call.node, "dilations", 2)?);
    let pads = sizes(call.node.integers("pads")?.unwrap_or(&[0; 4]))?;
    let (taps, &[top, left, bottom, right]) = (kh.saturating_mul(kw), pads.as_slice()) else {
        return Err(operand(format!("pads {pads:?} in two dimensions")));
    };
    if taps == 0 || rows % taps != 0 || strides.len() != 2 || dilations.len() != 2 {
        return Err(operand(format!("{rows} rows for windows of {kh}×{kw}")));
    }
    let channels = rows / taps;
    let padded = [height.saturating_add(top).saturating_add(bottom), width.saturating_add(left).saturating_add(right)];
    call.check_count(&[samples, padded[0], padded[1], channels])?;
    call.check_count(&[rows, taps])?;
    let along = |at: usize| -> Option<usize> {
        let room = padded[at].checked_sub((kernel[at] - 1).checked_mul(dilations[at])?.checked_add(1)?)?;
        Some(room / strides[at] + 1)
    };
    let counts = [along(0), along(1)];
    let [Some(down), Some(across)] = counts else { return Err(operand("the windows are larger than the image")) };
    if down.saturating_mul(across) != windows {
        return Err(operand(format!("{windows} windows, expected {down}×{across}")));
    }
    // Row c·taps + t of the windows is tap t of channel c.
    let kernels: Vec<f64> = (0..rows * taps).map(|at| f64::from(at / taps % taps == at % taps)).collect();
    let kernels = Tensor::from_vec(kernels, (rows, 1, kh, kw), &Device::Cpu)?;
    let kernels = kernels.to_dtype(x.dtype())?.to_device(x.device())?;
    let settings = ConvSettings {
        stride: [strides[0], strides[1]],
        dilation: [dilations[0], dilations[1]],
        groups: channels,
        ..ConvSettings::default()
    };
    let windows = x.transpose(1, 2)?.contiguous()?.reshape((samples, down, across, rows))?;
    let shape = [samples, padded[0], padded[1], channels];
    let images = nhwc::conv2d_input_gradient(&windows, &kernels, &shape, settings)?;
    let mut images = Value::from(images.permute((0, 3, 1, 2))?.contiguous()?);
    for (axis, cut) in [(2, [top, bottom]), (3, [left, right])] {
        images = pad_constant(&images, axis, cut.map(|pad| -(pad as i64)), 0.0)?;
    }
    one(images.float()?.contiguous()?)
}
