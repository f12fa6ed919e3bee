//! Working memory that outlives a call: each thread keeps the buffers that it has used, so no call allocates twice.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::Element;

/// Buffers that one thread keeps. More than a few are needed only when calls nest, as they do when a thread that waits
/// for its own tasks picks up another call's.
const KEPT: usize = 8;

/// One cache line, so that buffers start at a line's boundary.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    static POOL: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of numbers with arbitrary contents, which goes back to its thread's pool when dropped.
pub(crate) struct Scratch<T> {
    lines: Vec<Line>,
    length: usize,
    element: PhantomData<T>,
}

impl<T: Element> Scratch<T> {
    /// A buffer of this many numbers: the smallest kept one that is large enough, else the largest, grown.
    pub(crate) fn new(length: usize) -> Self {
        let needed = (length * size_of::<T>()).div_ceil(size_of::<Line>());
        let mut lines = POOL.with_borrow_mut(|pool| {
            let fitting = (0..pool.len()).filter(|&i| pool[i].len() >= needed).min_by_key(|&i| pool[i].len());
            let chosen = fitting.or_else(|| (0..pool.len()).max_by_key(|&i| pool[i].len()));
            chosen.map_or_else(Vec::new, |index| pool.swap_remove(index))
        });
        if lines.len() < needed {
            // The old contents are of no use: drop them before the larger buffer is made.
            drop(std::mem::take(&mut lines));
            lines = vec![Line([0; 64]); needed];
        }
        Self { lines, length, element: PhantomData }
    }

    /// Where the numbers start.
    pub(crate) fn pointer(&mut self) -> *mut T {
        self.lines.as_mut_ptr().cast()
    }

    /// The numbers.
    pub(crate) fn slice(&mut self) -> &mut [T] {
        // SAFETY: `new` made at least `length` numbers' worth of bytes, all initialised; every bit pattern is a number;
        // a `Line` is aligned more strictly than any number; the borrow of `self` keeps the buffer alive and unshared.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // At the end of a thread its pool may be gone already: then the buffer is simply freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            pool.push(lines);
            if pool.len() > KEPT
                && let Some(smallest) = (0..pool.len()).min_by_key(|&i| pool[i].len())
            {
                pool.swap_remove(smallest);
            }
        });
    }
}
