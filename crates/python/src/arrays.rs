//! NumPy arrays as slices, without a copy, and labels as class numbers.

use candle_core::{Device, Tensor};
use numpy::{
    PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArrayDyn, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::error::{Error, Result};

/// A matrix `[n, p]` of f32 or f64.
#[derive(FromPyObject)]
pub(crate) enum Matrix<'py> {
    F32(PyReadonlyArray2<'py, f32>),
    F64(PyReadonlyArray2<'py, f64>),
}

/// The values of a [`Matrix`], row by row.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

/// Runs an expression for a slice of either type.
macro_rules! for_values {
    ($values:expr, $slice:ident => $body:expr) => {
        match $values {
            $crate::arrays::Values::F32($slice) => $body,
            $crate::arrays::Values::F64($slice) => $body,
        }
    };
}
pub(crate) use for_values;

impl Matrix<'_> {
    /// The number of columns p.
    pub(crate) fn columns(&self) -> usize {
        match self {
            Self::F32(array) => array.shape()[1],
            Self::F64(array) => array.shape()[1],
        }
    }

    /// The number of rows n.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::F32(array) => array.shape()[0],
            Self::F64(array) => array.shape()[0],
        }
    }

    /// The values without a copy.
    pub(crate) fn values(&self) -> Result<Values<'_>> {
        let refused = |_| Error::NotContiguous { argument: "features" };
        Ok(match self {
            Self::F32(array) => Values::F32(array.as_slice().map_err(refused)?),
            Self::F64(array) => Values::F64(array.as_slice().map_err(refused)?),
        })
    }
}

/// Class numbers of integer labels.
pub(crate) fn labels(array: &PyReadonlyArray1<'_, i64>) -> Result<Vec<u32>> {
    let slice = array.as_slice().map_err(|_| Error::NotContiguous { argument: "labels" })?;
    let number = |(row, &label): (usize, &i64)| u32::try_from(label).map_err(|_| Error::Label { row, label });
    slice.iter().enumerate().map(number).collect()
}

/// A vector of f64, without a copy.
pub(crate) fn vector<'a>(argument: &'static str, array: &'a PyReadonlyArray1<'_, f64>) -> Result<&'a [f64]> {
    array.as_slice().map_err(|_| Error::NotContiguous { argument })
}

/// A tensor of the values of a float array of any shape.
pub(crate) fn to_tensor(array: &Bound<'_, PyAny>) -> Result<Tensor> {
    if let Ok(array) = array.extract::<PyReadonlyArrayDyn<'_, f32>>() {
        let slice = array.as_slice().map_err(|_| Error::NotContiguous { argument: "array" })?;
        return Ok(Tensor::from_slice(slice, array.shape(), &Device::Cpu)?);
    }
    let array = array.extract::<PyReadonlyArrayDyn<'_, f64>>()?;
    let slice = array.as_slice().map_err(|_| Error::NotContiguous { argument: "array" })?;
    Ok(Tensor::from_slice(slice, array.shape(), &Device::Cpu)?)
}

/// An array of the values of a tensor: f64 for f64, f32 for every other dtype.
pub(crate) fn to_array<'py>(py: Python<'py>, tensor: &Tensor) -> Result<Bound<'py, PyAny>> {
    let flat = tensor.flatten_all()?;
    let shape = tensor.dims();
    if tensor.dtype() == candle_core::DType::F64 {
        let array: Bound<'py, PyArrayDyn<f64>> = PyArray1::from_vec(py, flat.to_vec1::<f64>()?).reshape(shape)?;
        return Ok(array.into_any());
    }
    let values = flat.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
    let array: Bound<'py, PyArrayDyn<f32>> = PyArray1::from_vec(py, values).reshape(shape)?;
    Ok(array.into_any())
}
