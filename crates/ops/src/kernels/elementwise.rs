//! Functions applied element by element, in parallel blocks of a fixed size.

use rayon::prelude::*;

use super::Element;
use super::instruction_set::InstructionSet;
use super::uninitialised::{self, WAKING};

/// Elements per task: large enough to hide the scheduling, small enough to divide a small tensor among threads.
const BLOCK: usize = 1 << 14;

/// `function` of every element.
pub(crate) fn map<T: Copy + Send + Sync, F: Fn(T) -> T + Send + Sync>(x: &[T], function: F) -> Vec<T> {
    let set = InstructionSet::best();
    uninitialised::changed_copy(x, BLOCK, |_, block| {
        set.vectorised(|| block.iter_mut().for_each(|value| *value = function(*value)));
    })
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
    let set = InstructionSet::best();
    let rectify =
        |block: &mut [T]| set.vectorised(|| block.iter_mut().for_each(|value| *value = positive_part(*value)));
    if x.len() <= WAKING {
        return rectify(x);
    }
    x.par_chunks_mut(BLOCK).for_each(rectify);
}

/// `function` of every pair of elements. `m` is repeated to the length of `x`.
pub(crate) fn zip_map<T: Copy + Send + Sync, F: Fn(T, T) -> T + Send + Sync>(x: &[T], m: &[T], function: F) -> Vec<T> {
    uninitialised::changed_copy(x, BLOCK, |index, block| zip_block(index, block, m, &function))
}

/// [`zip_map`] in place.
pub(crate) fn zip_apply<T: Copy + Send + Sync, F: Fn(T, T) -> T + Send + Sync>(x: &mut [T], m: &[T], function: F) {
    uninitialised::for_each_block(x, BLOCK, |index, block| zip_block(index, block, m, &function));
}

/// Applies `function` to one block of [`zip_map`].
fn zip_block<T: Copy>(index: usize, mut block: &mut [T], m: &[T], function: &impl Fn(T, T) -> T) {
    let mut start = (index * BLOCK) % m.len();
    while !block.is_empty() {
        let (now, later) = block.split_at_mut(block.len().min(m.len() - start));
        let other = &m[start..start + now.len()];
        InstructionSet::best().vectorised(|| now.iter_mut().zip(other).for_each(|(y, m)| *y = function(*y, *m)));
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
            let mut x: Vec<f64> = (0..3 * length).map(|index| 0.5 * index as f64).collect();
            let expected: Vec<f64> = x.iter().enumerate().map(|(index, x)| x - (index % length) as f64).collect();
            assert_eq!(zip_map(&x, &m, |x, m| x - m), expected);
            zip_apply(&mut x, &m, |x, m| x - m);
            assert_eq!(x, expected);
        }
        assert!(zip_map(&[], &[], |x: f64, m| x - m).is_empty());
    }
}
