//! Vectors as arrays, for processors without an implementation of their own. The compiler maps them to the base instructions.

use super::Vector;

/// Eight `f32`.
#[derive(Clone, Copy)]
pub struct PortableF32([f32; 8]);

/// Four `f64`.
#[derive(Clone, Copy)]
pub struct PortableF64([f64; 4]);

macro_rules! portable_vector {
    ($name:ident, $elem:ty, $lanes:literal) => {
        // SAFETY: no instruction set is assumed.
        impl Vector for $name {
            type Elem = $elem;
            type Mask = [bool; $lanes];
            type Indices = [u32; $lanes];
            const LANES: usize = $lanes;
            const TILE_VECTORS: usize = 1;

            #[inline(always)]
            unsafe fn splat(value: $elem) -> Self {
                Self([value; $lanes])
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller vouches for `LANES` readable numbers.
                unsafe { Self(from.cast::<[$elem; $lanes]>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller vouches for `LANES` writable numbers.
                unsafe { to.cast::<[$elem; $lanes]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $elem, count: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                for (lane, value) in lanes.iter_mut().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` readable numbers.
                    *value = unsafe { *from.add(lane) };
                }
                Self(lanes)
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $elem, count: usize) {
                for (lane, &value) in self.0.iter().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` writable numbers.
                    unsafe { *to.add(lane) = value };
                }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane] - other.0[lane]))
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane] * other.0[lane]))
            }
            // Two roundings: without an instruction for it, a fused multiply–add would be a library call.
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane] + addend.0[lane]))
            }
            #[inline(always)]
            unsafe fn less(self, other: Self) -> [bool; $lanes] {
                std::array::from_fn(|lane| self.0[lane] < other.0[lane])
            }
            #[inline(always)]
            unsafe fn at_most(self, other: Self) -> [bool; $lanes] {
                std::array::from_fn(|lane| self.0[lane] <= other.0[lane])
            }
            #[inline(always)]
            unsafe fn stays_before(self, other: Self) -> [bool; $lanes] {
                std::array::from_fn(|lane| self.0[lane].is_nan() | (self.0[lane] >= other.0[lane]))
            }
            #[inline(always)]
            unsafe fn keep(self, mask: [bool; $lanes]) -> Self {
                Self(std::array::from_fn(|lane| if mask[lane] { self.0[lane] } else { 0.0 }))
            }
            #[inline(always)]
            unsafe fn clear(self, mask: [bool; $lanes]) -> Self {
                Self(std::array::from_fn(|lane| if mask[lane] { 0.0 } else { self.0[lane] }))
            }
            #[inline(always)]
            unsafe fn select(mask: [bool; $lanes], yes: Self, no: Self) -> Self {
                Self(std::array::from_fn(|lane| if mask[lane] { yes.0[lane] } else { no.0[lane] }))
            }
            #[inline(always)]
            unsafe fn splat_index(index: u32) -> [u32; $lanes] {
                [index; $lanes]
            }
            #[inline(always)]
            unsafe fn load_indices(from: *const u32, count: usize) -> [u32; $lanes] {
                // SAFETY: the caller vouches for `count` readable indices.
                std::array::from_fn(|lane| if lane < count { unsafe { *from.add(lane) } } else { 0 })
            }
            #[inline(always)]
            unsafe fn store_indices(indices: [u32; $lanes], to: *mut u32, count: usize) {
                for (lane, &index) in indices.iter().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` writable indices.
                    unsafe { *to.add(lane) = index };
                }
            }
            #[inline(always)]
            unsafe fn select_indices(mask: [bool; $lanes], yes: [u32; $lanes], no: [u32; $lanes]) -> [u32; $lanes] {
                std::array::from_fn(|lane| if mask[lane] { yes[lane] } else { no[lane] })
            }
            #[inline(always)]
            unsafe fn same_index(one: [u32; $lanes], other: [u32; $lanes]) -> [bool; $lanes] {
                std::array::from_fn(|lane| one[lane] == other[lane])
            }
        }
    };
}

portable_vector!(PortableF32, f32, 8);
portable_vector!(PortableF64, f64, 4);
