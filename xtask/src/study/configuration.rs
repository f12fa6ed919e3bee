//! The configuration of one run: all settings that its numbers depend on, and the key computed from them.

use anyhow::{Context, Result, anyhow, bail};
use models::DeviceName;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::metric::Metric;
use super::settings::differences;
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
    /// The largest batch size among the runs of the experiment. This run also measures after the number of steps that a run
    /// with that batch size takes.
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
}

/// The network of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// Name of the architecture.
    pub(crate) architecture: String,
    /// Factor on the number of channels of every layer.
    pub(crate) width: f64,
    /// Whether a batch norm follows every convolution. Only the VGG family leaves the choice.
    pub(crate) batch_norm: bool,
}

/// Training by stochastic gradient descent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Train {
    /// Learning rate, constant.
    pub(crate) learning_rate: f64,
    /// Images per step.
    pub(crate) batch_size: usize,
    /// Weight decay: this times the parameter is added to the gradient.
    pub(crate) l2: f64,
    /// Momentum.
    pub(crate) momentum: f64,
    /// λ of the penalty λ·GC on the training loss, with GC estimated from one random projection per image; 0 for none.
    pub(crate) gc_penalty: f64,
    /// Passes over the training images.
    pub(crate) epochs: f64,
    /// The device; the last digits of the results depend on it.
    #[serde(default, skip_serializing_if = "is_cpu")]
    pub(crate) device: DeviceName,
    /// Whether convolutions multiply in bf16 during training, which needs a CUDA device and cuDNN. Measurements never do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) mixed_precision: bool,
}

fn is_cpu(device: &DeviceName) -> bool {
    *device == DeviceName::Cpu
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

    /// SHA-256 of [`Configuration::to_toml`] in hexadecimal.
    pub(crate) fn digest(&self) -> Result<String> {
        Ok(support::sha256(self.to_toml()?.as_bytes()))
    }

    /// Name of the run's folder: the first twelve digits of [`Configuration::digest`].
    pub(crate) fn key(&self) -> Result<String> {
        Ok(self.digest()?[..KEY_DIGITS].to_owned())
    }

    /// The first setting whose value differs from that in `expected`, in words; none if all are equal.
    pub(crate) fn first_difference(&self, expected: &Self) -> Result<Option<String>> {
        let (found, expected) = (Table::try_from(self)?, Table::try_from(expected)?);
        Ok(differences(&found, &expected).first().map(|difference| difference.words("expected")))
    }

    /// Steps of the training on this number of images.
    pub(crate) fn steps(&self, images: usize) -> usize {
        self.steps_with(images, self.train.batch_size)
    }

    /// Steps of the same training with another batch size.
    pub(crate) fn steps_with(&self, images: usize, batch_size: usize) -> usize {
        ((self.train.epochs * images as f64 / batch_size as f64).round() as usize).max(1)
    }
}

impl Configuration {
    fn check(&self) -> Result<()> {
        self.data.check()?;
        positive("model.width", self.model.width)?;
        self.train.check()?;
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
        for (name, wanted, of, there) in [
            ("measure.feature_images_per_class", features, "data.train_images_per_class", train),
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
    fn check(&self) -> Result<()> {
        for (name, count) in [
            ("data.train_images_per_class", self.train_images_per_class),
            ("data.test_images_per_class", self.test_images_per_class),
        ] {
            if !(2..=LARGEST_COUNT).contains(&count) {
                bail!("{name}: expected a whole number from 2 to {LARGEST_COUNT}, got {count}");
            }
        }
        Ok(())
    }
}

impl Train {
    fn check(&self) -> Result<()> {
        positive("train.learning_rate", self.learning_rate)?;
        positive("train.epochs", self.epochs)?;
        if self.batch_size == 0 {
            bail!("train.batch_size: expected at least 1, got 0");
        }
        if !(self.l2.is_finite() && self.l2 >= 0.0) {
            bail!("train.l2: expected zero or a positive number, got {}", self.l2);
        }
        if !(0.0..1.0).contains(&self.momentum) {
            bail!("train.momentum: expected a number in [0, 1), got {}", self.momentum);
        }
        if self.mixed_precision && !matches!(self.device, DeviceName::Cuda(_)) {
            bail!(
                "train.mixed_precision: it takes a CUDA device and cuDNN, but train.device is `{}`; set one of them to \
                 something else",
                self.device
            );
        }
        if !(self.gc_penalty.is_finite() && self.gc_penalty >= 0.0) {
            bail!("train.gc_penalty: expected zero or a positive number, got {}", self.gc_penalty);
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

fn positive(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    bail!("{name}: expected a positive number, got {value}")
}

fn rising(name: &str, values: &[f64], low: f64, high: f64) -> Result<()> {
    let inside = values.iter().all(|value| (low..=high).contains(value));
    if inside && values.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    bail!("{name}: expected rising numbers from {low} to {high}, got {values:?}")
}

fn one_line(error: toml::de::Error) -> anyhow::Error {
    anyhow!(error.to_string().trim().replace('\n', " "))
}
