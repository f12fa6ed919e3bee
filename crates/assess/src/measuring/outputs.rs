//! The outputs of several layers, from one forward pass over the images.

use candle_core::{Device, Tensor};

use super::forward::is_finite;
use super::watcher::Watcher;
use crate::network::Layers;
use crate::options::Stage;
use crate::{Batches, Error, PartOf, Result};

/// The name of a layer's images in messages.
pub(super) const NAME: &str = "layer images";

/// The outputs of layers on labelled images.
pub(super) struct Outputs {
    /// `[n, p]` for each layer, on the CPU.
    pub(super) of_layer: Vec<Tensor>,
    pub(super) labels: Vec<u32>,
    /// The device on which the network computed them.
    pub(super) device: Device,
}

/// The outputs of all layers on images that all have labels.
pub(super) fn of_labelled(layers: &dyn Layers, names: &[String], images: &dyn Batches) -> Result<Outputs> {
    let pass = Pass { layers, names, together: u64::MAX, limit: None, watcher: &Watcher::new(None) };
    pass.outputs(images)?.ok_or(Error::Unlabelled { part: NAME, what: "collapse", batch: 0 })
}

/// One forward pass over images.
pub(super) struct Pass<'a> {
    pub(super) layers: &'a dyn Layers,
    pub(super) names: &'a [String],
    /// The bytes up to which the outputs of several layers are held together.
    pub(super) together: u64,
    /// The most bytes of the outputs of one layer.
    pub(super) limit: Option<u64>,
    pub(super) watcher: &'a Watcher<'a>,
}

impl Pass<'_> {
    /// The outputs of the layers; none where the first batch has no labels.
    ///
    /// Where the outputs of all layers would take too much memory together, those of the last layers are left out, so that fewer
    /// layers than names come back. They need another pass.
    pub(super) fn outputs(&self, images: &dyn Batches) -> Result<Option<Outputs>> {
        let stage = Stage::Features(PartOf::Train);
        self.watcher.see(stage, 0)?;
        let mut held: Vec<Held> = self.names.iter().map(|_| Held::default()).collect();
        let (mut labels, mut device): (Vec<u32>, _) = (Vec::new(), Device::Cpu);
        for (index, batch) in images.batches().enumerate() {
            let batch = batch.map_err(|source| Error::Source { part: NAME, source })?;
            let Some(own) = batch.labels else {
                let missing = Error::Unlabelled { part: NAME, what: "collapse", batch: index };
                return if index == 0 { Ok(None) } else { Err(missing) };
            };
            let count = batch.inputs.dims().first().copied().unwrap_or(0);
            if own.len() != count {
                return Err(Error::LabelCount { part: NAME, batch: index, images: count, labels: own.len() });
            }
            if count == 0 {
                continue;
            }
            let names = self.names.get(..held.len()).unwrap_or_default();
            let outputs = self.layers.outputs(&batch.inputs, names);
            let outputs = outputs.map_err(|source| Error::Network { part: NAME, source })?;
            for ((held, output), name) in held.iter_mut().zip(outputs).zip(names) {
                if !is_finite(&output)? {
                    return Err(Error::NotFinite { part: NAME, batch: index, layer: Some(name.clone()) });
                }
                device = output.device().clone();
                held.push(&output)?;
            }
            labels.extend(own);
            self.keep_few(&mut held, labels.len())?;
            self.watcher.see(stage, labels.len())?;
        }
        if labels.is_empty() {
            return Err(Error::Empty { part: NAME });
        }
        let of_layer = held.iter().map(|held| Tensor::cat(&held.rows, 0)).collect::<candle_core::Result<_>>()?;
        Ok(Some(Outputs { of_layer, labels, device }))
    }

    /// Drops the last layers until the outputs of the others, or those of one layer, can be held together.
    fn keep_few(&self, held: &mut Vec<Held>, images: usize) -> Result<()> {
        while held.len() > 1 && held.iter().map(|held| held.bytes).sum::<u64>() > self.together {
            held.pop();
        }
        match self.limit.filter(|limit| held.iter().any(|held| held.bytes > *limit)) {
            Some(limit) => Err(Error::Memory { part: NAME, images, limit }),
            None => Ok(()),
        }
    }
}

/// The outputs of one layer so far.
#[derive(Default)]
struct Held {
    rows: Vec<Tensor>,
    bytes: u64,
}

impl Held {
    fn push(&mut self, output: &Tensor) -> Result<()> {
        self.bytes += (output.elem_count() * output.dtype().size_in_bytes()) as u64;
        self.rows.push(output.to_device(&Device::Cpu)?);
        Ok(())
    }
}
