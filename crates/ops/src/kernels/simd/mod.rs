//! Vectors of numbers: one trait, one implementation for each instruction set and number type.

#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod plain;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86;

use super::Element;

/// The most lanes of any vector.
const MOST_LANES: usize = 16;

/// A register full of numbers.
///
/// # Safety
/// Every function needs a processor that has the instruction set of the implementing type, and pointers that are valid
/// for as many numbers as the function names. Nothing needs to be aligned.
pub trait Vector: Copy {
    /// The number type.
    type Elem: Element;
    /// Numbers in a register.
    const LANES: usize;
    /// Registers across one tile of the matrix product.
    const TILE_VECTORS: usize;

    unsafe fn splat(value: Self::Elem) -> Self;
    /// Reads `LANES` numbers.
    unsafe fn load(from: *const Self::Elem) -> Self;
    /// Writes `LANES` numbers.
    unsafe fn store(self, to: *mut Self::Elem);
    /// Reads the first `count < LANES` numbers; the other lanes are zero.
    unsafe fn load_first(from: *const Self::Elem, count: usize) -> Self;
    /// Writes the first `count < LANES` lanes.
    unsafe fn store_first(self, to: *mut Self::Elem, count: usize);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// Nine neighbours from each of `lanes` places, `stride` apart: vector t holds the t-th neighbour of every place, and
    /// zeros from lane `lanes` on.
    #[inline(always)]
    unsafe fn load_nines(from: *const Self::Elem, stride: usize, lanes: usize) -> [Self; 9] {
        let mut columns = [[Self::Elem::default(); MOST_LANES]; 9];
        unsafe {
            for lane in 0..lanes {
                for (index, column) in columns.iter_mut().enumerate() {
                    column[lane] = *from.add(lane * stride + index);
                }
            }
            std::array::from_fn(|index| Self::load(columns[index].as_ptr()))
        }
    }

    /// Writes what [`Vector::load_nines`] would read.
    #[inline(always)]
    unsafe fn store_nines(values: [Self; 9], to: *mut Self::Elem, stride: usize, lanes: usize) {
        let mut columns = [[Self::Elem::default(); MOST_LANES]; 9];
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

    /// Asks for a cache line that will be read soon; the address need not be valid.
    #[inline(always)]
    unsafe fn prefetch(_address: *const Self::Elem) {}

    #[inline(always)]
    unsafe fn zero() -> Self {
        unsafe { Self::splat(Self::Elem::default()) }
    }

    /// A constant in every lane.
    #[inline(always)]
    unsafe fn constant(value: f64) -> Self {
        unsafe { Self::splat(Self::Elem::from_f64(value)) }
    }

    /// Reads `count` numbers, at most `LANES`.
    #[inline(always)]
    unsafe fn load_up_to(from: *const Self::Elem, count: usize) -> Self {
        unsafe { if count >= Self::LANES { Self::load(from) } else { Self::load_first(from, count) } }
    }

    /// Writes `count` numbers, at most `LANES`.
    #[inline(always)]
    unsafe fn store_up_to(self, to: *mut Self::Elem, count: usize) {
        unsafe { if count >= Self::LANES { self.store(to) } else { self.store_first(to, count) } }
    }
}
