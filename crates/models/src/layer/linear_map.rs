//! Layers that are linear in their input and have no parameters.

use candle_core::Tensor;

use super::{Kind, Layer, LayerInput, LayerLinearization, LinearTape};
use crate::{Error, Pass, Result};

/// Rows and columns of images `[n, h, w, c]`.
pub(super) fn image_size(shape: &[usize]) -> Result<[usize; 2]> {
    match *shape {
        [_, height, width, _] => Ok([height, width]),
        _ => {
            let rule = "the input is a batch of images [n, h, w, c]".into();
            Err(Error::Shape { op: "images", left: shape.to_vec(), right: Vec::new(), rule })
        }
    }
}

/// A linear map without parameters; it is a [`Layer`] whose JVP is the map itself and whose VJP is its transpose.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use models::layer::{GradientAccumulator, Layer, LayerInput, LinearMap};
/// use models::{Pass, Result};
///
/// /// The differences of neighbouring features.
/// struct Differences;
///
/// impl LinearMap for Differences {
///     fn apply(&self, x: &Tensor) -> Result<Tensor> {
///         let count = x.dim(1)? - 1;
///         Ok((x.narrow(1, 1, count)? - x.narrow(1, 0, count)?)?)
///     }
///
///     fn transpose(&self, g: &Tensor, _: &[usize]) -> Result<Tensor> {
///         Ok((g.pad_with_zeros(1, 1, 0)? - g.pad_with_zeros(1, 0, 1)?)?)
///     }
/// }
///
/// let x = LayerInput::new(&Tensor::new(&[[1f64, 4., 9.]], &Device::Cpu)?).by_input();
/// let at = Differences.linearize(&x, &Pass::evaluation())?;
/// assert_eq!(at.output.to_vec2::<f64>()?, [[3., 5.]]);
/// let g = Tensor::new(&[[1f64, 10.]], &Device::Cpu)?;
/// let by_input = at.tape.vjp(&g, &mut GradientAccumulator::of_input())?.unwrap();
/// assert_eq!(by_input.to_vec2::<f64>()?, [[-1., -9., 10.]]);
/// # Ok::<(), models::Error>(())
/// ```
pub trait LinearMap: Send + Sync {
    /// The output for `x`, in candle's graph if `x` is.
    ///
    /// # Errors
    /// Those of the operations inside, such as a wrong shape.
    fn apply(&self, x: &Tensor) -> Result<Tensor>;

    /// The transpose of [`LinearMap::apply`] for inputs of the shape `input`; `g` may have k rows for each row of the output.
    ///
    /// # Errors
    /// As [`LinearMap::apply`].
    fn transpose(&self, g: &Tensor, input: &[usize]) -> Result<Tensor>;

    /// As [`Layer::kind`].
    fn kind(&self) -> Kind<'_> {
        Kind::Other
    }
}

impl<M: LinearMap> Layer for M {
    fn forward(&self, x: &Tensor, _: &Pass) -> Result<Tensor> {
        self.apply(x)
    }

    fn linearize<'a>(&'a self, input: &LayerInput, _: &Pass) -> Result<LayerLinearization<'a>> {
        let shape = input.x.dims().to_vec();
        let tape = LinearTape::new(
            |t: &Tensor| self.apply(&t.detach()),
            move |g: &Tensor| self.transpose(&g.detach(), &shape),
        );
        Ok(LayerLinearization::new(self.apply(&input.x)?, tape))
    }

    fn kind(&self) -> Kind<'_> {
        LinearMap::kind(self)
    }
}
