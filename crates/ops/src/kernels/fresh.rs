//! New vectors that are written once: no zeros first, no copy by one thread, and every page first touched by the thread
//! that fills it.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Waking a thread costs as much as writing about this many elements.
pub(crate) const WAKING: usize = 1 << 15;

/// A vector of this length, written by `write`.
///
/// # Safety
/// `write` must initialise every element.
pub(crate) unsafe fn written<T: Copy>(length: usize, write: impl FnOnce(&mut [MaybeUninit<T>])) -> Vec<T> {
    let mut vector = Vec::with_capacity(length);
    write(&mut vector.spare_capacity_mut()[..length]);
    // SAFETY: the capacity is at least `length`, and the caller vouches that `write` initialised as many elements.
    unsafe { vector.set_len(length) };
    vector
}

/// A slice as a place to write to.
pub(crate) fn writable<T: Copy>(slice: &mut [T]) -> &mut [MaybeUninit<T>] {
    let length = slice.len();
    // SAFETY: `MaybeUninit<T>` has the layout of `T`; the kernels only ever write numbers through it.
    unsafe { std::slice::from_raw_parts_mut(slice.as_mut_ptr().cast(), length) }
}

/// A copy of `x` on which `change(block index, block)` has worked, in parallel, `block` elements at a time: the copy of a
/// block is still in the cache when it is changed.
pub(crate) fn changed<T, F>(x: &[T], block: usize, change: F) -> Vec<T>
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

/// `length` times `value`, on which `change(block index, block)` has worked as in [`changed`].
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
            // SAFETY: every element of the block was written just now.
            change(index, unsafe { to.assume_init_mut() });
        });
    };
    // SAFETY: the blocks cover the vector.
    unsafe { written(length, write) }
}

/// Calls `work(block index, block)` for every block of at most `block` elements, in parallel if it is worth it.
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
    fn blocks_cover_the_vector_whatever_the_lengths() {
        for length in [0, 1, 6, 7, 8, 20] {
            let x: Vec<usize> = (0..length).collect();
            let doubled = changed(&x, 7, |_, block| block.iter_mut().for_each(|value| *value *= 2));
            assert_eq!(doubled, x.iter().map(|value| 2 * value).collect::<Vec<_>>());
            let blocks = filled(5, length, 7, |index, block| block.iter_mut().for_each(|value| *value += index));
            assert_eq!(blocks, x.iter().map(|value| 5 + value / 7).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_block_of_nothing_is_one_element() {
        assert_eq!(changed(&[1, 2], 0, |index, block| block[0] += index), [1, 3]);
    }
}
