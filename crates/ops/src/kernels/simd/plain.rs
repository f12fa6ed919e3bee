//! Vectors as arrays, for processors without an implementation of their own; the compiler maps them to what there is.

use super::Vector;

/// Eight `f32`.
#[derive(Clone, Copy)]
pub struct PlainF32([f32; 8]);

/// Four `f64`.
#[derive(Clone, Copy)]
pub struct PlainF64([f64; 4]);

macro_rules! plain_vector {
    ($name:ident, $elem:ty, $lanes:literal) => {
        // SAFETY: no instruction set is assumed; the callers give pointers that are valid for the numbers read.
        impl Vector for $name {
            type Elem = $elem;
            const LANES: usize = $lanes;
            const TILE_VECTORS: usize = 1;

            #[inline(always)]
            unsafe fn splat(value: $elem) -> Self {
                Self([value; $lanes])
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                unsafe { Self(from.cast::<[$elem; $lanes]>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                unsafe { to.cast::<[$elem; $lanes]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $elem, count: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                for (lane, value) in lanes.iter_mut().enumerate().take(count) {
                    *value = unsafe { *from.add(lane) };
                }
                Self(lanes)
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $elem, count: usize) {
                for (lane, &value) in self.0.iter().enumerate().take(count) {
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
            // Two roundings: a fused one is a library call where the processor has no instruction for it.
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane] + addend.0[lane]))
            }
        }
    };
}

plain_vector!(PlainF32, f32, 8);
plain_vector!(PlainF64, f64, 4);
