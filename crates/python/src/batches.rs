//! Batches of inputs and labels that Python yields.

use gc_core::Batch;
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use crate::arrays::{self, to_tensor};
use crate::error::Result;
use crate::raised::Raised;

/// Batches of a Python iterator over pairs of inputs and labels (or `None`).
pub(crate) struct Batches<'a> {
    pub(crate) batches: &'a Py<PyIterator>,
    pub(crate) raised: &'a Raised,
}

impl Iterator for Batches<'_> {
    type Item = gc_core::Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.raised.catch(|py| {
            py.check_signals()?;
            match self.batches.bind(py).clone().next() {
                Some(batch) => Ok(Some(read_batch(&batch?)?)),
                None => Ok(None),
            }
        });
        next.transpose()
    }
}

fn read_batch(batch: &Bound<'_, PyAny>) -> Result<Batch> {
    let (inputs, labels): (Bound<'_, PyAny>, Option<PyReadonlyArray1<'_, i64>>) = batch.extract()?;
    let labels = labels.map(|labels| arrays::labels(&labels)).transpose()?;
    Ok(Batch::from((to_tensor(&inputs)?, labels)))
}
