//! New vectors that are initialised once, in parallel: without zeroing, and each page is first written by the thread that
//! fills it.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Elements whose writing takes about as long as waking a thread.
pub(crate) const WAKING: usize = 1 << 15;

/// A vector of this length, written by `write`.
///
/// # Safety
/// `write` must initialise every element.
pub(crate) unsafe fn written<T: Copy>(length: usize, write: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut vector = Vec::with_capacity(length);
    write(&mut vector.spare_capacity_mut()[..length]);
    // SAFETY: the capacity is at least `length`, and the caller vouches that `write` has initialised all elements.
    unsafe { vector.set_len(length) };
    vector
}

/// A slice as uninitialised memory. Only initialised values may be written to it.
pub(crate) fn writable<T: Copy>(slice: &mut [T]) -> &mut [MaybeUninit<T>] {
    let length = slice.len();
    // SAFETY: `MaybeUninit<T>` has the layout of `T`, and the kernels write initialised numbers only.
    unsafe { std::slice::from_raw_parts_mut(slice.as_mut_ptr().cast(), length) }
}

/// A copy of `x` in which `change(block index, block)` has changed each block of `block` elements, in parallel. A block is in
/// the cache when it is changed.
pub(crate) fn changed_copy<T, F>(x: &[T], block: usize, change: F) -> Vec<T>
where
    T: Copy + Send + Sync,
    F: Fn(usize, &mut [T]) + Send + Sync,
{
    let write = |to: &mut [MaybeUninit<T>]| {
        for_each_block(to, block, |index, to| {
            let start = index * block.max(1);
            change(index, to.write_copy_of_slice(&x[start..start + to.len()]));
        });
    };
    // SAFETY: the blocks cover the vector.
    unsafe { written(x.len(), write) }
}

/// `length` copies of `value`, in which `change(block index, block)` has changed each block as in [`changed_copy`].
pub(crate) fn filled<T, F>(value: T, length: usize, block: usize, change: F) -> Vec<T>
where
    T: Copy + Send + Sync,
    F: Fn(usize, &mut [T]) + Send + Sync,
{
    let write = |to: &mut [MaybeUninit<T>]| {
        for_each_block(to, block, |index, to| {
            for place in to.iter_mut() {
                place.write(value);
            }
            // SAFETY: the loop above has written every element of the block.
            change(index, unsafe { to.assume_init_mut() });
        });
    };
    // SAFETY: the blocks cover the vector.
    unsafe { written(length, write) }
}

/// Calls `work(block index, block)` for every block of at most `block` elements, in parallel if there are enough elements.
pub(crate) fn for_each_block<T: Send>(to: &mut [T], block: usize, work: impl Fn(usize, &mut [T]) + Send + Sync) {
    if to.len() <= WAKING {
        to.chunks_mut(block.max(1)).enumerate().for_each(|(index, to)| work(index, to));
    } else {
        to.par_chunks_mut(block.max(1)).enumerate().for_each(|(index, to)| work(index, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_vectors_of_any_length() {
        for length in [0, 1, 6, 7, 8, 20] {
            let x: Vec<usize> = (0..length).collect();
            let doubled = changed_copy(&x, 7, |_, block| block.iter_mut().for_each(|value| *value *= 2));
            assert_eq!(doubled, x.iter().map(|value| 2 * value).collect::<Vec<_>>());
            let blocks = filled(5, length, 7, |index, block| block.iter_mut().for_each(|value| *value += index));
            assert_eq!(blocks, x.iter().map(|value| 5 + value / 7).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_block_length_of_zero_counts_as_one() {
        assert_eq!(changed_copy(&[1, 2], 0, |index, block| block[0] += index), [1, 3]);
    }
}
