//! The assembly: parts one after another, then what needs several of them.

mod bounds;
mod collapsed;
mod complexity;
mod decomposed;
mod each_layer;
mod episodes;
mod forward;
mod head_results;
mod jackknife;
mod layers;
mod outputs;
mod training_batches;
mod watcher;

use gc_core::Estimate;

use crate::options::Stage;
use crate::{Assessment, Data, Images, Network, Options, Part, PartOf, Result};
use forward::Forward;
use watcher::Watcher;

impl Assessment {
    /// Measures a network on labelled images.
    ///
    /// Every image goes through the network once for its features, on which everything but geometric complexity is computed:
    /// collapse, loss and accuracy of the head, few-shot accuracy, transfer scores, the check that features are finite.
    /// Geometric complexity takes passes of its own, on all images or on those that are given for it; layers take one more pass
    /// over their few images.
    ///
    /// **Memory** one batch of images, and the features of all parts (n·p numbers each, on the CPU); moments (K·p numbers, p²
    /// with the full scatter matrix). [`Options::with_memory_limit`] limits the features of a part.
    ///
    /// **Errors** those of the sources and of the network, and every [`crate::Error`] of settings. Measures that the data leave
    /// undefined are no error: they have no value.
    ///
    /// ```
    /// use assess::{Assessment, Data, Images, Network, Options, measures};
    /// use candle_core::{Device, Tensor};
    ///
    /// // The identity on two classes: at (±1, 0), and at (0, 8) and (0, 12).
    /// let images = Tensor::new(&[[-1f64, 0.0], [1.0, 0.0], [0.0, 8.0], [0.0, 12.0]], &Device::Cpu)?;
    /// let train = vec![(images, vec![0u32, 0, 1, 1])];
    /// let network = |x: &Tensor| x * 1.0;
    /// let assessment = Assessment::of(&Network::new(&network), &Data::new(Images::new(&train)), &Options::default())?;
    /// let value = |measure: assess::Measure| measure.read(&assessment).and_then(|measured| measured.value);
    /// assert_eq!(value(measures::GC), Some(2.0));
    /// assert_eq!(value(measures::NC), Some(0.025));
    /// assert_eq!(value(measures::TEST_NC), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(network: &Network<'_>, data: &Data<'_>, options: &Options<'_>) -> Result<Self> {
        let assembly = Assembly { network, options, watcher: Watcher::new(options.watch) };
        assembly.assess(data)
    }
}

/// One assessment in progress.
struct Assembly<'a> {
    network: &'a Network<'a>,
    options: &'a Options<'a>,
    watcher: Watcher<'a>,
}

impl Assembly<'_> {
    fn assess(&self, data: &Data<'_>) -> Result<Assessment> {
        let train = self.part(PartOf::Train, &data.train)?;
        let mut assessment = Assessment::of_parts(train);
        if let Some(test) = &data.test {
            let test = self.part(PartOf::Test, test)?;
            self.watcher.see(Stage::Bounds, 0)?;
            assessment.bounds = bounds::measure(&assessment.train, &test)?;
            assessment.test = Some(test);
        }
        if let Some(target) = &data.target {
            assessment.target = Some(self.part(PartOf::Target, target)?);
        }
        let (name, of) = match &assessment.target {
            Some(target) => (PartOf::Target, target),
            None => (PartOf::Train, &assessment.train),
        };
        if let Some(few_shot) = &self.options.few_shot {
            self.watcher.see(Stage::FewShot, 0)?;
            assessment.few_shot = Some(episodes::measure(name, of, few_shot)?);
        }
        if self.options.transfer_scores {
            self.watcher.see(Stage::FewShot, 0)?;
            assessment.transfer = Some(episodes::transfer(name, of)?);
        }
        if let Some(batches) = data.training_batches {
            self.average_over(batches, &mut assessment.train)?;
        }
        if let Some(layers) = &self.options.layers {
            assessment.layers = self.layers(layers, data.layers.as_ref(), assessment.train.classes)?;
        }
        Ok(assessment)
    }

    /// Everything that is measured on the images of one part.
    fn part(&self, part: PartOf, images: &Images<'_>) -> Result<Part> {
        let gc = self.complexity_of(part, images)?;
        let forward = self.features(part, images.features)?;
        self.finished(part, images, forward, gc)
    }

    /// Geometric complexity of the images of a part, if it is asked for.
    fn complexity_of(&self, part: PartOf, images: &Images<'_>) -> Result<Option<Estimate>> {
        let complexity = images.complexity.unwrap_or(images.features);
        let settings = self.options.complexity.as_ref();
        settings.map(|settings| self.complexity(part, self.network.map(), settings, complexity)).transpose()
    }

    /// The part with what is computed on its features, if there are any.
    fn finished(
        &self,
        part: PartOf,
        images: &Images<'_>,
        forward: Option<Forward>,
        gc: Option<Estimate>,
    ) -> Result<Part> {
        let Some(forward) = forward else {
            return Ok(Part::unlabelled(gc));
        };
        self.watcher.see(Stage::Collapse(part), 0)?;
        self.collapsed(part, images.classes, forward, gc)
    }
}

/// The result of an operation that is undefined on these data: no value, and no error.
fn defined<T, E>(result: std::result::Result<T, E>) -> Option<T> {
    result.ok()
}
