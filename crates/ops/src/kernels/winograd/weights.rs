//! The transform of weights, U = G w Gᵀ, and its adjoint for the weight gradient, Gᵀ dU G.

use std::marker::PhantomData;

use super::scheme::Scheme;
use crate::kernels::Element;
use crate::kernels::instruction_set::Job;
use crate::kernels::simd::Vector;

/// The strides of a 3×3 weight seen as (row channel, column channel) of the matrix product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightLayout {
    /// Stride between row channels (the depth of the product).
    pub(crate) row: usize,
    /// Stride between column channels.
    pub(crate) column: usize,
    /// Whether the taps are reversed, as for the input gradient.
    pub(crate) flipped: bool,
}

impl WeightLayout {
    /// The taps in the order of the pass.
    #[inline(always)]
    fn turned<V: Copy>(&self, mut taps: [V; 9]) -> [V; 9] {
        if self.flipped {
            taps.reverse();
        }
        taps
    }
}

/// Writes U for row channels `row..row + rows` and the `columns` column channels of one panel:
/// `[point][row][column]`, padded with zero columns to whole vectors.
///
/// # Safety
/// For [`Job::run`]: `weight` is readable at every (row, column, tap) named, `to` writable for all points.
pub(crate) struct Expand<T, S> {
    pub(crate) weight: *const T,
    pub(crate) layout: WeightLayout,
    pub(crate) row: usize,
    pub(crate) rows: usize,
    pub(crate) column: usize,
    pub(crate) columns: usize,
    /// Row `row` at point 0.
    pub(crate) to: *mut T,
    pub(crate) plane: usize,
    pub(crate) width: usize,
    pub(crate) scheme: PhantomData<S>,
}

impl<T: Element, S: Scheme> Job<T> for Expand<T, S> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        // The inner loop runs over the shorter stride, which uses cache lines while they are loaded.
        let columns = self.columns.div_ceil(V::LANES);
        let by_columns = self.layout.row < self.layout.column;
        for index in 0..columns * self.rows {
            let (row, column) =
                if by_columns { (index % self.rows, index / self.rows) } else { (index / columns, index % columns) };
            let column = column * V::LANES;
            let lanes = V::LANES.min(self.columns - column);
            // SAFETY: the weight is readable and `to` writable at these indices, as the type demands. A prefetched address
            // need not be readable.
            unsafe {
                let from = (self.row + row) * self.layout.row + (self.column + column) * self.layout.column;
                let from = self.weight.add(from);
                if !by_columns {
                    for line in (0..9 * V::LANES).step_by(V::LANES) {
                        V::prefetch(from.wrapping_add(2 * self.layout.row + line));
                    }
                }
                let taps = self.layout.turned(V::load_nines(from, self.layout.column, lanes));
                expand::<V, S>(taps, self.to.add(row * self.width + column), self.plane);
            }
        }
    }
}

/// Transforms one vector of weights.
///
/// # Safety
/// `to` is writable for a vector at all points.
#[inline(always)]
unsafe fn expand<V: Vector, S: Scheme>(taps: [V; 9], to: *mut V::Elem, plane: usize) {
    // SAFETY: the caller vouches for the stores and the instruction set.
    unsafe {
        let mut rows = [[V::zero(); 3]; 6];
        for column in 0..3 {
            let line = S::weight([taps[column], taps[3 + column], taps[6 + column]]);
            for (row, value) in line.into_iter().enumerate().take(S::POINTS) {
                rows[row][column] = value;
            }
        }
        for (row, line) in rows.into_iter().enumerate().take(S::POINTS) {
            for (column, value) in S::weight(line).into_iter().enumerate().take(S::POINTS) {
                value.store(to.add((row * S::POINTS + column) * plane));
            }
        }
    }
}

/// Writes the weight gradient of row channels `row..row + rows` and the panel's columns from dU, laid out as [`Expand`]
/// writes U.
///
/// # Safety
/// For [`Job::run`]: `from` is readable for all points, `weight` writable at every (row, column, tap) named.
pub(crate) struct Contract<T, S> {
    pub(crate) from: *const T,
    pub(crate) plane: usize,
    pub(crate) width: usize,
    pub(crate) weight: *mut T,
    pub(crate) layout: WeightLayout,
    pub(crate) row: usize,
    pub(crate) rows: usize,
    pub(crate) column: usize,
    pub(crate) columns: usize,
    pub(crate) scheme: PhantomData<S>,
}

impl<T: Element, S: Scheme> Job<T> for Contract<T, S> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        for column in (0..self.columns).step_by(V::LANES) {
            let lanes = V::LANES.min(self.columns - column);
            for row in 0..self.rows {
                // SAFETY: dU is readable and the weight writable at these indices, as the type demands.
                unsafe {
                    let taps = contract::<V, S>(self.from.add(row * self.width + column), self.plane);
                    let to = (self.row + row) * self.layout.row + (self.column + column) * self.layout.column;
                    V::store_nines(self.layout.turned(taps), self.weight.add(to), self.layout.column, lanes);
                }
            }
        }
    }
}

/// Applies the adjoint transform to one vector of dU.
///
/// # Safety
/// `from` is readable for a vector at all points.
#[allow(clippy::needless_range_loop, reason = "the index addresses several arrays")]
#[inline(always)]
unsafe fn contract<V: Vector, S: Scheme>(from: *const V::Elem, plane: usize) -> [V; 9] {
    // SAFETY: the caller vouches for the loads and the instruction set.
    unsafe {
        let mut rows = [[V::zero(); 6]; 3];
        for column in 0..S::POINTS {
            let mut line = [V::zero(); 6];
            for (row, value) in line.iter_mut().enumerate().take(S::POINTS) {
                *value = V::load(from.add((row * S::POINTS + column) * plane));
            }
            for (row, value) in S::weight_transposed(line).into_iter().enumerate() {
                rows[row][column] = value;
            }
        }
        let lines = [S::weight_transposed(rows[0]), S::weight_transposed(rows[1]), S::weight_transposed(rows[2])];
        std::array::from_fn(|tap| lines[tap / 3][tap % 3])
    }
}
