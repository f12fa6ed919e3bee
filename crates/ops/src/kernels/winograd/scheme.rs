//! Minimal-multiplication schemes for stride 1, as one-dimensional transforms of registers.
//!
//! A scheme computes y = Aᵀ[(G w) ⊙ (Bᵀ d)] for a row of inputs d and a kernel of three taps w; in two dimensions each
//! transform is applied along both axes. The weight gradient is the transposed identity: dw = Gᵀ[(Bᵀ d) ⊙ (A g)].

use crate::kernels::simd::Vector;

/// One scheme. Arrays have the length of the largest scheme; only the first `INPUTS`, `POINTS` or `OUTPUTS` entries are used.
///
/// # Safety
/// Every function needs a processor with the instruction set of `V`, as [`Vector`] demands.
pub(crate) trait Scheme: Send + Sync + 'static {
    /// Inputs that one tile reads along an axis.
    const INPUTS: usize;
    /// Products along an axis.
    const POINTS: usize;
    /// Outputs that one tile gives along an axis.
    const OUTPUTS: usize;
    /// Inputs between neighbouring tiles.
    const STEP: usize;
    /// Padding zeros before the first input that the scheme does not read.
    const BORDER: usize;

    /// Bᵀ d
    unsafe fn input<V: Vector>(d: [V; 6]) -> [V; 6];
    /// Aᵀ m
    unsafe fn output<V: Vector>(m: [V; 6]) -> [V; 4];
    /// G w
    unsafe fn weight<V: Vector>(w: [V; 3]) -> [V; 6];
    /// A g, the transpose of [`Scheme::output`]
    unsafe fn output_transposed<V: Vector>(g: [V; 4]) -> [V; 6];
    /// Gᵀ u, the transpose of [`Scheme::weight`]
    unsafe fn weight_transposed<V: Vector>(u: [V; 6]) -> [V; 3];
}

/// F(4×4, 3×3) with interpolation points 0, ±5/8, ±3/2 and infinity.
///
/// **Source** Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308), with the points of
/// Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution" (arXiv 1803.10986), whose
/// rounding error is two to three times below that of the points 0, ±1, ±2.
pub(crate) struct Four;

/// The points of [`Four`] other than 0 and infinity are ±NEAR and ±FAR.
const NEAR: f64 = 5.0 / 8.0;
const FAR: f64 = 3.0 / 2.0;
const NEAR_SQUARED: f64 = NEAR * NEAR;
const FAR_SQUARED: f64 = FAR * FAR;
/// One over the product of a point's distances from the other finite points.
const SCALE_ZERO: f64 = 1.0 / (NEAR_SQUARED * FAR_SQUARED);
const SCALE_NEAR: f64 = 1.0 / (2.0 * NEAR_SQUARED * (NEAR_SQUARED - FAR_SQUARED));
const SCALE_FAR: f64 = 1.0 / (2.0 * FAR_SQUARED * (FAR_SQUARED - NEAR_SQUARED));

impl Scheme for Four {
    const INPUTS: usize = 6;
    const POINTS: usize = 6;
    const OUTPUTS: usize = 4;
    const STEP: usize = 4;
    const BORDER: usize = 0;

    #[inline(always)]
    unsafe fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe {
            let (near, far) = (V::constant(NEAR), V::constant(FAR));
            let (minus_near2, minus_far2) = (V::constant(-NEAR_SQUARED), V::constant(-FAR_SQUARED));
            let (product, minus_sum) =
                (V::constant(NEAR_SQUARED * FAR_SQUARED), V::constant(-(NEAR_SQUARED + FAR_SQUARED)));
            let near_even = minus_far2.mul_add(d[2], d[4]);
            let near_odd = minus_far2.mul_add(d[1], d[3]);
            let far_even = minus_near2.mul_add(d[2], d[4]);
            let far_odd = minus_near2.mul_add(d[1], d[3]);
            let (near_odd, far_odd) = (near.mul(near_odd), far.mul(far_odd));
            [
                product.mul_add(d[0], minus_sum.mul_add(d[2], d[4])),
                near_even.add(near_odd),
                near_even.sub(near_odd),
                far_even.add(far_odd),
                far_even.sub(far_odd),
                product.mul_add(d[1], minus_sum.mul_add(d[3], d[5])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe {
            let (near_even, near_odd) = (m[1].add(m[2]), m[1].sub(m[2]));
            let (far_even, far_odd) = (m[3].add(m[4]), m[3].sub(m[4]));
            let combine =
                |near: f64, even: V, far: f64, odd: V| V::constant(near).mul_add(even, V::constant(far).mul(odd));
            [
                m[0].add(near_even.add(far_even)),
                combine(NEAR, near_odd, FAR, far_odd),
                combine(NEAR_SQUARED, near_even, FAR_SQUARED, far_even),
                V::constant(NEAR * NEAR_SQUARED)
                    .mul_add(near_odd, V::constant(FAR * FAR_SQUARED).mul_add(far_odd, m[5])),
            ]
        }
    }

    #[inline(always)]
    unsafe fn weight<V: Vector>(w: [V; 3]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe {
            let pair = |scale: f64, point: f64| {
                let even = V::constant(scale * point * point).mul_add(w[2], V::constant(scale).mul(w[0]));
                let odd = V::constant(scale * point).mul(w[1]);
                (even.add(odd), even.sub(odd))
            };
            let (near_plus, near_minus) = pair(SCALE_NEAR, NEAR);
            let (far_plus, far_minus) = pair(SCALE_FAR, FAR);
            [V::constant(SCALE_ZERO).mul(w[0]), near_plus, near_minus, far_plus, far_minus, w[2]]
        }
    }

    #[inline(always)]
    unsafe fn output_transposed<V: Vector>(g: [V; 4]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe {
            let pair = |point: f64| {
                let even = V::constant(point * point).mul_add(g[2], g[0]);
                let odd = V::constant(point * point * point).mul_add(g[3], V::constant(point).mul(g[1]));
                (even.add(odd), even.sub(odd))
            };
            let (near_plus, near_minus) = pair(NEAR);
            let (far_plus, far_minus) = pair(FAR);
            [g[0], near_plus, near_minus, far_plus, far_minus, g[3]]
        }
    }

    #[inline(always)]
    unsafe fn weight_transposed<V: Vector>(u: [V; 6]) -> [V; 3] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe {
            let (near_even, near_odd) = (u[1].add(u[2]), u[1].sub(u[2]));
            let (far_even, far_odd) = (u[3].add(u[4]), u[3].sub(u[4]));
            let evens = V::constant(SCALE_NEAR).mul_add(near_even, V::constant(SCALE_FAR).mul(far_even));
            let odds = V::constant(SCALE_NEAR * NEAR).mul_add(near_odd, V::constant(SCALE_FAR * FAR).mul(far_odd));
            let squares = V::constant(SCALE_NEAR * NEAR_SQUARED)
                .mul_add(near_even, V::constant(SCALE_FAR * FAR_SQUARED).mul_add(far_even, u[5]));
            [V::constant(SCALE_ZERO).mul_add(u[0], evens), odds, squares]
        }
    }
}

/// Images of 2×2 with padding 1: the one-dimensional map is a 2×2 Toeplitz matrix, which needs three products.
///
/// y₀ = w₁a + w₂b and y₁ = w₀a + w₁b are m₁ + m₂ and m₁ + m₃ with m₁ = w₁(a + b), m₂ = (w₂ - w₁)b, m₃ = (w₀ - w₁)a.
pub(crate) struct Toeplitz;

impl Scheme for Toeplitz {
    const INPUTS: usize = 2;
    const POINTS: usize = 3;
    const OUTPUTS: usize = 2;
    const STEP: usize = 2;
    const BORDER: usize = 1;

    #[inline(always)]
    unsafe fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe {
            let zero = V::zero();
            [d[0].add(d[1]), d[1], d[0], zero, zero, zero]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [m[0].add(m[1]), m[0].add(m[2]), V::zero(), V::zero()] }
    }

    #[inline(always)]
    unsafe fn weight<V: Vector>(w: [V; 3]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe {
            let zero = V::zero();
            [w[1], w[2].sub(w[1]), w[0].sub(w[1]), zero, zero, zero]
        }
    }

    #[inline(always)]
    unsafe fn output_transposed<V: Vector>(g: [V; 4]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe {
            let zero = V::zero();
            [g[0].add(g[1]), g[0], g[1], zero, zero, zero]
        }
    }

    #[inline(always)]
    unsafe fn weight_transposed<V: Vector>(u: [V; 6]) -> [V; 3] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [u[2], u[0].sub(u[1].add(u[2])), u[1]] }
    }
}
