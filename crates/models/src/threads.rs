//! The number of threads that some work uses.

use crate::{Error, Result};

/// Runs `work` with kernels that use this number of threads, independent of other work in the process.
///
/// Results do not depend on the number. The number of threads of candle's own elementwise operations is set by the environment
/// variable `CANDLE_NUM_THREADS` of the process instead; a run in a process of its own should set both.
///
/// **Errors** [`Error::Setting`] for 0 threads; [`Error::Threads`] when the system refuses to start them.
///
/// ```
/// let sum = models::with_threads(2, || (0..10).sum::<u32>())?;
/// assert_eq!(sum, 45);
/// assert!(models::with_threads(0, || ()).is_err());
/// # Ok::<(), models::Error>(())
/// ```
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    if threads == 0 {
        let rule = "it is at least 1";
        return Err(Error::Setting { op: "run", name: "threads", value: "0".into(), rule });
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
    Ok(pool.install(work))
}

/// Runs `work` on a thread of the pool that the kernels use.
///
/// A thread outside the pool would hand each kernel to the pool and sleep until it is done, which costs small networks more than the
/// kernels themselves.
pub(crate) fn on_workers<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if rayon::current_thread_index().is_some() || ops::is_bound_to_thread() {
        return work();
    }
    rayon::scope(|_| work())
}
