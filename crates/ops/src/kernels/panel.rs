//! The matrix product at the core of every convolution: a few rows times one packed panel of columns, in registers.

use super::Element;
use super::instruction_set::{InstructionSet, Job};
use super::simd::Vector;

/// From this depth on the sums take long enough for their places in C to be fetched into the cache meanwhile.
const PREFETCHED_DEPTH: usize = 32;

/// The summand of the product.
#[derive(Clone, Copy)]
pub(crate) enum Onto<T> {
    /// Zero.
    Zero,
    /// The values that C holds already.
    Itself,
    /// One value per column, read from this address.
    Columns(*const T),
}

/// C = A·B + `onto`, where A is `rows × depth` and B is `depth × columns`, at most one panel wide.
///
/// Each element of C is one chain of fused multiply-adds in the order of `depth`, independent of its tile. The result
/// therefore does not depend on how rows are split between calls.
///
/// # Safety
/// For [`PanelProduct::compute`]:
/// - `a` is readable at `row * a_row + step * a_depth` for every row and every step of `depth`;
/// - `b` is readable for `b_len` numbers;
/// - `c` is writable for `columns` numbers in each row, rows `c_row` apart, and initialised for [`Onto::Itself`];
/// - the address in [`Onto::Columns`] is readable for `columns` numbers.
pub(crate) struct PanelProduct<T> {
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    pub(crate) a: *const T,
    pub(crate) a_row: usize,
    pub(crate) a_depth: usize,
    pub(crate) b: *const T,
    pub(crate) b_row: usize,
    /// Numbers that are readable from `b` on. Each row of B is read in whole vectors, beyond `columns`.
    pub(crate) b_len: usize,
    pub(crate) c: *mut T,
    pub(crate) c_row: usize,
    pub(crate) onto: Onto<T>,
}

/// A sum over depth in several segments, each `depth` steps long, whose starts are equally spaced in both operands.
#[derive(Clone, Copy)]
pub(crate) struct Segments {
    pub(crate) count: usize,
    /// Numbers between the starts of neighbouring segments in A.
    pub(crate) a: usize,
    /// The same in B.
    pub(crate) b: usize,
}

impl Segments {
    /// The whole depth at once.
    const ONE: Self = Self { count: 1, a: 0, b: 0 };
}

impl<T: Element> PanelProduct<T> {
    /// Computes the product.
    ///
    /// # Safety
    /// The pointers satisfy the conditions of [`PanelProduct`].
    ///
    /// # Panics
    /// If `columns` exceeds the panel of the instruction set, if neither `a_row` nor `a_depth` is 1, or if the vectors
    /// of B reach beyond `b_len`.
    pub(crate) unsafe fn compute(&self, set: InstructionSet) {
        // SAFETY: the caller vouches for the pointers.
        unsafe { self.compute_segments(set, Segments::ONE) }
    }

    /// The sum of the products of all segments, one after the other in the same chain of additions. `depth` is that of one segment.
    ///
    /// # Safety
    /// The pointers satisfy the conditions of [`PanelProduct`] for the operands of every segment.
    ///
    /// # Panics
    /// As [`PanelProduct::compute`].
    pub(crate) unsafe fn compute_segments(&self, set: InstructionSet, segments: Segments) {
        assert!(self.columns <= set.panel::<T>(), "{} columns in a panel of {}", self.columns, set.panel::<T>());
        assert!(self.a_row == 1 || self.a_depth == 1, "one stride of the left operand is 1");
        let read = self.reads_of_b(set, segments);
        let empty = self.depth == 0 || segments.count == 0;
        assert!(empty || read <= self.b_len, "{read} numbers of the right operand, {} readable", self.b_len);
        if self.a_row == 1 {
            // SAFETY: the caller vouches for the pointers.
            unsafe { set.run(&UnitRowStride(self, segments)) }
        } else {
            // SAFETY: the caller vouches for the pointers.
            unsafe { set.run(&UnitDepthStride(self, segments)) }
        }
    }

    /// How far from `b` on the whole vectors of B reach.
    pub(crate) fn reads_of_b(&self, set: InstructionSet, segments: Segments) -> usize {
        let rows = segments.count.saturating_sub(1) * segments.b + self.depth.saturating_sub(1) * self.b_row;
        rows + self.columns.next_multiple_of(set.lanes::<T>())
    }
}

/// A product with `a_row` 1: neighbouring rows of A are adjacent in memory.
struct UnitRowStride<'a, T>(&'a PanelProduct<T>, Segments);

/// A product with `a_depth` 1: neighbouring depth steps of A are adjacent in memory.
struct UnitDepthStride<'a, T>(&'a PanelProduct<T>, Segments);

impl<T: Element> Job<T> for UnitRowStride<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        // SAFETY: the product's pointers satisfy the conditions of `PanelProduct`.
        unsafe { all_rows::<V, true>(self.0, self.1) }
    }
}

impl<T: Element> Job<T> for UnitDepthStride<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        // SAFETY: the product's pointers satisfy the conditions of `PanelProduct`.
        unsafe { all_rows::<V, false>(self.0, self.1) }
    }
}

/// Computes all rows with tiles of as many vectors as the columns need.
///
/// A tile is as high as the registers allow beside one row of B and one number of A.
///
/// # Safety
/// As [`PanelProduct::compute`], on a processor with the instruction set of `V`.
#[inline(always)]
unsafe fn all_rows<V: Vector, const UNIT_ROW_STRIDE: bool>(product: &PanelProduct<V::Elem>, segments: Segments) {
    // SAFETY: the caller vouches for the pointers and the instruction set.
    unsafe {
        match product.columns.div_ceil(V::LANES) {
            0 => {}
            1 => strips::<V, 1, UNIT_ROW_STRIDE>(product, segments),
            2 if V::TILE_VECTORS >= 2 => strips::<V, 2, UNIT_ROW_STRIDE>(product, segments),
            3 if V::TILE_VECTORS >= 3 => strips::<V, 3, UNIT_ROW_STRIDE>(product, segments),
            4 if V::TILE_VECTORS >= 4 => strips::<V, 4, UNIT_ROW_STRIDE>(product, segments),
            // `compute` has checked that the columns fit a panel, which is `TILE_VECTORS` wide.
            vectors => unreachable!("a tile of {vectors} vectors, at most {} fit the registers", V::TILE_VECTORS),
        }
    }
}

/// Splits the rows into strips of nearly equal height, none higher than a tile.
///
/// # Safety
/// As [`all_rows`].
#[inline(always)]
unsafe fn strips<V: Vector, const VECTORS: usize, const UNIT_ROW_STRIDE: bool>(
    product: &PanelProduct<V::Elem>,
    segments: Segments,
) {
    let highest = match (V::TILE_VECTORS, VECTORS) {
        (4, 4) | (2, 2) => 6,
        (4, 3) => 8,
        (1, _) => 4,
        _ => 12,
    };
    let mut row = 0;
    while row < product.rows {
        let left = product.rows - row;
        let height = left.div_ceil(left.div_ceil(highest));
        // SAFETY: rows `row..row + height` are rows of the product; the caller vouches for all other conditions.
        unsafe {
            row += match height {
                12 if highest == 12 => strip::<V, 12, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                11 if highest == 12 => strip::<V, 11, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                10 if highest == 12 => strip::<V, 10, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                9 if highest == 12 => strip::<V, 9, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                8.. if highest >= 8 => strip::<V, 8, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                7 if highest >= 8 => strip::<V, 7, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                6.. if highest >= 6 => strip::<V, 6, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                5 if highest >= 6 => strip::<V, 5, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                4.. => strip::<V, 4, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                3 => strip::<V, 3, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                2 => strip::<V, 2, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
                _ => strip::<V, 1, VECTORS, UNIT_ROW_STRIDE>(product, segments, row),
            };
        }
    }
}

/// Computes `ROWS` rows of C in registers over the whole depth. Returns `ROWS`.
///
/// # Safety
/// As [`all_rows`], and rows `row..row + ROWS` are rows of the product.
#[inline(always)]
unsafe fn strip<V: Vector, const ROWS: usize, const VECTORS: usize, const UNIT_ROW_STRIDE: bool>(
    product: &PanelProduct<V::Elem>,
    segments: Segments,
    row: usize,
) -> usize {
    // SAFETY: A is readable at these rows and steps, B for whole vectors in each row (checked by `compute`), and C is
    // writable at these rows, as the caller vouches.
    unsafe {
        let (a_row, a_depth) = if UNIT_ROW_STRIDE { (1, product.a_depth) } else { (product.a_row, 1) };
        if product.depth >= PREFETCHED_DEPTH {
            for index in 0..ROWS {
                let c = product.c.wrapping_add((row + index) * product.c_row);
                for vector in 0..VECTORS {
                    V::prefetch(c.wrapping_add(vector * V::LANES));
                }
            }
        }
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        for segment in 0..segments.count {
            let mut a = product.a.add(segment * segments.a + row * a_row);
            let mut b = product.b.add(segment * segments.b);
            for _ in 0..product.depth {
                let mut across = [V::zero(); VECTORS];
                for (index, vector) in across.iter_mut().enumerate() {
                    *vector = V::load(b.add(index * V::LANES));
                }
                for (index, sums) in sums.iter_mut().enumerate() {
                    let factor = V::splat(*a.add(index * a_row));
                    for (sum, &vector) in sums.iter_mut().zip(&across) {
                        *sum = factor.mul_add(vector, *sum);
                    }
                }
                a = a.wrapping_add(a_depth);
                b = b.wrapping_add(product.b_row);
            }
        }
        for (index, sums) in sums.iter().enumerate() {
            write_row::<V, VECTORS>(product, product.c.add((row + index) * product.c_row), sums);
        }
        ROWS
    }
}

/// Writes one row of a tile. Only the last vector may be partial.
///
/// # Safety
/// `c` is writable for the product's columns, and initialised if they are summed onto.
#[inline(always)]
unsafe fn write_row<V: Vector, const VECTORS: usize>(
    product: &PanelProduct<V::Elem>,
    c: *mut V::Elem,
    sums: &[V; VECTORS],
) {
    // SAFETY: every access is limited to the product's columns, for which the caller vouches.
    unsafe {
        for (index, &sum) in sums.iter().enumerate() {
            let first = index * V::LANES;
            let count = product.columns - first;
            let total = match product.onto {
                Onto::Zero => sum,
                Onto::Itself => sum.add(V::load_up_to(c.add(first), count)),
                Onto::Columns(values) => sum.add(V::load_up_to(values.add(first), count)),
            };
            total.store_up_to(c.add(first), count);
        }
    }
}
