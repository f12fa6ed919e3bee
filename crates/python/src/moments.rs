//! Moments of labelled features that are fed in batches.

use collapse::{
    CdnvConvention, Centring, ClassMoments, Divisor, Precision, Preset, Scatter, Truncation, Weighting, bias_collapse,
    cdnv, cdnv_matrix, cdnv_unbiased, effective_poincare_constant, geometric_collapse, nearest_mean_error_slice,
    pairwise_geometric_collapse, rank_me, self_duality, simplex, trace_ratio, variability, vci,
};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use serde::Serialize;

use crate::arrays::{self, Matrix, for_values, vector};
use crate::collapse_functions::{HeadArrays, head};
use crate::error::{Error, Result};
use crate::results::{from_python, to_python};

/// Counts, means and scatter of the classes.
#[pyclass(module = "geometric_collapse._native")]
pub(crate) struct Moments(pub(crate) ClassMoments);

#[pymethods]
impl Moments {
    #[new]
    fn new(
        class_count: usize,
        feature_count: usize,
        scatter: &Bound<'_, PyAny>,
        precision: &Bound<'_, PyAny>,
        memory_limit: Option<u64>,
    ) -> PyResult<Self> {
        let scatter: Scatter = from_python("scatter", scatter)?;
        let precision: Precision = from_python("precision", precision)?;
        let moments = ClassMoments::new(class_count, feature_count, scatter).with_precision(precision);
        Ok(Self(match memory_limit {
            Some(bytes) => moments.with_memory_limit(bytes),
            None => moments,
        }))
    }

    /// The moments of their dictionary.
    #[staticmethod]
    fn from_dict(state: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(from_python("moments", state)?))
    }

    /// All moments as a dictionary.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0)
    }

    /// Adds a batch.
    fn update(&mut self, py: Python<'_>, features: Matrix<'_>, labels: PyReadonlyArray1<'_, i64>) -> PyResult<()> {
        let labels = arrays::labels(&labels)?;
        self.check_columns("update", &features)?;
        let values = features.values()?;
        let moments = &mut self.0;
        Ok(py.detach(|| for_values!(values, slice => moments.update_slice(slice, &labels)).map_err(Error::from))?)
    }

    /// Adds all samples of other moments.
    fn merge(&mut self, other: PyRef<'_, Self>) -> PyResult<()> {
        Ok(self.0.merge(&other.0).map_err(Error::from)?)
    }

    fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    #[getter]
    fn class_count(&self) -> usize {
        self.0.class_count()
    }

    #[getter]
    fn feature_count(&self) -> usize {
        self.0.feature_count()
    }

    #[getter]
    fn sample_count(&self) -> u64 {
        self.0.sample_count()
    }

    /// The classes with samples, their counts and their means.
    #[allow(clippy::type_complexity)]
    fn arrays<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyArray1<u64>>, Bound<'py, PyArray1<u64>>, Bound<'py, PyArray2<f64>>)> {
        let classes = self.0.classes().iter().map(|&class| class as u64).collect();
        let shape = [self.0.classes().len(), self.0.feature_count()];
        let means = PyArray1::from_slice(py, self.0.means()).reshape(shape)?;
        Ok((PyArray1::from_vec(py, classes), PyArray1::from_slice(py, self.0.counts()), means))
    }

    fn variance(&self, class: usize, divisor: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
        let divisor: Divisor = from_python("divisor", divisor)?;
        Ok(self.0.variance(class, divisor))
    }

    fn global_mean<'py>(&self, py: Python<'py>, weighting: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let weighting: Weighting = from_python("weighting", weighting)?;
        Ok(PyArray1::from_vec(py, self.0.global_mean(weighting).map_err(Error::from)?))
    }

    fn cdnv<'py>(&self, py: Python<'py>, convention: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let convention: CdnvConvention = from_python("convention", convention)?;
        self.result(py, |moments| cdnv(moments, convention))
    }

    fn cdnv_matrix<'py>(&self, py: Python<'py>, convention: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let convention: CdnvConvention = from_python("convention", convention)?;
        let matrix = self.measure(py, |moments| cdnv_matrix(moments, convention))?;
        let classes = matrix.class_count();
        let value = |index: usize| matrix.get(index / classes, index % classes).unwrap_or(f64::NAN);
        PyArray1::from_vec(py, (0..classes * classes).map(value).collect()).reshape([classes, classes])
    }

    fn cdnv_unbiased<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.result(py, cdnv_unbiased)
    }

    fn trace_ratio<'py>(&self, py: Python<'py>, weighting: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.weighted(py, weighting, trace_ratio)
    }

    fn variability<'py>(
        &self,
        py: Python<'py>,
        weighting: &Bound<'py, PyAny>,
        truncation: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let truncation: Option<Truncation> = truncation.map(|value| from_python("truncation", value)).transpose()?;
        let truncation = truncation.unwrap_or_default();
        self.weighted(py, weighting, |moments, weighting| variability(moments, weighting, truncation))
    }

    fn vci<'py>(&self, py: Python<'py>, weighting: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.weighted(py, weighting, vci)
    }

    fn rank_me<'py>(&self, py: Python<'py>, centring: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let centring: Centring = from_python("centring", centring)?;
        self.result(py, |moments| rank_me(moments, centring))
    }

    fn simplex<'py>(&self, py: Python<'py>, weighting: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.weighted(py, weighting, simplex)
    }

    fn self_duality<'py>(
        &self,
        py: Python<'py>,
        head: HeadArrays<'py>,
        weighting: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let head = self::head(&head)?;
        self.weighted(py, weighting, |moments, weighting| self_duality(&head, moments, weighting))
    }

    fn bias_collapse<'py>(
        &self,
        py: Python<'py>,
        head: HeadArrays<'py>,
        weighting: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let head = self::head(&head)?;
        self.weighted(py, weighting, |moments, weighting| bias_collapse(&head, moments, weighting))
    }

    fn geometric_collapse<'py>(&self, py: Python<'py>, gc: f64) -> PyResult<Bound<'py, PyAny>> {
        self.result(py, |moments| geometric_collapse(moments, gc))
    }

    fn pairwise_geometric_collapse<'py>(
        &self,
        py: Python<'py>,
        gc_per_class: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let gc = vector("gc_per_class", &gc_per_class)?;
        self.result(py, |moments| pairwise_geometric_collapse(moments, gc))
    }

    fn poincare_constant<'py>(
        &self,
        py: Python<'py>,
        gc_per_class: PyReadonlyArray1<'py, f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let gc = vector("gc_per_class", &gc_per_class)?;
        self.result(py, |moments| effective_poincare_constant(moments, gc))
    }

    fn preset<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyAny>,
        head: Option<HeadArrays<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let preset: Preset = from_python("preset", name)?;
        let head = head.as_ref().map(self::head).transpose()?;
        self.result(py, |moments| preset.measure(moments, head.as_ref()))
    }

    fn nearest_mean_error<'py>(
        &self,
        py: Python<'py>,
        features: Matrix<'py>,
        labels: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let labels = arrays::labels(&labels)?;
        self.check_columns("nearest-mean error", &features)?;
        let values = features.values()?;
        let measure =
            |moments: &ClassMoments| for_values!(values, slice => nearest_mean_error_slice(moments, slice, &labels));
        self.result(py, measure)
    }
}

impl Moments {
    /// A measure of these moments, computed without the interpreter lock.
    fn measure<T: Send>(
        &self,
        py: Python<'_>,
        measure: impl FnOnce(&ClassMoments) -> collapse::Result<T> + Send,
    ) -> Result<T> {
        let moments = &self.0;
        Ok(py.detach(|| measure(moments))?)
    }

    /// A measure of these moments as a dictionary.
    fn result<'py, T: Serialize + Send>(
        &self,
        py: Python<'py>,
        measure: impl FnOnce(&ClassMoments) -> collapse::Result<T> + Send,
    ) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.measure(py, measure)?)
    }

    /// A measure that depends on the weights of classes.
    fn weighted<'py, T: Serialize + Send>(
        &self,
        py: Python<'py>,
        weighting: &Bound<'py, PyAny>,
        measure: impl FnOnce(&ClassMoments, Weighting) -> collapse::Result<T> + Send,
    ) -> PyResult<Bound<'py, PyAny>> {
        let weighting = from_python("weighting", weighting)?;
        self.result(py, |moments| measure(moments, weighting))
    }

    fn check_columns(&self, operation: &'static str, features: &Matrix<'_>) -> Result<()> {
        let (expected, got) = (self.0.feature_count(), features.columns());
        if got == expected {
            return Ok(());
        }
        let (expected, actual) = (format!("features [n, {expected}]"), format!("[{}, {got}]", features.rows()));
        Err(collapse::Error::Shape { operation, expected, actual }.into())
    }
}
