//! Vectors of AVX-512 and of AVX2 with FMA.

use std::arch::x86_64::*;

use super::Vector;

/// Sixteen `f32` in an AVX-512 register.
#[derive(Clone, Copy)]
pub struct Avx512F32(__m512);

/// Eight `f64` in an AVX-512 register.
#[derive(Clone, Copy)]
pub struct Avx512F64(__m512d);

/// Eight `f32` in an AVX register.
#[derive(Clone, Copy)]
pub struct Avx2F32(__m256);

/// Four `f64` in an AVX register.
#[derive(Clone, Copy)]
pub struct Avx2F64(__m256d);

/// Sliding over this gives the lane masks of AVX2: `count` ones, then zeros.
static LANE_MASKS_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static LANE_MASKS_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

#[inline(always)]
unsafe fn mask_of_8(count: usize) -> __m256i {
    unsafe { _mm256_loadu_si256(LANE_MASKS_32.as_ptr().add(8 - count).cast()) }
}

#[inline(always)]
unsafe fn mask_of_4(count: usize) -> __m256i {
    unsafe { _mm256_loadu_si256(LANE_MASKS_64.as_ptr().add(4 - count).cast()) }
}

macro_rules! x86_vector {
    (
        $name:ident: $elem:ty, $lanes:literal lanes, $tile:literal across,
        $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $fused:ident,
        load_first($from:ident, $count_read:ident) $load_first:expr,
        store_first($to:ident, $value:ident, $count_written:ident) $store_first:expr
    ) => {
        // SAFETY: callers run on a processor with the instruction set (`InstructionSet::run` is the only way in), with
        // pointers that are valid for the numbers named; every load and store here is the unaligned one.
        impl Vector for $name {
            type Elem = $elem;
            const LANES: usize = $lanes;
            const TILE_VECTORS: usize = $tile;

            #[inline(always)]
            unsafe fn splat(value: $elem) -> Self {
                unsafe { Self($splat(value)) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                unsafe { Self($load(from)) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn load_first($from: *const $elem, $count_read: usize) -> Self {
                unsafe { Self($load_first) }
            }
            #[inline(always)]
            unsafe fn store_first(self, $to: *mut $elem, $count_written: usize) {
                let $value = self.0;
                unsafe { $store_first }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                unsafe { Self($add(self.0, other.0)) }
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                unsafe { Self($sub(self.0, other.0)) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                unsafe { Self($mul(self.0, other.0)) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                unsafe { Self($fused(self.0, factor.0, addend.0)) }
            }
        }
    };
}

x86_vector!(
    Avx512F32: f32, 16 lanes, 4 across,
    _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_fmadd_ps,
    load_first(from, count) _mm512_maskz_loadu_ps((1u16 << count) - 1, from),
    store_first(to, value, count) _mm512_mask_storeu_ps(to, (1u16 << count) - 1, value)
);
x86_vector!(
    Avx512F64: f64, 8 lanes, 4 across,
    _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_fmadd_pd,
    load_first(from, count) _mm512_maskz_loadu_pd((1u8 << count) - 1, from),
    store_first(to, value, count) _mm512_mask_storeu_pd(to, (1u8 << count) - 1, value)
);
x86_vector!(
    Avx2F32: f32, 8 lanes, 2 across,
    _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_fmadd_ps,
    load_first(from, count) _mm256_maskload_ps(from, mask_of_8(count)),
    store_first(to, value, count) _mm256_maskstore_ps(to, mask_of_8(count), value)
);
x86_vector!(
    Avx2F64: f64, 4 lanes, 2 across,
    _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_fmadd_pd,
    load_first(from, count) _mm256_maskload_pd(from, mask_of_4(count)),
    store_first(to, value, count) _mm256_maskstore_pd(to, mask_of_4(count), value)
);
