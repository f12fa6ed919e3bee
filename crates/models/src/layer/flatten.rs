//! Images and tokens to vectors.

use candle_core::Tensor;
use ops::nhwc::{from_nchw, to_nchw};

use super::{Layer, LayerInput, LayerLinearization, LinearTape};
use crate::{Pass, Result};

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

impl Flatten {
    fn apply(x: &Tensor) -> Result<Tensor> {
        Ok(match x.rank() {
            2 => x.clone(),
            4 => to_nchw(x)?.flatten_from(1)?,
            _ => x.contiguous()?.flatten_from(1)?,
        })
    }

    /// The transpose, for inputs of this shape; the number of samples may differ.
    fn undo(g: &Tensor, shape: &[usize]) -> Result<Tensor> {
        match shape {
            &[_, height, width, channels] => {
                Ok(from_nchw(&g.reshape(((), channels, height, width))?)?)
            }
            [_, _] => Ok(g.clone()),
            shape => Ok(g.reshape([&g.dims()[..1], &shape[1..]].concat())?),
        }
    }
}

impl Layer for Flatten {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        Flatten::apply(x)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let shape = input.x.dims().to_vec();
        let tape = LinearTape::new(Flatten::apply, move |g: &Tensor| Flatten::undo(g, &shape));
        Ok(LayerLinearization::new(Flatten::apply(&input.x)?, tape))
    }
}
