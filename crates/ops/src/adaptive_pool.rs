//! Adaptive average pooling: windows that divide an image of any size into a given number of rows and columns.

use candle_core::{Device, Tensor};

use super::composed::in_graph;
use super::cpu::require_float;
use crate::{Error, Result};

const OP: &str = "adaptive-avg-pool";

/// The mean over windows that divide the image into `[rows, columns]`, in candle's graph: PyTorch's `AdaptiveAvgPool2d`.
///
/// **Definition** Window i of `size` pixels and `out` windows reaches from ⌊i·size/out⌋ to ⌈(i+1)·size/out⌉. Windows overlap where
/// `out` does not divide `size`, and repeat pixels where it is larger.
///
/// The operation is linear: its JVP is the operation itself, its VJP [`adaptive_avg_pool2d_vjp`].
///
/// **Shapes** `x` `[n, h, w, c]`, result `[n, rows, columns, c]`.
///
/// **Errors** [`Error::Shape`] for other ranks and sizes of zero, [`Error::DType`] unless `x` is f32 or f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 2., 6.], &Device::Cpu)?.reshape((1, 1, 3, 1))?;
/// let y = ops::nhwc::adaptive_avg_pool2d(&x, [1, 2])?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [1.5, 4.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn adaptive_avg_pool2d(x: &Tensor, out: [usize; 2]) -> Result<Tensor> {
    let [height, width] = image(x)?;
    require_sizes(x, out)?;
    let means = [means(height, out[0], x)?, means(width, out[1], x)?];
    let value = along_both(&x.detach(), &means)?;
    in_graph(&[x], value, move |g| Ok(vec![Some(adaptive_avg_pool2d_vjp(g, [height, width])?)]))
}

/// The VJP of [`adaptive_avg_pool2d`] for images of this height and width, without a graph.
///
/// **Shapes** `g` `[n, rows, columns, c]`, result `[n, h, w, c]`.
///
/// **Errors** as [`adaptive_avg_pool2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let g = Tensor::new(&[2f64, 4.], &Device::Cpu)?.reshape((1, 1, 2, 1))?;
/// let dx = ops::nhwc::adaptive_avg_pool2d_vjp(&g, [1, 3])?;
/// assert_eq!(dx.flatten_all()?.to_vec1::<f64>()?, [1., 3., 2.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn adaptive_avg_pool2d_vjp(g: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor> {
    let [rows, columns] = image(g)?;
    require_sizes(g, [height, width])?;
    let transposed = |means: Tensor| -> Result<Tensor> { Ok(means.t()?.contiguous()?) };
    along_both(&g.detach(), &[transposed(means(height, rows, g)?)?, transposed(means(width, columns, g)?)?])
}

fn image(x: &Tensor) -> Result<[usize; 2]> {
    require_float(OP, x)?;
    match *x.dims() {
        [_, height, width, _] if x.elem_count() > 0 => Ok([height, width]),
        ref other => {
            let rule = "the input is [n, h, w, c] and not empty";
            Err(Error::shape(OP, other, &[], rule))
        }
    }
}

fn require_sizes(x: &Tensor, sizes: [usize; 2]) -> Result<()> {
    if !sizes.contains(&0) {
        return Ok(());
    }
    Err(Error::shape(OP, x.dims(), &sizes, "no size is zero"))
}

/// The matrix `[out, size]` of the means over the windows.
fn means(size: usize, out: usize, like: &Tensor) -> Result<Tensor> {
    let mut weights = Vec::with_capacity(size * out);
    for window in 0..out {
        let (first, end) = (window * size / out, ((window + 1) * size).div_ceil(out));
        let share = 1.0 / (end - first) as f64;
        weights.extend((0..size).map(|pixel| if (first..end).contains(&pixel) { share } else { 0.0 }));
    }
    let weights = Tensor::from_vec(weights, (out, size), &Device::Cpu)?;
    Ok(weights.to_dtype(like.dtype())?.to_device(like.device())?)
}

/// The product with one matrix along the height and another along the width.
fn along_both(x: &Tensor, [vertical, horizontal]: &[Tensor; 2]) -> Result<Tensor> {
    let (n, height, width, channels) = x.dims4()?;
    let (rows, columns) = (vertical.dim(0)?, horizontal.dim(0)?);
    let x = vertical.broadcast_matmul(&x.contiguous()?.reshape((n, height, width * channels))?)?;
    let x = horizontal.broadcast_matmul(&x.reshape((n * rows, width, channels))?)?;
    Ok(x.reshape((n, rows, columns, channels))?)
}
