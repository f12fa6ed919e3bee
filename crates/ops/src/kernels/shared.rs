//! Pointers that parallel tasks share, and the loop that runs the tasks.

use rayon::prelude::*;

/// A pointer that tasks on several threads write through, each to its own places.
pub(crate) struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: the pointer is only an address; every use of it is unsafe code that states why no two tasks meet.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(pointer: *mut T) -> Self {
        Self(pointer)
    }

    /// A pointer that is only read through.
    pub(crate) fn reading(pointer: *const T) -> Self {
        Self(pointer.cast_mut())
    }

    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

/// Multiplications that are worth a task of their own: scheduling costs less than a tenth of them.
const TASK: usize = 500_000;
/// Multiplications that are worth waking another thread.
const WAKING: usize = 500_000;

/// Runs `task(0)` … `task(count - 1)`, on several threads if the whole is worth waking them.
///
/// `work` is the number of multiplications in all. Tasks must not depend on each other.
pub(crate) fn for_each_task(count: usize, work: usize, task: impl Fn(usize) + Send + Sync) {
    if count < 2 || work < WAKING {
        return (0..count).for_each(task);
    }
    let together = (count * TASK / work).clamp(1, count);
    (0..count.div_ceil(together)).into_par_iter().with_max_len(1).for_each(|chunk| {
        (chunk * together..count.min((chunk + 1) * together)).for_each(&task);
    });
}
