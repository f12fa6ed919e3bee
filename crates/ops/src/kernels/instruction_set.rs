//! The instruction sets of the processor, detected once at run time, and the only entry points to code compiled for them.

use std::sync::OnceLock;

use super::Element;
use super::simd::Vector;

/// A set of instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstructionSet {
    /// AVX-512 Foundation.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The base instruction set of the target.
    Portable,
}

/// Work on vectors of numbers, written once for every instruction set.
pub(crate) trait Job<T: Element> {
    /// Does the work. Implementations are `#[inline(always)]`, so that they are compiled with the caller's
    /// instruction set.
    ///
    /// # Safety
    /// The processor has the instruction set of `V`, and the pointers satisfy the conditions of the implementing type.
    unsafe fn run<V: Vector<Elem = T>>(&self);
}

impl InstructionSet {
    /// The best instruction set of this processor.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// All instruction sets of this processor, the best first.
    #[allow(clippy::vec_init_then_push, reason = "what is pushed depends on the target")]
    pub(crate) fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f") {
                sets.push(Self::Avx512);
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                sets.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Self::Neon);
        sets.push(Self::Portable);
        sets
    }

    /// The best instruction set whose registers hold at most `most` numbers, or else the base instruction set.
    pub(crate) fn with_lanes<T: Element>(most: usize) -> Self {
        let best = Self::best();
        if best.lanes::<T>() <= most {
            return best;
        }
        Self::available().into_iter().find(|set| set.lanes::<T>() <= most).unwrap_or(Self::Portable)
    }

    /// Numbers in a register.
    pub(crate) fn lanes<T: Element>(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => T::Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => T::Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => T::Neon::LANES,
            Self::Portable => T::Portable::LANES,
        }
    }

    /// Columns of a panel: the width of the widest tile of the matrix product.
    pub(crate) fn panel<T: Element>(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => T::Avx512::LANES * T::Avx512::TILE_VECTORS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => T::Avx2::LANES * T::Avx2::TILE_VECTORS,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => T::Neon::LANES * T::Neon::TILE_VECTORS,
            Self::Portable => T::Portable::LANES * T::Portable::TILE_VECTORS,
        }
    }

    /// Numbers that fit the private cache of a core beside one panel of weights: 1 MiB on processors with AVX-512, 512 KiB on
    /// others.
    pub(crate) fn cached_numbers(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 200_000,
            _ => 100_000,
        }
    }

    /// Calls a closure, inlined into a function compiled for this instruction set, so that the compiler vectorises its loops.
    pub(crate) fn vectorised<R>(self, work: impl FnOnce() -> R) -> R {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        fn avx512<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        fn avx2<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        match self {
            // SAFETY: the processor has the instruction set: a value of this type comes from `available`.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512(work) },
            // SAFETY: the processor has the instruction set: a value of this type comes from `available`.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2(work) },
            _ => work(),
        }
    }

    /// Runs a job compiled for this instruction set.
    ///
    /// # Safety
    /// The pointers satisfy the conditions of the job. The processor has the instruction set, since a value of this type comes
    /// from [`InstructionSet::available`].
    pub(crate) unsafe fn run<T: Element, J: Job<T>>(self, job: &J) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512<T: Element, J: Job<T>>(job: &J) {
            // SAFETY: the caller vouches for the job and the instruction set.
            unsafe { job.run::<T::Avx512>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2<T: Element, J: Job<T>>(job: &J) {
            // SAFETY: the caller vouches for the job and the instruction set.
            unsafe { job.run::<T::Avx2>() }
        }
        // SAFETY: the caller vouches for the job; the processor has the instruction set.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512(job),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2(job),
                #[cfg(target_arch = "aarch64")]
                Self::Neon => job.run::<T::Neon>(),
                Self::Portable => job.run::<T::Portable>(),
            }
        }
    }
}
