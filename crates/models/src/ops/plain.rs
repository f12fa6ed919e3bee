//! Operations on plain tensors that do two things in one pass over the memory, for a pass that keeps what its way back needs
//! by itself.

use candle_core::Tensor;

use super::channel::channel_sum;
use super::composed::{is_composed, on_cuda};
use super::cpu::with_elements;
use super::product::{gate, pair};
use super::relu;
use crate::Result;
use crate::kernels::{Element, channel, elementwise};

/// a + b, or its positive part.
///
/// **Errors** as [`hadamard`](super::hadamard).
pub(crate) fn plain_sum(a: &Tensor, b: &Tensor, rectify: bool) -> Result<Tensor> {
    const OP: &str = "sum";
    pair(OP, a, b)?;
    on_cuda!(a, sum(&a.detach(), &b.detach(), rectify));
    if is_composed(a) {
        let sum = (a.detach() + b.detach())?;
        return if rectify { relu(&sum) } else { Ok(sum) };
    }
    Ok(with_elements!(OP, [x: a.detach(), y: b.detach()], T => {
        let sum = if rectify {
            elementwise::zip_map::<T, _>(x, y, |x, y| elementwise::positive_part(x + y))
        } else {
            elementwise::zip_map::<T, _>(x, y, |x, y| x + y)
        };
        Tensor::from_vec(sum, a.shape(), a.device())?
    }))
}

/// g where `reference` is positive and 0 elsewhere, with its sum by channel.
///
/// **Errors** as [`hadamard`](super::hadamard).
pub(crate) fn gated_with_sum(g: &Tensor, reference: &Tensor) -> Result<(Tensor, Tensor)> {
    const OP: &str = "gate";
    pair(OP, g, reference)?;
    if is_composed(g) {
        let gated = gate(&g.detach(), reference)?;
        let sum = channel_sum(&gated)?;
        return Ok((gated, sum));
    }
    let channels = g.dims().last().copied().unwrap_or(1);
    Ok(with_elements!(OP, [x: g.detach(), y: reference.detach()], T => {
        let (gated, sum) = channel::gated_with_sum::<T>(x, y, channels);
        let sum: Vec<T> = sum.into_iter().map(<T as Element>::from_f64).collect();
        (Tensor::from_vec(gated, g.shape(), g.device())?, Tensor::from_vec(sum, channels, g.device())?)
    }))
}
