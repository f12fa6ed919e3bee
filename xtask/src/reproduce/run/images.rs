//! The images of a run: training images, test images, and those of the target classes of a transfer.

use std::path::Path;

use anyhow::{Context, Result, bail};
use datasets::{Dataset, LabelledImages, Normalisation, Source};

use crate::study::configuration::{Configuration, Data};
use crate::study::store::DataFile;
use crate::task::Task;

/// The images of a run.
pub(super) struct Images {
    /// Training images.
    pub(super) train: LabelledImages,
    /// Test images, of the same classes.
    pub(super) test: LabelledImages,
    /// Images of the target classes of a transfer, which training never sees.
    pub(super) target: Option<LabelledImages>,
    /// The normalisation of the network's inputs.
    pub(super) normalisation: Normalisation,
    /// The files of the data set.
    pub(super) files: Vec<DataFile>,
}

impl Images {
    /// Reads or draws the images of a configuration.
    ///
    /// # Errors
    /// Errors of the data set, fewer classes or images than configured, and a transfer on a data set without target classes.
    pub(super) fn load(configuration: &Configuration, data_dir: Option<&Path>) -> Result<Self> {
        let Data { set, classes, target_classes, target_images_per_class, .. } = &configuration.data;
        let source = source(configuration, data_dir);
        let split = datasets::class_split(set, &source)?;
        match configuration.task {
            Task::Classification => {
                // If the names are known beforehand, only the classes in use are read or drawn.
                let known = split.map(|split| [split.train(), split.validation(), split.test()].concat());
                let names = known.map(|known| spread(&known, *classes, set, "data.classes")).transpose()?;
                let read = datasets::load(set, &Source { classes: names, ..source })?;
                let names = spread(read.train.classes(), *classes, set, "data.classes")?;
                Self::of(read.with_classes(&names)?, None, configuration)
            }
            Task::Transfer => {
                let split = split.with_context(|| format!("the data set `{set}` has no source and target classes"))?;
                let own = spread(split.train(), *classes, set, "data.classes")?;
                let target = spread(split.test(), *target_classes, set, "data.target_classes")?;
                let both = [own.as_slice(), target.as_slice()].concat();
                let read = datasets::load(set, &Source { classes: Some(both), ..source })?;
                let target = read.with_classes(&target)?.all()?;
                enough(&target, *target_images_per_class, "data.target_images_per_class")?;
                let target = target.limit_per_class(*target_images_per_class, configuration.seed);
                Self::of(read.with_classes(&own)?, Some(target), configuration)
            }
        }
    }

    fn of(own: Dataset, target: Option<LabelledImages>, configuration: &Configuration) -> Result<Self> {
        let Data { train_images_per_class, test_images_per_class, .. } = configuration.data;
        enough(&own.train, train_images_per_class, "data.train_images_per_class")?;
        enough(&own.test, test_images_per_class, "data.test_images_per_class")?;
        let padding = configuration.data.padding;
        let padded = |images: LabelledImages| if padding == 0 { Ok(images) } else { images.pad(padding) };
        let files = own.files.iter().map(|file| DataFile { file: file.file.clone(), sha256: file.sha256.clone() });
        Ok(Self {
            train: padded(own.train.limit_per_class(train_images_per_class, configuration.seed))?,
            test: padded(own.test.limit_per_class(test_images_per_class, configuration.seed))?,
            target: target.map(padded).transpose()?,
            normalisation: own.normalisation.clone(),
            files: files.collect(),
        })
    }
}

/// The source of the data set, limited to the images per class that the run needs.
fn source(configuration: &Configuration, data_dir: Option<&Path>) -> Source {
    let Data { train_images_per_class: train, test_images_per_class: test, target_images_per_class: target, .. } =
        configuration.data;
    Source {
        train_per_class: Some(train),
        test_per_class: Some(test.max(target.saturating_sub(train))),
        seed: configuration.seed,
        data_dir: data_dir.map(Path::to_owned),
        ..Source::from_env()
    }
}

/// `count` evenly spaced names; every name for 0.
fn spread(names: &[String], count: usize, set: &str, setting: &str) -> Result<Vec<String>> {
    if count > names.len() {
        bail!("{setting} = {count}: `{set}` has {} such classes; give a smaller number, or 0 for all", names.len());
    }
    let wanted = if count == 0 { names.len() } else { count };
    Ok((0..wanted).map(|index| names[index * names.len() / wanted].clone()).collect())
}

fn enough(images: &LabelledImages, wanted: usize, setting: &str) -> Result<()> {
    let counts = images.images_per_class();
    match counts.iter().zip(images.classes()).find(|(count, _)| **count < wanted) {
        Some((count, class)) => bail!("{setting} = {wanted}: class `{class}` has only {count} images"),
        None => Ok(()),
    }
}
