//! Images of the crate `datasets` as a source.

use candle_core::Device;
use datasets::{LabelledImages, Normalisation};
use gc_core::Batch;

use crate::{BoxError, Source};

impl<'s> Source<'s> {
    /// All images in their order, normalised, in batches of `size`. Only one batch is in memory as numbers at a time.
    ///
    /// ```
    /// use assess::{Assessment, Data, Images, Network, Options, Source, measures};
    /// use candle_core::{DType, Device, Tensor};
    ///
    /// let few = datasets::Source { train_per_class: Some(3), test_per_class: Some(2), ..datasets::Source::from_env() };
    /// let classes = datasets::class_split("glyphs", &few)?.unwrap().train()[..2].to_vec();
    /// let set = datasets::load("glyphs", &datasets::Source { classes: Some(classes), ..few })?;
    /// let images = |part| Source::of_images(part, &set.normalisation, &Device::Cpu, 4);
    /// let (train, test) = (images(&set.train), images(&set.test));
    /// let data = Data::new(Images::new(&train)).with_test(Images::new(&test));
    /// let network = |x: &Tensor| x.flatten_from(1)?.narrow(1, 0, 8)?.tanh();
    /// let assessment = Assessment::of(&Network::new(&network), &data, &Options::default())?;
    /// assert_eq!((assessment.train.samples, assessment.test.unwrap().samples), (6, 4));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_images(
        images: &'s LabelledImages,
        normalisation: &'s Normalisation,
        device: &'s Device,
        size: usize,
    ) -> Self {
        let size = size.max(1);
        Self::new(move || {
            (0..images.len()).step_by(size).map(move |first| {
                let positions: Vec<usize> = (first..images.len().min(first + size)).collect();
                let batch = images.batch(&positions, normalisation, device)?;
                Ok::<_, BoxError>(Batch::from((batch.images, batch.labels.to_vec1::<u32>()?)))
            })
        })
    }
}
