//! Weights as safetensors files, with PyTorch's names and layouts.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

use super::{AssignError, Params};
use crate::files::write_atomically;
use crate::{Error, Result};

impl Params {
    /// Reads every parameter from a safetensors file, such as a PyTorch state dict saved as one.
    ///
    /// **Errors** [`Error::Io`], [`Error::SafeTensors`] (not such a file, or cut short), [`Error::Weights`] (missing,
    /// unexpected or misshapen tensors), [`Error::NonFiniteWeights`]; the network is unchanged then.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let values = read_tensors(path)?;
        refuse_non_finite(path, &values)?;
        self.assign(&values).map_err(|error| match error {
            AssignError::Report(report) => Error::Weights { path: path.to_owned(), report },
            AssignError::Candle(error) => Error::Candle(error),
        })
    }

    /// Writes every parameter to a safetensors file, whole or not at all.
    ///
    /// **Errors** [`Error::Io`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let tensors: BTreeMap<String, Tensor> =
            self.iter().map(|(name, parameter)| (name.to_owned(), parameter.var.as_detached_tensor())).collect();
        let path = path.as_ref();
        write_atomically(path, &encode_tensors(path, &tensors, None)?)
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
    let file =
        SafeTensors::deserialize(bytes).map_err(|source| Error::SafeTensors { path: path.to_owned(), source })?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let dtype = DType::try_from(view.dtype())?;
        tensors.insert(name, Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?);
    }
    Ok(tensors)
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

fn refuse_non_finite(path: &Path, values: &BTreeMap<String, Tensor>) -> Result<()> {
    for (name, value) in values {
        if !value.dtype().is_float() {
            continue;
        }
        let numbers: Vec<f64> = value.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let count = numbers.iter().filter(|number| !number.is_finite()).count();
        if count > 0 {
            return Err(Error::NonFiniteWeights { path: path.to_owned(), tensor: name.clone(), count });
        }
    }
    Ok(())
}
