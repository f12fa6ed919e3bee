//! The VJP of attention together with that of the linear layer of its queries, keys and values, for many cotangents of each sample.
//!
//! With the names of [`attention`](super::attention), and q = x Wqᵀ, k = x Wkᵀ, v = x Wvᵀ of one head, the gradient by x is the sum over
//! heads of R·(scale·k Wq) + Rᵀ·(scale·q Wk) + (Pᵀ g) Wv. All cotangents of a sample share the matrices in brackets and P. With few tokens
//! that takes fewer multiplications than the gradients by q, k and v, and nothing of their width is written.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Element;
use super::attention::{Kept, Sizes, times_softmax_jacobian, weights};
use super::matmul::Matrix;
use super::panels::Panels;
use super::scratch::Scratch;
use super::shared::{Shared, for_each_task};
use super::uninitialised::written;

/// The cotangents of a sample are divided into at most this many parts.
const PARTS: usize = 16;

/// The linear layer: its weight `[3·width, inputs]`, the rows of all queries first, then those of the keys, then those of the values.
#[derive(Clone, Copy)]
pub(crate) struct Projection<'a, T> {
    pub(crate) weight: &'a [T],
    pub(crate) inputs: usize,
}

impl<'a, T> Projection<'a, T> {
    /// `count` rows of the weight, from the row `first` on.
    fn rows(self, first: usize, count: usize) -> Matrix<'a, T> {
        Matrix::row_major(&self.weight[first * self.inputs..][..count * self.inputs], [count, self.inputs])
    }
}

/// Whether this takes clearly fewer multiplications than the two VJPs one after the other, for this number of cotangents of each sample.
pub(crate) fn suits(sizes: &Sizes, inputs: usize, each: usize) -> bool {
    let (tokens, width) = (sizes.tokens, sizes.head_width);
    // The cotangents of one sample at a time are divided among the threads.
    if each < PARTS {
        return false;
    }
    let together = each * (2 * tokens * inputs + width * inputs) + 2 * width * inputs;
    let in_turn = each * (2 * tokens * width + 3 * width * inputs);
    10 * together < 9 * in_turn
}

/// What all cotangents of one sample share, of one head.
struct Head<T> {
    /// P, in padded rows.
    p: Vec<T>,
    /// vᵀ.
    values: Panels<T>,
    /// scale·k Wq and scale·q Wk.
    of_keys: Panels<T>,
    of_queries: Panels<T>,
}

impl<T: Element> Head<T> {
    fn new(sizes: &Sizes, kept: Kept<'_, T>, projection: Projection<'_, T>, [sample, head]: [usize; 2]) -> Self {
        let (scale, one) = (T::from_f64(sizes.scale), T::from_f64(1.0));
        let mut p = vec![T::default(); sizes.square()];
        weights(sizes, kept.terms, kept.x, kept.log_sums, [sample, head], &mut p);
        let [q, k, v] = [0, 1, 2].map(|which| sizes.operand(kept.x, sample, head, which));
        let mut product = Scratch::new(sizes.tokens * projection.inputs);
        let mut through = |factor: Matrix<'_, T>, which: usize| {
            let rows = projection.rows(which * sizes.width() + head * sizes.head_width, sizes.head_width);
            Panels::of(scale, rows).multiply_into(factor, product.slice(), projection.inputs, false);
            Panels::of(one, Matrix::row_major(product.slice(), [sizes.tokens, projection.inputs]))
        };
        let (of_keys, of_queries) = (through(k, 0), through(q, 1));
        Self { p, values: Panels::of(one, v.transposed()), of_keys, of_queries }
    }
}

/// The gradient by the input of the linear layer, `[each·samples, tokens, inputs]`, plus `addend`. Row r of the cotangents `g` belongs to
/// sample r mod samples.
pub(crate) fn input_gradient<T: Element>(
    sizes: &Sizes,
    kept: Kept<'_, T>,
    projection: Projection<'_, T>,
    g: &[T],
    addend: Option<&[T]>,
) -> Vec<T> {
    let (row, each) = (sizes.tokens * projection.inputs, g.len() / (sizes.samples * sizes.tokens * sizes.width()));
    let length = each * sizes.samples * row;
    assert!(addend.is_none_or(|addend| addend.len() == length), "the addend");
    let values = Panels::in_parallel(projection.rows(2 * sizes.width(), sizes.width()));
    let write = |dx: &mut [MaybeUninit<T>]| {
        let dx = Shared::new(dx.as_mut_ptr().cast::<T>());
        for sample in 0..sizes.samples {
            let head = |head: usize| Head::new(sizes, kept, projection, [sample, head]);
            let heads: Vec<Head<T>> = (0..sizes.heads).into_par_iter().map(head).collect();
            let parts = PARTS.min(each);
            let multiplications = each * sizes.heads * sizes.square() * (2 * projection.inputs + 2 * sizes.head_width);
            for_each_task(parts, multiplications, |part| {
                let mut scratch = RowScratch::new(sizes);
                for cotangent in part * each / parts..(part + 1) * each / parts {
                    let number = cotangent * sizes.samples + sample;
                    // SAFETY: the row lies within the gradient, and no other task writes it.
                    let to = unsafe { dx.get().add(number * row) };
                    if let Some(addend) = addend {
                        // SAFETY: by the assertion the addend holds the row, and it is no part of the gradient.
                        unsafe { to.copy_from_nonoverlapping(addend[number * row..][..row].as_ptr(), row) };
                    }
                    // SAFETY: as above; with an addend the row is initialised.
                    unsafe { scratch.write(sizes, &heads, &values, (g, number), (to, addend.is_some())) };
                }
            });
        }
    };
    // SAFETY: every row is written.
    unsafe { written(length, write) }
}

/// R of one head, and Pᵀ g of all heads, of one cotangent.
struct RowScratch<T> {
    r: Scratch<T>,
    by_values: Scratch<T>,
}

impl<T: Element> RowScratch<T> {
    fn new(sizes: &Sizes) -> Self {
        Self { r: Scratch::new(sizes.square()), by_values: Scratch::new(sizes.tokens * sizes.width()) }
    }

    /// Writes the gradient for the cotangent with this number to `to`, or adds it.
    ///
    /// # Safety
    /// A row `[tokens, inputs]` from `to` on is writable, no other thread accesses it, and it is initialised for `add`.
    unsafe fn write(
        &mut self,
        sizes: &Sizes,
        heads: &[Head<T>],
        values: &Panels<T>,
        (g, number): (&[T], usize),
        (to, add): (*mut T, bool),
    ) {
        let (width, to) = (sizes.width(), (to, values.columns));
        for (index, head) in heads.iter().enumerate() {
            let g = sizes.output(g, number, index);
            sizes.product(g, &head.values, self.r.slice(), false, T::default());
            times_softmax_jacobian(sizes, &head.p, self.r.slice());
            let r = sizes.weights(self.r.slice());
            // SAFETY: the caller vouches for the row; the first head has initialised it.
            unsafe {
                head.of_keys.multiply(r, to, add || index > 0);
                head.of_queries.multiply(r.transposed(), to, true);
            }
            let by_values = &mut self.by_values.slice()[index * sizes.head_width..];
            Panels::of(T::from_f64(1.0), g).multiply_into(sizes.weights(&head.p).transposed(), by_values, width, false);
        }
        let by_values = Matrix::row_major(self.by_values.slice(), [sizes.tokens, width]);
        // SAFETY: the caller vouches for the row, which the heads have initialised.
        unsafe { values.multiply(by_values, to, true) };
    }
}
