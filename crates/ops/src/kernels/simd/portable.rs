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
        }
    };
}

portable_vector!(PortableF32, f32, 8);
portable_vector!(PortableF64, f64, 4);
