//! Checkpoints: the state of a run in one file, from which it continues with the same bits as without interruption.
//!
//! A checkpoint is a safetensors file: the parameters under `model/`, the optimiser's tensors under `optimizer/`, the moving average of the
//! parameters under `average/` if the run has one, and all other state as JSON in one entry of the header. Every random number of a training has an address (seed, purpose, index), so
//! the state of random generators and data loader is the seed and the index of the next batch.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Fit, MovingAverage, Progress};
use crate::Architecture;
use crate::params::{encode_tensors, parse_tensors};
use crate::write_file::write_whole;
use crate::{Error, Network, Result};

/// Version of the file layout.
const FORMAT: u32 = 1;
/// The entry of the header.
const ENTRY: &str = "checkpoint";
/// The digest field while the digest is computed.
const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The header of a checkpoint, JSON in the header of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckpointHeader {
    /// Version of the file layout.
    pub format: u32,
    /// SHA-256 of the whole file with zeros in this field.
    pub sha256: String,
    /// Version of this crate, operating system and processor: a continued run gives the same bits on the same build only.
    pub build: String,
    /// The device of the parameters; for a CPU also its vector instructions, on which the last bits depend.
    pub device: String,
    /// The architecture of the network.
    pub architecture: Architecture,
    /// The settings of the training.
    pub fit: String,
    /// Steps done.
    pub step: u64,
    /// Steps counted by the optimiser for its bias correction.
    pub optimizer_steps: u64,
    /// Seed of the training.
    pub seed: u64,
    /// The index of the next batch, which also addresses the random numbers of dropout and probes.
    pub next_batch: u64,
    /// The losses of the last steps, where a target loss is set.
    pub recent_losses: Vec<f64>,
    /// The metric by which checkpoints are ranked, smaller being better.
    pub metric: Option<f64>,
    /// State of the caller, such as measurements so far.
    pub state: serde_json::Value,
}

/// A checkpoint that was read and whose checksum is right.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// Its header.
    pub header: CheckpointHeader,
    tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Writes the state of a run, whole or not at all, flushed to the disk.
    ///
    /// `metric` ranks checkpoints, smaller being better. [`Checkpoint::open`] returns `state` in the header.
    ///
    /// **Errors** [`Error::Io`] when the file cannot be written; a file that was there before is unchanged then.
    pub fn write(
        path: impl AsRef<Path>,
        fit: &Fit,
        network: &Network,
        progress: &Progress,
        metric: Option<f64>,
        state: serde_json::Value,
    ) -> Result<()> {
        let path = path.as_ref();
        let header = CheckpointHeader {
            format: FORMAT,
            sha256: BLANK.to_owned(),
            build: build(),
            device: device(network),
            architecture: network.architecture().clone(),
            fit: settings(fit),
            step: progress.step,
            optimizer_steps: progress.optimizer.steps,
            seed: fit.seed,
            next_batch: progress.step * fit.accumulate as u64,
            recent_losses: progress.recent.iter().copied().collect(),
            metric: metric.filter(|metric| metric.is_finite()),
            state,
        };
        let mut bytes = encode_tensors(path, &tensors(network, progress), Some(entry(path, &header)?))?;
        let digest = support::sha256(&bytes);
        let blank = find(&bytes, BLANK.as_bytes()).ok_or_else(|| corrupt(path, "its header has no digest"))?;
        bytes[blank..blank + digest.len()].copy_from_slice(digest.as_bytes());
        write_whole(path, &bytes)
    }

    /// Reads a checkpoint and checks its checksum.
    ///
    /// **Errors** [`Error::Io`]; [`Error::Checkpoint`] when the file is cut short, was changed, or is no checkpoint.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let action = "reading a checkpoint";
        let mut bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), action, source })?;
        let header = header(path, &bytes)?;
        let digest = find(&bytes, header.sha256.as_bytes()).filter(|_| header.sha256.len() == BLANK.len());
        let digest = digest.ok_or_else(|| corrupt(path, "its header has no digest"))?;
        bytes[digest..digest + BLANK.len()].copy_from_slice(BLANK.as_bytes());
        if support::sha256(&bytes) != header.sha256 {
            return Err(corrupt(path, "its bytes do not match its checksum"));
        }
        let tensors = parse_tensors(path, &bytes)?;
        Ok(Self { path: path.to_owned(), header, tensors })
    }

    /// Reads the header alone, without the tensors and without checking the checksum.
    ///
    /// **Errors** as [`Checkpoint::open`].
    pub fn read_header(path: impl AsRef<Path>) -> Result<CheckpointHeader> {
        use std::io::Read;
        let path = path.as_ref();
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(path)?;
            let mut bytes = Vec::new();
            file.by_ref().take(8).read_to_end(&mut bytes)?;
            let length = bytes.iter().rev().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
            file.take(length.min(MAX_HEADER)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let action = "reading a checkpoint";
        let bytes = read().map_err(|source| Error::Io { path: path.to_owned(), action, source })?;
        header(path, &bytes)
    }

    /// Sets the network and the progress to the saved state.
    ///
    /// **Errors** [`Error::CheckpointMismatch`] when the checkpoint was written by another training, on another device or
    /// build, or with another dtype; [`Error::Weights`] when the tensors do not fit. Nothing is changed then.
    pub fn restore(&self, fit: &Fit, network: &Network, progress: &mut Progress) -> Result<()> {
        self.require("architecture", &self.header.architecture, network.architecture())?;
        self.require("settings of the training", &self.header.fit, &settings(fit))?;
        self.require("device", &self.header.device, &device(network))?;
        self.require("build", &self.header.build, &build())?;
        let under = |prefix: &str| -> BTreeMap<String, Tensor> {
            let inside =
                |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()));
            self.tensors.iter().filter_map(inside).collect()
        };
        let (model, optimizer, average) = (under(MODEL), under(OPTIMIZER), under(AVERAGE));
        for (name, tensor) in &model {
            // Values of another dtype would be converted, and the run would continue with other bits.
            let now = network.params().get(name).map_or(tensor.dtype(), |parameter| parameter.var.dtype());
            self.require("kind of numbers", &tensor.dtype(), &now)?;
        }
        let mut restored = Progress { step: self.header.step, ..Progress::default() };
        restored.recent.extend(&self.header.recent_losses);
        restored.optimizer.steps = self.header.optimizer_steps;
        for (name, tensor) in optimizer {
            let var = Var::from_tensor(&tensor.to_device(network.params().device())?)?;
            restored.optimizer.tensors.insert(name, var);
        }
        if fit.ema.is_some() {
            restored.average = Some(self.average(average, network)?);
        }
        network.params().assign(&self.path, &model)?;
        *progress = restored;
        Ok(())
    }

    /// The saved moving average, which has the parameters of the network.
    fn average(&self, saved: BTreeMap<String, Tensor>, network: &Network) -> Result<MovingAverage> {
        let names = |names: Vec<&str>| names.join(", ");
        let now = names(network.params().names().collect());
        self.require("parameters of the moving average", &names(saved.keys().map(String::as_str).collect()), &now)?;
        let mut average = MovingAverage::default();
        for (name, tensor) in saved {
            average.tensors.insert(name, Var::from_tensor(&tensor.to_device(network.params().device())?)?);
        }
        Ok(average)
    }

    fn require<T: PartialEq + std::fmt::Debug>(&self, what: &'static str, saved: &T, now: &T) -> Result<()> {
        if saved == now {
            return Ok(());
        }
        let (saved, now) = (format!("{saved:?}"), format!("{now:?}"));
        Err(Error::CheckpointMismatch { path: self.path.clone(), what, saved, now })
    }
}

const MODEL: &str = "model/";
const OPTIMIZER: &str = "optimizer/";
const AVERAGE: &str = "average/";
/// The most bytes of a header.
const MAX_HEADER: u64 = 100 << 20;

fn tensors(network: &Network, progress: &Progress) -> BTreeMap<String, Tensor> {
    let model =
        network.params().iter().map(|(name, parameter)| (format!("{MODEL}{name}"), parameter.var.as_detached_tensor()));
    let optimizer = &progress.optimizer.tensors;
    let optimizer = optimizer.iter().map(|(name, var)| (format!("{OPTIMIZER}{name}"), var.as_detached_tensor()));
    let average = progress.average.iter().flat_map(|average| &average.tensors);
    let average = average.map(|(name, var)| (format!("{AVERAGE}{name}"), var.as_detached_tensor()));
    model.chain(optimizer).chain(average).collect()
}

/// The settings of a training as text. A setting that earlier versions did not have is left out where it is off, so that their
/// checkpoints continue.
fn settings(fit: &Fit) -> String {
    format!("{fit:?}").replace(", ema: None", "").replace(", tf32: false", "")
}

fn entry(path: &Path, header: &CheckpointHeader) -> Result<HashMap<String, String>> {
    let text = serde_json::to_string(header).map_err(|error| corrupt(path, &error.to_string()))?;
    Ok(HashMap::from([(ENTRY.to_owned(), text)]))
}

fn header(path: &Path, bytes: &[u8]) -> Result<CheckpointHeader> {
    /// The part of a safetensors header that is needed here.
    #[derive(Deserialize)]
    struct Outer {
        #[serde(rename = "__metadata__")]
        metadata: HashMap<String, String>,
    }
    let length = bytes.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let length = length.ok_or_else(|| corrupt(path, "it is cut short"))?;
    let end = usize::try_from(length.saturating_add(8)).unwrap_or(usize::MAX);
    let text = bytes.get(8..end).ok_or_else(|| corrupt(path, "it is cut short"))?;
    let outer: Outer =
        serde_json::from_slice(text).map_err(|_| corrupt(path, "its header is not that of a checkpoint"))?;
    let text = outer.metadata.get(ENTRY).ok_or_else(|| corrupt(path, "its header is not that of a checkpoint"))?;
    let unreadable = |error: serde_json::Error| corrupt(path, &format!("its header cannot be read: {error}"));
    let mut header: serde_json::Value = serde_json::from_str(text).map_err(unreadable)?;
    complete_architecture(&mut header);
    let header: CheckpointHeader = serde_json::from_value(header).map_err(unreadable)?;
    if header.format != FORMAT {
        return Err(corrupt(path, &format!("it has format {}, this program writes {FORMAT}", header.format)));
    }
    Ok(header)
}

/// Adds the key `activation_before_head` to the MLP of a checkpoint that was written before there was one: such an MLP had no
/// activation before its head.
fn complete_architecture(header: &mut serde_json::Value) {
    if let Some(serde_json::Value::Object(architecture)) = header.get_mut("architecture")
        && architecture.get("family").is_some_and(|family| family == "mlp")
    {
        architecture.entry("activation_before_head").or_insert(serde_json::Value::Bool(false));
    }
}

fn corrupt(path: &Path, reason: &str) -> Error {
    Error::Checkpoint { path: path.to_owned(), reason: reason.to_owned(), previous: None }
}

fn build() -> String {
    format!("models {} on {}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
}

fn device(network: &Network) -> String {
    let device = network.params().device();
    let name = format!("{:?}", device.location()).to_lowercase();
    if device.is_cpu() { name + vector_instructions() } else { name }
}

/// The vector instructions, which decide the order of the sums in kernels and matrix products.
#[cfg(target_arch = "x86_64")]
fn vector_instructions() -> &'static str {
    let avx2 = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    match (std::arch::is_x86_feature_detected!("avx512f"), avx2) {
        (true, _) => " with avx-512",
        (false, true) => " with avx2 and fma",
        (false, false) => "",
    }
}

/// On other architectures there is one set of vector instructions.
#[cfg(not(target_arch = "x86_64"))]
fn vector_instructions() -> &'static str {
    ""
}

/// The position of the first occurrence of `part` in `whole`.
fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}
