//! The labelled images on which a network is assessed.

use std::error::Error as StdError;

use candle_core::Tensor;
use gc_core::Batch;

/// An error of a caller's source or network.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A batch, or the reason why it cannot be read.
pub type BatchResult = std::result::Result<Batch, BoxError>;

/// A source of batches that can be read more than once: geometric complexity needs passes of its own.
///
/// Batches in memory are a source, and so is a [`Source`] of a closure that returns an iterator of them:
///
/// ```
/// use assess::{Batches, BoxError, Source};
/// use candle_core::{DType, Device, Tensor};
/// use gc_core::Batch;
/// let zeros = || Tensor::zeros((2, 3), DType::F32, &Device::Cpu);
/// let in_memory = vec![(zeros()?, vec![0u32, 1]), (zeros()?, vec![1, 0])];
/// assert_eq!(in_memory.batches().count(), 2);
/// let drawn = Source::new(|| (0..3).map(|_| Ok::<_, BoxError>(Batch::from((zeros()?, vec![0u32, 1])))));
/// assert_eq!(drawn.batches().count(), 3);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub trait Batches {
    /// The batches from the first one on.
    fn batches(&self) -> Box<dyn Iterator<Item = BatchResult> + '_>;
}

impl Batches for Vec<(Tensor, Vec<u32>)> {
    fn batches(&self) -> Box<dyn Iterator<Item = BatchResult> + '_> {
        Box::new(self.iter().map(|batch| Ok(batch.clone().into())))
    }
}

impl Batches for Vec<Batch> {
    fn batches(&self) -> Box<dyn Iterator<Item = BatchResult> + '_> {
        Box::new(self.iter().map(|batch| Ok(batch.clone())))
    }
}

/// A closure that reads the batches from the first one on.
pub struct Source<'s>(Read<'s>);

type Read<'s> = Box<dyn Fn() -> Box<dyn Iterator<Item = BatchResult> + 's> + 's>;

impl<'s> Source<'s> {
    /// The source of a closure, which is called once for the features and once for geometric complexity.
    pub fn new<I>(read: impl Fn() -> I + 's) -> Self
    where
        I: Iterator<Item = BatchResult> + 's,
    {
        Self(Box::new(move || Box::new(read())))
    }
}

impl Batches for Source<'_> {
    fn batches(&self) -> Box<dyn Iterator<Item = BatchResult> + '_> {
        (self.0)()
    }
}

/// The images of one part: training, test or target images.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    pub(crate) features: &'a dyn Batches,
    pub(crate) complexity: Option<&'a dyn Batches>,
    pub(crate) classes: Option<usize>,
}

impl<'a> Images<'a> {
    /// All images. With a label for every image, collapse is measured; without any label, geometric complexity alone.
    pub fn new(batches: &'a dyn Batches) -> Self {
        Self { features: batches, complexity: None, classes: None }
    }

    /// Other images for geometric complexity, such as fewer of the same ones, or the same in random order.
    pub fn with_complexity(self, batches: &'a dyn Batches) -> Self {
        Self { complexity: Some(batches), ..self }
    }

    /// The number of classes; by default that of the head, or the largest label plus one.
    pub fn with_classes(self, classes: impl Into<Option<usize>>) -> Self {
        Self { classes: classes.into(), ..self }
    }
}

/// Few images on which single layers are measured.
#[derive(Clone, Copy)]
pub struct LayerImages<'a> {
    pub(crate) train: &'a dyn Batches,
    pub(crate) complexity: &'a dyn Batches,
    pub(crate) probe: &'a dyn Batches,
    pub(crate) are_targets: bool,
}

impl<'a> LayerImages<'a> {
    /// Training images for collapse, others (or the same) for geometric complexity, and test images on which the ridge head of
    /// the training images is evaluated.
    pub fn new(train: &'a dyn Batches, complexity: &'a dyn Batches, test: &'a dyn Batches) -> Self {
        Self { train, complexity, probe: test, are_targets: false }
    }

    /// The same with images of target classes in place of test images, on which few-shot episodes are evaluated.
    pub fn with_target(train: &'a dyn Batches, complexity: &'a dyn Batches, target: &'a dyn Batches) -> Self {
        Self { train, complexity, probe: target, are_targets: true }
    }
}

/// The labelled images on which a network is assessed.
///
/// ```
/// use assess::{Data, Images};
/// # use candle_core::{Device, Tensor};
/// # let train = vec![(Tensor::new(&[[0f32], [1.0]], &Device::Cpu)?, vec![0u32, 1])];
/// # let test = train.clone();
/// let data = Data::new(Images::new(&train)).with_test(Images::new(&test));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Data<'a> {
    pub(crate) train: Images<'a>,
    pub(crate) test: Option<Images<'a>>,
    pub(crate) target: Option<Images<'a>>,
    pub(crate) training_batches: Option<&'a dyn Batches>,
    pub(crate) layers: Option<LayerImages<'a>>,
}

impl<'a> Data<'a> {
    /// Training images, or the only images.
    pub fn new(train: Images<'a>) -> Self {
        Self { train, test: None, target: None, training_batches: None, layers: None }
    }

    /// Test images of the training classes.
    pub fn with_test(self, test: Images<'a>) -> Self {
        Self { test: Some(test), ..self }
    }

    /// Images of target classes, which training never sees. Few-shot accuracy and transfer scores are then measured on them.
    pub fn with_target(self, target: Images<'a>) -> Self {
        Self { target: Some(target), ..self }
    }

    /// Training batches over which GC, NC and their factors are averaged, in place of the values on all training images: every
    /// one is computed on a batch alone. Classes with one image in a batch have no variance, and are left out of its collapse.
    pub fn with_training_batches(self, batches: &'a dyn Batches) -> Self {
        Self { training_batches: Some(batches), ..self }
    }

    /// Images on which the layers of [`crate::Options::with_layers`] are measured.
    pub fn with_layer_images(self, images: LayerImages<'a>) -> Self {
        Self { layers: Some(images), ..self }
    }
}
