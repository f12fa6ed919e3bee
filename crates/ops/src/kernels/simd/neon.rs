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
        $name:ident: $elem:ty, $lanes:literal lanes, $mask:ty,
        $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $fused:ident,
        $less:ident, $at_most:ident, $at_least:ident, $equal:ident, $or_not:ident, $select:ident,
        $splat_index:ident, $select_indices:ident, $same_index:ident,
        load_indices($from:ident) $load_indices:expr,
        store_indices($indices:ident, $to:ident) $store_indices:expr
    ) => {
        // SAFETY: NEON is part of the base instructions of 64-bit ARM.
        impl Vector for $name {
            type Elem = $elem;
            type Mask = $mask;
            // As wide as the numbers, so that a mask selects both.
            type Indices = $mask;
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
            #[inline(always)]
            unsafe fn less(self, other: Self) -> $mask {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $less(self.0, other.0) }
            }
            #[inline(always)]
            unsafe fn at_most(self, other: Self) -> $mask {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $at_most(self.0, other.0) }
            }
            #[inline(always)]
            unsafe fn stays_before(self, other: Self) -> $mask {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $or_not($at_least(self.0, other.0), $equal(self.0, self.0)) }
            }
            #[inline(always)]
            unsafe fn keep(self, mask: $mask) -> Self {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($select(mask, self.0, $splat(0.0))) }
            }
            #[inline(always)]
            unsafe fn clear(self, mask: $mask) -> Self {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($select(mask, $splat(0.0), self.0)) }
            }
            #[inline(always)]
            unsafe fn select(mask: $mask, yes: Self, no: Self) -> Self {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($select(mask, yes.0, no.0)) }
            }
            #[inline(always)]
            unsafe fn splat_index(index: u32) -> $mask {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $splat_index(index.into()) }
            }
            #[inline(always)]
            unsafe fn load_indices(from: *const u32, count: usize) -> $mask {
                let mut lanes = [0; $lanes];
                for (lane, index) in lanes.iter_mut().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` readable indices.
                    *index = unsafe { *from.add(lane) };
                }
                let $from = lanes.as_ptr();
                // SAFETY: the array has an index for every lane.
                unsafe { $load_indices }
            }
            #[inline(always)]
            unsafe fn store_indices($indices: $mask, to: *mut u32, count: usize) {
                let mut lanes = [0; $lanes];
                let $to = lanes.as_mut_ptr();
                // SAFETY: the array has an index for every lane.
                unsafe { $store_indices };
                for (lane, &index) in lanes.iter().enumerate().take(count) {
                    // SAFETY: the caller vouches for `count` writable indices.
                    unsafe { *to.add(lane) = index };
                }
            }
            #[inline(always)]
            unsafe fn select_indices(mask: $mask, yes: $mask, no: $mask) -> $mask {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $select_indices(mask, yes, no) }
            }
            #[inline(always)]
            unsafe fn same_index(one: $mask, other: $mask) -> $mask {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $same_index(one, other) }
            }
        }
    };
}

neon_vector!(
    NeonF32: f32, 4 lanes, uint32x4_t,
    vdupq_n_f32, vld1q_f32, vst1q_f32, vaddq_f32, vsubq_f32, vmulq_f32, vfmaq_f32,
    vcltq_f32, vcleq_f32, vcgeq_f32, vceqq_f32, vornq_u32, vbslq_f32,
    vdupq_n_u32, vbslq_u32, vceqq_u32,
    load_indices(from) vld1q_u32(from),
    store_indices(indices, to) vst1q_u32(to, indices)
);
neon_vector!(
    NeonF64: f64, 2 lanes, uint64x2_t,
    vdupq_n_f64, vld1q_f64, vst1q_f64, vaddq_f64, vsubq_f64, vmulq_f64, vfmaq_f64,
    vcltq_f64, vcleq_f64, vcgeq_f64, vceqq_f64, vornq_u64, vbslq_f64,
    vdupq_n_u64, vbslq_u64, vceqq_u64,
    load_indices(from) vmovl_u32(vld1_u32(from)),
    store_indices(indices, to) vst1_u32(to, vmovn_u64(indices))
);
