//! `AffineGrid`: the positions at which an affine map reads an image, for `GridSample`.

use candle_core::{Device, Tensor};

use super::linear::product;
use super::{Call, one, sizes};
use crate::Result;
use crate::error::operand;
use crate::value::Value;

/// A normalised coordinate of a pixel: of its centre, or with the corners of the image at −1 and 1.
fn coordinate(at: usize, count: usize, align_corners: bool) -> f64 {
    match (align_corners, count) {
        (true, 0 | 1) => 0.0,
        (true, _) => 2.0 * at as f64 / (count - 1) as f64 - 1.0,
        (false, _) => (2 * at + 1) as f64 / count as f64 - 1.0,
    }
}

/// The grid `[n, …, rank]` of maps `[n, rank, rank + 1]` for images of a size `[n, c, …]`.
pub(super) fn affine_grid(call: &Call) -> Result<Vec<Value>> {
    let (maps, size) = (call.float(0)?, sizes(&call.list(1)?)?);
    let align_corners = call.node.flag("align_corners", false)?;
    let (&[samples, rank, columns], [_, _, spatial @ ..]) = (maps.dims(), size.as_slice()) else {
        return Err(operand("expected maps [n, rank, rank + 1] and a size [n, c, …]"));
    };
    if rank != spatial.len() || columns != rank + 1 || !(2..=3).contains(&rank) {
        return Err(operand(format!("maps {:?} for images of size {size:?}", maps.dims())));
    }
    // The batch is that of the maps: exporters fix the one in the size.
    let dims: Vec<usize> = [&[samples], spatial, &[rank]].concat();
    call.check_count(&dims)?;
    let count: usize = spatial.iter().product();
    let mut homogeneous = Vec::with_capacity(count * columns);
    for point in 0..count {
        let mut rest = point;
        // The last dimension of the image is the first coordinate.
        for size in spatial.iter().rev() {
            homogeneous.push(coordinate(rest % size, *size, align_corners));
            rest /= size;
        }
        homogeneous.push(1.0);
    }
    let points = Tensor::from_vec(homogeneous, (count, columns), &Device::Cpu)?;
    let points = points.to_dtype(maps.dtype())?.to_device(maps.device())?;
    one(product(&points, &maps.transpose(1, 2)?.contiguous()?)?.reshape(dims)?)
}
