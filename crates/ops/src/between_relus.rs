//! The input gradient of a convolution together with the ReLUs around it, for one or more cotangents of each image.

use candle_core::{Device, Tensor};

use super::composed::is_composed;
use super::conv::{ConvSettings, conv2d_input_gradient};
use super::cpu::{same_dtype, with_elements};
use super::plain::{gate_each, times};
use super::pool::MaxPositions;
use crate::kernels::between_relus::{Behind, BetweenRelus, Pooled};
use crate::kernels::pool::PoolGeometry;
use crate::{Error, Result};

/// What lies between a convolution and the cotangents on their way back to it.
pub enum Passed {
    /// Nothing.
    Nothing,
    /// A ReLU with this output.
    Relu(Tensor),
    /// A ReLU and a max pool behind it, with this output.
    Pool(MaxPositions, Tensor),
}

impl Passed {
    /// The cotangent of the convolution's output.
    fn back(&self, g: &Tensor) -> Result<Tensor> {
        match self {
            Self::Nothing => Ok(g.clone()),
            Self::Relu(y) => gate_each(g, y),
            // A maximum is positive exactly where the pixel that it came from is.
            Self::Pool(positions, pooled) => positions.scatter(&gate_each(g, pooled)?),
        }
    }

    /// The output that the cotangents are shaped as, where it is kept.
    fn output(&self) -> Option<&Tensor> {
        match self {
            Self::Nothing => None,
            Self::Relu(y) | Self::Pool(_, y) => Some(y),
        }
    }
}

/// Jᵀg by the input of a convolution and what lies behind it, outside any graph; let through only where the output `in_front` of
/// the ReLU in front is positive, if it is given.
///
/// **Shapes** `g` `[k·n, …]` for an input `[n, h, w, in]`; the result `[k·n, h, w, in]`. Row r belongs to image r mod n.
///
/// **Errors** as [`conv2d_input_gradient`], and [`Error::Shape`](crate::Error::Shape) when the rows are not a multiple of n.
pub fn input_gradient_between_relus(
    g: &Tensor,
    weight: &Tensor,
    input: &[usize],
    (passed, in_front): (&Passed, Option<&Tensor>),
    settings: ConvSettings,
) -> Result<Tensor> {
    const OP: &str = "conv2d-input-gradient";
    same_dtype(OP, g, weight)?;
    let [rows, images] = [g.dims(), input].map(|shape| shape.first().copied().unwrap_or(0));
    if images == 0 || !rows.is_multiple_of(images) {
        return Err(Error::Shape {
            op: OP,
            left: g.dims().to_vec(),
            right: input.to_vec(),
            rule: "there are one or more cotangents for each image".into(),
        });
    }
    let wide: Vec<usize> = [&rows].into_iter().chain(input.iter().skip(1)).copied().collect();
    let (g, weight) = (g.detach(), weight.detach());
    if is_composed(&g) {
        let gradient = conv2d_input_gradient(&passed.back(&g)?, &weight, &wide, settings)?;
        return in_front.map_or_else(|| Ok(gradient.clone()), |x| gate_each(&gradient, x));
    }
    let geometry = settings.geometry(OP, input, weight.dims())?;
    match passed.output() {
        Some(y) => times(OP, y, &g).map(|_| ())?,
        None => settings.check_cotangent(OP, &g, &wide, weight.dims())?,
    }
    let around = [passed.output(), in_front];
    around.into_iter().flatten().try_for_each(|tensor| same_dtype(OP, &g, tensor))?;
    let on_cpu = |pool: Option<(PoolGeometry, &[u32])>| {
        // What is not given is read nowhere.
        let [y, x] = around.map(|tensor| tensor.unwrap_or(&g).detach());
        Ok(with_elements!(OP, [g: g, weight: weight, y: y, x: x], T => {
            let behind = match (passed, pool) {
                (Passed::Pool(..), Some((geometry, positions))) => {
                    Behind::Pool(Pooled { geometry, values: y, positions })
                }
                (Passed::Relu(_), _) => Behind::Relu(y),
                _ => Behind::Nothing,
            };
            let in_front = in_front.map(|_| x);
            let conv = BetweenRelus::<T> { geometry, accuracy: settings.accuracy, weight, behind, in_front };
            Tensor::from_vec(conv.input_grad(g), &wide[..], &Device::Cpu)?
        }))
    };
    match passed {
        Passed::Pool(pool, _) => pool.on_cpu(OP, |geometry, positions| on_cpu(Some((geometry, positions)))),
        _ => on_cpu(None),
    }
}
