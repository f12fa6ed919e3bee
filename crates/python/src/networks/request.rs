//! What Python asks for.

use candle_core::DType;
use pyo3::prelude::*;

use super::source::{Readable, Source};
use crate::error::Result;

/// A network, and how it is read.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Request<'py> {
    source: Source<'py>,
    /// Whether the samples are f64, not f32.
    double: bool,
    /// The shape of one sample.
    sample: Option<Vec<usize>>,
    /// The name of the measured tensor, if that is not the features.
    layer: Option<String>,
}

/// A request that can be answered without the interpreter lock.
pub(crate) struct ReadableRequest {
    pub(super) source: Readable,
    pub(super) dtype: DType,
    pub(super) sample: Option<Vec<usize>>,
    pub(super) layer: Option<String>,
}

impl Request<'_> {
    /// The same without Python's objects.
    pub(crate) fn readable(self) -> Result<ReadableRequest> {
        let Self { source, double, sample, layer } = self;
        let dtype = if double { DType::F64 } else { DType::F32 };
        Ok(ReadableRequest { source: source.readable()?, dtype, sample, layer })
    }
}
