//! Functions applied element by element, in parallel blocks of a fixed size.
//!
//! ReLUs write to new memory or clear bits. Written in place, a choice between the old number and zero becomes a masked store, which
//! is slow on AMD's Zen processors: these stores were a tenth of the time of a measurement of a small VGG.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Element;
use super::instruction_set::{InstructionSet, Job};
use super::simd::Vector;
use super::uninitialised::{self, WAKING};

/// Elements per task: large enough to hide the scheduling, small enough to divide a small tensor among threads.
const BLOCK: usize = 1 << 14;

/// `function` of every element.
pub(crate) fn map<T: Copy + Send + Sync, F: Fn(T) -> T + Send + Sync>(x: &[T], function: F) -> Vec<T> {
    zip_map(x, x, |x, _| function(x))
}

/// A copy of `x` in which `change` has changed every block.
pub(crate) fn changed<T: Copy + Send + Sync>(x: &[T], change: impl Fn(&mut [T]) + Send + Sync) -> Vec<T> {
    uninitialised::changed_copy(x, BLOCK, |_, block| change(block))
}

/// max(x, 0). NaN stays NaN, so that a diverged network does not look like a sparse one.
#[inline(always)]
pub(crate) fn positive_part<T: Element>(x: T) -> T {
    if x <= T::default() { T::default() } else { x }
}

/// x where `reference` is positive, 0 elsewhere: the derivative of [`positive_part`] at `reference` times x.
#[inline(always)]
pub(crate) fn relu_mask<T: Element>(x: T, reference: T) -> T {
    if reference > T::default() { x } else { T::default() }
}

/// Adds the numbers of `addend` to those in their place, on the calling thread.
pub(crate) fn add_to<T: Element>(values: &mut [T], addend: &[T]) {
    InstructionSet::best().vectorised(
        #[inline(always)]
        || {
            for (value, addend) in values.iter_mut().zip(addend) {
                *value += *addend;
            }
        },
    );
}

/// [`positive_part`] of every element, in place.
pub(crate) fn rectify<T: Element>(x: &mut [T]) {
    // SAFETY: the job changes the numbers of one slice.
    let rectify = |x: &mut [T]| unsafe { InstructionSet::best().run(&Rectify { x: x.as_mut_ptr(), length: x.len() }) };
    if x.len() <= WAKING {
        return rectify(x);
    }
    x.par_chunks_mut(BLOCK).for_each(rectify);
}

/// [`relu_mask`] of every element, in place. `reference` is repeated to the length of `x`.
pub(crate) fn mask<T: Element>(x: &mut [T], reference: &[T]) {
    uninitialised::for_each_block(x, BLOCK, |index, block| {
        for_repeated(index, block, reference, |x, reference| {
            let mask = Mask { x: x.as_mut_ptr(), reference: reference.as_ptr(), length: x.len() };
            // SAFETY: the job changes the numbers of one slice, and the other is as long.
            unsafe { InstructionSet::best().run(&mask) };
        });
    });
}

/// [`rectify`] of one block.
///
/// # Safety
/// For [`Job::run`]: `x` is readable and writable for `length` numbers.
struct Rectify<T> {
    x: *mut T,
    length: usize,
}

impl<T: Element> Job<T> for Rectify<T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        for at in (0..self.length).step_by(V::LANES) {
            let left = self.length - at;
            // SAFETY: the numbers from `at` on are those of the slice.
            unsafe {
                let x = V::load_up_to(self.x.add(at), left);
                x.clear(x.at_most(V::zero())).store_up_to(self.x.add(at), left);
            }
        }
    }
}

/// [`mask`] of one block.
///
/// # Safety
/// For [`Job::run`]: `x` is readable and writable for `length` numbers, and `reference` is readable for as many.
struct Mask<T> {
    x: *mut T,
    reference: *const T,
    length: usize,
}

impl<T: Element> Job<T> for Mask<T> {
    #[inline(always)]
    unsafe fn run<V: Vector<Elem = T>>(&self) {
        for at in (0..self.length).step_by(V::LANES) {
            let left = self.length - at;
            // SAFETY: the numbers from `at` on are those of the slices.
            unsafe {
                let positive = V::zero().less(V::load_up_to(self.reference.add(at), left));
                V::load_up_to(self.x.add(at), left).keep(positive).store_up_to(self.x.add(at), left);
            }
        }
    }
}

/// `function` of every pair of elements. `m` is repeated to the length of `x`.
pub(crate) fn zip_map<T: Copy + Send + Sync, F: Fn(T, T) -> T + Send + Sync>(x: &[T], m: &[T], function: F) -> Vec<T> {
    let set = InstructionSet::best();
    let write = |to: &mut [MaybeUninit<T>]| {
        uninitialised::for_each_block(to, BLOCK, |index, to| {
            let mut x = &x[index * BLOCK..];
            for_repeated(index, to, m, |to, m| {
                let now;
                (now, x) = x.split_at(to.len());
                set.vectorised(
                    #[inline(always)]
                    || {
                        for ((y, x), m) in to.iter_mut().zip(now).zip(m) {
                            y.write(function(*x, *m));
                        }
                    },
                );
            });
        });
    };
    // SAFETY: the blocks cover the vector, and the parts each block.
    unsafe { uninitialised::written(x.len(), write) }
}

/// Calls `work` for the parts of a block beside which `m`, repeated from the first block on, is contiguous.
fn for_repeated<S, T>(index: usize, mut block: &mut [S], m: &[T], mut work: impl FnMut(&mut [S], &[T])) {
    let mut start = (index * BLOCK) % m.len();
    while !block.is_empty() {
        let (now, later) = block.split_at_mut(block.len().min(m.len() - start));
        work(now, &m[start..start + now.len()]);
        (block, start) = (later, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_slice_is_repeated() {
        // Shorter than a block, as long, and longer, so that repetitions end within blocks.
        for length in [3, BLOCK, BLOCK + 5] {
            let m: Vec<f64> = (0..length).map(|index| index as f64).collect();
            let x: Vec<f64> = (0..3 * length).map(|index| 0.5 * index as f64).collect();
            let expected: Vec<f64> = x.iter().enumerate().map(|(index, x)| x - (index % length) as f64).collect();
            assert_eq!(zip_map(&x, &m, |x, m| x - m), expected);
            let reference: Vec<f64> = m.iter().map(|m| if m % 3.0 == 1.0 { -m } else { *m }).collect();
            let mut masked = x.clone();
            mask(&mut masked, &reference);
            assert_eq!(masked, zip_map(&x, &reference, relu_mask));
            assert!(masked[2 * length + 1] == 0.0 && masked[2 * length + 2] > 0.0);
        }
        assert!(zip_map(&[], &[], |x: f64, m| x - m).is_empty());
    }

    #[test]
    fn relu_keeps_nan_and_has_no_negative_zero() {
        for length in [1, 7, 16, 33, WAKING + 5] {
            let x: Vec<f32> =
                (0..length).map(|index| [f32::NAN, -0.0, -1.0, 2.0, f32::INFINITY][(index * 7 + 3) % 5]).collect();
            let mut rectified = x.clone();
            rectify(&mut rectified);
            let mapped = map(&x, positive_part);
            for ((x, one), other) in x.iter().zip(&rectified).zip(&mapped) {
                let expected = if *x <= 0.0 { 0.0f32 } else { *x };
                assert_eq!(one.to_bits(), expected.to_bits());
                assert_eq!(other.to_bits(), expected.to_bits());
            }
        }
    }
}
