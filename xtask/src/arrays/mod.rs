//! Named arrays of files that other programs wrote: safetensors, npy, npz, parquet and CSV.

mod csv_columns;
mod elements;
mod numpy;
#[cfg(feature = "full")]
mod parquet_columns;
#[cfg(not(feature = "full"))]
#[path = "without_parquet.rs"]
mod parquet_columns;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Tensor};
use safetensors::{Dtype, SafeTensors};

use crate::suggest;
use elements::{Element, Kind};
pub(crate) use table::COMPLEXITY;

/// One array of a file.
pub(crate) enum Array {
    /// Numbers: f32, f64 or i64.
    Numbers(Tensor),
    /// One text for each sample, such as the name of its class.
    Text(Vec<String>),
}

/// The arrays of one file, by name.
pub(crate) struct Arrays {
    path: PathBuf,
    arrays: BTreeMap<String, Array>,
    /// The files of the arrays that come from another file.
    adopted: BTreeMap<String, PathBuf>,
    /// Of a table, the columns with one number for each row, in their order.
    table: Vec<String>,
    /// Columns of the file that hold neither numbers nor text.
    left_out: Vec<String>,
}

/// The labels of the samples as class numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Labels {
    /// The class of each sample, counted from 0.
    pub(crate) classes: Vec<u32>,
    /// Where labels are text: the name of each class, in alphabetical order.
    pub(crate) names: Option<Vec<String>>,
}

impl Arrays {
    /// Reads a file whose extension says its format; the one array of an npy file gets the name `only`.
    ///
    /// # Errors
    /// A file that is missing, no regular file, cut short or of another format, or an unknown extension.
    pub(crate) fn read(path: &Path, only: &str) -> Result<Self> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        let cannot_read = || format!("cannot read {}", path.display());
        support::open_input(path)?;
        let (mut table, mut left_out) = (Vec::new(), Vec::new());
        let arrays = match ending.as_str() {
            "safetensors" => safetensors(path),
            "npy" => numpy::npy(path).map(|array| BTreeMap::from([(only.to_owned(), array)])),
            "npz" => numpy::npz(path),
            "parquet" => parquet_columns::read(path, &mut table, &mut left_out),
            "csv" => csv_columns::read(path, &mut table),
            _ => bail!("{}: expected a file ending in .safetensors, .npy, .npz, .parquet or .csv", path.display()),
        };
        Ok(Self {
            path: path.to_owned(),
            arrays: arrays.with_context(cannot_read)?,
            adopted: BTreeMap::new(),
            table,
            left_out,
        })
    }

    /// The numbers of this name, if there are any.
    pub(crate) fn get(&self, name: &str) -> Option<&Tensor> {
        match self.arrays.get(name) {
            Some(Array::Numbers(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// The array of this name, if there is one.
    pub(crate) fn array(&self, name: &str) -> Option<&Array> {
        self.arrays.get(name)
    }

    /// Every array with its name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.arrays.iter().map(|(name, array)| (name.as_str(), array))
    }

    /// The names of all arrays.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// Adds an array.
    #[cfg(test)]
    fn insert(&mut self, name: &str, array: Array) {
        self.arrays.insert(name.to_owned(), array);
    }

    /// Puts these numbers in the place of an array.
    pub(crate) fn replace(&mut self, name: &str, numbers: Tensor) {
        self.arrays.insert(name.to_owned(), Array::Numbers(numbers));
    }

    /// Moves the array `name` of another file here, under the name `as_name`.
    pub(crate) fn adopt(&mut self, name: &str, other: &mut Self, as_name: &str) -> Result<()> {
        let Some(array) = other.arrays.remove(name) else { return Err(other.unknown(name, "")) };
        self.arrays.insert(as_name.to_owned(), array);
        self.adopted.insert(as_name.to_owned(), other.path.clone());
        Ok(())
    }

    /// The file of an array, for messages.
    pub(crate) fn file(&self, name: &str) -> std::path::Display<'_> {
        self.adopted.get(name).unwrap_or(&self.path).display()
    }

    /// The numbers of this name; `what` says what they should be.
    pub(crate) fn expect(&self, name: &str, what: &str) -> Result<&Tensor> {
        match self.arrays.get(name) {
            Some(Array::Numbers(tensor)) => Ok(tensor),
            Some(Array::Text(_)) => bail!("{}: `{name}` holds text, expected numbers: {what}", self.file(name)),
            None => Err(self.unknown(name, what)),
        }
    }

    fn unknown(&self, name: &str, what: &str) -> anyhow::Error {
        let what = if what.is_empty() { String::new() } else { format!("; expected {what}") };
        let left_out = match self.left_out.as_slice() {
            [] => String::new(),
            columns => format!("\n  neither numbers nor text: {}", columns.join(", ")),
        };
        let unknown = suggest::unknown("tensor", name, self.names());
        anyhow!("{}: {unknown}{what}{left_out}", self.path.display())
    }

    /// Refuses a tensor of another rank.
    pub(crate) fn check_rank(&self, name: &str, ranks: &[usize], expected: &str) -> Result<()> {
        let tensor = self.expect(name, expected)?;
        if ranks.contains(&tensor.rank()) {
            return Ok(());
        }
        bail!("{}: tensor `{name}` has shape {:?}, expected {expected}", self.file(name), tensor.dims())
    }

    /// A tensor of floating-point numbers.
    pub(crate) fn floats(&self, name: &str, ranks: &[usize], expected: &str) -> Result<Tensor> {
        self.check_rank(name, ranks, expected)?;
        let tensor = self.expect(name, expected)?;
        match tensor.dtype() {
            DType::F32 | DType::F64 => Ok(tensor.clone()),
            _ => bail!("{}: tensor `{name}` holds whole numbers, expected floating-point numbers", self.file(name)),
        }
    }

    /// Refuses a tensor with NaN or an infinity, naming the first of them by its row.
    pub(crate) fn check_finite(&self, name: &str, tensor: &Tensor) -> Result<()> {
        // Zero times a number that is not finite is NaN, and so is any sum with it.
        let zero = tensor.flatten_all()?.affine(0.0, 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if !zero.is_nan() {
            return Ok(());
        }
        let rows = tensor.dims().first().copied().unwrap_or(1).max(1);
        let values: Vec<f64> = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let Some(at) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
        bail!("{}: tensor `{name}` holds {} in row {}", self.file(name), values[at], at / (values.len() / rows).max(1))
    }

    /// The label of each row of `of`: whole numbers from 0, also stored as floats or as `[n, 1]`, or text.
    pub(crate) fn labels(&self, name: &str, of: &str, count: usize) -> Result<Labels> {
        if let Some(Array::Text(words)) = self.arrays.get(name) {
            if words.len() != count {
                let found = words.len();
                bail!("{}: `{name}` has {found} texts, expected {count}, one for each row of `{of}`", self.file(name));
            }
            return Ok(Labels::of_text(words));
        }
        let numbers: Vec<f64> = self.one_for_each(name, of, count)?.to_dtype(DType::F64)?.to_vec1()?;
        let label = |(row, number): (usize, &f64)| {
            let whole = number.fract() == 0.0 && *number >= 0.0 && *number < f64::from(u32::MAX);
            whole.then_some(*number as u32).ok_or_else(|| {
                anyhow!(
                    "{}: label {number} of row {row} in `{name}` is out of range; labels are whole numbers from 0 to {}",
                    self.file(name),
                    u32::MAX - 1
                )
            })
        };
        let classes = numbers.iter().enumerate().map(label).collect::<Result<_>>()?;
        Ok(Labels { classes, names: None })
    }

    /// One number for each row of `of`.
    pub(crate) fn numbers(&self, name: &str, of: &str, count: usize) -> Result<Vec<f64>> {
        let tensor = self.one_for_each(name, of, count)?;
        self.check_finite(name, &tensor)?;
        Ok(tensor.to_dtype(DType::F64)?.to_vec1()?)
    }

    /// A tensor `[count]`; `[count, 1]` is taken as the same.
    fn one_for_each(&self, name: &str, of: &str, count: usize) -> Result<Tensor> {
        let tensor = self.expect(name, &format!("[n], one for each row of `{of}`"))?;
        if tensor.dims() != [count] && tensor.dims() != [count, 1] {
            let found = tensor.dims();
            bail!(
                "{}: tensor `{name}` has shape {found:?}, expected [{count}], one for each row of `{of}`",
                self.file(name)
            );
        }
        Ok(tensor.flatten_all()?)
    }
}

impl Labels {
    /// Numbers the distinct texts in alphabetical order.
    fn of_text(words: &[String]) -> Self {
        let distinct: std::collections::BTreeSet<&String> = words.iter().collect();
        let number: BTreeMap<&String, u32> = distinct.iter().copied().zip(0..).collect();
        let classes = words.iter().filter_map(|word| number.get(word).copied()).collect();
        Self { classes, names: Some(distinct.into_iter().cloned().collect()) }
    }
}

fn safetensors(path: &Path) -> Result<BTreeMap<String, Array>> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes).context("no whole safetensors file; was it cut short?")?;
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let element = element(view.dtype()).with_context(|| format!("tensor `{name}`"))?;
        let tensor = element.tensor(view.data(), view.shape()).with_context(|| format!("tensor `{name}`"))?;
        Ok((name, Array::Numbers(tensor)))
    };
    file.tensors().into_iter().map(tensor).collect()
}

fn element(dtype: Dtype) -> Result<Element> {
    let (kind, size) = match dtype {
        Dtype::F16 => (Kind::Float, 2),
        Dtype::BF16 => (Kind::BrainFloat, 2),
        Dtype::F32 => (Kind::Float, 4),
        Dtype::F64 => (Kind::Float, 8),
        Dtype::BOOL => (Kind::Bool, 1),
        Dtype::I8 => (Kind::Signed, 1),
        Dtype::I16 => (Kind::Signed, 2),
        Dtype::I32 => (Kind::Signed, 4),
        Dtype::I64 => (Kind::Signed, 8),
        Dtype::U8 => (Kind::Unsigned, 1),
        Dtype::U16 => (Kind::Unsigned, 2),
        Dtype::U32 => (Kind::Unsigned, 4),
        Dtype::U64 => (Kind::Unsigned, 8),
        other => bail!("numbers of type {other:?} cannot be read; convert them to f32"),
    };
    Ok(Element { kind, size, big_endian: false })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn saved(tensors: &[(&str, Tensor)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let tensors: std::collections::HashMap<&str, Tensor> = tensors.iter().cloned().collect();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        (folder, path)
    }

    #[test]
    fn errors_name_file_tensor_and_both_shapes() {
        let x = Tensor::zeros((3, 2), DType::F64, &Device::Cpu).unwrap();
        let y = Tensor::new(&[0i64, -1, 2], &Device::Cpu).unwrap();
        let (_folder, path) = saved(&[("features", x), ("labels", y)]);
        let arrays = Arrays::read(&path, "features").unwrap();
        let message = |error: anyhow::Error| {
            let text = format!("{error:#}");
            assert!(text.contains("a.safetensors"), "{text}");
            text
        };
        assert!(message(arrays.expect("lables", "").unwrap_err()).contains("did you mean `labels`"));
        assert!(message(arrays.labels("labels", "features", 3).unwrap_err()).contains("label -1 of row 1"));
        let shapes = message(arrays.labels("labels", "features", 4).unwrap_err());
        assert!(shapes.contains("[3], expected [4]"), "{shapes}");
        assert!(message(arrays.floats("labels", &[1], "[n]").unwrap_err()).contains("floating-point"));
        let rank = message(arrays.floats("features", &[4], "[n, c, h, w]").unwrap_err());
        assert!(rank.contains("[3, 2], expected [n, c, h, w]"), "{rank}");
    }

    #[test]
    fn numpy_arrays_and_labels_of_many_types_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("features.npy");
        Tensor::new(&[[1f32, 2.0]], &Device::Cpu).unwrap().write_npy(&path).unwrap();
        let arrays = Arrays::read(&path, "features").unwrap();
        assert_eq!(arrays.floats("features", &[2], "[n, p]").unwrap().dims(), [1, 2]);
        for labels in [Tensor::new(&[1u8], &Device::Cpu).unwrap(), Tensor::new(&[1u32], &Device::Cpu).unwrap()] {
            let (_folder, path) = saved(&[("labels", labels)]);
            assert_eq!(Arrays::read(&path, "x").unwrap().labels("labels", "features", 1).unwrap().classes, [1]);
        }
    }

    #[test]
    fn errors_of_a_cut_file_and_an_unknown_ending_name_the_path() {
        let (_folder, path) = saved(&[("x", Tensor::zeros(64, DType::F32, &Device::Cpu).unwrap())]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        for path in [path.as_path(), Path::new("nowhere.safetensors"), Path::new("a.txt")] {
            let message = format!("{:#}", Arrays::read(path, "x").err().unwrap());
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
    }

    #[test]
    fn labels_may_be_whole_floats_one_column_or_text() {
        let column = Tensor::new(&[[0f32], [2.0]], &Device::Cpu).unwrap();
        let half = Tensor::new(&[0.5f64, 1.0], &Device::Cpu).unwrap();
        let (_folder, path) = saved(&[("column", column), ("half", half)]);
        let mut arrays = Arrays::read(&path, "x").unwrap();
        assert_eq!(arrays.labels("column", "features", 2).unwrap().classes, [0, 2]);
        let message = arrays.labels("half", "features", 2).unwrap_err().to_string();
        assert!(message.contains("label 0.5 of row 0"), "{message}");
        arrays.insert("words", Array::Text(["ox", "hen", "ox"].map(str::to_owned).to_vec()));
        let labels = arrays.labels("words", "features", 3).unwrap();
        assert_eq!(labels.classes, [1, 0, 1]);
        assert_eq!(labels.names.unwrap(), ["hen", "ox"]);
        assert!(arrays.labels("words", "features", 2).unwrap_err().to_string().contains("3 texts"));
        assert!(arrays.expect("words", "[n]").unwrap_err().to_string().contains("text"));
    }
}
