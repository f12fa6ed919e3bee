//! Geometric complexity of a network in a file, by this project's own kernels.

use candle_core::DType;
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use super::interruptible::Interruptible;
use super::python_map::finish;
use super::settings::Settings;
use crate::batches::Batches;
use crate::error::Result;
use crate::networks::{Loaded, Source};
use crate::raised::Raised;
use crate::results::to_python;

/// Measures a network on an iterator over pairs of inputs and labels (or `None`). `sample` is the shape of one input.
///
/// Returns the estimate, its text, and which tensor was measured.
#[pyfunction]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
pub(crate) fn measure_network<'py>(
    py: Python<'py>,
    source: Source<'py>,
    double: bool,
    sample: Option<Vec<usize>>,
    layer: Option<String>,
    batches: Bound<'py, PyIterator>,
    settings: &Bound<'py, PyAny>,
) -> PyResult<((Bound<'py, PyAny>, String), Bound<'py, PyAny>)> {
    let settings = Settings::read(settings)?;
    let (source, batches, raised) = (source.readable()?, batches.unbind(), Raised::default());
    let dtype = if double { DType::F64 } else { DType::F32 };
    let (measured, tensor) = py.detach(|| -> Result<_> {
        let loaded = Loaded::read(source, dtype, layer, sample.as_deref())?;
        let map = Interruptible { map: loaded.map()?, raised: &raised };
        let batches = Batches { batches: &batches, raised: &raised }.map(|batch| {
            let batch = batch?;
            raised.catch(|_| Ok(loaded.check(&batch)?))?;
            Ok::<_, gc_core::Error>(batch)
        });
        Ok((settings.measure(&map, batches), loaded.tensor()))
    })?;
    Ok((finish(py, measured, &raised)?, to_python(py, &tensor)?))
}
