//! Batches that depend on (seed, epoch, index) only: shuffled or in order, resumable at any position.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor};

use crate::{Augmentation, Error, LabelledImages, Normalisation, Result, normalisation};

/// Images and labels as inputs of a network.
#[derive(Clone, Debug)]
pub struct Batch {
    /// \[n, channels, height, width\], f32, normalised.
    pub images: Tensor,
    /// \[n\], u32.
    pub labels: Tensor,
}

/// The order of the images in an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The stored order in every epoch.
    #[default]
    Sequential,
    /// A uniformly random order for each epoch, from the seed and the number of the epoch.
    Shuffled {
        /// The seed of the run.
        seed: u64,
    },
}

/// The options of [`Batches`].
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOptions {
    /// The number of images per batch. The last batch of an epoch may have fewer. Default 128.
    pub size: usize,
    /// The order of the images. Default sequential.
    pub order: Order,
    /// Whether the last batch of an epoch is left out if it is not full. Default no.
    pub drop_last: bool,
    /// The augmentation of the images. Default none.
    pub augmentation: Option<Augmentation>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { size: 128, order: Order::Sequential, drop_last: false, augmentation: None }
    }
}

/// A position in the sequence of all batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// The batch within the epoch, counted from 0.
    pub index: usize,
}

/// The order of the images in an epoch.
#[derive(Debug)]
struct EpochOrder {
    epoch: u64,
    positions: Arc<[usize]>,
}

/// A data set as batches, each addressable by epoch and index.
///
/// **Conventions** a batch is a function of the images, the options, its epoch and its index only. It does not depend on
/// earlier reads or on threads. A run that stopped before [`Position`] p continues with [`Self::from`]`(p)`.
///
/// ```
/// use datasets::{BatchOptions, Batches, Device, LabelledImages, Normalisation, Order};
/// let images = LabelledImages::new("tiny", (0..10).collect(), [1, 1, 2], vec![0, 1, 0, 1, 0], ["a", "b"])?;
/// let options = BatchOptions { size: 2, order: Order::Shuffled { seed: 7 }, ..BatchOptions::default() };
/// let batches = Batches::new(images, Normalisation::identity(1), options, &Device::Cpu)?;
/// assert_eq!(batches.per_epoch(), 3);
/// for batch in batches.epoch(0) {
///     assert!(batch?.images.dims()[0] <= 2);
/// }
/// # datasets::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    images: LabelledImages,
    normalisation: Normalisation,
    table: normalisation::Table,
    options: BatchOptions,
    device: Device,
    /// The order of the last read epoch. Computing it costs more than a batch.
    order: Arc<Mutex<Option<EpochOrder>>>,
}

impl Batches {
    /// Divides `images` into batches.
    ///
    /// **Errors** [`Error::InvalidOption`] if there is no image, the batch size is 0 or, with [`BatchOptions::drop_last`],
    /// above the number of images, the normalisation has another number of channels, or the augmentation does not fit.
    pub fn new(
        images: LabelledImages,
        normalisation: Normalisation,
        options: BatchOptions,
        device: &Device,
    ) -> Result<Self> {
        if options.size == 0 {
            let problem = "a batch needs at least one image".to_owned();
            return Err(Error::InvalidOption { option: "batch size", problem });
        }
        if images.is_empty() {
            let problem = format!("{} has no image, batches need at least one", images.name());
            return Err(Error::InvalidOption { option: "images", problem });
        }
        if options.drop_last && options.size > images.len() {
            let problem = format!(
                "{} is more than the {} images of the data set, and the last batch is dropped if it is not full, so an \
                 epoch would have no batch; choose a smaller size, or keep the last batch",
                options.size,
                images.len()
            );
            return Err(Error::InvalidOption { option: "batch size", problem });
        }
        if let Some(augmentation) = &options.augmentation {
            augmentation.check(images.shape())?;
        }
        let table = normalisation.table(images.shape())?;
        let order = Arc::default();
        Ok(Self { images, normalisation, table, options, device: device.clone(), order })
    }

    /// The images of all batches.
    pub fn images(&self) -> &LabelledImages {
        &self.images
    }

    /// The conversion of bytes into the values of [`Batch::images`].
    pub fn normalisation(&self) -> &Normalisation {
        &self.normalisation
    }

    /// The options.
    pub fn options(&self) -> &BatchOptions {
        &self.options
    }

    /// The number of batches per epoch.
    pub fn per_epoch(&self) -> usize {
        match self.options.drop_last {
            true => self.images.len() / self.options.size,
            false => self.images.len().div_ceil(self.options.size),
        }
    }

    /// The positions in the data set of the images of a batch.
    ///
    /// **Errors** [`Error::BatchOutOfRange`].
    pub fn indices(&self, position: Position) -> Result<Vec<usize>> {
        let range = self.range(position.index)?;
        match self.options.order {
            Order::Sequential => Ok(range.collect()),
            Order::Shuffled { seed } => Ok(self.epoch_order(seed, position.epoch)[range].to_vec()),
        }
    }

    /// One batch.
    ///
    /// **Errors** [`Error::BatchOutOfRange`], [`Error::Candle`].
    pub fn get(&self, position: Position) -> Result<Batch> {
        let indices = self.indices(position)?;
        let size = self.images.image_bytes();
        let mut values = vec![0f32; indices.len() * size];
        let mut changed = vec![0u8; size];
        for (&index, out) in indices.iter().zip(values.chunks_exact_mut(size)) {
            let (image, shape) = (self.images.image(index), self.images.shape());
            match &self.options.augmentation {
                None => self.table.apply(image, out),
                Some(augmentation) => {
                    let cut = augmentation.apply(image, shape, position.epoch, index as u64, &mut changed);
                    self.table.apply(&changed, out);
                    cut.apply(shape, out);
                }
            }
        }
        let labels: Vec<u32> = indices.iter().map(|&index| self.images.labels()[index]).collect();
        let [channels, height, width] = self.images.shape();
        Ok(Batch {
            images: Tensor::from_vec(values, (indices.len(), channels, height, width), &self.device)?,
            labels: Tensor::new(labels, &self.device)?,
        })
    }

    /// The batches of one epoch.
    pub fn epoch(&self, epoch: u64) -> impl Iterator<Item = Result<Batch>> + '_ {
        (0..self.per_epoch()).map(move |index| self.get(Position { epoch, index }))
    }

    /// The position after this one: the next batch of the epoch, or the first of the next epoch.
    pub fn next(&self, position: Position) -> Position {
        match position.index + 1 < self.per_epoch() {
            true => Position { index: position.index + 1, ..position },
            false => Position { epoch: position.epoch + 1, index: 0 },
        }
    }

    /// The batches from `start` (included) on, epoch after epoch without end.
    pub fn from(&self, start: Position) -> impl Iterator<Item = Result<Batch>> + '_ {
        self.positions(start).map(|position| self.get(position))
    }

    /// The batches of [`Self::from`], prepared by a background thread that is at most `ahead` batches ahead.
    pub fn prefetch(&self, start: Position, ahead: usize) -> crate::Prefetch {
        crate::Prefetch::new(self.clone(), start, ahead)
    }

    pub(crate) fn positions(&self, start: Position) -> impl Iterator<Item = Position> + '_ {
        std::iter::successors(Some(start), |&position| Some(self.next(position)))
    }

    fn range(&self, index: usize) -> Result<Range<usize>> {
        if index >= self.per_epoch() {
            return Err(Error::BatchOutOfRange { index, per_epoch: self.per_epoch() });
        }
        let start = index * self.options.size;
        Ok(start..(start + self.options.size).min(self.images.len()))
    }

    fn epoch_order(&self, seed: u64, epoch: u64) -> Arc<[usize]> {
        let mut last = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(order) if order.epoch == epoch => order.positions.clone(),
            _ => {
                let mut stream = streams::stream(seed, "datasets/batches/order", epoch);
                let positions: Arc<[usize]> = streams::permutation(&mut stream, self.images.len()).into();
                *last = Some(EpochOrder { epoch, positions: positions.clone() });
                positions
            }
        }
    }
}

#[cfg(test)]
mod tests;
