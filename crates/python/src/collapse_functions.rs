//! The functions of the crate `collapse` that take features or numbers.

use collapse::{ClassMoments, Head, ReportOptions, Symmetry, report_slice};
use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::arrays::{self, Matrix, for_values, vector};
use crate::error::{Error, Result};
use crate::moments::Moments;
use crate::results::{from_python, to_python};

/// The weight `[K, p]` and the bias `[K]` of a linear head.
pub(crate) type HeadArrays<'py> = (PyReadonlyArray2<'py, f64>, Option<PyReadonlyArray1<'py, f64>>);

/// The head of these arrays.
pub(crate) fn head((weight, bias): &HeadArrays<'_>) -> Result<Head> {
    let classes = weight.shape()[0];
    let weight = weight.as_slice().map_err(|_| Error::NotContiguous { argument: "head" })?;
    let bias = bias.as_ref().map(|bias| vector("head", bias)).transpose()?;
    Ok(Head::from_slices(weight, bias, classes)?)
}

/// All collapse measures of features `[n, p]` with labels `[n]`.
#[pyfunction]
#[pyo3(signature = (features, labels, head, options))]
pub(crate) fn collapse_report<'py>(
    py: Python<'py>,
    features: Matrix<'py>,
    labels: PyReadonlyArray1<'py, i64>,
    head: Option<HeadArrays<'py>>,
    options: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let options: ReportOptions = from_python("options", options)?;
    let head = head.as_ref().map(self::head).transpose()?;
    let labels = arrays::labels(&labels)?;
    let (values, columns) = (features.values()?, features.columns());
    let report = py.detach(|| {
        for_values!(values, slice => report_slice(slice, columns, &labels, head.as_ref(), &options))
            .map_err(Error::from)
    })?;
    to_python(py, &report)
}

/// NC0 of a head.
#[pyfunction]
pub(crate) fn zero_sum<'py>(py: Python<'py>, head: HeadArrays<'py>) -> PyResult<Bound<'py, PyAny>> {
    let head = self::head(&head)?;
    to_python(py, &collapse::zero_sum(&head).map_err(Error::from)?)
}

/// The bound on the nearest-mean error.
#[pyfunction]
pub(crate) fn nearest_mean_bound<'py>(
    py: Python<'py>,
    nc: f64,
    classes: usize,
    shots: usize,
    spherical_features: Option<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let symmetry = spherical_features.map_or(Symmetry::General, Symmetry::Spherical);
    to_python(py, &collapse::nearest_mean_bound(nc, classes, shots, symmetry).map_err(Error::from)?)
}

/// Both inequalities of NC ≤ c·pairwise ≤ c·mixture.
#[pyfunction]
pub(crate) fn collapse_chain<'py>(
    py: Python<'py>,
    moments: PyRef<'py, Moments>,
    gc_per_class: PyReadonlyArray1<'py, f64>,
    constant: f64,
) -> PyResult<Bound<'py, PyAny>> {
    let moments: &ClassMoments = &moments.0;
    let chain = collapse::collapse_chain(moments, vector("gc_per_class", &gc_per_class)?, constant);
    to_python(py, &chain.map_err(Error::from)?)
}
