//! The one forward pass over the images of a part.

use candle_core::{DType, Device, Tensor};

use super::Assembly;
use crate::options::Stage;
use crate::{Batches, Data, Error, Network, PartOf, Result};

/// Features of labelled images on the CPU, and the device on which the network computed them.
pub(super) struct Forward {
    pub(super) rows: Tensor,
    pub(super) labels: Vec<u32>,
    pub(super) device: Device,
}

impl Assembly<'_> {
    /// The features of all images; none where the first batch has no labels.
    pub(super) fn features(&self, part: PartOf, images: &dyn Batches) -> Result<Option<Forward>> {
        let (name, stage) = (part.name(), Stage::Features(part));
        self.watcher.see(stage, 0)?;
        let (mut rows, mut labels, mut device) = (Vec::new(), Vec::new(), Device::Cpu);
        let mut bytes = 0u64;
        for (index, batch) in images.batches().enumerate() {
            let batch = batch.map_err(|source| Error::Source { part: name, source })?;
            let Some(own) = batch.labels else {
                let nothing = index == 0;
                let missing = Error::Unlabelled { part: name, what: "collapse", batch: index };
                return if nothing { Ok(None) } else { Err(missing) };
            };
            let count = batch.inputs.dims().first().copied().unwrap_or(0);
            if own.len() != count {
                return Err(Error::LabelCount { part: name, batch: index, images: count, labels: own.len() });
            }
            if count == 0 {
                continue;
            }
            let features =
                self.network.map().features(&batch.inputs).and_then(|features| Ok(features.flatten_from(1)?));
            let features = features.map_err(|error| Error::Network { part: name, source: error.into() })?;
            if !is_finite(&features)? {
                let layer = self.network.map().first_non_finite_layer(&batch.inputs);
                return Err(Error::NotFinite { part: name, batch: index, layer });
            }
            device = features.device().clone();
            bytes += (features.elem_count() * features.dtype().size_in_bytes()) as u64;
            labels.extend(own);
            if let Some(limit) = self.options.memory_limit.filter(|limit| bytes > *limit) {
                return Err(Error::Memory { part: name, images: labels.len(), limit });
            }
            rows.push(features.to_device(&Device::Cpu)?);
            self.watcher.see(stage, labels.len())?;
        }
        if rows.is_empty() {
            return Err(Error::Empty { part: name });
        }
        Ok(Some(Forward { rows: Tensor::cat(&rows, 0)?, labels, device }))
    }
}

impl Network<'_> {
    /// Whether the features of all images are finite: one forward pass that holds one batch. A network that has diverged often
    /// fails in geometric complexity first; this tells divergence from other errors.
    ///
    /// # Errors
    /// Those of the sources and of the network.
    pub fn is_finite_on(&self, data: &Data<'_>) -> Result<bool> {
        let parts = [(PartOf::Train, Some(data.train)), (PartOf::Test, data.test), (PartOf::Target, data.target)];
        for (part, images) in parts.into_iter().filter_map(|(part, images)| Some((part.name(), images?))) {
            for batch in images.features.batches() {
                let batch = batch.map_err(|source| Error::Source { part, source })?;
                let features = self.map().features(&batch.inputs);
                if !is_finite(&features.map_err(|error| Error::Network { part, source: error.into() })?)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Whether all features are finite.
pub(super) fn is_finite(features: &Tensor) -> Result<bool> {
    Ok(features.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.is_finite())
}
