//! VJPs of a map of each row by the Jacobian of each row.

use candle_core::Tensor;

use crate::cpu::{same_dtype, with_elements};
use crate::fused_relu::cotangents_per_sample;
use crate::kernels::row_jacobian;
use crate::{Error, Result};

const OP: &str = "row_jacobians";

/// The Jacobians at one input of a map that acts on each vector along the last dimension by itself, such as layer norm and linear layers of
/// tokens.
///
/// **Use** with about as many cotangents of each row as the map is wide, a VJP by these Jacobians is cheaper than one through the layers.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::RowJacobians;
/// // Two rows of two numbers, and a map to one number: its gradient is (1, 2) at the first row and (3, 4) at the second.
/// let of_output = Tensor::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
/// let jacobians = RowJacobians::of(&of_output, &[2, 2])?;
/// // Two cotangents of each row.
/// let g = Tensor::new(&[[1f64], [1.], [10.], [100.]], &Device::Cpu)?;
/// let gradient = jacobians.input_gradient(&g, None)?;
/// assert_eq!(gradient.to_vec2::<f64>()?, [[1., 2.], [3., 4.], [10., 20.], [300., 400.]]);
/// # Ok::<(), ops::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RowJacobians {
    /// `[out, rows, in]`.
    jacobians: Tensor,
    /// The shape of the input.
    shape: Vec<usize>,
}

impl RowJacobians {
    /// From the gradients of each output by the input of the shape `shape`, `[n, …, in]`.
    ///
    /// **Shapes** `gradients` `[out·n, …, in]`: row r belongs to output r div n and sample r mod n, as for a VJP of the unit vectors.
    ///
    /// **Errors** [`Error::Shape`] if the gradients are not one or more inputs long.
    pub fn of(gradients: &Tensor, shape: &[usize]) -> Result<Self> {
        let outputs = cotangents_per_sample(OP, shape, gradients)?;
        let Some(inputs) = shape.last().filter(|_| !shape.contains(&0)) else {
            return Err(Error::shape(OP, gradients.dims(), shape, "no size of the input is 0"));
        };
        let rows = shape.iter().product::<usize>() / inputs;
        let jacobians = gradients.detach().contiguous()?.reshape((outputs, rows, *inputs))?;
        Ok(Self { jacobians, shape: shape.to_vec() })
    }

    /// The gradient by the input for cotangents `g`, plus `addend` in the same pass over memory.
    ///
    /// **Shapes** `g` `[k·n, …, out]`, the gradient and `addend` `[k·n, …, in]`; row r belongs to sample r mod n.
    ///
    /// **Errors** [`Error::Shape`] if the sizes do not match, [`Error::DType`] unless all are f32 or all are f64.
    pub fn input_gradient(&self, g: &Tensor, addend: Option<&Tensor>) -> Result<Tensor> {
        let (outputs, rows, inputs) = self.jacobians.dims3()?;
        same_dtype(OP, &self.jacobians, g)?;
        let (mut output, mut shape) = (self.shape.clone(), self.shape.clone());
        output.iter_mut().next_back().into_iter().for_each(|last| *last = outputs);
        let cotangents = cotangents_per_sample(OP, &output, g)?;
        shape.iter_mut().next().into_iter().for_each(|first| *first *= cotangents);
        if let Some(addend) = addend {
            same_dtype(OP, g, addend)?;
            if addend.dims() != shape {
                return Err(Error::shape(OP, addend.dims(), &shape, "the addend has the shape of the gradient"));
            }
        }
        let added = addend.unwrap_or(g).detach();
        Ok(with_elements!(OP, [jacobians: self.jacobians, g: g.detach(), added: added], T => {
            let added = addend.is_some().then_some(added);
            let gradient = row_jacobian::input_gradient::<T>([outputs, rows, inputs], jacobians, g, added);
            Tensor::from_vec(gradient, shape, self.jacobians.device())?
        }))
    }
}
