//! Updates of several variables on a CPU in one pass over their numbers.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, InplaceOp1, InplaceOp2, Layout, Result as CandleResult, Tensor, Var};
use rayon::prelude::*;

use super::formula::Scalar;
use crate::{Error, Result};
use ops::cpu::elements;

/// Numbers that one parallel task updates. As many are updated in less time than another thread takes to wake.
pub(super) const BLOCK: usize = 1 << 14;
const OP: &str = "optimizer";

/// An update of the numbers of `N` variables by those of a gradient.
pub(super) trait Update<const N: usize>: Copy + Sync {
    /// Updates some numbers, the same ones of every variable.
    fn block<T: Scalar>(self, variables: [&mut [T]; N], gradient: &[T]);

    /// Updates the variables in place, in parallel blocks of a fixed size.
    ///
    /// # Errors
    /// A variable that is neither f32 nor f64, or whose dtype or size is not that of the others.
    fn apply_in_place(self, variables: [&Var; N], gradient: &Tensor) -> Result<()> {
        let done = match gradient.dtype() {
            DType::F32 => open::<f32, N, Self>(self, &variables, Vec::new(), gradient),
            DType::F64 => open::<f64, N, Self>(self, &variables, Vec::new(), gradient),
            other => return Err(Error::DType { op: OP, expected: "f32 or f64".into(), got: other.as_str().into() }),
        };
        Ok(done?)
    }
}

/// Opens the variables that are left, one inside the other, and then updates all: candle lends one tensor at a time for writing.
fn open<T: Scalar, const N: usize, U: Update<N>>(
    update: U,
    left: &[&Var],
    opened: Vec<&mut [T]>,
    gradient: &Tensor,
) -> CandleResult<()>
where
    CpuStorage: Numbers<T>,
{
    let Some((next, left)) = left.split_first() else { return Ok(()) };
    let opening = Opening::<T, N, U> { update, left, opened: RefCell::new(opened), gradient };
    match left {
        [] => next.as_tensor().inplace_op2(gradient, &opening),
        _ => next.as_tensor().inplace_op1(&opening),
    }
}

/// What opens a variable: those that were opened before, and those that are left.
struct Opening<'a, T, const N: usize, U> {
    update: U,
    left: &'a [&'a Var],
    opened: RefCell<Vec<&'a mut [T]>>,
    gradient: &'a Tensor,
}

impl<T: Scalar, const N: usize, U: Update<N>> Opening<'_, T, N, U>
where
    CpuStorage: Numbers<T>,
{
    /// All that are opened, with the numbers of this storage.
    fn with<'b>(&'b self, storage: &'b mut CpuStorage, layout: &Layout) -> CandleResult<Vec<&'b mut [T]>> {
        let numbers = storage.numbers().ok_or_else(|| changed("dtype"))?;
        let (start, end) = layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op: OP })?;
        let mut opened: Vec<&'b mut [T]> = self.opened.take();
        opened.push(numbers.get_mut(start..end).ok_or_else(|| changed("size"))?);
        Ok(opened)
    }
}

impl<T: Scalar, const N: usize, U: Update<N>> InplaceOp1 for Opening<'_, T, N, U>
where
    CpuStorage: Numbers<T>,
{
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> CandleResult<()> {
        open::<T, N, U>(self.update, self.left, self.with(storage, layout)?, self.gradient)
    }
}

impl<T: Scalar, const N: usize, U: Update<N>> InplaceOp2 for Opening<'_, T, N, U>
where
    CpuStorage: Numbers<T>,
{
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout, g: &CpuStorage, lg: &Layout) -> CandleResult<()> {
        let gradient = elements::<T>(OP, g, lg)?;
        let mut opened = self.with(storage, layout)?;
        if opened.iter().any(|numbers| numbers.len() != gradient.len()) {
            return Err(changed("size"));
        }
        let mut blocks: Vec<_> = opened.iter_mut().map(|numbers| numbers.chunks_mut(BLOCK)).collect();
        let blocks = gradient.chunks(BLOCK).map(|gradient| {
            let of_each = std::array::from_fn(|index| blocks[index].next().unwrap_or_default());
            (of_each, gradient)
        });
        let update = self.update;
        let update = |(variables, gradient)| update.block::<T>(variables, gradient);
        if gradient.len() <= BLOCK {
            blocks.for_each(update);
        } else {
            blocks.collect::<Vec<_>>().into_par_iter().for_each(update);
        }
        Ok(())
    }
}

/// The numbers of a storage, for writing.
trait Numbers<T> {
    fn numbers(&mut self) -> Option<&mut Vec<T>>;
}

impl Numbers<f32> for CpuStorage {
    fn numbers(&mut self) -> Option<&mut Vec<f32>> {
        if let CpuStorage::F32(numbers) = self { Some(numbers) } else { None }
    }
}

impl Numbers<f64> for CpuStorage {
    fn numbers(&mut self) -> Option<&mut Vec<f64>> {
        if let CpuStorage::F64(numbers) = self { Some(numbers) } else { None }
    }
}

fn changed(what: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!("{OP}: the parameter changed its {what}")).bt()
}
