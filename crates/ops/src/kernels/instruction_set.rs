//! Which instructions the processor has, asked once at run time, and the one door into code that uses them.

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
    /// What every processor of the target has.
    Plain,
}

/// Work on vectors of numbers, written once for every instruction set.
pub(crate) trait Job<T: Element> {
    /// Does the work. Implementations are `#[inline(always)]`, so that they are compiled with the caller's
    /// instruction set.
    ///
    /// # Safety
    /// The processor must have the instruction set of `V`, and whatever the implementing type says of its pointers
    /// must hold.
    unsafe fn run<V: Vector<Elem = T>>(&self);
}

impl InstructionSet {
    /// The best set that this processor has.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        *BEST.get_or_init(|| Self::available()[0])
    }

    /// Every set that this processor has, the best first.
    #[allow(clippy::vec_init_then_push)]
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
        sets.push(Self::Plain);
        sets
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
            Self::Plain => T::Plain::LANES,
        }
    }

    /// Columns of the widest tile of the matrix product.
    pub(crate) fn panel<T: Element>(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => T::Avx512::LANES * T::Avx512::TILE_VECTORS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => T::Avx2::LANES * T::Avx2::TILE_VECTORS,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => T::Neon::LANES * T::Neon::TILE_VECTORS,
            Self::Plain => T::Plain::LANES * T::Plain::TILE_VECTORS,
        }
    }

    /// Numbers that fit beside one panel of weights in the cache of a core, on processors of this kind: 1 MiB where there
    /// is AVX-512, 512 KiB elsewhere.
    pub(crate) fn near_numbers(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 200_000,
            _ => 100_000,
        }
    }

    /// Calls a closure whose plain loops the compiler may turn into this set's instructions, as it is inlined here.
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
            // SAFETY: the set was detected on this processor.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { avx512(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2(work) },
            _ => work(),
        }
    }

    /// Runs a job, compiled for this set.
    ///
    /// # Safety
    /// What the job says of its pointers must hold. That the processor has the set is known: a value of this type
    /// comes from [`InstructionSet::available`].
    pub(crate) unsafe fn run<T: Element, J: Job<T>>(self, job: &J) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512<T: Element, J: Job<T>>(job: &J) {
            unsafe { job.run::<T::Avx512>() }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2<T: Element, J: Job<T>>(job: &J) {
            unsafe { job.run::<T::Avx2>() }
        }
        // SAFETY: the caller vouches for the job; the set was detected.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => avx512(job),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2(job),
                #[cfg(target_arch = "aarch64")]
                Self::Neon => job.run::<T::Neon>(),
                Self::Plain => job.run::<T::Plain>(),
            }
        }
    }
}
