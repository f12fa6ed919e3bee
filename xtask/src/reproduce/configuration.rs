//! The configuration of one run: everything that its numbers depend on, and the key made from it.

use anyhow::{Context, Result, anyhow, bail};
use models::DeviceName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::Table;

use super::experiment::Task;

/// Raised whenever the same configuration would give other numbers, or a run folder another layout.
pub(crate) const FORMAT: u32 = 2;

/// Hexadecimal digits of a run's key.
const KEY_DIGITS: usize = 12;

/// The sections of an experiment that make a run.
pub(crate) const SECTIONS: [&str; 5] = ["task", "data", "model", "train", "measure"];

/// Everything that the numbers of a run depend on; where and how fast it runs is not part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    /// [`FORMAT`] of the program that resolved it.
    pub(crate) format: u32,
    /// Which classes the measures look at.
    pub(crate) task: Task,
    /// Seed of every stream of random numbers.
    pub(crate) seed: u64,
    /// The largest batch size among the runs that this one is compared with; it also measures after as many steps as
    /// that run takes.
    pub(crate) largest_batch_size: usize,
    /// What images there are.
    pub(crate) data: Data,
    /// What is trained.
    pub(crate) model: Model,
    /// How it is trained.
    pub(crate) train: Train,
    /// What is measured.
    pub(crate) measure: Measure,
}

/// The images of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    /// Name of the data set.
    pub(crate) set: String,
    /// Classes that are trained on, spread evenly over those that there are; 0 is all.
    pub(crate) classes: usize,
    /// Images that each of them is trained on.
    pub(crate) train_images_per_class: usize,
    /// Other images of them, on which is tested.
    pub(crate) test_images_per_class: usize,
    /// Classes that a transfer goes to, spread evenly over those that there are; 0 is all.
    pub(crate) target_classes: usize,
    /// Images of each of them.
    pub(crate) target_images_per_class: usize,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// Name of the architecture.
    pub(crate) architecture: String,
    /// Factor on all of its widths.
    pub(crate) width: f64,
    /// Whether a batch norm follows every convolution, where the architecture leaves the choice.
    pub(crate) batch_norm: bool,
}

/// Stochastic gradient descent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Train {
    /// Constant learning rate.
    pub(crate) learning_rate: f64,
    /// Images a step.
    pub(crate) batch_size: usize,
    /// Weight decay: the gradient gets this times the parameter.
    pub(crate) l2: f64,
    /// Momentum.
    pub(crate) momentum: f64,
    /// λ of the term λ·GC of the training loss, GC estimated by one projection an image; 0 is no such term.
    pub(crate) gc_penalty: f64,
    /// Passes over the training images.
    pub(crate) epochs: f64,
    /// Where it is computed; the last digits depend on it.
    #[serde(default, skip_serializing_if = "is_cpu")]
    pub(crate) device: DeviceName,
    /// Whether convolutions of the training multiply in bf16, which takes a CUDA device and cuDNN; measures never do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) mixed_precision: bool,
}

fn is_cpu(device: &DeviceName) -> bool {
    *device == DeviceName::Cpu
}

/// What is measured, when, and on how many images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measure {
    /// Measuring points, as shares of training; 0 is the initialisation.
    pub(crate) schedule: Vec<f64>,
    /// Further points: when the running training loss first falls below these shares of ln k.
    pub(crate) loss_levels: Vec<f64>,
    /// Images over which the running training loss is averaged.
    pub(crate) loss_window: usize,
    /// Images of each class on which GC is estimated, and as many test images.
    pub(crate) gc_images_per_class: usize,
    /// Random projections an image.
    pub(crate) gc_probes: usize,
    /// Training images of each class whose features are measured.
    pub(crate) feature_images_per_class: usize,
    /// Episodes on the target classes.
    pub(crate) few_shot: FewShot,
    /// Estimators of GC that are held against its exact value, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) estimators: Option<Estimators>,
}

/// Estimators of GC and the images on which they are held against the exact value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Estimators {
    /// Training images, spread evenly over the classes.
    pub(crate) images: usize,
    /// Estimates of each setting at each measuring point, with draws of their own.
    pub(crate) repeats: usize,
    /// Sizes of batch samples.
    pub(crate) batch_samples: Vec<usize>,
    /// Rates at which the entries of the Jacobian are kept.
    pub(crate) mask_rates: Vec<f64>,
    /// Numbers of outputs that are drawn.
    pub(crate) output_samples: Vec<usize>,
}

/// N-way K-shot classification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FewShot {
    /// Classes an episode.
    pub(crate) way: usize,
    /// Labelled images a class.
    pub(crate) shot: usize,
    /// Images a class to be classified.
    pub(crate) query: usize,
    /// Episodes.
    pub(crate) episodes: usize,
    /// Penalty of the ridge head, as a share of the mean diagonal entry of the support features' Gram matrix.
    pub(crate) ridge: f64,
}

impl Configuration {
    /// Takes what a run needs out of an experiment's tree.
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

    /// Reads what [`Configuration::to_toml`] wrote.
    ///
    /// # Errors
    /// Text that is no configuration, or one of another format.
    pub(crate) fn from_toml(text: &str) -> Result<Self> {
        let format = toml::from_str::<Table>(text).map_err(one_line)?.get("format").and_then(toml::Value::as_integer);
        if format != Some(i64::from(FORMAT)) {
            let found = format.map_or_else(|| "none".to_owned(), |format| format.to_string());
            bail!("the run has format {found}, this program reads and writes format {FORMAT}");
        }
        toml::from_str(text).map_err(one_line)
    }

    /// The resolved configuration as a file.
    pub(crate) fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// The first twelve hexadecimal digits of the SHA-256 of [`Configuration::to_toml`].
    pub(crate) fn key(&self) -> Result<String> {
        let digest = Sha256::digest(self.to_toml()?.as_bytes());
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(digits[..KEY_DIGITS].to_owned())
    }
}

impl Configuration {
    fn check(&self) -> Result<()> {
        self.data.check()?;
        positive("model.width", self.model.width)?;
        self.train.check()?;
        self.measure.check()?;
        self.compare()?;
        let FewShot { way, shot, query, .. } = self.measure.few_shot;
        let Data { target_classes, target_images_per_class: per_class, .. } = self.data;
        if self.task == Task::Transfer && per_class < shot + query {
            bail!(
                "data.target_images_per_class = {per_class}: {shot} shots and {query} queries need {} images of each class",
                shot + query
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
    /// Refuses to measure more images than there are: fewer would be measured, and nothing would say so.
    fn compare(&self) -> Result<()> {
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
            if count < 2 {
                bail!("{name}: expected at least 2, got {count}");
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
            if count == 0 {
                bail!("{name}: expected at least 1, got 0");
            }
        }
        positive("measure.few_shot.ridge", self.few_shot.ridge)?;
        self.estimators.as_ref().map_or(Ok(()), Estimators::check)
    }
}

impl Estimators {
    fn check(&self) -> Result<()> {
        for (name, count) in [("images", self.images), ("repeats", self.repeats)] {
            if count == 0 {
                bail!("measure.estimators.{name}: expected at least 1, got 0");
            }
        }
        let counts = |values: &[usize]| values.iter().map(|count| *count as f64).collect::<Vec<_>>();
        rising("measure.estimators.batch_samples", &counts(&self.batch_samples), 2.0, self.images as f64)?;
        rising("measure.estimators.mask_rates", &self.mask_rates, f64::MIN_POSITIVE, 1.0)?;
        rising("measure.estimators.output_samples", &counts(&self.output_samples), 1.0, f64::MAX)
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
