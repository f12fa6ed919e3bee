//! The matrix product that every fast path ends in: a few rows times one packed panel of columns, all in registers.

use super::Element;
use super::instruction_set::{InstructionSet, Job};
use super::simd::Vector;

/// What is added to the product before it is written.
#[derive(Clone, Copy)]
pub(crate) enum Onto<T> {
    /// Nothing.
    Zero,
    /// What is there already.
    Itself,
    /// One value for each column, read at this address.
    Columns(*const T),
}

/// C = A·B (+ something), where A is `rows × depth` and B `depth × columns` is at most one panel wide.
///
/// Each element of C is one chain of fused multiply-adds from the first to the last `depth`, whatever the tile it falls
/// into, so results do not depend on how rows are split between calls.
///
/// # Safety
/// For [`Job::run`]: `a` is readable at `row * a_row + step * a_depth` for every row and depth step; `b` is readable for
/// `columns` rounded up to whole vectors in each of its rows, `b_row` apart; `c` (and the column values of `onto`) is
/// valid for `columns` numbers in each row, `c_row` apart. `columns` is at most the set's panel. One of `a_row`
/// and `a_depth` is 1.
pub(crate) struct PanelProduct<T> {
    pub(crate) rows: usize,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    pub(crate) a: *const T,
    pub(crate) a_row: usize,
    pub(crate) a_depth: usize,
    pub(crate) b: *const T,
    pub(crate) b_row: usize,
    pub(crate) c: *mut T,
    pub(crate) c_row: usize,
    pub(crate) onto: Onto<T>,
}

impl<T: Element> PanelProduct<T> {
    /// Computes the product.
    ///
    /// # Safety
    /// As the type says.
    pub(crate) unsafe fn compute(&self, set: InstructionSet) {
        debug_assert!(self.columns <= set.panel::<T>() && (self.a_row == 1 || self.a_depth == 1));
        // SAFETY: handed on to the caller.
        unsafe { if self.a_row == 1 { set.run(&RowsTogether(self)) } else { set.run(&RowsApart(self)) } }
    }
}

/// A product whose rows of A are neighbours in memory.
struct RowsTogether<'a, T>(&'a PanelProduct<T>);

/// A product whose rows of A are apart, and whose depth steps are neighbours.
struct RowsApart<'a, T>(&'a PanelProduct<T>);

impl<T: Element> Job<T> for RowsTogether<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        unsafe { all_rows::<V, true>(self.0) }
    }
}

impl<T: Element> Job<T> for RowsApart<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        unsafe { all_rows::<V, false>(self.0) }
    }
}

/// Picks the tile's width; its height is what the registers hold beside one row of B and one number of A.
#[inline(always)]
unsafe fn all_rows<V: Vector, const TOGETHER: bool>(product: &PanelProduct<V::Elem>) {
    unsafe {
        match product.columns.div_ceil(V::LANES) {
            1 => strips::<V, 1, TOGETHER>(product),
            2 if V::TILE_VECTORS >= 2 => strips::<V, 2, TOGETHER>(product),
            3 if V::TILE_VECTORS >= 3 => strips::<V, 3, TOGETHER>(product),
            4 if V::TILE_VECTORS >= 4 => strips::<V, 4, TOGETHER>(product),
            _ => {}
        }
    }
}

/// Splits the rows into strips of nearly equal height, none higher than a tile.
#[inline(always)]
unsafe fn strips<V: Vector, const VECTORS: usize, const TOGETHER: bool>(product: &PanelProduct<V::Elem>) {
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
        // SAFETY: rows `row..row + height` are within the product.
        unsafe {
            row += match height {
                12 if highest == 12 => strip::<V, 12, VECTORS, TOGETHER>(product, row),
                10.. if highest == 12 => strip::<V, 10, VECTORS, TOGETHER>(product, row),
                8.. if highest >= 8 => strip::<V, 8, VECTORS, TOGETHER>(product, row),
                7 if highest == 8 => strip::<V, 7, VECTORS, TOGETHER>(product, row),
                6.. if highest >= 6 => strip::<V, 6, VECTORS, TOGETHER>(product, row),
                5 if highest <= 8 => strip::<V, 5, VECTORS, TOGETHER>(product, row),
                4.. => strip::<V, 4, VECTORS, TOGETHER>(product, row),
                3 => strip::<V, 3, VECTORS, TOGETHER>(product, row),
                2 => strip::<V, 2, VECTORS, TOGETHER>(product, row),
                _ => strip::<V, 1, VECTORS, TOGETHER>(product, row),
            };
        }
    }
}

/// One tile: `ROWS` rows of C in registers over the whole depth. Returns `ROWS`.
#[inline(always)]
unsafe fn strip<V: Vector, const ROWS: usize, const VECTORS: usize, const TOGETHER: bool>(
    product: &PanelProduct<V::Elem>,
    row: usize,
) -> usize {
    unsafe {
        let (a_row, a_depth) = if TOGETHER { (1, product.a_depth) } else { (product.a_row, 1) };
        let mut a = product.a.add(row * a_row);
        let mut b = product.b;
        let mut sums = [[V::zero(); VECTORS]; ROWS];
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
            a = a.add(a_depth);
            b = b.add(product.b_row);
        }
        for (index, sums) in sums.iter().enumerate() {
            write_row::<V, VECTORS>(product, product.c.add((row + index) * product.c_row), sums);
        }
        ROWS
    }
}

/// Writes one row of a tile; only the last vector may be cut.
#[inline(always)]
unsafe fn write_row<V: Vector, const VECTORS: usize>(
    product: &PanelProduct<V::Elem>,
    c: *mut V::Elem,
    sums: &[V; VECTORS],
) {
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
