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

/// The lane masks of AVX2, `count` ones then zeros, as windows of these arrays.
static LANE_MASKS_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static LANE_MASKS_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

/// The mask of the first `count` of 8 lanes.
///
/// # Safety
/// `count` is at most 8, and the processor has AVX2.
#[inline(always)]
unsafe fn mask_of_8(count: usize) -> __m256i {
    // SAFETY: with `count` at most 8, the window lies within the array.
    unsafe { _mm256_loadu_si256(LANE_MASKS_32.as_ptr().add(8 - count).cast()) }
}

/// The mask of the first `count` of 4 lanes.
///
/// # Safety
/// `count` is at most 4, and the processor has AVX2.
#[inline(always)]
unsafe fn mask_of_4(count: usize) -> __m256i {
    // SAFETY: with `count` at most 4, the window lies within the array.
    unsafe { _mm256_loadu_si256(LANE_MASKS_64.as_ptr().add(4 - count).cast()) }
}

/// The mask of the first `count` of 4 lanes of 32 bits.
///
/// # Safety
/// `count` is at most 4, and the processor has AVX2.
#[inline(always)]
unsafe fn short_mask_of_4(count: usize) -> __m128i {
    // SAFETY: with `count` at most 4, the window lies within the array.
    unsafe { _mm_loadu_si128(LANE_MASKS_32.as_ptr().add(8 - count).cast()) }
}

/// The lower 32 bits of each of 4 lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn low_halves(lanes: __m256i) -> __m128i {
    // SAFETY: arithmetic on registers; the caller has the instruction set.
    unsafe { _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(lanes, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6))) }
}

/// The first nine lanes.
const NINE: u16 = (1 << 9) - 1;

/// Transposes 16 rows of 16.
///
/// # Safety
/// The processor has AVX-512.
#[inline(always)]
unsafe fn transpose(rows: [__m512; 16]) -> [__m512; 16] {
    // SAFETY: arithmetic on registers; the caller has the instruction set.
    unsafe {
        let mut quads = [_mm512_setzero_ps(); 16];
        for quad in 0..4 {
            let [a, b, c, d] = [rows[4 * quad], rows[4 * quad + 1], rows[4 * quad + 2], rows[4 * quad + 3]];
            let (low, high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let (low_below, high_below) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let pairs = [(low, low_below), (high, high_below)];
            for (index, (upper, lower)) in pairs.into_iter().enumerate() {
                let (upper, lower) = (_mm512_castps_pd(upper), _mm512_castps_pd(lower));
                quads[4 * quad + 2 * index] = _mm512_castpd_ps(_mm512_unpacklo_pd(upper, lower));
                quads[4 * quad + 2 * index + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(upper, lower));
            }
        }
        // Now vector 4q + k holds, in its block j of four lanes, column 4j + k of rows 4q to 4q + 3.
        let mut columns = [_mm512_setzero_ps(); 16];
        for k in 0..4 {
            let [a, b, c, d] = [quads[k], quads[4 + k], quads[8 + k], quads[12 + k]];
            let (even, even_below) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d));
            let (odd, odd_below) = (_mm512_shuffle_f32x4::<0xdd>(a, b), _mm512_shuffle_f32x4::<0xdd>(c, d));
            columns[k] = _mm512_shuffle_f32x4::<0x88>(even, even_below);
            columns[4 + k] = _mm512_shuffle_f32x4::<0x88>(odd, odd_below);
            columns[8 + k] = _mm512_shuffle_f32x4::<0xdd>(even, even_below);
            columns[12 + k] = _mm512_shuffle_f32x4::<0xdd>(odd, odd_below);
        }
        columns
    }
}

/// Transposes 8 rows of 8.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn transpose_8(rows: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: arithmetic on registers; the caller has the instruction set.
    unsafe {
        // Vector 4q + k of the quads holds, in its half j, column 4j + k of rows 4q to 4q + 3.
        let mut quads = [_mm256_setzero_ps(); 8];
        for quad in 0..2 {
            let [a, b, c, d] = [rows[4 * quad], rows[4 * quad + 1], rows[4 * quad + 2], rows[4 * quad + 3]];
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (low_below, high_below) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            quads[4 * quad] = _mm256_shuffle_ps::<0x44>(low, low_below);
            quads[4 * quad + 1] = _mm256_shuffle_ps::<0xee>(low, low_below);
            quads[4 * quad + 2] = _mm256_shuffle_ps::<0x44>(high, high_below);
            quads[4 * quad + 3] = _mm256_shuffle_ps::<0xee>(high, high_below);
        }
        let mut columns = [_mm256_setzero_ps(); 8];
        for k in 0..4 {
            columns[k] = _mm256_permute2f128_ps::<0x20>(quads[k], quads[4 + k]);
            columns[4 + k] = _mm256_permute2f128_ps::<0x31>(quads[k], quads[4 + k]);
        }
        columns
    }
}

macro_rules! x86_vector {
    (
        $name:ident: $elem:ty, $lanes:literal lanes, $tile:literal across,
        $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $fused:ident,
        load_first($from:ident, $count_read:ident) $load_first:expr,
        store_first($to:ident, $value:ident, $count_written:ident) $store_first:expr,
        compare($one:ident, $other:ident) $mask:ty { $less:expr, $at_most:expr, $stays_before:expr },
        keep($kept:ident, $where:ident) { $keep:expr, $clear:expr },
        select($chosen:ident, $yes:ident, $no:ident) $select:expr,
        indices($index:ident) $indices:ty { $splat_index:expr },
        select_indices $select_indices:expr,
        same_index $same_index:expr,
        load_indices($from_indices:ident, $indices_read:ident) { $load_indices:expr, first $load_first_indices:expr },
        store_indices($to_indices:ident, $written:ident, $indices_written:ident) {
            $store_indices:expr, first $store_first_indices:expr
        }
        $(, with { $($more:item)* })?
    ) => {
        // SAFETY: only `InstructionSet::run` instantiates jobs with this type, on a processor with the instruction set. Every load
        // and store is unaligned.
        impl Vector for $name {
            type Elem = $elem;
            type Mask = $mask;
            type Indices = $indices;
            const LANES: usize = $lanes;
            const TILE_VECTORS: usize = $tile;

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
            unsafe fn load_first($from: *const $elem, $count_read: usize) -> Self {
                // SAFETY: the caller vouches for the numbers that are read.
                unsafe { Self($load_first) }
            }
            #[inline(always)]
            unsafe fn store_first(self, $to: *mut $elem, $count_written: usize) {
                let $value = self.0;
                // SAFETY: the caller vouches for the numbers that are written.
                unsafe { $store_first }
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
                unsafe { Self($fused(self.0, factor.0, addend.0)) }
            }
            #[inline(always)]
            unsafe fn less(self, other: Self) -> $mask {
                let ($one, $other) = (self.0, other.0);
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $less }
            }
            #[inline(always)]
            unsafe fn at_most(self, other: Self) -> $mask {
                let ($one, $other) = (self.0, other.0);
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $at_most }
            }
            #[inline(always)]
            unsafe fn stays_before(self, other: Self) -> $mask {
                let ($one, $other) = (self.0, other.0);
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $stays_before }
            }
            #[inline(always)]
            unsafe fn keep(self, $where: $mask) -> Self {
                let $kept = self.0;
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($keep) }
            }
            #[inline(always)]
            unsafe fn clear(self, $where: $mask) -> Self {
                let $kept = self.0;
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($clear) }
            }
            #[inline(always)]
            unsafe fn select($chosen: $mask, yes: Self, no: Self) -> Self {
                let ($yes, $no) = (yes.0, no.0);
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { Self($select) }
            }
            #[inline(always)]
            unsafe fn splat_index($index: u32) -> $indices {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $splat_index }
            }
            #[inline(always)]
            unsafe fn load_indices($from_indices: *const u32, $indices_read: usize) -> $indices {
                // SAFETY: the caller vouches for the indices that are read.
                unsafe { if $indices_read >= $lanes { $load_indices } else { $load_first_indices } }
            }
            #[inline(always)]
            unsafe fn store_indices($written: $indices, $to_indices: *mut u32, $indices_written: usize) {
                // SAFETY: the caller vouches for the indices that are written.
                unsafe { if $indices_written >= $lanes { $store_indices } else { $store_first_indices } }
            }
            #[inline(always)]
            unsafe fn select_indices($chosen: $mask, $yes: $indices, $no: $indices) -> $indices {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $select_indices }
            }
            #[inline(always)]
            unsafe fn same_index($one: $indices, $other: $indices) -> $mask {
                // SAFETY: arithmetic on registers; the caller has the instruction set.
                unsafe { $same_index }
            }
            #[inline(always)]
            unsafe fn prefetch(address: *const $elem) {
                // SAFETY: a prefetch accesses no memory; the caller has the instruction set.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
            }
            $($($more)*)?
        }
    };
}

x86_vector!(
    Avx512F32: f32, 16 lanes, 4 across,
    _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_fmadd_ps,
    load_first(from, count) _mm512_maskz_loadu_ps((1u16 << count) - 1, from),
    store_first(to, value, count) _mm512_mask_storeu_ps(to, (1u16 << count) - 1, value),
    compare(one, other) __mmask16 {
        _mm512_cmp_ps_mask::<_CMP_LT_OQ>(one, other),
        _mm512_cmp_ps_mask::<_CMP_LE_OQ>(one, other),
        _mm512_cmp_ps_mask::<_CMP_GE_OQ>(one, other) | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(one, one)
    },
    keep(value, mask) { _mm512_maskz_mov_ps(mask, value), _mm512_mask_blend_ps(mask, value, _mm512_setzero_ps()) },
    select(mask, yes, no) _mm512_mask_blend_ps(mask, no, yes),
    indices(index) __m512i { _mm512_set1_epi32(index.cast_signed()) },
    select_indices _mm512_mask_blend_epi32(mask, no, yes),
    same_index _mm512_cmpeq_epi32_mask(one, other),
    load_indices(from, count) {
        _mm512_loadu_si512(from.cast()), first _mm512_maskz_loadu_epi32((1u16 << count) - 1, from.cast())
    },
    store_indices(to, indices, count) {
        _mm512_storeu_si512(to.cast(), indices), first _mm512_mask_storeu_epi32(to.cast(), (1u16 << count) - 1, indices)
    },
    with {
        #[inline(always)]
        unsafe fn transpose(from: *const f32, stride: usize, factor: f32, to: *mut f32, to_stride: usize) {
            // SAFETY: the caller vouches for the rows that are read and written.
            unsafe {
                let factor = _mm512_set1_ps(factor);
                let rows = std::array::from_fn(|row| _mm512_mul_ps(_mm512_loadu_ps(from.add(row * stride)), factor));
                for (row, column) in transpose(rows).into_iter().enumerate() {
                    _mm512_storeu_ps(to.add(row * to_stride), column);
                }
            }
        }
        #[inline(always)]
        unsafe fn load_nines(from: *const f32, stride: usize, lanes: usize) -> [Self; 9] {
            // SAFETY: the caller vouches for nine readable numbers in each of `lanes` rows.
            unsafe {
                let mut rows = [_mm512_setzero_ps(); 16];
                for (lane, row) in rows.iter_mut().enumerate() {
                    if lane < lanes {
                        *row = _mm512_maskz_loadu_ps(NINE, from.add(lane * stride));
                    }
                }
                let columns = transpose(rows);
                std::array::from_fn(|index| Self(columns[index]))
            }
        }
        #[inline(always)]
        unsafe fn store_nines(values: [Self; 9], to: *mut f32, stride: usize, lanes: usize) {
            // SAFETY: the caller vouches for nine writable numbers in each of `lanes` rows.
            unsafe {
                let mut rows = [_mm512_setzero_ps(); 16];
                for (row, value) in rows.iter_mut().zip(values) {
                    *row = value.0;
                }
                for (lane, column) in transpose(rows).into_iter().enumerate() {
                    if lane < lanes {
                        _mm512_mask_storeu_ps(to.add(lane * stride), NINE, column);
                    }
                }
            }
        }
    }
);
x86_vector!(
    Avx512F64: f64, 8 lanes, 4 across,
    _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_fmadd_pd,
    load_first(from, count) _mm512_maskz_loadu_pd((1u8 << count) - 1, from),
    store_first(to, value, count) _mm512_mask_storeu_pd(to, (1u8 << count) - 1, value),
    // Indices are widened to the numbers' 64 bits.
    compare(one, other) __mmask8 {
        _mm512_cmp_pd_mask::<_CMP_LT_OQ>(one, other),
        _mm512_cmp_pd_mask::<_CMP_LE_OQ>(one, other),
        _mm512_cmp_pd_mask::<_CMP_GE_OQ>(one, other) | _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(one, one)
    },
    keep(value, mask) { _mm512_maskz_mov_pd(mask, value), _mm512_mask_blend_pd(mask, value, _mm512_setzero_pd()) },
    select(mask, yes, no) _mm512_mask_blend_pd(mask, no, yes),
    indices(index) __m512i { _mm512_set1_epi64(index.into()) },
    select_indices _mm512_mask_blend_epi64(mask, no, yes),
    same_index _mm512_cmpeq_epi64_mask(one, other),
    load_indices(from, count) {
        _mm512_cvtepu32_epi64(_mm256_loadu_si256(from.cast())),
        first _mm512_cvtepu32_epi64(_mm256_maskload_epi32(from.cast(), mask_of_8(count)))
    },
    store_indices(to, indices, count) {
        _mm256_storeu_si256(to.cast(), _mm512_cvtepi64_epi32(indices)),
        first _mm256_maskstore_epi32(to.cast(), mask_of_8(count), _mm512_cvtepi64_epi32(indices))
    }
);
x86_vector!(
    Avx2F32: f32, 8 lanes, 2 across,
    _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_fmadd_ps,
    load_first(from, count) _mm256_maskload_ps(from, mask_of_8(count)),
    store_first(to, value, count) _mm256_maskstore_ps(to, mask_of_8(count), value),
    compare(one, other) __m256 {
        _mm256_cmp_ps::<_CMP_LT_OQ>(one, other),
        _mm256_cmp_ps::<_CMP_LE_OQ>(one, other),
        _mm256_or_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(one, other), _mm256_cmp_ps::<_CMP_UNORD_Q>(one, one))
    },
    // By bits: the compiler turns a selection that is stored where it was loaded into a masked store, which is slow on AMD's Zen
    // processors.
    keep(value, mask) { _mm256_and_ps(mask, value), _mm256_andnot_ps(mask, value) },
    select(mask, yes, no) _mm256_blendv_ps(no, yes, mask),
    indices(index) __m256i { _mm256_set1_epi32(index.cast_signed()) },
    select_indices _mm256_blendv_epi8(no, yes, _mm256_castps_si256(mask)),
    same_index _mm256_castsi256_ps(_mm256_cmpeq_epi32(one, other)),
    load_indices(from, count) {
        _mm256_loadu_si256(from.cast()), first _mm256_maskload_epi32(from.cast(), mask_of_8(count))
    },
    store_indices(to, indices, count) {
        _mm256_storeu_si256(to.cast(), indices), first _mm256_maskstore_epi32(to.cast(), mask_of_8(count), indices)
    },
    with {
        #[inline(always)]
        unsafe fn transpose(from: *const f32, stride: usize, factor: f32, to: *mut f32, to_stride: usize) {
            // SAFETY: the caller vouches for the rows that are read and written.
            unsafe {
                let factor = _mm256_set1_ps(factor);
                let rows = std::array::from_fn(|row| _mm256_mul_ps(_mm256_loadu_ps(from.add(row * stride)), factor));
                for (row, column) in transpose_8(rows).into_iter().enumerate() {
                    _mm256_storeu_ps(to.add(row * to_stride), column);
                }
            }
        }
        #[inline(always)]
        unsafe fn load_nines(from: *const f32, stride: usize, lanes: usize) -> [Self; 9] {
            // SAFETY: the caller vouches for nine readable numbers in each of `lanes` rows.
            unsafe {
                let mut rows = [_mm256_setzero_ps(); 8];
                let mut ninths = [0.0f32; 8];
                for (lane, (row, ninth)) in rows.iter_mut().zip(&mut ninths).enumerate() {
                    if lane < lanes {
                        *row = _mm256_loadu_ps(from.add(lane * stride));
                        *ninth = *from.add(lane * stride + 8);
                    }
                }
                let columns = transpose_8(rows);
                let [a, b, c, d, e, f, g, h] = ninths;
                let ninth = _mm256_setr_ps(a, b, c, d, e, f, g, h);
                std::array::from_fn(|index| Self(if index < 8 { columns[index] } else { ninth }))
            }
        }
        #[inline(always)]
        unsafe fn store_nines(values: [Self; 9], to: *mut f32, stride: usize, lanes: usize) {
            // SAFETY: the caller vouches for nine writable numbers in each of `lanes` rows.
            unsafe {
                let rows = transpose_8(std::array::from_fn(|index| values[index].0));
                let mut ninths = [0.0f32; 8];
                values[8].store(ninths.as_mut_ptr());
                for (lane, (row, ninth)) in rows.into_iter().zip(ninths).enumerate() {
                    if lane < lanes {
                        _mm256_storeu_ps(to.add(lane * stride), row);
                        *to.add(lane * stride + 8) = ninth;
                    }
                }
            }
        }
    }
);
x86_vector!(
    Avx2F64: f64, 4 lanes, 2 across,
    _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_fmadd_pd,
    load_first(from, count) _mm256_maskload_pd(from, mask_of_4(count)),
    store_first(to, value, count) _mm256_maskstore_pd(to, mask_of_4(count), value),
    // Indices are widened to the numbers' 64 bits.
    compare(one, other) __m256d {
        _mm256_cmp_pd::<_CMP_LT_OQ>(one, other),
        _mm256_cmp_pd::<_CMP_LE_OQ>(one, other),
        _mm256_or_pd(_mm256_cmp_pd::<_CMP_GE_OQ>(one, other), _mm256_cmp_pd::<_CMP_UNORD_Q>(one, one))
    },
    keep(value, mask) { _mm256_and_pd(mask, value), _mm256_andnot_pd(mask, value) },
    select(mask, yes, no) _mm256_blendv_pd(no, yes, mask),
    indices(index) __m256i { _mm256_set1_epi64x(index.into()) },
    select_indices _mm256_blendv_epi8(no, yes, _mm256_castpd_si256(mask)),
    same_index _mm256_castsi256_pd(_mm256_cmpeq_epi64(one, other)),
    load_indices(from, count) {
        _mm256_cvtepu32_epi64(_mm_loadu_si128(from.cast())),
        first _mm256_cvtepu32_epi64(_mm_maskload_epi32(from.cast(), short_mask_of_4(count)))
    },
    store_indices(to, indices, count) {
        _mm_storeu_si128(to.cast(), low_halves(indices)),
        first _mm_maskstore_epi32(to.cast(), short_mask_of_4(count), low_halves(indices))
    }
);
