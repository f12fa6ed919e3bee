//! Results as Python objects, and settings from Python objects.

use std::fmt::Display;

use pyo3::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A result as a dictionary, under the names that it has in JSON.
pub(crate) fn to_python<'py>(py: Python<'py>, result: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize::pythonize(py, result)?)
}

/// A result as a dictionary, and its text form with the standard error.
pub(crate) fn with_text<'py, T: Serialize + Display>(
    py: Python<'py>,
    result: &T,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    Ok((to_python(py, result)?, result.to_string()))
}

/// A setting or an earlier result from its Python form; `argument` names it in the error.
pub(crate) fn from_python<T: DeserializeOwned>(argument: &'static str, value: &Bound<'_, PyAny>) -> Result<T> {
    pythonize::depythonize(value).map_err(|error| Error::Argument { argument, reason: error.to_string() })
}
