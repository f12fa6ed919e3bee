//! The input gradient of a convolution together with the ReLUs around it, for one or more cotangents of each image.

use candle_core::Tensor;

use super::composed::is_composed;
use super::conv::{ConvSettings, conv2d_input_gradient};
use super::cpu::{same_dtype, with_elements};
use super::plain::{gate_each, times};
use crate::Result;
use crate::kernels::between_relus::BetweenRelus;

/// Jᵀg of a convolution by its input, outside any graph: g is let through where the output `y` of the ReLU behind is positive,
/// and the result where the output `x` of the ReLU in front is, if they are given.
///
/// **Shapes** `g` `[k·n, h', w', out]` for an input `[n, h, w, in]` and `y` `[n, h', w', out]`; the result `[k·n, h, w, in]`.
/// Row r belongs to image r mod n.
///
/// **Errors** as [`conv2d_input_gradient`], and [`Error::Shape`](crate::Error::Shape) when the rows are not a multiple of n.
pub(crate) fn input_gradient_between_relus(
    g: &Tensor,
    weight: &Tensor,
    input: &[usize],
    (y, x): (Option<&Tensor>, Option<&Tensor>),
    settings: ConvSettings,
) -> Result<Tensor> {
    const OP: &str = "conv2d-input-gradient";
    same_dtype(OP, g, weight)?;
    let rows = g.dims().first().copied().unwrap_or(0);
    let wide: Vec<usize> = [&rows].into_iter().chain(input.iter().skip(1)).copied().collect();
    let (g, weight) = (g.detach(), weight.detach());
    if is_composed(&g) {
        let g = y.map_or_else(|| Ok(g.clone()), |y| gate_each(&g, y))?;
        let gradient = conv2d_input_gradient(&g, &weight, &wide, settings)?;
        return x.map_or_else(|| Ok(gradient.clone()), |x| gate_each(&gradient, x));
    }
    settings.check_cotangent(OP, &g, &wide, weight.dims())?;
    let geometry = settings.geometry(OP, input, weight.dims())?;
    y.map(|y| times(OP, y, &g)).transpose()?;
    let (behind, in_front) = (y.unwrap_or(&g).detach(), x.unwrap_or(&g).detach());
    same_dtype(OP, &g, &behind)?;
    same_dtype(OP, &g, &in_front)?;
    let gradient = with_elements!(OP, [g: g, weight: weight, behind: behind, in_front: in_front], T => {
        let (y, x) = (y.map(|_| behind), x.map(|_| in_front));
        let conv = BetweenRelus::<T> { geometry, accuracy: settings.accuracy, weight, y, x };
        Tensor::from_vec(conv.input_grad(g), wide, &candle_core::Device::Cpu)?
    });
    Ok(gradient)
}
