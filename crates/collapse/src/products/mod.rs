//! Sums of products of tile rows: the kernel of scatter matrices, distances and projections.
//!
//! With the feature `faer`, double-precision tiles are multiplied and summed in f64. Single-precision tiles are multiplied in
//! f32 over stretches of at most 512 terms, and the stretches are summed in f64: the error is that of a few hundred roundings
//! in f32 for any number of samples. Without `faer`, all products are taken and summed in f64, by slower loops.

use rayon::prelude::*;

use crate::features::{Element, sealed::Sealed};

#[cfg(feature = "faer")]
mod blocked;
#[cfg(not(feature = "faer"))]
mod plain;

/// Products of rows and of columns of row-major tiles, summed in f64.
pub trait Multiply: Sized {
    /// Adds the inner products of all rows of `left` `[m, width]` with all rows of `right` `[n, width]` to `target` `[m, n]`.
    fn add_row_products(target: &mut [f64], left: &[Self], right: &[Self], width: usize);
    /// Adds rows `first..` of `tile`ᵀ·`tile` to `chunk`, which holds whole rows of the product. Entries above the diagonal may
    /// be overwritten.
    fn add_scatter_strip(chunk: &mut [f64], first: usize, tile: &[Self], width: usize);
}

impl Sealed for f64 {
    const SQUARES_FIT: bool = false;

    fn holds_products(_: f64, _: usize) -> bool {
        true
    }
}

impl Sealed for f32 {
    const SQUARES_FIT: bool = true;

    fn holds_products(squares: f64, numbers: usize) -> bool {
        // No partial sum of products exceeds the sum of all squares. Below the lower limit f32 products would underflow.
        squares == 0.0 || (squares < f64::from(f32::MAX) && squares / numbers as f64 > 1e-28)
    }
}

/// Rows of one strip of a scatter matrix: small enough to balance threads, large enough for the product kernel.
fn strip_rows(width: usize) -> usize {
    if width <= 1024 { 128 } else { 256 }
}

/// Adds `tile`ᵀ·`tile` to the lower triangle of `products` (row-major, `width`²); the upper triangle may be overwritten.
///
/// Strips are independent and each is summed in order of the rows, so the bits do not depend on the threads.
pub(crate) fn add_scatter<T: Element>(products: &mut [f64], width: usize, tile: &[T]) {
    if tile.len() < width {
        return;
    }
    let strip = strip_rows(width);
    // The last strips are the longest. They are started first, so that the threads finish together.
    products.par_chunks_mut(strip * width).enumerate().rev().with_max_len(1).for_each(|(index, chunk)| {
        T::add_scatter_strip(chunk, index * strip, tile, width);
    });
}
