//! The Jacobians of a map that acts on each row by itself, and their product with many cotangents of each row.
//!
//! All cotangents of a row have the same Jacobian. With about as many cotangents as the map is wide, its product with them takes fewer
//! multiplications than going through the layers with every cotangent, and nothing of the width between the layers is written.

use std::mem::MaybeUninit;

use super::Element;
use super::elementwise::add_to;
use super::instruction_set::InstructionSet;
use super::matmul::Matrix;
use super::panels::Panels;
use super::scratch::Scratch;
use super::shared::{Shared, for_each_task};
use super::uninitialised::written;

/// Cotangents that a task multiplies at once, a multiple of the heights of all tiles.
const TOGETHER: usize = 48;
/// Neighbouring numbers of a cotangent that a task reads, if a row has fewer.
const RUN: usize = 256;

/// Rows of the input, and the widths of input, values between two linear layers, and output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    pub(crate) outputs: usize,
}

impl Sizes {
    /// Whether Jacobians take clearly fewer multiplications, for this number of cotangents of each row.
    pub(crate) fn suit(&self, cotangents: usize) -> bool {
        let by_jacobian = self.outputs * self.inputs * (self.hidden + cotangents);
        let through = cotangents * self.hidden * (self.inputs + self.outputs);
        5 * by_jacobian < 4 * through
    }
}

/// w₂·diag(slope)·w₁ of each row, `[outputs, rows, inputs]`, for slopes `[rows, hidden]` and the weights w₂ `[outputs, hidden]` and
/// w₁ `[hidden, inputs]`.
pub(crate) fn of_linear_pair<T: Element>(sizes: Sizes, slope: &[T], [second, first]: [&[T]; 2]) -> Vec<T> {
    let Sizes { rows, inputs, hidden, outputs } = sizes;
    assert_eq!(slope.len(), rows * hidden, "slopes");
    let first = Panels::in_parallel(Matrix::row_major(first, [hidden, inputs]));
    let write = |jacobians: &mut [MaybeUninit<T>]| {
        let jacobians = Shared::new(jacobians.as_mut_ptr().cast::<T>());
        for_each_task(rows, rows * outputs * hidden * inputs, |row| {
            let mut scaled = Scratch::new(outputs * hidden);
            multiply_columns(second, &slope[row * hidden..][..hidden], scaled.slice());
            let scaled = Matrix::row_major(scaled.slice(), [outputs, hidden]);
            // SAFETY: no other task writes the Jacobian of this row.
            unsafe { first.multiply(scaled, (jacobians.get().add(row * inputs), rows * inputs), false) };
        });
    };
    // SAFETY: every row of every output is written.
    unsafe { written(outputs * rows * inputs, write) }
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

/// The product of cotangents `g` `[cotangents, rows, outputs]` with the Jacobian of each row `[outputs, rows, inputs]`, plus `addend`.
pub(crate) fn input_gradient<T: Element>(
    [outputs, rows, inputs]: [usize; 3],
    jacobians: &[T],
    g: &[T],
    addend: Option<&[T]>,
) -> Vec<T> {
    let cotangents = g.len() / (rows * outputs);
    assert_eq!(jacobians.len(), rows * outputs * inputs, "Jacobians");
    assert!(addend.is_none_or(|addend| addend.len() == cotangents * rows * inputs), "the addend");
    // Rows of a cotangent are far apart: several neighbouring ones are read together.
    let block = (RUN / outputs.min(inputs)).clamp(1, rows);
    let write = |dx: &mut [MaybeUninit<T>]| {
        let dx = Shared::new(dx.as_mut_ptr().cast::<T>());
        for_each_task(rows.div_ceil(block), g.len() * inputs, |task| {
            let first = task * block;
            let block = block.min(rows - first);
            let jacobian = |row: usize| Matrix {
                elements: &jacobians[row * inputs..],
                sizes: [outputs, inputs],
                strides: [rows * inputs, 1],
            };
            let packed: Vec<Panels<T>> =
                (first..first + block).map(|row| Panels::of(T::from_f64(1.0), jacobian(row))).collect();
            let (mut left, mut product) = (Scratch::new(TOGETHER * outputs), Scratch::new(block * TOGETHER * inputs));
            for start in (0..cotangents).step_by(TOGETHER) {
                let count = TOGETHER.min(cotangents - start);
                for (row, jacobian) in packed.iter().enumerate() {
                    let left = &mut left.slice()[..count * outputs];
                    for (index, to) in left.chunks_exact_mut(outputs).enumerate() {
                        to.copy_from_slice(&g[((start + index) * rows + first + row) * outputs..][..outputs]);
                    }
                    let to = &mut product.slice()[row * inputs..][..(count - 1) * block * inputs + inputs];
                    jacobian.multiply_into(Matrix::row_major(left, [count, outputs]), to, block * inputs, false);
                }
                for (index, from) in product.slice().chunks_exact_mut(block * inputs).take(count).enumerate() {
                    let at = ((start + index) * rows + first) * inputs;
                    if let Some(addend) = addend {
                        add_to(from, &addend[at..]);
                    }
                    // SAFETY: these rows of this cotangent lie within the gradient, and no other task writes them.
                    unsafe { dx.get().add(at).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
                }
            }
        });
    };
    // SAFETY: every row of every cotangent is written.
    unsafe { written(cotangents * rows * inputs, write) }
}
