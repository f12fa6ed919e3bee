//! The VJP of two linear layers with a function of the elements between them, for many cotangents of each row.
//!
//! All cotangents of a row have the same Jacobian w₂·diag(φ′)·w₁. With as many cotangents as the layers are wide, its product with them
//! takes fewer multiplications than two products with every cotangent, and nothing of the width between the layers is written.

use std::mem::MaybeUninit;

use super::Element;
use super::instruction_set::InstructionSet;
use super::matmul::Matrix;
use super::panels::Panels;
use super::scratch::Scratch;
use super::shared::{Shared, for_each_task};
use super::uninitialised::written;

/// Rows of the input, cotangents of each row, and the widths of input, values between, and output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) cotangents: usize,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    pub(crate) outputs: usize,
}

impl Sizes {
    /// Multiplications for a row: by way of its Jacobian.
    fn by_jacobian(&self) -> usize {
        self.outputs * self.inputs * (self.hidden + self.cotangents)
    }

    /// Whether the way over the Jacobians takes clearly fewer multiplications.
    pub(crate) fn suits(&self) -> bool {
        let through = self.cotangents * self.hidden * (self.inputs + self.outputs);
        5 * self.by_jacobian() < 4 * through
    }
}

/// g·w₂·diag(slope)·w₁ for cotangents `g` `[cotangents, rows, outputs]`, slopes `[rows, hidden]`, and the weights w₂ `[outputs, hidden]`
/// and w₁ `[hidden, inputs]`.
pub(crate) fn input_gradient<T: Element>(sizes: Sizes, g: &[T], slope: &[T], [second, first]: [&[T]; 2]) -> Vec<T> {
    let Sizes { rows, cotangents, inputs, hidden, outputs } = sizes;
    assert_eq!([g.len(), slope.len()], [cotangents * rows * outputs, rows * hidden], "cotangents and slopes");
    let first = Panels::in_parallel(Matrix::row_major(first, [hidden, inputs]));
    let write = |dx: &mut [MaybeUninit<T>]| {
        let dx = Shared::new(dx.as_mut_ptr().cast::<T>());
        for_each_task(rows, rows * sizes.by_jacobian(), |row| {
            let mut scaled = Scratch::new(outputs * hidden);
            multiply_columns(second, &slope[row * hidden..][..hidden], scaled.slice());
            let mut jacobian = Scratch::new(outputs * inputs);
            let scaled = Matrix::row_major(scaled.slice(), [outputs, hidden]);
            first.multiply_into(scaled, jacobian.slice(), inputs, false);
            let jacobian = Panels::of(T::from_f64(1.0), Matrix::row_major(jacobian.slice(), [outputs, inputs]));
            let strides = [rows * outputs, 1];
            let g = Matrix { elements: &g[row * outputs..], sizes: [cotangents, outputs], strides };
            // SAFETY: no other task writes this row of the cotangents.
            unsafe { jacobian.multiply(g, (dx.get().add(row * inputs), rows * inputs), false) };
        });
    };
    // SAFETY: every row of every cotangent is written.
    unsafe { written(cotangents * rows * inputs, write) }
}

/// Each row of a matrix times the factors of its columns.
fn multiply_columns<T: Element>(matrix: &[T], factors: &[T], to: &mut [T]) {
    InstructionSet::best().vectorised(
        #[inline(always)]
        || {
            for (to, row) in to.chunks_exact_mut(factors.len()).zip(matrix.chunks_exact(factors.len())) {
                for ((to, value), factor) in to.iter_mut().zip(row).zip(factors) {
                    *to = *value * *factor;
                }
            }
        },
    );
}
