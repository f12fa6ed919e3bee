//! The images that are measured, in batches.

use anyhow::Result;
use candle_core::{Device, Tensor};
use datasets::{LabelledImages, Normalisation};

/// Images per forward pass.
const CHUNK: usize = 128;

/// Normalised, labelled images in batches: images and labels.
pub(super) struct Chunks(pub(super) Vec<(Tensor, Vec<u32>)>);

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
        Ok(Self(positions.chunks(CHUNK).map(batch).collect::<Result<_>>()?))
    }
}

impl SplitImages {
    /// The images as an assessment takes them.
    pub(super) fn images(&self) -> assess::Images<'_> {
        assess::Images::new(&self.features.0).with_complexity(&self.complexity.0)
    }
}
