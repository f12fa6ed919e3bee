//! A feature map whose passes Python computes.

use candle_core::Tensor;
use gc_core::{BatchNormMode, Estimate, FeatureMap, Linearization, ResidualBytes};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use super::settings::Settings;
use crate::arrays::{to_array, to_tensor};
use crate::batches::Batches;
use crate::error::Error;
use crate::raised::Raised;
use crate::results::with_text;

/// Measures a Python map on an iterator over pairs of inputs and labels (or `None`).
///
/// `map.features(x)` returns the features `[n, p]` of inputs `[n, …]`; `map.linearize(x)` returns them with a function that
/// maps cotangents `[k·n, p]` to Jᵀv `[k·n, …]`, and the bytes that it keeps (all tensors, and the largest).
#[pyfunction]
pub(crate) fn measure_map<'py>(
    py: Python<'py>,
    map: Py<PyAny>,
    batches: Bound<'py, PyIterator>,
    settings: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    let settings = Settings::read(settings)?;
    let raised = Raised::default();
    let batches = batches.unbind();
    let measured = py.detach(|| {
        let map = PythonMap { map: &map, raised: &raised };
        settings.measure(&map, Batches { batches: &batches, raised: &raised })
    });
    finish(py, measured, &raised)
}

/// The estimate, or the exception that Python raised, or the error of the measurement.
pub(super) fn finish<'py>(
    py: Python<'py>,
    measured: gc_core::Result<Estimate>,
    raised: &Raised,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    match (measured, raised.take()) {
        (_, Some(error)) => Err(error),
        (measured, None) => with_text(py, &measured.map_err(Error::from)?),
    }
}

struct PythonMap<'a> {
    map: &'a Py<PyAny>,
    raised: &'a Raised,
}

impl FeatureMap for PythonMap<'_> {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        self.raised.catch(|py| {
            py.check_signals()?;
            let features = self.map.bind(py).call_method1("features", (to_array(py, x)?,))?;
            Ok(to_tensor(&features)?)
        })
    }

    fn batch_norm(&self) -> BatchNormMode {
        let mode = self.raised.catch(|py| self.map.bind(py).getattr("batch_norm")?.extract::<String>());
        match mode.as_deref() {
            Ok("absent") => BatchNormMode::Absent,
            Ok("evaluation") => BatchNormMode::Evaluation,
            _ => BatchNormMode::Unstated,
        }
    }

    fn linearize(&self, x: &Tensor) -> gc_core::Result<Option<Box<dyn Linearization + '_>>> {
        self.raised.catch(|py| {
            py.check_signals()?;
            let result = self.map.bind(py).call_method1("linearize", (to_array(py, x)?,))?;
            // Features that do not depend on the inputs: the graph route reports them.
            if result.is_none() {
                return Ok(None);
            }
            let (features, vjp, (total, largest)): (Bound<'_, PyAny>, Py<PyAny>, (usize, usize)) = result.extract()?;
            let bytes = ResidualBytes { total, largest };
            let features = to_tensor(&features)?;
            let linearization =
                PythonLinearization { features, vjp, bytes, shape: x.dims().to_vec(), raised: self.raised };
            Ok(Some(Box::new(linearization) as Box<dyn Linearization>))
        })
    }
}

struct PythonLinearization<'a> {
    features: Tensor,
    vjp: Py<PyAny>,
    bytes: ResidualBytes,
    shape: Vec<usize>,
    raised: &'a Raised,
}

impl Linearization for PythonLinearization<'_> {
    fn features(&self) -> &Tensor {
        &self.features
    }

    fn vjp(&self, cotangents: &Tensor) -> gc_core::Result<Tensor> {
        let mut expected = self.shape.clone();
        expected[0] = cotangents.dims()[0];
        self.raised.catch(|py| {
            py.check_signals()?;
            let gradient = to_tensor(&self.vjp.bind(py).call1((to_array(py, cotangents)?,))?)?;
            if gradient.dims() == expected {
                return Ok(gradient);
            }
            let text = format!("vjp: expected Jᵀv of shape {expected:?}, got {:?}", gradient.dims());
            Err(PyTypeError::new_err(text))
        })
    }

    fn bytes(&self) -> ResidualBytes {
        self.bytes
    }
}
