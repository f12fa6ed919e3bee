//! Weights as safetensors files, with PyTorch's names and layouts.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

use super::{AssignError, Params, WeightsReport};
use crate::files::write_atomically;
use crate::{Error, Result};

impl Params {
    /// Reads every parameter from a safetensors file, such as a PyTorch state dict saved as one.
    ///
    /// **Errors** [`Error::Io`], [`Error::SafeTensors`] (not such a file, or cut short), [`Error::WeightsFormat`] (PyTorch's
    /// own format), [`Error::Weights`] (missing, unexpected or misshapen tensors), [`Error::WeightsNumbers`] and
    /// [`Error::NonFiniteWeights`]; the network is unchanged then.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let values = read_tensors(path)?;
        refuse_numbers(path, &values)?;
        self.assign(&values).map_err(|error| match error {
            AssignError::Report(report) => Error::Weights { path: path.to_owned(), report },
            AssignError::Candle(error) => Error::Candle(error),
        })
    }

    /// Reads those parameters that the file holds in their shape, leaves the others as they are and tells which:
    /// for another number of classes, the body of a trained network under a fresh head.
    ///
    /// **Errors** as [`Params::load`]; [`Error::Weights`] only when nothing fits.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use models::{Architecture, Initialisation, Network};
    /// let network = |classes, seed| {
    ///     let text = format!("family = 'mlp'\ninputs = 2\nhidden = [3]\nclasses = {classes}");
    ///     Network::new(&Architecture::from_toml(&text)?, Initialisation::HeNormal, seed, DType::F32, &Device::Cpu)
    /// };
    /// let path = std::env::temp_dir().join(format!("load-matching-{}.safetensors", std::process::id()));
    /// network(5, 1)?.params().save(&path)?;
    /// let fresh = network(2, 7)?;
    /// assert!(fresh.params().load(&path).is_err());
    /// let report = fresh.params().load_matching(&path)?;
    /// assert!(report.missing.is_empty() && report.unexpected.is_empty());
    /// assert_eq!(report.misshapen[1], ("head.weight".to_owned(), vec![2, 3], vec![5, 3]));
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn load_matching(&self, path: impl AsRef<Path>) -> Result<WeightsReport> {
        let path = path.as_ref();
        let values = read_tensors(path)?;
        let report = WeightsReport::compare(self, &values);
        let fits = |name: &str, value: &Tensor| self.get(name).is_some_and(|known| known.var.dims() == value.dims());
        let values: BTreeMap<String, Tensor> = values.into_iter().filter(|(name, value)| fits(name, value)).collect();
        if values.is_empty() {
            return Err(Error::Weights { path: path.to_owned(), report });
        }
        refuse_numbers(path, &values)?;
        self.set(&values)?;
        Ok(report)
    }

    /// Writes every parameter to a safetensors file, whole or not at all.
    ///
    /// **Errors** [`Error::Io`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let tensors: BTreeMap<String, Tensor> =
            self.iter().map(|(name, parameter)| (name.to_owned(), parameter.var.as_detached_tensor())).collect();
        let path = path.as_ref();
        // Some of PyTorch's readers ask which framework's layout the tensors have.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        write_atomically(path, &encode_tensors(path, &tensors, Some(metadata))?)
    }
}

/// All tensors of a safetensors file, by name.
pub(crate) fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes =
        std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), action: "reading weights", source })?;
    parse_tensors(path, &bytes)
}

/// All tensors of the bytes of a safetensors file, by name.
pub(crate) fn parse_tensors(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    if let Some(found) = other_format(bytes) {
        return Err(Error::WeightsFormat { path: path.to_owned(), found });
    }
    let file =
        SafeTensors::deserialize(bytes).map_err(|source| Error::SafeTensors { path: path.to_owned(), source })?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let dtype = DType::try_from(view.dtype()).map_err(|_| Error::WeightsNumbers {
            path: path.to_owned(),
            tensor: name.clone(),
            stored: format!("{:?}", view.dtype()),
        })?;
        tensors.insert(name, Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?);
    }
    Ok(tensors)
}

/// What the first bytes say of a file in which weights are often kept, but not as safetensors.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 4] = [
        (b"PK\x03\x04", "an archive, as PyTorch's `torch.save` writes it"),
        (b"\x80\x02", "a pickle, as PyTorch's `torch.save` wrote it before 1.6"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"version https://git-lfs", "the pointer of Git LFS, without the file itself"),
    ];
    known.into_iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, found)| found)
}

/// The bytes of a safetensors file with these tensors and this string metadata.
pub(crate) fn encode_tensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: Option<HashMap<String, String>>,
) -> Result<Vec<u8>> {
    let on_host: BTreeMap<&String, Tensor> = tensors
        .iter()
        .map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?.contiguous()?)))
        .collect::<Result<_>>()?;
    safetensors::serialize(on_host.iter().map(|(name, tensor)| (name.as_str(), tensor)), metadata)
        .map_err(|source| Error::SafeTensors { path: path.to_owned(), source })
}

/// Refuses whole numbers, as quantised weights are (PyTorch's counter of batches is no weight), and what is not finite.
fn refuse_numbers(path: &Path, values: &BTreeMap<String, Tensor>) -> Result<()> {
    for (name, value) in values {
        if !value.dtype().is_float() {
            if name.ends_with("num_batches_tracked") {
                continue;
            }
            let stored = value.dtype().as_str().to_owned();
            return Err(Error::WeightsNumbers { path: path.to_owned(), tensor: name.clone(), stored });
        }
        let numbers: Vec<f64> = value.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let count = numbers.iter().filter(|number| !number.is_finite()).count();
        if count > 0 {
            return Err(Error::NonFiniteWeights { path: path.to_owned(), tensor: name.clone(), count });
        }
    }
    Ok(())
}
