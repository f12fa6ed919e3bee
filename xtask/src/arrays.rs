//! Named arrays out of files that other programs wrote: safetensors, npy, npz and parquet.

mod parquet_columns;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::npy::NpzTensors;
use candle_core::{DType, Device, Tensor};

use crate::suggest;

/// What the reader of NumPy's files takes.
const NUMPY: &str = "expected arrays as numpy.ascontiguousarray has them, of f16, f32, f64, i32, i64, u8 or u32";

/// The arrays of one file, by name.
pub(crate) struct Arrays {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    /// Where those come from that another file lent.
    adopted: BTreeMap<String, PathBuf>,
}

impl Arrays {
    /// Reads a file whose ending says what it is; the one array of an npy file gets the name `only`.
    ///
    /// # Errors
    /// A file that is missing, cut short or of another format, or an ending that is none of the four.
    pub(crate) fn read(path: &Path, only: &str) -> Result<Self> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        let tensors = match ending.as_str() {
            "safetensors" => safetensors(path),
            "npy" => Tensor::read_npy(path).map(|tensor| BTreeMap::from([(only.to_owned(), tensor)])).context(NUMPY),
            "npz" => npz(path).context(NUMPY),
            "parquet" => parquet_columns::read(path),
            _ => bail!("{}: expected a file ending in .safetensors, .npy, .npz or .parquet", path.display()),
        };
        let tensors = tensors.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path: path.to_owned(), tensors, adopted: BTreeMap::new() })
    }

    /// The tensor of this name, if there is one.
    pub(crate) fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Takes over the tensor `name` of another file.
    pub(crate) fn adopt(&mut self, name: &str, other: &Self) -> Result<()> {
        self.tensors.insert(name.to_owned(), other.expect(name, "")?.clone());
        self.adopted.insert(name.to_owned(), other.path.clone());
        Ok(())
    }

    /// The file of a tensor, for messages.
    pub(crate) fn file(&self, name: &str) -> std::path::Display<'_> {
        self.adopted.get(name).unwrap_or(&self.path).display()
    }

    /// The tensor of this name; `what` says what it should hold.
    pub(crate) fn expect(&self, name: &str, what: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| {
            let what = if what.is_empty() { String::new() } else { format!("; expected {what}") };
            anyhow!("{}: {}{what}", self.path.display(), suggest::unknown("tensor", name, self.names()))
        })
    }

    /// Refuses a tensor of another rank.
    pub(crate) fn check_rank(&self, name: &str, ranks: &[usize], expected: &str) -> Result<()> {
        let tensor = self.expect(name, expected)?;
        if ranks.contains(&tensor.rank()) {
            return Ok(());
        }
        bail!("{}: tensor `{name}` has shape {:?}, expected {expected}", self.file(name), tensor.dims())
    }

    /// A tensor of floating-point numbers; half precision becomes f32.
    pub(crate) fn floats(&self, name: &str, ranks: &[usize], expected: &str) -> Result<Tensor> {
        self.check_rank(name, ranks, expected)?;
        let tensor = self.expect(name, expected)?;
        match tensor.dtype() {
            DType::F32 | DType::F64 => Ok(tensor.clone()),
            DType::F16 | DType::BF16 => Ok(tensor.to_dtype(DType::F32)?),
            other => {
                let found = other.as_str();
                bail!("{}: tensor `{name}` holds {found}, expected floating-point numbers", self.file(name))
            }
        }
    }

    /// Refuses a tensor with NaN or an infinity, naming the first of them by its row.
    pub(crate) fn check_finite(&self, name: &str, tensor: &Tensor) -> Result<()> {
        let rows = tensor.dims().first().copied().unwrap_or(1).max(1);
        let values: Vec<f64> = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let Some(at) = values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
        bail!("{}: tensor `{name}` holds {} in row {}", self.file(name), values[at], at / (values.len() / rows).max(1))
    }

    /// One whole number from 0 for each row of `of`.
    pub(crate) fn labels(&self, name: &str, of: &str, count: usize) -> Result<Vec<u32>> {
        let tensor = self.one_for_each(name, of, count)?;
        if tensor.dtype().is_float() {
            let found = tensor.dtype().as_str();
            bail!("{}: tensor `{name}` holds {found}, expected whole numbers, one label each", self.file(name));
        }
        let numbers: Vec<i64> = tensor.to_dtype(DType::I64)?.to_vec1()?;
        let label = |(row, number): (usize, &i64)| {
            u32::try_from(*number).ok().filter(|label| *label < u32::MAX).ok_or_else(|| {
                anyhow!(
                    "{}: label {number} of row {row} in `{name}` is out of range; labels count from 0",
                    self.file(name)
                )
            })
        };
        numbers.iter().enumerate().map(label).collect()
    }

    /// One number for each row of `of`.
    pub(crate) fn numbers(&self, name: &str, of: &str, count: usize) -> Result<Vec<f64>> {
        let tensor = self.one_for_each(name, of, count)?;
        self.check_finite(name, tensor)?;
        Ok(tensor.to_dtype(DType::F64)?.to_vec1()?)
    }

    fn one_for_each(&self, name: &str, of: &str, count: usize) -> Result<&Tensor> {
        let tensor = self.expect(name, &format!("[n], one for each row of `{of}`"))?;
        if tensor.dims() != [count] {
            let found = tensor.dims();
            bail!(
                "{}: tensor `{name}` has shape {found:?}, expected [{count}], one for each row of `{of}`",
                self.file(name)
            );
        }
        Ok(tensor)
    }
}

fn safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    Ok(candle_core::safetensors::load(path, &Device::Cpu)?.into_iter().collect())
}

fn npz(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let archive = NpzTensors::new(path)?;
    let read = |name: &str| -> Result<(String, Tensor)> {
        let tensor = archive.get(name)?.with_context(|| format!("the array `{name}` is listed but not there"))?;
        Ok((name.to_owned(), tensor))
    };
    archive.names().into_iter().map(|name| read(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(tensors: &[(&str, Tensor)]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let tensors: std::collections::HashMap<&str, Tensor> = tensors.iter().cloned().collect();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        (folder, path)
    }

    #[test]
    fn what_is_wrong_comes_with_file_tensor_and_both_shapes() {
        let x = Tensor::zeros((3, 2), DType::F64, &Device::Cpu).unwrap();
        let y = Tensor::new(&[0i64, -1, 2], &Device::Cpu).unwrap();
        let (_folder, path) = saved(&[("features", x), ("labels", y)]);
        let arrays = Arrays::read(&path, "features").unwrap();
        let said = |error: anyhow::Error| {
            let text = format!("{error:#}");
            assert!(text.contains("a.safetensors"), "{text}");
            text
        };
        assert!(said(arrays.expect("lables", "").unwrap_err()).contains("did you mean `labels`"));
        assert!(said(arrays.labels("labels", "features", 3).unwrap_err()).contains("label -1 of row 1"));
        let shapes = said(arrays.labels("labels", "features", 4).unwrap_err());
        assert!(shapes.contains("[3], expected [4]"), "{shapes}");
        assert!(said(arrays.floats("labels", &[1], "[n]").unwrap_err()).contains("floating-point"));
        let rank = said(arrays.floats("features", &[4], "[n, c, h, w]").unwrap_err());
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
            assert_eq!(Arrays::read(&path, "x").unwrap().labels("labels", "features", 1).unwrap(), [1]);
        }
    }

    #[test]
    fn a_cut_file_and_an_unknown_ending_are_told_with_the_path() {
        let (_folder, path) = saved(&[("x", Tensor::zeros(64, DType::F32, &Device::Cpu).unwrap())]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        for path in [path.as_path(), Path::new("nowhere.safetensors"), Path::new("a.csv")] {
            let message = format!("{:#}", Arrays::read(path, "x").err().unwrap());
            assert!(message.contains(&path.display().to_string()), "{message}");
        }
    }
}
