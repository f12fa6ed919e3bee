//! The configuration of one run: all settings that its numbers depend on, and the key computed from them.

use anyhow::{Context, Result, anyhow, bail};
use models::Initialisation;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::augmentation::Augmentation;
use super::metric::Metric;
use super::settings::differences;
pub(crate) use super::train::Train;
use super::train::TrainingSet;
use crate::suggest;
use crate::task::Task;

/// Version of run folders. It changes when the same configuration would give other numbers, or a run folder has another
/// layout.
pub(crate) const FORMAT: u32 = 2;

/// Hexadecimal digits of a run's key.
const KEY_DIGITS: usize = 12;

/// The sections of an experiment file that make up the configuration of a run.
pub(crate) const SECTIONS: [&str; 5] = ["task", "data", "model", "train", "measure"];

/// The largest count of images, probes or episodes in the settings. Larger ones would exceed any memory or time before a
/// message could be given.
const LARGEST_COUNT: usize = 10_000_000;
/// The widest border of images, in pixels.
const LARGEST_PADDING: usize = 1024;

/// The largest number of repeats of an estimator, which is the distance between the seeds of two runs.
const MOST_REPEATS: usize = 1 << 20;

/// All settings that the numbers of a run depend on. The machine and the number of threads are not among them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    /// [`FORMAT`] of the program that wrote it.
    pub(crate) format: u32,
    /// Which classes are measured.
    pub(crate) task: Task,
    /// Seed of every stream of random numbers.
    pub(crate) seed: u64,
    /// The largest number of images per step among the runs of the experiment. This run also measures after the number of steps
    /// that a run with that many takes.
    pub(crate) largest_batch_size: usize,
    /// The images.
    pub(crate) data: Data,
    /// The network.
    pub(crate) model: Model,
    /// The training.
    pub(crate) train: Train,
    /// The measurements.
    pub(crate) measure: Measure,
}

/// The images of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    /// Name of the data set.
    pub(crate) set: String,
    /// Number of classes to train on, evenly spaced in the list of the data set's (source) classes; 0 for all.
    pub(crate) classes: usize,
    /// Training images per class.
    pub(crate) train_images_per_class: usize,
    /// Test images per class.
    pub(crate) test_images_per_class: usize,
    /// Number of target classes of a transfer, evenly spaced in their list; 0 for all.
    pub(crate) target_classes: usize,
    /// Images per target class.
    pub(crate) target_images_per_class: usize,
    /// Black pixels around every image, on each side.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) padding: usize,
    /// Training batches that a thread prepares ahead; 0 for none. The results do not depend on it, and the key of a run neither.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) prefetch: usize,
    /// Random changes of the training images.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) augmentation: Augmentation,
}

/// The network of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// Name of the architecture.
    pub(crate) architecture: String,
    /// Factor on the number of channels of every layer.
    #[serde(default = "whole")]
    pub(crate) width: f64,
    /// Whether a batch norm follows every convolution, by default as the architecture has it. Only the VGG family leaves the choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch_norm: Option<bool>,
    /// The distribution of the initial weights.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) initialisation: Initialisation,
}

fn whole() -> f64 {
    1.0
}

/// Whether a setting has its default, so that it is left out of a configuration's TOML.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// When a run measures, and on how many images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measure {
    /// Measuring points, as shares of the training steps; 0 is the initial network.
    pub(crate) schedule: Vec<f64>,
    /// Further measuring points: where the running training loss first falls below these shares of ln k.
    pub(crate) loss_levels: Vec<f64>,
    /// Number of images over which the running training loss is averaged.
    pub(crate) loss_window: usize,
    /// Training images per class on which GC is estimated, and as many test images per class.
    pub(crate) gc_images_per_class: usize,
    /// Random projections per image.
    pub(crate) gc_probes: usize,
    /// Training images per class on whose features collapse is measured.
    pub(crate) feature_images_per_class: usize,
    /// Training images, and test images, per class on which layers are measured; by default 8, or `feature_images_per_class` where that
    /// is smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer_images_per_class: Option<usize>,
    /// On which images the measures of training images are computed.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub(crate) protocol: Protocol,
    /// Names of the layers that are measured at the end of training; none by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<String>,
    /// Measures of the registry beyond the standard ones, by their keys. Those that figures and claims name are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<Metric>,
    /// Few-shot episodes on the target classes.
    pub(crate) few_shot: FewShot,
    /// Estimators of GC that are compared with its exact value, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) estimators: Option<Estimators>,
}

/// The images on which the measures of training images are computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// The same images of every class at every measuring point.
    #[default]
    #[serde(alias = "fixed images")]
    FixedImages,
    /// Averages over the first training batches of the first epoch, each measured on its own.
    Batches,
}

impl Protocol {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Estimators of GC that are compared with its exact value, and the images for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Estimators {
    /// Number of training images, evenly spaced over the classes.
    pub(crate) images: usize,
    /// Independent estimates per setting and measuring point.
    pub(crate) repeats: usize,
    /// Sizes of the samples of images.
    pub(crate) batch_samples: Vec<usize>,
    /// Probabilities with which an entry of the Jacobian is kept.
    pub(crate) mask_rates: Vec<f64>,
    /// Numbers of sampled outputs (rows of the Jacobian).
    pub(crate) output_samples: Vec<usize>,
}

/// N-way K-shot classification (Snell, Swersky and Zemel 2017).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FewShot {
    /// Classes per episode.
    pub(crate) way: usize,
    /// Support images per class.
    pub(crate) shot: usize,
    /// Query images per class.
    pub(crate) query: usize,
    /// Number of episodes.
    pub(crate) episodes: usize,
    /// Penalty of the ridge head, as a multiple of the mean diagonal entry of the support features' Gram matrix.
    pub(crate) ridge: f64,
}

impl Configuration {
    /// The configuration of a run, from the settings of an experiment file.
    pub(crate) fn from_experiment(tree: &Table, seed: u64, largest_batch_size: usize) -> Result<Self> {
        let mut own = Table::new();
        for key in SECTIONS {
            if let Some(value) = tree.get(key) {
                own.insert(key.to_owned(), value.clone());
            }
        }
        own.insert("format".to_owned(), i64::from(FORMAT).into());
        own.insert("seed".to_owned(), i64::try_from(seed).context("a seed may be at most 9223372036854775807")?.into());
        let largest = i64::try_from(largest_batch_size).context("a batch size may be at most 9223372036854775807")?;
        own.insert("largest_batch_size".to_owned(), largest.into());
        let configuration: Self = own.try_into().map_err(one_line)?;
        configuration.check()?;
        Ok(configuration)
    }

    /// Parses the text of [`Configuration::to_toml`].
    ///
    /// # Errors
    /// Text that is not a configuration, and a configuration of another format.
    pub(crate) fn from_toml(text: &str) -> Result<Self> {
        let format = toml::from_str::<Table>(text).map_err(one_line)?.get("format").and_then(toml::Value::as_integer);
        if format != Some(i64::from(FORMAT)) {
            let found = format.map_or_else(|| "none".to_owned(), |format| format.to_string());
            bail!("the run has format {found}, this program reads and writes format {FORMAT}");
        }
        toml::from_str(text).map_err(one_line)
    }

    /// The configuration as a TOML file.
    pub(crate) fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// The configuration as TOML without what the results do not depend on.
    pub(crate) fn identity(&self) -> Result<String> {
        self.without_execution().to_toml()
    }

    fn without_execution(&self) -> Self {
        let data = Data { prefetch: 0, ..self.data.clone() };
        Self { data, ..self.clone() }
    }

    /// SHA-256 of [`Configuration::identity`] in hexadecimal.
    pub(crate) fn digest(&self) -> Result<String> {
        Ok(support::sha256(self.identity()?.as_bytes()))
    }

    /// Name of the run's folder: the first twelve digits of [`Configuration::digest`].
    pub(crate) fn key(&self) -> Result<String> {
        Ok(self.digest()?[..KEY_DIGITS].to_owned())
    }

    /// The first setting whose value differs from that in `expected`, in words; none if all are equal.
    pub(crate) fn first_difference(&self, expected: &Self) -> Result<Option<String>> {
        let table = |configuration: &Self| Table::try_from(configuration.without_execution());
        let (found, expected) = (table(self)?, table(expected)?);
        Ok(differences(&found, &expected).first().map(|difference| difference.words("expected")))
    }

    /// Steps of the training on this number of images.
    pub(crate) fn steps(&self, images: usize) -> usize {
        self.steps_with(images, self.train.images_per_step())
    }

    /// Steps of the same training with another number of images per step.
    pub(crate) fn steps_with(&self, images: usize, per_step: usize) -> usize {
        ((self.train.epochs * images as f64 / per_step as f64).round() as usize).max(1)
    }

    /// Number of training classes, if it is known without reading the data set.
    fn classes(&self) -> Option<usize> {
        if self.data.classes > 0 {
            return Some(self.data.classes);
        }
        let entry = datasets::entries().iter().find(|entry| entry.name == self.data.set)?;
        match self.task {
            Task::Classification => Some(entry.classes),
            Task::Transfer => entry.class_split().ok().flatten().map(|split| split.train().len()),
        }
    }

    /// The training images. Where the number of classes is not known, it is taken for large, so that nothing is refused for it.
    fn training_set(&self) -> TrainingSet {
        let classes = self.classes().unwrap_or(1_000_000);
        TrainingSet { images: classes.saturating_mul(self.data.train_images_per_class), classes }
    }

    fn check_train(&self) -> Result<()> {
        let set = self.training_set();
        // Zeros are refused below, and must not divide before.
        let per_step = self.train.images_per_step().max(1);
        self.train.check(set, self.seed, self.steps_with(set.images, per_step) as u64)?;
        if self.train.batch_size > set.images {
            bail!(
                "train.batch_size = {}: there are only {} training images ({} classes of data.train_images_per_class = {})",
                self.train.batch_size,
                set.images,
                set.classes,
                self.data.train_images_per_class
            );
        }
        match datasets::entries().iter().find(|entry| entry.name == self.data.set) {
            Some(entry) => {
                let [_, height, width] = self.data.padded(entry.shape);
                self.data.augmentation.check([height, width])
            }
            None => Ok(()),
        }
    }
}

impl Configuration {
    fn check(&self) -> Result<()> {
        self.data.check()?;
        positive("model.width", self.model.width)?;
        self.check_train()?;
        self.measure.check()?;
        self.check_counts()?;
        let FewShot { way, shot, query, .. } = self.measure.few_shot;
        let Data { target_classes, target_images_per_class: per_class, .. } = self.data;
        if self.task == Task::Transfer && per_class < shot + query {
            bail!(
                "data.target_images_per_class = {per_class}: {shot} shots and {query} queries need {} images of each class",
                shot + query
            );
        }
        let gc = self.measure.gc_images_per_class;
        if self.task == Task::Transfer && per_class < gc {
            bail!(
                "measure.gc_images_per_class = {gc} contradicts data.target_images_per_class = {per_class}: there are no more \
                 images of each class"
            );
        }
        if self.task == Task::Transfer && (1..way).contains(&target_classes) {
            bail!(
                "data.target_classes = {target_classes}: episodes of measure.few_shot.way = {way} need as many classes"
            );
        }
        Ok(())
    }
}

impl Configuration {
    /// Refuses to measure more images than exist; otherwise fewer would be measured without notice.
    fn check_counts(&self) -> Result<()> {
        let Data { train_images_per_class: train, test_images_per_class: test, .. } = self.data;
        let Measure { gc_images_per_class: gc, feature_images_per_class: features, .. } = self.measure;
        let layers = self.measure.layer_images_per_class.unwrap_or(1);
        for (name, wanted, of, there) in [
            ("measure.feature_images_per_class", features, "data.train_images_per_class", train),
            ("measure.layer_images_per_class", layers, "data.train_images_per_class", train),
            ("measure.gc_images_per_class", gc, "measure.feature_images_per_class", features),
            ("measure.gc_images_per_class", gc, "data.test_images_per_class", test),
        ] {
            if wanted > there {
                bail!("{name} = {wanted} contradicts {of} = {there}: there are no more images of each class");
            }
        }
        Ok(())
    }
}

impl Data {
    /// The shape of these images, given that of the data set's.
    pub(crate) fn padded(&self, [channels, height, width]: [usize; 3]) -> [usize; 3] {
        [channels, height + 2 * self.padding, width + 2 * self.padding]
    }

    fn check(&self) -> Result<()> {
        for (name, count) in [
            ("data.train_images_per_class", self.train_images_per_class),
            ("data.test_images_per_class", self.test_images_per_class),
        ] {
            if !(2..=LARGEST_COUNT).contains(&count) {
                bail!("{name}: expected a whole number from 2 to {LARGEST_COUNT}, got {count}");
            }
        }
        if self.padding > LARGEST_PADDING {
            bail!("data.padding: expected a whole number from 0 to {LARGEST_PADDING}, got {}", self.padding);
        }
        Ok(())
    }
}

impl Measure {
    /// Refuses schedules out of order and counts of zero.
    pub(crate) fn check(&self) -> Result<()> {
        rising("measure.schedule", &self.schedule, 0.0, 1.0)?;
        if self.schedule.last() != Some(&1.0) {
            bail!("measure.schedule: the last point must be 1, the end of training, got {:?}", self.schedule);
        }
        let falling: Vec<f64> = self.loss_levels.iter().rev().copied().collect();
        rising("measure.loss_levels (from last to first)", &falling, f64::MIN_POSITIVE, 1.0)?;
        for (name, count) in [
            ("measure.loss_window", self.loss_window),
            ("measure.gc_images_per_class", self.gc_images_per_class),
            ("measure.gc_probes", self.gc_probes),
            ("measure.feature_images_per_class", self.feature_images_per_class),
            ("measure.layer_images_per_class", self.layer_images_per_class.unwrap_or(1)),
            ("measure.few_shot.way", self.few_shot.way),
            ("measure.few_shot.shot", self.few_shot.shot),
            ("measure.few_shot.query", self.few_shot.query),
            ("measure.few_shot.episodes", self.few_shot.episodes),
        ] {
            if !(1..=LARGEST_COUNT).contains(&count) {
                bail!("{name}: expected a whole number from 1 to {LARGEST_COUNT}, got {count}");
            }
        }
        positive("measure.few_shot.ridge", self.few_shot.ridge)?;
        self.estimators.as_ref().map_or(Ok(()), Estimators::check)
    }
}

impl Estimators {
    fn check(&self) -> Result<()> {
        for (name, count, most) in [("images", self.images, LARGEST_COUNT), ("repeats", self.repeats, MOST_REPEATS)] {
            if !(1..=most).contains(&count) {
                bail!("measure.estimators.{name}: expected a whole number from 1 to {most}, got {count}");
            }
        }
        let counts = |values: &[usize]| values.iter().map(|count| *count as f64).collect::<Vec<_>>();
        rising("measure.estimators.batch_samples", &counts(&self.batch_samples), 2.0, self.images as f64)?;
        rising("measure.estimators.mask_rates", &self.mask_rates, f64::MIN_POSITIVE, 1.0)?;
        rising("measure.estimators.output_samples", &counts(&self.output_samples), 1.0, LARGEST_COUNT as f64)
    }
}

pub(super) fn positive(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    bail!("{name}: expected a positive number, got {value}")
}

pub(super) fn rising(name: &str, values: &[f64], low: f64, high: f64) -> Result<()> {
    let inside = values.iter().all(|value| (low..=high).contains(value));
    if inside && values.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    bail!("{name}: expected rising numbers from {low} to {high}, got {values:?}")
}

pub(super) fn one_line(error: toml::de::Error) -> anyhow::Error {
    anyhow!(suggest::with_nearest(error.to_string().trim()).replace('\n', " "))
}
