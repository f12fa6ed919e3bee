//! Commands on features that any program computed: their collapse, and how few-shot heads fare on them.

mod collapse_measures;
mod few_shot;

use std::path::PathBuf;

use anyhow::{Result, bail};
use candle_core::Tensor;

use crate::arrays::Arrays;

pub(crate) use collapse_measures::{Args as CollapseArgs, collapse_measures, rows as collapse_rows};
pub(crate) use few_shot::{Args as FewShotArgs, few_shot, heads as few_shot_heads};

/// Shape of the features, for messages.
const FEATURES: &str = "[n, p], a row of features for each sample";

/// Numbers in the means of classes beyond which labels are taken for numbers of another kind: a gigabyte of f64.
const MOST_MEANS: usize = 1 << 27;

/// Refuses labels so large that a class for each smaller number would fill the memory with classes of no samples.
pub(crate) fn check_labels(file: &dyn std::fmt::Display, labels: &[u32], width: usize) -> Result<()> {
    let Some((row, largest)) = labels.iter().enumerate().max_by_key(|(_, label)| **label) else { return Ok(()) };
    let classes = *largest as usize + 1;
    if classes > labels.len() && classes.saturating_mul(width) > MOST_MEANS {
        bail!(
            "{file}: label {largest} of row {row} stands for {classes} classes, with {} samples in all; number the classes \
             from 0",
            labels.len()
        );
    }
    Ok(())
}

/// Where labelled features come from.
#[allow(rustdoc::broken_intra_doc_links, reason = "the texts are help in a terminal, where shapes need no escapes")]
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Source {
    /// File with `features` [n, p] and `labels` [n]: .safetensors, .npz, .parquet, or .npy with --labels
    #[arg(long, value_name = "FILE")]
    features: PathBuf,
    /// File with `labels` [n], where the features' file has none
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

/// Features with their labels, and the file that they came from for what else it holds.
pub(crate) struct Labelled {
    pub(crate) features: Tensor,
    pub(crate) labels: Vec<u32>,
    pub(crate) arrays: Arrays,
}

impl Source {
    /// Reads features and labels.
    pub(crate) fn read(&self) -> Result<Labelled> {
        let mut arrays = Arrays::read(&self.features, "features")?;
        if let Some(path) = &self.labels {
            arrays.adopt("labels", &Arrays::read(path, "labels")?)?;
        }
        let features = arrays.floats("features", &[2], FEATURES)?;
        let count = features.dim(0)?;
        if count == 0 {
            bail!("{}: tensor `features` has no rows", self.features.display());
        }
        if features.dim(1)? == 0 {
            bail!(
                "{}: tensor `features` has shape {:?}, expected {FEATURES}",
                self.features.display(),
                features.dims()
            );
        }
        let labels = arrays.labels("labels", "features", count)?;
        Ok(Labelled { features, labels, arrays })
    }

    /// The file of the features, as it was given.
    pub(crate) fn path(&self) -> String {
        self.features.display().to_string()
    }
}
