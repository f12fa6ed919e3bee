//! The order of images outside a network, `[n, c, h, w]`, and inside, `[n, h, w, c]`. Tokens `[n, t, d]` have one order.

use candle_core::Tensor;
use ops::nhwc::{from_nchw, to_nchw};

use crate::{Error, Result};

/// A batch of samples of this shape in the order inside a network. Vectors are flattened, tokens stay as they are.
///
/// # Errors
/// [`Error::Shape`] when the samples have another shape.
pub(crate) fn to_inside(batch: &Tensor, sample_shape: &[usize]) -> Result<Tensor> {
    let dims = batch.dims();
    let numbers: usize = dims.iter().skip(1).product();
    match sample_shape {
        &[inputs] if dims.len() >= 2 && numbers == inputs => Ok(batch.flatten_from(1)?.contiguous()?),
        &[_, _] if dims.get(1..) == Some(sample_shape) => Ok(batch.contiguous()?),
        expected if dims.len() == 4 && dims.get(1..) == Some(expected) => Ok(from_nchw(batch)?),
        expected => Err(Error::Shape {
            op: "network",
            left: dims.to_vec(),
            right: expected.to_vec(),
            rule: "the input is a batch [n, …] of samples of the second shape; set `in_channels` and `input_size`"
                .into(),
        }),
    }
}

/// A tensor in the order inside a network, brought to the order and the sample shape of `outside`.
pub(crate) fn to_outside(inside: &Tensor, outside: &Tensor) -> Result<Tensor> {
    if inside.rank() == 4 && outside.rank() == 4 {
        return Ok(to_nchw(inside)?);
    }
    let rows = inside.dims().iter().take(1);
    Ok(inside.reshape(rows.chain(outside.dims().iter().skip(1)).copied().collect::<Vec<_>>())?)
}
