//! The input gradient of a convolution next to ReLUs, for one or more cotangents per image.

use candle_core::{Device, Tensor};

use super::composed::is_composed;
use super::conv::{ConvSettings, conv2d_input_gradient};
use super::cpu::{same_dtype, with_elements};
use super::fused_relu::{cotangents_per_row, relu_mask_rows};
use super::pool::MaxPositions;
use crate::kernels::pool::PoolGeometry;
use crate::kernels::sparse::{Following, MaxPoolOutput, SparseInputGradient};
use crate::{Error, Result};

/// The operations between a convolution and the cotangents.
///
/// [`conv2d_input_gradient_masked`] applies their VJP to the cotangents.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FollowedBy {
    /// No operation: the cotangents are those of the convolution.
    Nothing,
    /// A ReLU with this output.
    Relu(Tensor),
    /// A ReLU, then a max pool with these positions and this output.
    ReluMaxPool(MaxPositions, Tensor),
}

/// The ReLUs around a convolution.
#[derive(Debug, Clone, Copy)]
pub struct ReluMasks<'a> {
    /// The operations after the convolution.
    pub followed_by: &'a FollowedBy,
    /// The output of the ReLU before the convolution, `[n, h, w, in]`, if the gradient is masked by it.
    pub preceding_relu: Option<&'a Tensor>,
}

impl FollowedBy {
    /// The cotangent of the output of the convolution.
    fn vjp(&self, g: &Tensor) -> Result<Tensor> {
        match self {
            Self::Nothing => Ok(g.clone()),
            Self::Relu(y) => relu_mask_rows(g, y),
            // A maximum is positive exactly if the pixel at its position is positive.
            Self::ReluMaxPool(positions, pooled) => positions.scatter(&relu_mask_rows(g, pooled)?),
        }
    }

    /// The output that has the shape of the cotangents, if it is stored.
    fn output(&self) -> Option<&Tensor> {
        match self {
            Self::Nothing => None,
            Self::Relu(y) | Self::ReluMaxPool(_, y) => Some(y),
        }
    }
}

/// The VJP Jᵀg of a convolution by its input, together with the ReLUs around it, without a graph.
///
/// **Definition** `g` is the cotangent of the last operation in [`FollowedBy`]. The result is the gradient by the input of the
/// convolution, multiplied by the mask of the preceding ReLU if there is one.
///
/// **Shapes** `input` `[n, h, w, in]`, `g` `[k·n, …]` with k cotangents per image, result `[k·n, h, w, in]`. Row r belongs to
/// image r mod n. From 32 cotangents per image on, products with zeros are skipped where this is faster.
///
/// **Errors** as [`conv2d_input_gradient`], and [`Error::Shape`] if the rows of `g` are not a multiple of n.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::ConvSettings;
/// use ops::nhwc::{FollowedBy, ReluMasks, conv2d_input_gradient_masked};
/// let row = |values: [f64; 3]| Tensor::new(&values, &Device::Cpu)?.reshape((1, 1, 3, 1));
/// let (weight, y, x) = (Tensor::new(&[[[[10f64]]]], &Device::Cpu)?, row([1., 0., 2.])?, row([1., 1., 0.])?);
/// let masks = ReluMasks { followed_by: &FollowedBy::Relu(y), preceding_relu: Some(&x) };
/// let dx = conv2d_input_gradient_masked(&row([1., 2., 3.])?, &weight, x.dims(), masks, ConvSettings::default())?;
/// assert_eq!(dx.flatten_all()?.to_vec1::<f64>()?, [10., 0., 0.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn conv2d_input_gradient_masked(
    g: &Tensor,
    weight: &Tensor,
    input: &[usize],
    masks: ReluMasks<'_>,
    settings: ConvSettings,
) -> Result<Tensor> {
    const OP: &str = "conv2d-input-gradient";
    let ReluMasks { followed_by, preceding_relu } = masks;
    same_dtype(OP, g, weight)?;
    let [rows, images] = [g.dims(), input].map(|shape| shape.first().copied().unwrap_or(0));
    if images == 0 || !rows.is_multiple_of(images) {
        return Err(Error::shape(OP, g.dims(), input, "there are one or more cotangents per image"));
    }
    let repeated: Vec<usize> = [&rows].into_iter().chain(input.iter().skip(1)).copied().collect();
    let (g, weight) = (g.detach(), weight.detach());
    if is_composed(&g) {
        let gradient = conv2d_input_gradient(&followed_by.vjp(&g)?, &weight, &repeated, settings)?;
        return preceding_relu.map_or_else(|| Ok(gradient.clone()), |x| relu_mask_rows(&gradient, x));
    }
    let geometry = settings.geometry(OP, input, weight.dims())?;
    match followed_by.output() {
        Some(y) => cotangents_per_row(OP, y, &g).map(|_| ())?,
        None => settings.check_cotangent(OP, &g, &repeated, weight.dims())?,
    }
    let outputs = [followed_by.output(), preceding_relu];
    outputs.into_iter().flatten().try_for_each(|tensor| same_dtype(OP, &g, tensor))?;
    let on_cpu = |pool: Option<(PoolGeometry, &[u32])>| {
        // `g` is passed in place of an absent mask, which is not read.
        let [y, x] = outputs.map(|tensor| tensor.unwrap_or(&g).detach());
        Ok(with_elements!(OP, [g: g, weight: weight, y: y, x: x], T => {
            let following = match (followed_by, pool) {
                (FollowedBy::ReluMaxPool(..), Some((geometry, positions))) => {
                    Following::ReluMaxPool(MaxPoolOutput { geometry, values: y, positions })
                }
                (FollowedBy::Relu(_), _) => Following::Relu(y),
                _ => Following::Nothing,
            };
            let preceding_relu = preceding_relu.map(|_| x);
            let accuracy = settings.accuracy;
            let conv = SparseInputGradient::<T> { geometry, accuracy, weight, following, preceding_relu };
            Tensor::from_vec(conv.input_grad(g), &repeated[..], &Device::Cpu)?
        }))
    };
    match followed_by {
        FollowedBy::ReluMaxPool(pool, _) => pool.on_cpu(OP, |geometry, positions| on_cpu(Some((geometry, positions)))),
        _ => on_cpu(None),
    }
}
