//! Vectors of NEON, which every 64-bit ARM processor has.

use std::arch::aarch64::*;

use super::Vector;

/// Four `f32` in a NEON register.
#[derive(Clone, Copy)]
pub struct NeonF32(float32x4_t);

/// Two `f64` in a NEON register.
#[derive(Clone, Copy)]
pub struct NeonF64(float64x2_t);

macro_rules! neon_vector {
    (
        $name:ident: $elem:ty, $lanes:literal lanes,
        $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $fused:ident
    ) => {
        // SAFETY: NEON is part of the base instructions of 64-bit ARM.
        impl Vector for $name {
            type Elem = $elem;
            const LANES: usize = $lanes;
            const TILE_VECTORS: usize = 4;

            #[inline(always)]
            unsafe fn splat(value: $elem) -> Self {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($splat(value)) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller vouches for the numbers that are read.
                unsafe { Self($load(from)) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller vouches for the numbers that are written.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $elem, count: usize) -> Self {
                let mut lanes = [0.0; $lanes];
                for (lane, value) in lanes.iter_mut().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` readable numbers.
                    *value = unsafe { *from.add(lane) };
                }
                // SAFETY: the caller vouches for the numbers that are read.
                unsafe { Self::load(lanes.as_ptr()) }
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $elem, count: usize) {
                let mut lanes = [0.0; $lanes];
                // SAFETY: the caller vouches for the numbers that are written.
                unsafe { self.store(lanes.as_mut_ptr()) };
                for (lane, &value) in lanes.iter().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` writable numbers.
                    unsafe { *to.add(lane) = value };
                }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($add(self.0, other.0)) }
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($sub(self.0, other.0)) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($mul(self.0, other.0)) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($fused(addend.0, self.0, factor.0)) }
            }
        }
    };
}

neon_vector!(NeonF32: f32, 4 lanes, vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vsubq_f32, vmulq_f32, vfmaq_f32);
neon_vector!(NeonF64: f64, 2 lanes, vdupq_n_f64, vld1q_f64, vst1q_f64, vaddq_f64, vsubq_f64, vmulq_f64, vfmaq_f64);
