//! Where a network comes from.

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use models::WeightsFile;
use numpy::{PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::to_tensor;
use crate::error::{Error, Result};

/// A network as Python names it.
#[derive(FromPyObject)]
pub(crate) enum Source<'py> {
    /// Weights of a known family.
    Weights {
        /// A name or a TOML text.
        #[pyo3(item)]
        architecture: String,
        #[pyo3(item)]
        weights: Weights<'py>,
    },
    /// An ONNX file.
    Onnx {
        #[pyo3(item)]
        onnx: PathBuf,
    },
}

/// Weights in a file, or arrays by name.
#[derive(FromPyObject)]
pub(crate) enum Weights<'py> {
    Arrays(Bound<'py, PyDict>),
    File(PathBuf),
}

/// A network that can be read without the interpreter lock.
pub(crate) enum Readable {
    File { architecture: String, path: PathBuf },
    Arrays { architecture: String, file: WeightsFile },
    Onnx(PathBuf),
}

impl Source<'_> {
    /// The same without Python's objects.
    pub(crate) fn readable(self) -> Result<Readable> {
        Ok(match self {
            Self::Onnx { onnx } => Readable::Onnx(onnx),
            Self::Weights { architecture, weights: Weights::File(path) } => Readable::File { architecture, path },
            Self::Weights { architecture, weights: Weights::Arrays(arrays) } => {
                Readable::Arrays { architecture, file: file_of(&arrays)? }
            }
        })
    }
}

fn file_of(arrays: &Bound<'_, PyDict>) -> Result<WeightsFile> {
    let named = |(name, array): (Bound<'_, PyAny>, Bound<'_, PyAny>)| Ok((name.extract()?, weight(&array)?));
    let tensors = arrays.iter().map(named).collect::<Result<Vec<(String, Tensor)>>>()?;
    Ok(WeightsFile::from_tensors("state dict", tensors))
}

/// A float array, or an integer one, as batch norm counts its batches.
fn weight(array: &Bound<'_, PyAny>) -> Result<Tensor> {
    let Ok(integers) = array.extract::<PyReadonlyArrayDyn<'_, i64>>() else { return to_tensor(array) };
    let slice = integers.as_slice().map_err(|_| Error::NotContiguous { argument: "weights" })?;
    Ok(Tensor::from_slice(slice, integers.shape(), &Device::Cpu)?)
}
