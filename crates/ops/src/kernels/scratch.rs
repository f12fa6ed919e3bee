//! Scratch memory that is reused between calls: each thread keeps a pool of buffers.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::Element;

/// The maximal number of buffers in the pool of a thread. Nested calls need more than a few: a thread that waits for its own
/// tasks may run the tasks of another call.
const POOLED: usize = 8;

/// One cache line, which aligns buffers to cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

thread_local! {
    static POOL: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of numbers with arbitrary contents, returned to the pool of its thread when dropped.
pub(crate) struct Scratch<T> {
    lines: Vec<Line>,
    length: usize,
    element: PhantomData<T>,
}

impl<T: Element> Scratch<T> {
    /// A buffer of this length: the smallest pooled buffer that is large enough, or else the largest one, enlarged.
    pub(crate) fn new(length: usize) -> Self {
        let needed = (length * size_of::<T>()).div_ceil(size_of::<Line>());
        let mut lines = POOL.with_borrow_mut(|pool| {
            let fitting = (0..pool.len()).filter(|&i| pool[i].len() >= needed).min_by_key(|&i| pool[i].len());
            let chosen = fitting.or_else(|| (0..pool.len()).max_by_key(|&i| pool[i].len()));
            chosen.map_or_else(Vec::new, |index| pool.swap_remove(index))
        });
        if lines.len() < needed {
            // The old contents are not needed: free them before the larger buffer is allocated.
            drop(std::mem::take(&mut lines));
            lines = vec![Line([0; 64]); needed];
        }
        Self { lines, length, element: PhantomData }
    }

    /// The address of the first number.
    pub(crate) fn pointer(&mut self) -> *mut T {
        self.lines.as_mut_ptr().cast()
    }

    /// The address of the first number, for reading.
    pub(crate) fn as_ptr(&self) -> *const T {
        self.lines.as_ptr().cast()
    }

    /// The numbers.
    pub(crate) fn slice(&mut self) -> &mut [T] {
        // SAFETY: `new` allocated the bytes of at least `length` numbers, all initialised. Every bit pattern is a number. A
        // `Line` has a larger alignment than any number. The borrow of `self` keeps the buffer allocated and unshared.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // At the end of a thread its pool may be destroyed already; the buffer is then freed.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            pool.push(lines);
            if pool.len() > POOLED
                && let Some(smallest) = (0..pool.len()).min_by_key(|&i| pool[i].len())
            {
                pool.swap_remove(smallest);
            }
        });
    }
}
