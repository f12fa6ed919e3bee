//! The images that are measured, in batches, and their features.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use collapse::{ClassMoments, Scatter};
use datasets::{LabelledImages, Normalisation};
use models::{Network, Pass};

/// Images per forward pass.
const CHUNK: usize = 128;

/// Normalised, labelled images in batches.
pub(super) struct Chunks {
    /// The batches: images and labels.
    pub(super) batches: Vec<(Tensor, Vec<u32>)>,
    /// Number of images.
    pub(super) images: usize,
}

/// Images of the same classes: some for the moments of the features, fewer for GC.
pub(super) struct SplitImages {
    /// The images for the moments of the features.
    pub(super) features: Chunks,
    /// The images for GC.
    pub(super) complexity: Chunks,
}

impl Chunks {
    pub(super) fn of(images: &LabelledImages, normalisation: &Normalisation, device: &Device) -> Result<Self> {
        let positions: Vec<usize> = (0..images.len()).collect();
        let batch = |positions: &[usize]| -> Result<(Tensor, Vec<u32>)> {
            let batch = images.batch(positions, normalisation, device)?;
            Ok((batch.images, batch.labels.to_vec1::<u32>()?))
        };
        Ok(Self { batches: positions.chunks(CHUNK).map(batch).collect::<Result<_>>()?, images: images.len() })
    }

    /// The labels of all images.
    pub(super) fn labels(&self) -> Vec<u32> {
        self.batches.iter().flat_map(|(_, labels)| labels.iter().copied()).collect()
    }

    /// The features `[n, p]`, or the outputs of a layer, in evaluation mode.
    pub(super) fn features(&self, network: &Network, layer: Option<&str>) -> Result<Tensor> {
        ensure!(self.images > 0, "there are no images to measure on");
        let (view, pass) = (network.frozen(), Pass::evaluation());
        let rows = self.batches.iter().map(|(images, _)| match layer {
            None => view.features(images, &pass),
            Some(layer) => view.features_at(images, layer, &pass),
        });
        Ok(Tensor::cat(&rows.collect::<models::Result<Vec<_>>>()?, 0)?)
    }
}

/// The moments of features.
pub(super) fn moments(rows: &Tensor, labels: &[u32], classes: usize) -> Result<ClassMoments> {
    let mut moments = ClassMoments::new(classes, rows.dim(1)?, Scatter::Trace);
    moments.update(rows, labels)?;
    Ok(moments)
}
