//! How many threads a piece of work may use.

use crate::{Error, Result};

/// Runs `work`, whose kernels then use this many threads, whatever else the process does beside it.
///
/// Results do not depend on the number. Candle's own elementwise operations obey the variable `CANDLE_NUM_THREADS` of
/// the process instead; a run in a process of its own should be given both.
///
/// **Errors** [`Error::Setting`] for no threads; [`Error::Threads`] when the system refuses to start them.
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
