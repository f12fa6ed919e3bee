//! Pooling composed of views, comparisons, gathers and scattered additions.

use candle_core::{DType, Tensor};

use super::windows::{Windows, filled};
use crate::Result;
use crate::kernels::pool::PoolGeometry;

/// For each output value, the pixel (row · width + column) of the window's first maximum in row-major order.
///
/// A NaN counts as an infinite value.
pub(crate) fn max_positions(g: &PoolGeometry, x: &Tensor) -> Result<Tensor> {
    let windows = windows(g);
    let infinite = filled(f64::INFINITY, x.dims(), x)?;
    let padded = windows.padded(&x.eq(x)?.where_cond(x, &infinite)?, f64::NEG_INFINITY)?;
    let first = per_position(g, x, |pixels| pixels.first().map_or(0, |(_, pixel)| *pixel as u32))?;
    let shape = (g.batch, g.out_height(), g.out_width(), g.channels);
    let mut positions = first.broadcast_as(shape)?.contiguous()?;
    let mut best = infinite.neg()?.flatten_all()?.get(0)?.broadcast_as(shape)?.contiguous()?;
    for tap in windows.taps() {
        // Outside the image the candidate is −∞, which is never larger.
        let pixels =
            per_position(g, x, |pixels| pixels.iter().find(|(at, _)| *at == tap).map_or(0, |(_, p)| *p as u32))?;
        let candidate = windows.tap(&padded, tap)?.contiguous()?;
        let larger = candidate.gt(&best)?;
        positions = larger.where_cond(&pixels.broadcast_as(shape)?.contiguous()?, &positions)?;
        best = larger.where_cond(&candidate, &best)?;
    }
    Ok(positions)
}

/// x at the positions.
pub(crate) fn gather(g: &PoolGeometry, x: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let pixels = x.contiguous()?.reshape((g.batch, g.height * g.width, g.channels))?;
    let positions = positions.reshape((g.batch, g.out_height() * g.out_width(), g.channels))?;
    Ok(pixels.gather(&positions, 1)?.reshape((g.batch, g.out_height(), g.out_width(), g.channels))?)
}

/// The adjoint of [`gather`].
pub(crate) fn scatter(g: &PoolGeometry, cotangent: &Tensor, positions: &Tensor) -> Result<Tensor> {
    let pooled = (g.batch, g.out_height() * g.out_width(), g.channels);
    let zeros = Tensor::zeros((g.batch, g.height * g.width, g.channels), cotangent.dtype(), cotangent.device())?;
    let pixels = zeros.scatter_add(&positions.reshape(pooled)?, &cotangent.contiguous()?.reshape(pooled)?, 1)?;
    Ok(pixels.reshape((g.batch, g.height, g.width, g.channels))?)
}

/// The mean of each window.
pub(crate) fn average(g: &PoolGeometry, x: &Tensor) -> Result<Tensor> {
    let windows = windows(g);
    let padded = windows.padded(x, 0.0)?;
    let shape = (g.batch, g.out_height(), g.out_width(), g.channels);
    let mut sum = Tensor::zeros(shape, x.dtype(), x.device())?;
    for tap in windows.taps() {
        sum = (sum + windows.tap(&padded, tap)?)?;
    }
    Ok(sum.broadcast_div(&counts(g, x)?)?)
}

/// The adjoint of [`average`].
pub(crate) fn spread(g: &PoolGeometry, cotangent: &Tensor) -> Result<Tensor> {
    let windows = windows(g);
    let share = cotangent.broadcast_div(&counts(g, cotangent)?)?;
    let mut sum = windows.placed(&share, [0, 0])?;
    for tap in windows.taps().skip(1) {
        sum = (sum + windows.placed(&share, tap)?)?;
    }
    windows.unpadded(&sum)
}

fn windows(g: &PoolGeometry) -> Windows {
    Windows {
        image: [g.height, g.width],
        out: [g.out_height(), g.out_width()],
        kernel: g.kernel,
        stride: g.stride,
        padding: g.padding,
        dilation: [1; 2],
    }
}

/// The divisor of each window, `[1, h', w', 1]`, in the dtype of `like`.
fn counts(g: &PoolGeometry, like: &Tensor) -> Result<Tensor> {
    let (height, width) = (g.out_height(), g.out_width());
    let divisors: Vec<u32> = (0..height).flat_map(|i| (0..width).map(move |j| g.divisor(i, j) as u32)).collect();
    Ok(Tensor::from_vec(divisors, (1, height, width, 1), like.device())?.to_dtype(like.dtype())?)
}

/// `value` of the taps inside the image and their pixels, for each position of the window: `[1, h', w', 1]`, u32.
fn per_position(g: &PoolGeometry, like: &Tensor, value: impl Fn(&[([usize; 2], usize)]) -> u32) -> Result<Tensor> {
    let taps: Vec<[usize; 2]> = windows(g).taps().collect();
    let mut values = Vec::with_capacity(g.out_height() * g.out_width());
    for row in 0..g.out_height() {
        for column in 0..g.out_width() {
            let inside: Vec<([usize; 2], usize)> = taps
                .iter()
                .filter_map(|&[down, across]| {
                    let y = (row * g.stride[0] + down).checked_sub(g.padding[0]).filter(|y| *y < g.height)?;
                    let x = (column * g.stride[1] + across).checked_sub(g.padding[1]).filter(|x| *x < g.width)?;
                    Some(([down, across], y * g.width + x))
                })
                .collect();
            values.push(value(&inside));
        }
    }
    let values = Tensor::from_vec(values, (1, g.out_height(), g.out_width(), 1), like.device())?;
    Ok(values.to_dtype(DType::U32)?)
}
