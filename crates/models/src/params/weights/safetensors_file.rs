//! Weights as safetensors.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

use crate::{Error, Result};

/// The first bytes of a zip archive.
pub(super) const ZIP: &[u8] = b"PK\x03\x04";
const LEGACY: &str = "a pickle, as PyTorch's `torch.save` wrote it before 1.6 (it can only be read by executing code: load it in \
                      PyTorch and save the state dict again)";

/// All tensors of the bytes of a safetensors file, by name. The reader checks every size in the header against the bytes.
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

/// The format that the first bytes show, if it is a common format for weights but neither safetensors nor PyTorch's zip archive.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    // A safetensors file starts with the length of its header, which may look like anything, and the header is a JSON object.
    if bytes.get(8) == Some(&b'{') {
        return None;
    }
    let known: [(&[u8], &str); 7] = [
        (ZIP, "a zip archive, as PyTorch's `torch.save` writes it"),
        (b"\x80\x02", LEGACY),
        (b"\x80\x03", LEGACY),
        (b"\x80\x04", LEGACY),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"version https://git-lfs", "the pointer of Git LFS, without the file itself"),
        (b"GGUF", "a GGUF file"),
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
