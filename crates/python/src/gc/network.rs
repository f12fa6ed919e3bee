//! Geometric complexity of a network of the crate `models`, by its own kernels.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use models::{Architecture, Initialisation, Network, Pass, WeightsFile, WeightsReport};
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator};

use super::interruptible::{Interruptible, Raised};
use super::python_map::{Batches, finish};
use super::settings::Settings;
use crate::arrays::to_tensor;
use crate::error::{Error, Result};

/// Where the weights come from: a file, or arrays by name.
#[derive(FromPyObject)]
pub(crate) enum Weights<'py> {
    Arrays(Bound<'py, PyDict>),
    File(PathBuf),
}

/// Measures a network of a known family with these weights on an iterator over pairs of inputs and labels (or `None`).
///
/// `architecture` is a name or a TOML text. Returns the estimate, its text, and what was done to match the names of tensors.
#[pyfunction]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
pub(crate) fn measure_network<'py>(
    py: Python<'py>,
    architecture: &str,
    weights: Weights<'py>,
    double: bool,
    input: Option<(usize, [usize; 2])>,
    layer: Option<&str>,
    batches: Bound<'py, PyIterator>,
    settings: &Bound<'py, PyAny>,
) -> PyResult<((Bound<'py, PyAny>, String), Vec<String>)> {
    let settings = Settings::read(settings)?;
    let file = open(weights)?;
    let architecture = describe(architecture, input, &file)?;
    let batches = batches.unbind();
    let raised = Raised::default();
    let dtype = if double { DType::F64 } else { DType::F32 };
    let (measured, notes) = py.detach(|| -> Result<_> {
        let network = Network::new(&architecture, Initialisation::HeNormal, 0, dtype, &Device::Cpu)?;
        let report: WeightsReport = network.params().load_body(&file)?;
        let map = network.frozen().feature_map(Pass::evaluation(), layer)?;
        let map = Interruptible { map, raised: &raised };
        Ok((settings.measure(&map, Batches { batches: &batches, raised: &raised }), report.notes()))
    })?;
    Ok((finish(py, measured, &raised)?, notes))
}

/// A name, or a TOML text, with the classes that the weights have.
fn describe(text: &str, input: Option<(usize, [usize; 2])>, file: &WeightsFile) -> Result<Architecture> {
    let described = text.contains('=');
    let mut architecture = if described { Architecture::from_toml(text)? } else { Architecture::named(text)? };
    if described {
        return Ok(architecture);
    }
    if let Some((channels, size)) = input {
        architecture = architecture.with_input(channels, size);
    }
    if let Some(classes) = file.classes(&architecture) {
        architecture = architecture.with_classes(classes);
    }
    Ok(architecture)
}

/// Arrays are written to a temporary file first, so that their names are matched as those of a file.
fn open(weights: Weights<'_>) -> Result<WeightsFile> {
    let arrays = match weights {
        Weights::File(path) => return Ok(WeightsFile::open(path)?),
        Weights::Arrays(arrays) => arrays,
    };
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    for (name, array) in arrays.iter() {
        tensors.insert(name.extract::<String>()?, weight(&array)?);
    }
    let folder = tempfile::tempdir().map_err(Error::TemporaryFile)?;
    let path = folder.path().join("state_dict.safetensors");
    candle_core::safetensors::save(&tensors, &path)?;
    Ok(WeightsFile::open(&path)?)
}

/// A float array, or an integer one, as batch norm counts its batches.
fn weight(array: &Bound<'_, PyAny>) -> Result<Tensor> {
    let Ok(integers) = array.extract::<PyReadonlyArrayDyn<'_, i64>>() else { return to_tensor(array) };
    let slice = integers.as_slice().map_err(|_| Error::NotContiguous { argument: "weights" })?;
    Ok(Tensor::from_slice(slice, integers.shape(), &Device::Cpu)?)
}
