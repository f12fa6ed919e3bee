//! The inner loop of every product: a block of sums in the registers of the vector unit, chosen at run time.
//!
//! Every sum takes its terms in ascending order, each by one fused multiplication and addition. Its bits therefore depend neither
//! on the width of the registers nor on the block that it is in. (Without such an instruction the product is rounded first.)

use std::ops::Range;

use pulp::bytemuck::{Pod, cast_slice};
use pulp::{Arch, Simd, WithSimd};
use reductions::Widen;

use super::panels::Panels;

/// Panels of the right operand that stay in the cache of a core, with their sums, while rows of the left one go by.
pub(super) const BLOCK: usize = 4;

/// A number that is multiplied in panels: f32 or f64.
pub trait Number: Widen + Pod + Send + Sync {
    /// Vectors of a panel: 192 bytes of each term, three of the widest registers.
    const PANEL: usize;
    /// Vectors of a third of a panel, one of the widest registers.
    const THIRD: usize;
    /// The number 0.
    const ZERO: Self;

    /// Numbers in a register.
    fn lanes<S: Simd>() -> usize;

    /// Adds the products of `ROWS` vectors of a left panel, from `first` on, with those in the first `WIDTH` registers of a right
    /// panel to the target. The vectors beyond `columns` are missing.
    fn add_tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
        simd: S,
        target: &mut Target<'_>,
        left: (&[Self], usize),
        right: &[Self],
        columns: usize,
    );
}

/// Rows of a row-major matrix of sums, from one column on.
pub struct Target<'a> {
    sums: &'a mut [f64],
    stride: usize,
    column: usize,
}

impl Target<'_> {
    /// Adds a line of sums to a row. A row beyond the target belongs to a missing vector.
    #[inline(always)]
    fn add<T: Widen>(&mut self, row: usize, line: &[T]) {
        if let Some(sums) = self.sums.get_mut(row * self.stride + self.column..).filter(|sums| sums.len() >= line.len())
        {
            sums.iter_mut().zip(line).for_each(|(sum, &part)| *sum += part.widen());
        }
    }
}

macro_rules! number {
    ($type:ident, $lanes:ident, $vectors:ident, $splat:ident, $multiply_add:ident, $registers:ident) => {
        impl Number for $type {
            const PANEL: usize = 192 / size_of::<$type>();
            const THIRD: usize = Self::PANEL / 3;
            const ZERO: Self = 0.0;

            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }

            #[inline(always)]
            fn add_tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
                simd: S,
                target: &mut Target<'_>,
                (left, first): (&[Self], usize),
                right: &[Self],
                columns: usize,
            ) {
                let mut sums = [[simd.$splat(0.0); WIDTH]; ROWS];
                for (left, right) in left.chunks_exact(Self::PANEL).zip(right.chunks_exact(Self::PANEL)) {
                    let right: &[S::$vectors] = S::$registers(right).0;
                    let (Some(left), Some(right)) = (left[first..].first_chunk::<ROWS>(), right.first_chunk::<WIDTH>())
                    else {
                        break;
                    };
                    for row in 0..ROWS {
                        let factor = simd.$splat(left[row]);
                        for at in 0..WIDTH {
                            sums[row][at] = simd.$multiply_add(factor, right[at], sums[row][at]);
                        }
                    }
                }
                for (row, sums) in sums.iter().enumerate() {
                    target.add::<$type>(first + row, &cast_slice(&sums[..])[..columns]);
                }
            }
        }
    };
}

number!(f32, F32_LANES, f32s, splat_f32s, mul_add_e_f32s, as_simd_f32s);
number!(f64, F64_LANES, f64s, splat_f64s, mul_add_e_f64s, as_simd_f64s);

/// Products of the vectors of some left panels with those of right panels, added to row-major sums.
pub(crate) struct Products<'a, T> {
    /// Rows of `stride` sums. The first belongs to the first vector of `rows`.
    pub(crate) target: &'a mut [f64],
    pub(crate) stride: usize,
    pub(crate) left: &'a Panels<T>,
    /// Panels of `left`.
    pub(crate) rows: Range<usize>,
    pub(crate) right: &'a Panels<T>,
    /// Whether panel i of `left` is multiplied with panels 0 to i of `right` alone.
    pub(crate) lower: bool,
}

impl<T: Number> Products<'_, T> {
    /// Adds the products.
    pub(crate) fn add(self) {
        Arch::new().dispatch(self);
    }
}

impl<T: Number> WithSimd for Products<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { target, stride, left, rows, right, lower } = self;
        // The sums fill the registers: 24 of 32 of the widest, 12 of 16 of those half as wide.
        let height = if T::lanes::<S>() == T::THIRD { 8 } else { 2 };
        // The sums of a block stay in the cache until they are complete.
        for start in (0..right.panels()).step_by(BLOCK) {
            for stretch in 0..left.stretches() {
                for row in rows.clone() {
                    let panel = left.stretch(row, stretch);
                    let end = if lower { row + 1 } else { right.panels() }.min(start + BLOCK);
                    let sums = &mut target[(row - rows.start) * T::PANEL * stride..];
                    for first in (0..left.held(row)).step_by(height) {
                        for column in start..end {
                            let mut target = Target { sums: &mut *sums, stride, column: column * T::PANEL };
                            let other = right.stretch(column, stretch);
                            add_any(simd, &mut target, (panel, first), other, right.held(column));
                        }
                    }
                }
            }
        }
    }
}

/// [`Number::add_tile`] with as few registers as hold the vectors that are not missing.
#[inline(always)]
fn add_any<S: Simd, T: Number>(simd: S, target: &mut Target<'_>, left: (&[T], usize), right: &[T], columns: usize) {
    let thirds = columns.div_ceil(T::THIRD);
    match (T::THIRD / T::lanes::<S>(), thirds) {
        (1, 1) => T::add_tile::<S, 8, 1>(simd, target, left, right, columns),
        (1, 2) => T::add_tile::<S, 8, 2>(simd, target, left, right, columns),
        (1, _) => T::add_tile::<S, 8, 3>(simd, target, left, right, columns),
        (2, 1) => T::add_tile::<S, 2, 2>(simd, target, left, right, columns),
        (2, 2) => T::add_tile::<S, 2, 4>(simd, target, left, right, columns),
        (2, _) => T::add_tile::<S, 2, 6>(simd, target, left, right, columns),
        (4, 1) => T::add_tile::<S, 2, 4>(simd, target, left, right, columns),
        (4, 2) => T::add_tile::<S, 2, 8>(simd, target, left, right, columns),
        (4, _) => T::add_tile::<S, 2, 12>(simd, target, left, right, columns),
        // One number at a time.
        (8, 1) => T::add_tile::<S, 2, 8>(simd, target, left, right, columns),
        (8, 2) => T::add_tile::<S, 2, 16>(simd, target, left, right, columns),
        (8, _) => T::add_tile::<S, 2, 24>(simd, target, left, right, columns),
        (_, 1) => T::add_tile::<S, 2, 16>(simd, target, left, right, columns),
        (_, 2) => T::add_tile::<S, 2, 32>(simd, target, left, right, columns),
        (_, _) => T::add_tile::<S, 2, 48>(simd, target, left, right, columns),
    }
}
