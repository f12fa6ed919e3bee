//! Exceptions raised in Python while the crates compute, and Ctrl-C between passes.

use std::sync::Mutex;

use pyo3::prelude::*;

/// The first exception that Python raised during a computation.
#[derive(Default)]
pub(crate) struct Raised(Mutex<Option<PyErr>>);

impl Raised {
    /// Runs `work` with the interpreter lock. An exception is stored, and the computation ends with an error.
    pub(crate) fn catch<T>(&self, work: impl FnOnce(Python<'_>) -> PyResult<T>) -> gc_core::Result<T> {
        Python::attach(work).map_err(|error| {
            let text = error.to_string();
            if let Ok(mut first) = self.0.lock() {
                first.get_or_insert(error);
            }
            gc_core::Error::Source(text.into())
        })
    }

    /// Ends the computation if a signal handler raised an exception, such as `KeyboardInterrupt`.
    pub(crate) fn check_signals(&self) -> gc_core::Result<()> {
        self.catch(|py| py.check_signals())
    }

    /// The stored exception, which the computation reports in place of its own error.
    pub(crate) fn take(&self) -> Option<PyErr> {
        self.0.lock().ok().and_then(|mut first| first.take())
    }
}
