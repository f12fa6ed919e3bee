//! Errors raised in Python during a measurement, and Ctrl-C between passes.

use std::sync::Mutex;

use candle_core::Tensor;
use gc_core::{BatchNormMode, FeatureMap, Linearization, ResidualBytes, Result};
use pyo3::prelude::*;

/// The first exception that Python raised during a measurement.
#[derive(Default)]
pub(super) struct Raised(Mutex<Option<PyErr>>);

impl Raised {
    /// Runs `work` with the interpreter lock. An exception is stored, and the measurement ends with an error.
    pub(super) fn catch<T>(&self, work: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T> {
        Python::attach(work).map_err(|error| {
            let text = error.to_string();
            if let Ok(mut first) = self.0.lock() {
                first.get_or_insert(error);
            }
            gc_core::Error::Source(text.into())
        })
    }

    /// Ends the measurement if a signal handler raised an exception, such as `KeyboardInterrupt`.
    pub(super) fn check_signals(&self) -> Result<()> {
        self.catch(|py| py.check_signals())
    }

    /// The stored exception.
    pub(super) fn take(&self) -> Option<PyErr> {
        self.0.lock().ok().and_then(|mut first| first.take())
    }
}

/// A map that checks for signals before every pass.
pub(super) struct Interruptible<'a, M> {
    pub(super) map: M,
    pub(super) raised: &'a Raised,
}

impl<M: FeatureMap> FeatureMap for Interruptible<'_, M> {
    fn features(&self, x: &Tensor) -> Result<Tensor> {
        self.raised.check_signals()?;
        self.map.features(x)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> Result<(Tensor, Tensor)> {
        self.raised.check_signals()?;
        self.map.jvp(x, dx)
    }

    fn has_jvp(&self) -> bool {
        self.map.has_jvp()
    }

    fn has_own_derivatives(&self) -> bool {
        self.map.has_own_derivatives()
    }

    fn first_non_finite_layer(&self, x: &Tensor) -> Option<String> {
        self.map.first_non_finite_layer(x)
    }

    fn batch_norm(&self) -> BatchNormMode {
        self.map.batch_norm()
    }

    fn linearize(&self, x: &Tensor) -> Result<Option<Box<dyn Linearization + '_>>> {
        self.raised.check_signals()?;
        let Some(inner) = self.map.linearize(x)? else { return Ok(None) };
        Ok(Some(Box::new(InterruptibleLinearization { inner, raised: self.raised })))
    }
}

struct InterruptibleLinearization<'a> {
    inner: Box<dyn Linearization + 'a>,
    raised: &'a Raised,
}

impl Linearization for InterruptibleLinearization<'_> {
    fn features(&self) -> &Tensor {
        self.inner.features()
    }

    fn vjp(&self, cotangents: &Tensor) -> Result<Tensor> {
        self.raised.check_signals()?;
        self.inner.vjp(cotangents)
    }

    fn bytes(&self) -> ResidualBytes {
        self.inner.bytes()
    }
}
