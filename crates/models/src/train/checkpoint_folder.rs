//! The checkpoints of one run in a folder: which are kept, and which one a run continues from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Checkpoint, Fit, Progress};
use crate::{Error, Network, Result};

/// Which checkpoints of a run are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// Number of last checkpoints, at least one. With two, one is left to continue from if the other is damaged.
    pub last: usize,
    /// Whether the checkpoint with the smallest metric is kept too.
    pub best: bool,
    /// Also those whose step is a multiple of this number.
    pub every: Option<u64>,
}

impl Default for Keep {
    fn default() -> Self {
        Self { last: 2, best: false, every: None }
    }
}

/// The checkpoints of one run, in a folder of their own.
///
/// ```
/// use candle_core::{DType, Device};
/// use models::train::{Checkpoints, Fit, Keep, Progress, Sgd};
/// use models::{Architecture, Initialisation, Network};
/// let folder = std::env::temp_dir().join(format!("checkpoints-{}", std::process::id()));
/// let checkpoints = Checkpoints::new(&folder, Keep::default())?;
/// let network = |seed| Network::new(&Architecture::named("vgg-small")?, Initialisation::HeNormal, seed, DType::F32, &Device::Cpu);
/// let (fit, trained) = (Fit::new(10, Sgd::new(0.1)), network(1)?);
/// assert!(checkpoints.newest()?.is_none());
/// checkpoints.save(&fit, &trained, &Progress::default(), None, serde_json::json!({ "seen": 3 }))?;
/// let found = checkpoints.newest()?.unwrap();
/// assert_eq!(found.header.state["seen"], 3);
/// found.restore(&fit, &network(2)?, &mut Progress::default())?;
/// checkpoints.clear()?;
/// # std::fs::remove_dir(&folder).unwrap();
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: Keep,
}

const PREFIX: &str = "step-";
const SUFFIX: &str = ".safetensors";

impl Checkpoints {
    /// The checkpoints in this folder, which is created if it does not exist.
    ///
    /// **Errors** [`Error::Io`]; [`Error::Setting`] for a policy that keeps no last checkpoint, or every 0 steps.
    pub fn new(folder: impl Into<PathBuf>, keep: Keep) -> Result<Self> {
        let folder = folder.into();
        if keep.last == 0 {
            let rule = "at least the newest is kept";
            return Err(Error::Setting { op: "checkpoints", name: "last", value: "0".into(), rule });
        }
        if keep.every == Some(0) {
            let rule = "it is at least 1";
            return Err(Error::Setting { op: "checkpoints", name: "every", value: "0".into(), rule });
        }
        std::fs::create_dir_all(&folder).map_err(|source| {
            let action = "creating a folder for checkpoints";
            Error::Io { path: folder.clone(), action, source }
        })?;
        Ok(Self { folder, keep })
    }

    /// Saves a run, then removes the checkpoints that the policy does not keep. Older ones are removed only after the new one is on
    /// the disk. Half-written files of killed processes are removed too: a folder belongs to one run, and a run to one process.
    ///
    /// **Errors** as [`Checkpoint::write`], and [`Error::Io`] when an old one cannot be removed.
    pub fn save(
        &self,
        fit: &Fit,
        network: &Network,
        progress: &Progress,
        metric: Option<f64>,
        state: serde_json::Value,
    ) -> Result<PathBuf> {
        let path = self.folder.join(format!("{PREFIX}{:012}{SUFFIX}", progress.step));
        Checkpoint::write(&path, fit, network, progress, metric, state)?;
        self.prune()?;
        Ok(path)
    }

    /// The newest checkpoint, if there is any.
    ///
    /// **Errors** [`Error::Io`]; [`Error::Checkpoint`] when it is damaged. The error names the newest undamaged checkpoint before it,
    /// which is the newest once [`Checkpoints::discard`] has removed the damaged ones.
    pub fn newest(&self) -> Result<Option<Checkpoint>> {
        let steps = self.steps()?;
        let Some((_, newest)) = steps.last() else { return Ok(None) };
        match Checkpoint::open(newest) {
            Err(Error::Checkpoint { path, reason, .. }) => {
                let mut before = steps.iter().rev().skip(1).map(|(_, path)| path);
                let whole = before.find(|path| Checkpoint::open(path).is_ok()).cloned();
                Err(Error::Checkpoint { path, reason, previous: whole })
            }
            other => other.map(Some),
        }
    }

    /// Removes one checkpoint of this folder.
    ///
    /// **Errors** [`Error::Io`].
    pub fn discard(&self, path: &Path) -> Result<()> {
        let action = "removing a checkpoint";
        std::fs::remove_file(path).map_err(|source| Error::Io { path: path.to_owned(), action, source })
    }

    /// Removes all checkpoints, and half-written files of killed processes.
    ///
    /// **Errors** [`Error::Io`].
    pub fn clear(&self) -> Result<()> {
        let named = |name: &str| is_half_written(name) || (name.starts_with(PREFIX) && name.ends_with(SUFFIX));
        self.names()?.iter().filter(|name| named(name)).try_for_each(|name| self.discard(&self.folder.join(name)))
    }

    /// Step and path of each checkpoint, the oldest first.
    ///
    /// **Errors** [`Error::Io`].
    pub fn steps(&self) -> Result<Vec<(u64, PathBuf)>> {
        let step = |name: &String| {
            let step = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
            Some((step, self.folder.join(name)))
        };
        let mut steps: Vec<(u64, PathBuf)> = self.names()?.iter().filter_map(step).collect();
        steps.sort();
        Ok(steps)
    }

    fn names(&self) -> Result<Vec<String>> {
        let action = "reading the folder of checkpoints";
        let io = |source| Error::Io { path: self.folder.clone(), action, source };
        let entries = std::fs::read_dir(&self.folder).map_err(io)?;
        entries.map(|entry| Ok(entry.map_err(io)?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn prune(&self) -> Result<()> {
        for name in self.names()?.iter().filter(|name| is_half_written(name)) {
            self.discard(&self.folder.join(name))?;
        }
        let steps = self.steps()?;
        let old = steps.len().saturating_sub(self.keep.last);
        let best = if self.keep.best { best(&steps)? } else { None };
        for (step, path) in steps.iter().take(old) {
            let periodic = self.keep.every.is_some_and(|every| step % every == 0);
            if !periodic && best.as_ref() != Some(path) {
                self.discard(path)?;
            }
        }
        Ok(())
    }
}

/// Whether it is the name of a half-written checkpoint: `.step-….partial`, or `step-….part` of earlier versions.
fn is_half_written(name: &str) -> bool {
    let hidden = name.strip_prefix('.').is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(".partial"));
    hidden || (name.starts_with(PREFIX) && name.ends_with(".part"))
}

/// The checkpoint with the smallest metric, the later one on ties; a damaged checkpoint has no metric.
fn best(steps: &[(u64, PathBuf)]) -> Result<Option<PathBuf>> {
    let mut best: Option<(f64, &PathBuf)> = None;
    for (_, path) in steps {
        let metric = match Checkpoint::read_header(path) {
            Err(Error::Checkpoint { .. }) => None,
            header => header?.metric,
        };
        let Some(metric) = metric else { continue };
        if best.is_none_or(|(smallest, _)| metric <= smallest) {
            best = Some((metric, path));
        }
    }
    Ok(best.map(|(_, path)| path.clone()))
}
