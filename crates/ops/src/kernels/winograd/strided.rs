//! 3×3 kernels with stride 2 and padding 1: 5 products per axis where the direct sum needs 6, hence 25 instead of 36.
//!
//! Along an axis, yᵢ = w₀d₂ᵢ + w₁d₂ᵢ₊₁ + w₂d₂ᵢ₊₂ is a kernel of two taps (w₀, w₂) on the even inputs, for which F(2, 2)
//! needs 3 products for two outputs, plus one tap w₁ on the odd inputs, which needs 2. Every coefficient is 0 or ±1, so the
//! scheme adds little rounding error.

use super::scheme::Scheme;
use crate::kernels::simd::Vector;

/// Two outputs from five inputs: y₀ = m₀ + m₁ + m₃ and y₁ = m₁ + m₂ + m₄ with m₀ = w₀(d₀ − d₂), m₁ = (w₀ + w₂)d₂,
/// m₂ = w₂(d₄ − d₂), m₃ = w₁d₁ and m₄ = w₁d₃.
pub(crate) struct Strided;

/// The transpose, for the input gradient: four pixels x from the cotangents g of three outputs. The first pixel is in the image.
///
/// x₀ = w₁g₀, x₁ = w₂g₀ + w₀g₁, x₂ = w₁g₁ and x₃ = w₂g₁ + w₀g₂ are m₃, m₀ + m₁, m₄ and m₁ + m₂ with m₀ = w₂(g₀ − g₁),
/// m₁ = (w₀ + w₂)g₁, m₂ = w₀(g₂ − g₁), m₃ = w₁g₀ and m₄ = w₁g₁.
pub(crate) struct StridedTransposed;

impl Scheme for Strided {
    const INPUTS: usize = 5;
    const POINTS: usize = 5;
    const OUTPUTS: usize = 2;
    const STEP: usize = 4;
    const BORDER: usize = 0;

    #[inline(always)]
    unsafe fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [d[0].sub(d[2]), d[2], d[4].sub(d[2]), d[1], d[3], V::zero()] }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [m[0].add(m[1]).add(m[3]), m[1].add(m[2]).add(m[4]), V::zero(), V::zero()] }
    }

    #[inline(always)]
    unsafe fn weight<V: Vector>(w: [V; 3]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [w[0], w[0].add(w[2]), w[2], w[1], w[1], V::zero()] }
    }

    #[inline(always)]
    unsafe fn output_transposed<V: Vector>(g: [V; 4]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [g[0], g[0].add(g[1]), g[1], g[0], g[1], V::zero()] }
    }

    #[inline(always)]
    unsafe fn weight_transposed<V: Vector>(u: [V; 6]) -> [V; 3] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [u[0].add(u[1]), u[3].add(u[4]), u[1].add(u[2])] }
    }
}

impl Scheme for StridedTransposed {
    const INPUTS: usize = 3;
    const POINTS: usize = 5;
    const OUTPUTS: usize = 4;
    const STEP: usize = 2;
    const BORDER: usize = 0;

    #[inline(always)]
    unsafe fn input<V: Vector>(g: [V; 6]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [g[0].sub(g[1]), g[1], g[2].sub(g[1]), g[0], g[1], V::zero()] }
    }

    #[inline(always)]
    unsafe fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [m[3], m[0].add(m[1]), m[4], m[1].add(m[2])] }
    }

    #[inline(always)]
    unsafe fn weight<V: Vector>(w: [V; 3]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [w[2], w[0].add(w[2]), w[0], w[1], w[1], V::zero()] }
    }

    #[inline(always)]
    unsafe fn output_transposed<V: Vector>(x: [V; 4]) -> [V; 6] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [x[1], x[1].add(x[3]), x[3], x[0], x[2], V::zero()] }
    }

    #[inline(always)]
    unsafe fn weight_transposed<V: Vector>(u: [V; 6]) -> [V; 3] {
        // SAFETY: arithmetic on registers; the caller has the instruction set.
        unsafe { [u[1].add(u[2]), u[3].add(u[4]), u[0].add(u[1])] }
    }
}
