//! Pointers shared by parallel tasks, and the loop that runs the tasks.

use rayon::prelude::*;

/// A pointer through which tasks on several threads write disjoint elements.
pub(crate) struct Shared<T>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: the pointer is only an address; every access is unsafe code that states why no two tasks overlap.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: the pointer is only an address, as for `Send`.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(pointer: *mut T) -> Self {
        Self(pointer)
    }

    /// A pointer that is only used to read.
    pub(crate) fn reading(pointer: *const T) -> Self {
        Self(pointer.cast_mut())
    }

    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

/// Multiplications per task: scheduling costs less than a tenth of them.
const TASK: usize = 500_000;
/// With fewer multiplications, waking another thread costs more than it saves.
const WAKING: usize = 500_000;

/// Runs `task(0)` … `task(count - 1)`, on several threads if `work` is large enough.
///
/// `work` is the number of multiplications of all tasks. Tasks must not depend on each other.
pub(crate) fn for_each_task(count: usize, work: usize, task: impl Fn(usize) + Send + Sync) {
    if count < 2 || work < WAKING {
        return (0..count).for_each(task);
    }
    let together = (count * TASK / work).clamp(1, count);
    (0..count.div_ceil(together)).into_par_iter().with_max_len(1).for_each(|chunk| {
        (chunk * together..count.min((chunk + 1) * together)).for_each(&task);
    });
}
