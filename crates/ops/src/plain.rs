//! Operations on plain tensors for a pass that keeps what its way back needs by itself: two things in one pass over the memory,
//! and one or more cotangents for each row of what is kept.

use candle_core::Tensor;

use super::channel::channel_sum;
use super::composed::{is_composed, on_cuda};
use super::cpu::{same_dtype, with_elements};
use super::product::{gate, pair};
use super::relu;
use crate::kernels::{Element, channel, elementwise};
use crate::{Error, Result};

/// a + b, or its positive part.
///
/// **Errors** as [`hadamard`](super::hadamard).
pub fn plain_sum(a: &Tensor, b: &Tensor, rectify: bool) -> Result<Tensor> {
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

/// `kept` `[n, …]` repeated to as many rows as `g` has: its row r mod n belongs to row r of `g`.
///
/// **Errors** [`Error::Shape`] when the rows of `g` are not one or more times n.
pub fn repeated(op: &'static str, kept: &Tensor, g: &Tensor) -> Result<Tensor> {
    match times(op, kept, g)? {
        1 => Ok(kept.clone()),
        times => Ok(Tensor::cat(&vec![kept; times], 0)?),
    }
}

/// How often `kept` is repeated for `g`.
pub(crate) fn times(op: &'static str, kept: &Tensor, g: &Tensor) -> Result<usize> {
    match (g.dims(), kept.dims()) {
        ([rows, of_row @ ..], [n, of_kept @ ..])
            if of_row == of_kept && *n > 0 && *rows > 0 && rows.is_multiple_of(*n) =>
        {
            Ok(rows / n)
        }
        (got, kept) => Err(Error::Shape {
            op,
            left: got.to_vec(),
            right: kept.to_vec(),
            rule: "cotangents have the shape of the output, with one or more rows for each of its".into(),
        }),
    }
}

/// [`gate`] outside any graph, of one or more cotangents for each row of the reference.
///
/// **Errors** as [`gate`] and [`repeated`].
pub fn gate_each(g: &Tensor, reference: &Tensor) -> Result<Tensor> {
    const OP: &str = "gate";
    let (g, reference) = (g.detach(), reference.detach());
    if times(OP, &reference, &g)? == 1 || is_composed(&g) {
        return gate(&g, &repeated(OP, &reference, &g)?);
    }
    same_dtype(OP, &g, &reference)?;
    Ok(with_elements!(OP, [x: g, y: reference], T => {
        Tensor::from_vec(elementwise::zip_map::<T, _>(x, y, elementwise::gate), g.shape(), g.device())?
    }))
}

/// g where `reference` is positive and 0 elsewhere, with its sum by channel.
///
/// **Errors** as [`hadamard`](super::hadamard).
pub fn gated_with_sum(g: &Tensor, reference: &Tensor) -> Result<(Tensor, Tensor)> {
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
