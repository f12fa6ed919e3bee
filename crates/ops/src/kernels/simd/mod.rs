//! SIMD vectors: one trait, implemented for each instruction set and number type.

#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod portable;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86;

use super::Element;

/// The most lanes of any vector.
const MOST_LANES: usize = 16;

/// A SIMD register of numbers.
///
/// # Safety
/// Every function needs a processor with the instruction set of the implementing type, and pointers that are valid for the
/// numbers that the function accesses. Pointers need not be aligned beyond the number type.
pub trait Vector: Copy {
    /// The number type.
    type Elem: Element;
    /// A truth value for each lane.
    type Mask: Copy;
    /// A `u32` for each lane.
    type Indices: Copy;
    /// Numbers in a register.
    const LANES: usize;
    /// Registers across one tile of the matrix product.
    const TILE_VECTORS: usize;

    /// `value` in every lane.
    unsafe fn splat(value: Self::Elem) -> Self;
    /// Reads `LANES` numbers.
    unsafe fn load(from: *const Self::Elem) -> Self;
    /// Writes `LANES` numbers.
    unsafe fn store(self, to: *mut Self::Elem);
    /// Reads the first `count < LANES` numbers; the other lanes are zero.
    unsafe fn load_first(from: *const Self::Elem, count: usize) -> Self;
    /// Writes the first `count < LANES` lanes.
    unsafe fn store_first(self, to: *mut Self::Elem, count: usize);
    /// `self + other`
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`
    unsafe fn sub(self, other: Self) -> Self;
    /// `self * other`
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// `self < other`; false where either is NaN.
    unsafe fn less(self, other: Self) -> Self::Mask;
    /// `self <= other`; false where either is NaN.
    unsafe fn at_most(self, other: Self) -> Self::Mask;
    /// Where `self` is NaN or at least `other`: where it stays the maximum when `other` comes.
    unsafe fn stays_before(self, other: Self) -> Self::Mask;
    /// `self` where the mask is true, 0 elsewhere.
    unsafe fn keep(self, mask: Self::Mask) -> Self;
    /// 0 where the mask is true, `self` elsewhere.
    unsafe fn clear(self, mask: Self::Mask) -> Self;
    /// `yes` where the mask is true, `no` elsewhere.
    unsafe fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// `index` in every lane.
    unsafe fn splat_index(index: u32) -> Self::Indices;
    /// Reads `count` indices, but at most `LANES`; the other lanes are zero.
    unsafe fn load_indices(from: *const u32, count: usize) -> Self::Indices;
    /// Writes `count` indices, but at most `LANES`.
    unsafe fn store_indices(indices: Self::Indices, to: *mut u32, count: usize);
    /// `yes` where the mask is true, `no` elsewhere.
    unsafe fn select_indices(mask: Self::Mask, yes: Self::Indices, no: Self::Indices) -> Self::Indices;
    /// Where two indices are equal.
    unsafe fn same_index(one: Self::Indices, other: Self::Indices) -> Self::Mask;

    /// Reads nine adjacent numbers from each of `lanes` rows, `stride` apart. Vector t holds number t of every row, and zeros
    /// from lane `lanes` on.
    #[inline(always)]
    unsafe fn load_nines(from: *const Self::Elem, stride: usize, lanes: usize) -> [Self; 9] {
        let mut columns = [[Self::Elem::default(); MOST_LANES]; 9];
        // SAFETY: the caller vouches for nine readable numbers in each of `lanes` rows.
        unsafe {
            for lane in 0..lanes {
                for (index, column) in columns.iter_mut().enumerate() {
                    column[lane] = *from.add(lane * stride + index);
                }
            }
            std::array::from_fn(|index| Self::load(columns[index].as_ptr()))
        }
    }

    /// Writes nine adjacent numbers to each of `lanes` rows: the inverse of [`Vector::load_nines`].
    #[inline(always)]
    unsafe fn store_nines(values: [Self; 9], to: *mut Self::Elem, stride: usize, lanes: usize) {
        let mut columns = [[Self::Elem::default(); MOST_LANES]; 9];
        // SAFETY: a column holds a vector; the caller vouches for nine writable numbers in each of `lanes` rows.
        unsafe {
            for (column, value) in columns.iter_mut().zip(values) {
                value.store(column.as_mut_ptr());
            }
            for lane in 0..lanes {
                for (index, column) in columns.iter().enumerate() {
                    *to.add(lane * stride + index) = column[lane];
                }
            }
        }
    }

    /// Writes the transpose of `LANES` rows of `LANES` numbers, times `factor`. Rows are `stride` apart, those that are written
    /// `to_stride`.
    #[inline(always)]
    unsafe fn transpose(
        from: *const Self::Elem,
        stride: usize,
        factor: Self::Elem,
        to: *mut Self::Elem,
        to_stride: usize,
    ) {
        // SAFETY: the caller vouches for the rows that are read and written.
        unsafe {
            for row in 0..Self::LANES {
                for column in 0..Self::LANES {
                    *to.add(column * to_stride + row) = *from.add(row * stride + column) * factor;
                }
            }
        }
    }

    /// Prefetches the cache line of this address, which need not be valid.
    #[inline(always)]
    unsafe fn prefetch(_address: *const Self::Elem) {}

    /// Zero in every lane.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { Self::splat(Self::Elem::default()) }
    }

    /// A constant in every lane.
    #[inline(always)]
    unsafe fn constant(value: f64) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { Self::splat(Self::Elem::from_f64(value)) }
    }

    /// Reads `count` numbers, but at most `LANES`.
    #[inline(always)]
    unsafe fn load_up_to(from: *const Self::Elem, count: usize) -> Self {
        // SAFETY: the caller vouches for `count` readable numbers.
        unsafe { if count >= Self::LANES { Self::load(from) } else { Self::load_first(from, count) } }
    }

    /// Writes `count` numbers, but at most `LANES`.
    #[inline(always)]
    unsafe fn store_up_to(self, to: *mut Self::Elem, count: usize) {
        // SAFETY: the caller vouches for `count` writable numbers.
        unsafe { if count >= Self::LANES { self.store(to) } else { self.store_first(to, count) } }
    }
}
