//! Features and labels of files, under whatever names their writer gave them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Tensor};

use crate::arrays::{Array, Arrays, COMPLEXITY};
use crate::output::note;
use crate::usage::usage;

/// Shape of the features, for messages.
const FEATURES: &str = "[n, p], a row of features for each sample";

/// Number of classes, 1 GiB of f64 with one number each, beyond which labels are taken for numbers of another kind.
const MOST_CLASSES: usize = 1 << 27;

/// Names that other libraries give to labels, in the order of preference.
const LABEL_NAMES: [&str; 8] = ["labels", "label", "y", "targets", "target", "class", "class_id", "class_name"];

/// Arrays of a features file that hold something else.
const RESERVED: [&str; 4] = ["weight", "bias", COMPLEXITY, "base_mean"];

/// Refuses labels so large that one number for every smaller class number would exceed 1 GiB.
pub(crate) fn check_class_count(file: &dyn std::fmt::Display, labels: &[u32]) -> Result<()> {
    let Some((row, largest)) = labels.iter().enumerate().max_by_key(|(_, label)| **label) else { return Ok(()) };
    let classes = *largest as usize + 1;
    if classes > labels.len() && classes > MOST_CLASSES {
        bail!(
            "{file}: label {largest} of row {row} means {classes} classes, with {} samples in all; number the classes \
             from 0",
            labels.len()
        );
    }
    Ok(())
}

/// The files of labelled features.
#[allow(rustdoc::broken_intra_doc_links, reason = "the texts are help in a terminal, where shapes need no escapes")]
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FeaturesArgs {
    /// Files with features [n, p] and labels [n]: .safetensors, .npz, .parquet, .csv, or .npy with --labels; the rows of
    /// several files are joined
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    features: Vec<PathBuf>,
    /// File with the labels [n], where the features' file has none
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Name of the features in their file [default: `features`, or the only matrix]
    #[arg(long, value_name = "NAME")]
    features_name: Option<String>,
    /// Name of the labels in their file [default: `labels`, another usual name, or the only column that fits]
    #[arg(long, value_name = "NAME")]
    labels_name: Option<String>,
}

/// Features with their labels, and the other arrays of the file.
pub(crate) struct LabelledFile {
    pub(crate) features: Tensor,
    pub(crate) labels: Vec<u32>,
    /// Where labels are text: the name of each class.
    pub(crate) class_names: Option<Vec<String>>,
    /// The columns of the features, where they are columns of a table.
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) arrays: Arrays,
}

impl LabelledFile {
    /// The features of another file in the order of this file's columns.
    ///
    /// # Errors
    /// Columns with other names.
    fn in_our_order(&self, other: &Self, path: &Path) -> Result<Tensor> {
        let (Some(ours), Some(theirs)) = (&self.columns, &other.columns) else { return Ok(other.features.clone()) };
        if ours == theirs {
            return Ok(other.features.clone());
        }
        let place = |name| theirs.iter().position(|their| their == name).and_then(|place| u32::try_from(place).ok());
        let places: Option<Vec<u32>> = ours.iter().map(place).collect();
        match places {
            Some(places) if ours.len() == theirs.len() => {
                let places = Tensor::new(places, other.features.device())?;
                Ok(other.features.index_select(&places, 1)?)
            }
            _ => bail!(
                "{}: its columns are {}, those of the first file {}; give files with the same columns",
                path.display(),
                listed(theirs),
                listed(ours)
            ),
        }
    }

    /// Adds the GC of each sample of another file.
    ///
    /// # Errors
    /// One file with it and one without.
    fn append_complexities(&mut self, other: &Self, path: &Path) -> Result<()> {
        match (self.arrays.get(COMPLEXITY), other.arrays.get(COMPLEXITY)) {
            (Some(ours), Some(theirs)) => {
                let joined = Tensor::cat(&[ours.to_dtype(DType::F64)?, theirs.to_dtype(DType::F64)?], 0);
                let joined = joined.with_context(|| format!("{}: tensor `{COMPLEXITY}`", path.display()))?;
                self.arrays.replace(COMPLEXITY, joined);
                Ok(())
            }
            (None, None) => Ok(()),
            _ => bail!(
                "{}: `{COMPLEXITY}` is in some of the files and not in others; store it in all or in none",
                path.display()
            ),
        }
    }

    /// Numbers the classes by their place among `names`, which are sorted.
    fn renumber(&mut self, names: &[String]) {
        let known = self.class_names.replace(names.to_vec()).unwrap_or_default();
        let place = |name: &String| names.binary_search(name).ok().and_then(|place| u32::try_from(place).ok());
        let places: Vec<Option<u32>> = known.iter().map(place).collect();
        for label in &mut self.labels {
            *label = places.get(*label as usize).copied().flatten().unwrap_or(*label);
        }
    }
}

impl FeaturesArgs {
    /// Reads features and labels.
    pub(crate) fn read(&self) -> Result<LabelledFile> {
        let [first, others @ ..] = self.features.as_slice() else { bail!("--features names no file") };
        self.require_own_labels()?;
        let mut file = self.read_one(first)?;
        for path in others {
            self.append(&mut file, path)?;
        }
        Ok(file)
    }

    /// The files of the features, as they were given.
    pub(crate) fn path(&self) -> String {
        self.features.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// The files of the features.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.features
    }

    /// Reads features and labels of each file by itself.
    ///
    /// # Errors
    /// Those of [`FeaturesArgs::read`]; --labels beside several files.
    pub(super) fn read_each(&self) -> Result<impl Iterator<Item = Result<LabelledFile>>> {
        self.require_own_labels()?;
        Ok(self.features.iter().map(|path| self.read_one(path)))
    }

    fn require_own_labels(&self) -> Result<()> {
        if self.features.len() > 1 && self.labels.is_some() {
            return Err(usage(anyhow!("--labels goes with one file of features; of several, each has its own labels")));
        }
        Ok(())
    }

    fn read_one(&self, path: &Path) -> Result<LabelledFile> {
        let mut arrays = Arrays::read(path, "features")?;
        let mut feature_columns = None;
        if self.features_name.is_none() {
            // A column that was named as the labels is none of the features.
            let labels: Vec<&str> = self.labels_name.as_deref().filter(|_| self.labels.is_none()).into_iter().collect();
            if let Some(columns) = arrays.add_matrix("features", &labels)? {
                note!("note: the features of {} are its columns of numbers: {}", path.display(), listed(&columns));
                feature_columns = Some(columns);
            }
        }
        let features_name = self.features_name(&arrays)?;
        let features = arrays.floats(&features_name, &[2], FEATURES)?;
        let (count, width) = features.dims2()?;
        if count == 0 || width == 0 {
            bail!("{}: tensor `{features_name}` has shape {:?}, expected {FEATURES}", path.display(), [count, width]);
        }
        let labels_name = match &self.labels {
            Some(path) => {
                let mut file = Arrays::read(path, "labels")?;
                let name = self.labels_name(&file, &features_name)?;
                arrays.adopt(&name, &mut file, &name)?;
                name
            }
            None => self.labels_name(&arrays, &features_name)?,
        };
        let labels = arrays.labels(&labels_name, &features_name, count)?;
        let (labels, class_names) = (labels.classes, labels.names);
        Ok(LabelledFile { features, labels, class_names, columns: feature_columns, arrays })
    }

    /// Adds the rows of another file. Classes of text labels, numbered in alphabetical order, and columns of tables are matched
    /// by their names.
    fn append(&self, file: &mut LabelledFile, path: &Path) -> Result<()> {
        let mut other = self.read_one(path)?;
        match (&file.class_names, &other.class_names) {
            (None, None) => {}
            (Some(ours), Some(theirs)) => {
                let names: BTreeSet<String> = ours.iter().chain(theirs).cloned().collect();
                let names: Vec<String> = names.into_iter().collect();
                file.renumber(&names);
                other.renumber(&names);
            }
            _ => bail!("{}: the labels are text in one file and numbers in another", path.display()),
        }
        file.append_complexities(&other, path)?;
        if other.arrays.get("weight").is_some() && !same(file.arrays.get("weight"), other.arrays.get("weight"))? {
            note!(
                "note: the head of {} is left out; that of the first file is used, or that of --head",
                path.display()
            );
        }
        let further = file.in_our_order(&other, path)?;
        let dtypes = [file.features.dtype(), further.dtype()];
        let wider = if dtypes.contains(&DType::F64) { DType::F64 } else { DType::F32 };
        let joined = Tensor::cat(&[&file.features.to_dtype(wider)?, &further.to_dtype(wider)?], 0);
        file.features = joined.with_context(|| {
            let [first, this] = [file.features.dims(), further.dims()];
            format!("{}: features {this:?} cannot be joined to {first:?} of the first file", path.display())
        })?;
        file.labels.append(&mut other.labels);
        Ok(())
    }

    /// The name given, `features`, or the only matrix of floats.
    fn features_name(&self, arrays: &Arrays) -> Result<String> {
        let wanted = self.features_name.as_deref().unwrap_or("features");
        if self.features_name.is_some() || arrays.array(wanted).is_some() {
            return Ok(wanted.to_owned());
        }
        let matrices = arrays.iter().filter(|(name, array)| {
            let matrix = matches!(array, Array::Numbers(tensor) if tensor.rank() == 2 && tensor.dtype().is_float());
            matrix && !RESERVED.contains(name)
        });
        only(matrices.map(|(name, _)| name).collect(), "features", "the only matrix", "--features-name")
            .map_or_else(|| arrays.expect(wanted, FEATURES).map(|_| wanted.to_owned()), Ok)
    }

    /// The name given, a usual name, or the only array with one number or text for each sample.
    fn labels_name(&self, arrays: &Arrays, features: &str) -> Result<String> {
        if let Some(name) = &self.labels_name {
            return Ok(name.clone());
        }
        let usual = |usual: &&str| arrays.names().find(|name| name.to_lowercase() == **usual);
        if let Some(name) = LABEL_NAMES.iter().find_map(usual) {
            if name != LABEL_NAMES[0] {
                note!("note: the labels are `{name}`; --labels-name chooses others");
            }
            return Ok(name.to_owned());
        }
        let columns = arrays.iter().filter(|(name, array)| {
            let column = match array {
                Array::Text(_) => true,
                Array::Numbers(tensor) => tensor.rank() == 1 && !tensor.dtype().is_float(),
            };
            column && *name != features && !RESERVED.contains(name)
        });
        let columns = columns.map(|(name, _)| name).collect();
        only(columns, "labels", "the only column of whole numbers or text", "--labels-name").map_or_else(
            || arrays.expect(LABEL_NAMES[0], "[n], one for each row").map(|_| LABEL_NAMES[0].to_owned()),
            Ok,
        )
    }
}

/// Whether two tensors hold the same numbers.
fn same(one: Option<&Tensor>, other: Option<&Tensor>) -> Result<bool> {
    let (Some(one), Some(other)) = (one, other) else { return Ok(false) };
    let numbers = |tensor: &Tensor| tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
    Ok(one.dims() == other.dims() && numbers(one)? == numbers(other)?)
}

/// The first and the last names, and how many there are where not all are shown.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 6;
    match names {
        [first @ .., last] if names.len() > SHOWN => {
            format!("{}, …, {last} ({} in all)", first[..SHOWN - 2].join(", "), names.len())
        }
        _ => names.join(", "),
    }
}

/// The single candidate, with a note that it was taken.
fn only(candidates: Vec<&str>, what: &str, reason: &str, option: &str) -> Option<String> {
    let [name] = candidates.as_slice() else { return None };
    note!("note: the {what} are `{name}`, {reason} of the file; {option} chooses others");
    Some((*name).to_owned())
}
