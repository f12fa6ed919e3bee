//! The features of a network in a file, for measures of collapse and few-shot accuracy.

use candle_core::{DType, Tensor};
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use super::loaded::HeadTensors;
use super::{Loaded, Source};
use crate::arrays::to_array;
use crate::batches::Batches;
use crate::error::{Error, Result};
use crate::raised::Raised;
use crate::results::to_python;

/// What is computed of all batches.
struct Forward {
    features: Tensor,
    labels: Option<Vec<u32>>,
    head: Option<HeadTensors>,
    tensor: super::Tensor,
}

/// The features `[n, p]` of all batches, their labels (or `None`), the linear head (or `None`), and which tensor they are.
#[pyfunction]
#[allow(clippy::type_complexity)]
pub(crate) fn network_features<'py>(
    py: Python<'py>,
    source: Source<'py>,
    double: bool,
    sample: Option<Vec<usize>>,
    layer: Option<String>,
    batches: Bound<'py, PyIterator>,
) -> PyResult<(
    Bound<'py, PyAny>,
    Option<Bound<'py, PyArray1<i64>>>,
    Option<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>)>,
    Bound<'py, PyAny>,
)> {
    let (source, batches, raised) = (source.readable()?, batches.unbind(), Raised::default());
    let dtype = if double { DType::F64 } else { DType::F32 };
    let computed = py.detach(|| {
        let loaded = Loaded::read(source, dtype, layer, sample.as_deref())?;
        forward(&loaded, Batches { batches: &batches, raised: &raised }, &raised)
    });
    let Forward { features, labels, head, tensor } = match (computed, raised.take()) {
        (_, Some(error)) => return Err(error),
        (computed, None) => computed?,
    };
    let labels = labels.map(|labels| PyArray1::from_iter(py, labels.into_iter().map(i64::from)));
    let head = head.map(|(weight, bias)| -> Result<_> {
        Ok((to_array(py, &weight)?, bias.map(|bias| to_array(py, &bias)).transpose()?))
    });
    Ok((to_array(py, &features)?, labels, head.transpose()?, to_python(py, &tensor)?))
}

/// One forward pass over each batch.
fn forward(loaded: &Loaded, batches: Batches<'_>, raised: &Raised) -> Result<Forward> {
    let map = loaded.map()?;
    let (mut parts, mut labels) = (Vec::new(), Some(Vec::new()));
    for batch in batches {
        let batch = batch?;
        raised.catch(|_| Ok(loaded.check(&batch)?))?;
        parts.push(map.features(&batch.inputs)?.flatten_from(1)?.detach());
        labels = labels.zip(batch.labels).map(|(all, more)| [all, more].concat());
    }
    if parts.is_empty() {
        return Err(Error::Argument { argument: "images", reason: "there are no samples".to_owned() });
    }
    let features = Tensor::cat(&parts, 0)?;
    let width = features.dim(1)?;
    // A head that acts on each token has another number of inputs than there are features.
    let head = loaded.head()?.filter(|(weight, _)| weight.dims().get(1) == Some(&width));
    Ok(Forward { features, labels, head, tensor: loaded.tensor() })
}
