//! The number types that the kernels compute in.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

#[cfg(target_arch = "aarch64")]
use super::simd::neon;
#[cfg(target_arch = "x86_64")]
use super::simd::x86;
use super::simd::{Vector, portable};
use super::{activation, exponential, gelu};

/// A number type that the kernels compute in: `f32` or `f64`.
pub trait Element:
    Copy
    + Default
    + Send
    + Sync
    + 'static
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// Its AVX-512 vector.
    #[cfg(target_arch = "x86_64")]
    type Avx512: Vector<Elem = Self>;
    /// Its AVX2 vector.
    #[cfg(target_arch = "x86_64")]
    type Avx2: Vector<Elem = Self>;
    /// Its NEON vector.
    #[cfg(target_arch = "aarch64")]
    type Neon: Vector<Elem = Self>;
    /// Its portable vector, for processors without an implementation of their own.
    type Portable: Vector<Elem = Self>;

    /// Whether it is double precision, which always takes the direct algorithms.
    const DOUBLE: bool;

    /// The nearest number of this type.
    fn from_f64(value: f64) -> Self;

    /// The same number in f64.
    fn to_f64(self) -> f64;

    /// e to the power of this number; in f32 with a relative error below 2e-7, 0 below −87 and ∞ above 88.
    fn exp(self) -> Self;

    /// x·Φ(x), with Φ the standard normal distribution function.
    fn gelu(self) -> Self;

    /// The derivative of [`Element::gelu`].
    fn gelu_slope(self) -> Self;
}

macro_rules! element {
    (
        $elem:ty, $double:literal, $avx512:ident, $avx2:ident, $neon:ident, $portable:ident,
        $exp:path, $gelu:path, $gelu_slope:path
    ) => {
        impl Element for $elem {
            #[cfg(target_arch = "x86_64")]
            type Avx512 = x86::$avx512;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = x86::$avx2;
            #[cfg(target_arch = "aarch64")]
            type Neon = neon::$neon;
            type Portable = portable::$portable;

            const DOUBLE: bool = $double;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }

            #[inline(always)]
            fn gelu(self) -> Self {
                $gelu(self)
            }

            #[inline(always)]
            fn gelu_slope(self) -> Self {
                $gelu_slope(self)
            }
        }
    };
}

element!(f32, false, Avx512F32, Avx2F32, NeonF32, PortableF32, exponential::exp, gelu::gelu, gelu::gelu_slope);
element!(f64, true, Avx512F64, Avx2F64, NeonF64, PortableF64, f64::exp, activation::gelu, activation::gelu_slope);
