//! Images and tokens to vectors.

use candle_core::Tensor;
use ops::nhwc::{from_nchw, to_nchw};

use super::LinearMap;
use crate::Result;

/// `[n, h, w, c]` to `[n, c·h·w]` in PyTorch's order: channel first, then row, then column. Tokens `[n, t, d]` become `[n, t·d]`;
/// vectors stay as they are.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use models::Pass;
/// use models::layer::{Flatten, Layer};
/// // One row of two pixels with two channels.
/// let x = Tensor::new(&[1f64, 10., 2., 20.], &Device::Cpu)?.reshape((1, 1, 2, 2))?;
/// assert_eq!(Flatten.forward(&x, &Pass::evaluation())?.to_vec2::<f64>()?, [[1., 2., 10., 20.]]);
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Flatten;

impl LinearMap for Flatten {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match x.rank() {
            2 => x.clone(),
            4 => to_nchw(x)?.flatten_from(1)?,
            _ => x.contiguous()?.flatten_from(1)?,
        })
    }

    fn transpose(&self, g: &Tensor, input: &[usize]) -> Result<Tensor> {
        match input {
            &[_, height, width, channels] => Ok(from_nchw(&g.reshape(((), channels, height, width))?)?),
            [_, _] => Ok(g.clone()),
            input => Ok(g.reshape([&g.dims()[..1], input.get(1..).unwrap_or_default()].concat())?),
        }
    }
}
