//! Sums and ReLU masks without a graph: two operations in one pass over memory, or several cotangents per row of a stored
//! output.

use candle_core::Tensor;

use super::activation::relu;
use super::channel::channel_sum;
use super::composed::{is_composed, on_cuda};
use super::cpu::{same_dtype, with_elements};
use super::product::{relu_mask, require_same_shape};
use crate::kernels::{Element, channel, elementwise};
use crate::{Error, Result};

/// a + b without a graph, or max(a + b, 0) with `fused_relu`.
///
/// **Errors** as [`hadamard`](super::hadamard).
///
/// ```
/// use candle_core::{Device, Tensor};
/// let (a, b) = (Tensor::new(&[1f64, 2.], &Device::Cpu)?, Tensor::new(&[-3f64, 3.], &Device::Cpu)?);
/// assert_eq!(ops::add_detached(&a, &b, false)?.to_vec1::<f64>()?, [-2., 5.]);
/// assert_eq!(ops::add_detached(&a, &b, true)?.to_vec1::<f64>()?, [0., 5.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn add_detached(a: &Tensor, b: &Tensor, fused_relu: bool) -> Result<Tensor> {
    const OP: &str = "sum";
    require_same_shape(OP, a, b)?;
    on_cuda!(a, sum(&a.detach(), &b.detach(), fused_relu));
    if is_composed(a) {
        let sum = (a.detach() + b.detach())?;
        return if fused_relu { relu(&sum) } else { Ok(sum) };
    }
    Ok(with_elements!(OP, [x: a.detach(), y: b.detach()], T => {
        let sum = if fused_relu {
            elementwise::zip_map::<T, _>(x, y, |x, y| elementwise::positive_part(x + y))
        } else {
            elementwise::zip_map::<T, _>(x, y, |x, y| x + y)
        };
        Tensor::from_vec(sum, a.shape(), a.device())?
    }))
}

/// `stored` `[n, …]` repeated to the rows of `g` `[k·n, …]`: row r mod n of `stored` belongs to row r of `g`.
///
/// `op` is the name of the operation in errors.
///
/// **Errors** [`Error::Shape`] if the rows of `g` are not one or more times n, or the other sizes differ.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let stored = Tensor::new(&[[1f64], [2.]], &Device::Cpu)?;
/// let g = Tensor::new(&[[5f64], [6.], [7.], [8.]], &Device::Cpu)?;
/// assert_eq!(ops::repeat_rows("example", &stored, &g)?.to_vec2::<f64>()?, [[1.], [2.], [1.], [2.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn repeat_rows(op: &'static str, stored: &Tensor, g: &Tensor) -> Result<Tensor> {
    match cotangents_per_row(op, stored, g)? {
        1 => Ok(stored.clone()),
        times => Ok(Tensor::cat(&vec![stored; times], 0)?),
    }
}

/// The number of rows of `g` per row of `stored`.
pub(crate) fn cotangents_per_row(op: &'static str, stored: &Tensor, g: &Tensor) -> Result<usize> {
    cotangents_per_sample(op, stored.dims(), g)
}

/// The number of rows of `g` per row of an output of this shape.
pub(crate) fn cotangents_per_sample(op: &'static str, output: &[usize], g: &Tensor) -> Result<usize> {
    match (g.dims(), output) {
        ([rows, row @ ..], [n, output_row @ ..])
            if row == output_row && *n > 0 && *rows > 0 && rows.is_multiple_of(*n) =>
        {
            Ok(rows / n)
        }
        (got, output) => Err(Error::shape(
            op,
            got,
            output,
            "cotangents have the shape of the output, with one or more rows per row of the output",
        )),
    }
}

/// [`relu_mask`] without a graph, for one or more cotangents per row of `reference`.
///
/// **Shapes** `reference` `[n, …]`, `g` and the result `[k·n, …]`. Row r of `g` belongs to row r mod n of `reference`.
///
/// **Errors** as [`relu_mask`] and [`repeat_rows`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let reference = Tensor::new(&[[1f64], [0.]], &Device::Cpu)?;
/// let g = Tensor::new(&[[5f64], [6.], [7.], [8.]], &Device::Cpu)?;
/// assert_eq!(ops::relu_mask_rows(&g, &reference)?.to_vec2::<f64>()?, [[5.], [0.], [7.], [0.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn relu_mask_rows(g: &Tensor, reference: &Tensor) -> Result<Tensor> {
    const OP: &str = "relu-mask";
    let (g, reference) = (g.detach(), reference.detach());
    if cotangents_per_row(OP, &reference, &g)? == 1 || is_composed(&g) {
        return relu_mask(&g, &repeat_rows(OP, &reference, &g)?);
    }
    same_dtype(OP, &g, &reference)?;
    Ok(with_elements!(OP, [x: g, y: reference], T => {
        Tensor::from_vec(elementwise::zip_map::<T, _>(x, y, elementwise::relu_mask), g.shape(), g.device())?
    }))
}

/// [`relu_mask`] without a graph, and the sum of its result per channel: the gradients of a bias with a fused ReLU.
///
/// **Shapes** `g`, `reference` and the first result `[…, c]`, the second result `[c]`.
///
/// **Errors** as [`relu_mask`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let reference = Tensor::new(&[[1f64, 0.], [1., 1.]], &Device::Cpu)?;
/// let g = Tensor::new(&[[5f64, 6.], [7., 8.]], &Device::Cpu)?;
/// let (masked, sum) = ops::nhwc::relu_mask_with_sum(&g, &reference)?;
/// assert_eq!(masked.to_vec2::<f64>()?, [[5., 0.], [7., 8.]]);
/// assert_eq!(sum.to_vec1::<f64>()?, [12., 8.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn relu_mask_with_sum(g: &Tensor, reference: &Tensor) -> Result<(Tensor, Tensor)> {
    const OP: &str = "relu-mask";
    require_same_shape(OP, g, reference)?;
    if is_composed(g) {
        let masked = relu_mask(&g.detach(), reference)?;
        let sum = channel_sum(&masked)?;
        return Ok((masked, sum));
    }
    let channels = g.dims().last().copied().unwrap_or(1);
    Ok(with_elements!(OP, [x: g.detach(), y: reference.detach()], T => {
        let (masked, sum) = channel::relu_mask_with_sum::<T>(x, y, channels);
        let sum: Vec<T> = sum.into_iter().map(<T as Element>::from_f64).collect();
        (Tensor::from_vec(masked, g.shape(), g.device())?, Tensor::from_vec(sum, channels, g.device())?)
    }))
}
