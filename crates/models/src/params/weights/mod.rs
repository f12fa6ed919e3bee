//! Files of weights: safetensors and PyTorch's own, whole or in parts.

mod family_guess;
mod loading;
mod names;
mod pickle;
mod positions;
mod pytorch;
mod report;
mod safetensors_file;
mod shards;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::Tensor;

pub use names::RenamedTensor;
pub use positions::InterpolatedPositions;
pub use report::{ShapeMismatch, TensorShape, WeightsReport};
pub(crate) use safetensors_file::{encode_tensors, parse_tensors};

use crate::Architecture;
use crate::{Error, Result};

/// The tensors of a file of weights, or of several files that belong together.
///
/// | path | what is read |
/// |---|---|
/// | a safetensors file | its tensors |
/// | a PyTorch file (`.pth`, `.pt`, `.bin`) | the state dict in it, also under `state_dict`, `model`, `ema` and similar keys |
/// | an index file (`*.index.json`) | the tensors of the files that it names |
/// | a folder | its index, or its one file of weights, or numbered parts (`…-00001-of-00003.safetensors`) |
///
/// PyTorch files are read as data: nothing in them is executed. Refused are files from before PyTorch 1.6, which are bare pickles,
/// TorchScript archives, compressed archives, and pickles with objects of any class that a state dict does not consist of, as
/// `torch.save(model)` writes them. Every size in a file is checked against the bytes of the file before memory is allocated.
///
/// ```
/// use candle_core::{DType, Device};
/// use models::{Architecture, Initialisation, Network, WeightsFile};
/// let architecture = Architecture::named("vgg-small")?.with_classes(7);
/// let network = |seed| Network::new(&architecture, Initialisation::HeNormal, seed, DType::F32, &Device::Cpu);
/// let path = std::env::temp_dir().join(format!("weights-file-{}.safetensors", std::process::id()));
/// network(1)?.params().save(&path)?;
/// let file = WeightsFile::open(&path)?;
/// assert_eq!(file.classes(&architecture), Some(7));
/// assert!(network(2)?.params().load_file(&file)?.is_clean());
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct WeightsFile {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    /// The keys under which the state dict was found in a PyTorch file.
    wrappers: Vec<String>,
    /// Other keys of a PyTorch file that hold tensors too.
    ignored: Vec<String>,
}

impl WeightsFile {
    /// Reads the tensors of a file, of the files of an index, or of a folder.
    ///
    /// **Errors** [`Error::Io`]; [`Error::SafeTensors`] and [`Error::PyTorchFile`] for files that are cut short, damaged or refused;
    /// [`Error::WeightsFormat`] for other formats; [`Error::WeightsShards`] for a folder or an index whose weights are not clear
    /// or not complete; [`Error::WeightsNumbers`] for a dtype that cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let io = |source| Error::Io { path: path.to_owned(), action: "reading weights", source };
        let kind = std::fs::metadata(path).map_err(io)?;
        if kind.is_dir() {
            return match shards::of_folder(path)? {
                shards::Folder::Index(index) => Self::of_index(&index),
                shards::Folder::Files(files) => Self::of_parts(path, &files),
            };
        }
        if !kind.is_file() {
            return Err(Error::WeightsFormat { path: path.to_owned(), found: "a device or pipe" });
        }
        if path.to_string_lossy().ends_with(shards::INDEX) {
            return Self::of_index(path);
        }
        Self::of_file(path)
    }

    /// Tensors by the names of a state dict, which do not come from a file. `origin` stands for the file in messages.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// let weight = Tensor::zeros((3, 2), DType::F32, &Device::Cpu)?;
    /// let file = models::WeightsFile::from_tensors("state dict", [("fc.weight".to_owned(), weight)]);
    /// assert_eq!(file.names().collect::<Vec<_>>(), ["fc.weight"]);
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn from_tensors(origin: impl Into<PathBuf>, tensors: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        let tensors = tensors.into_iter().collect();
        Self { path: origin.into(), tensors, wrappers: Vec::new(), ignored: Vec::new() }
    }

    /// The names of the files that an index (`*.index.json`) lists, all in the folder of the index: for fetching them before
    /// [`WeightsFile::open`] reads the index. None for a path that is no index by its name.
    ///
    /// **Errors** [`Error::Io`]; [`Error::WeightsShards`] for text that is no index, and for files outside its folder.
    ///
    /// ```
    /// let path = std::env::temp_dir().join(format!("{}-model.safetensors.index.json", std::process::id()));
    /// std::fs::write(&path, r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}}"#).unwrap();
    /// assert_eq!(models::WeightsFile::files_of_index(&path)?.unwrap(), ["1.safetensors", "2.safetensors"]);
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn files_of_index(path: impl AsRef<Path>) -> Result<Option<Vec<String>>> {
        let path = path.as_ref();
        if !path.to_string_lossy().ends_with(shards::INDEX) {
            return Ok(None);
        }
        let names = shards::of_index(path)?.into_keys();
        Ok(Some(names.filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect()))
    }

    /// The names of the tensors as the file has them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The number of classes of the head in this file: the rows of its weight. None where the file has no head for this
    /// architecture.
    pub fn classes(&self, architecture: &Architecture) -> Option<usize> {
        names::head_weight(&architecture.head_name(), self).and_then(|weight| weight.dims().first().copied())
    }

    fn of_file(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), action: "reading weights", source };
        let mut start = Vec::new();
        File::open(path).map_err(io)?.take(9).read_to_end(&mut start).map_err(io)?;
        if start.starts_with(safetensors_file::ZIP) && start.get(8) != Some(&b'{') {
            let pytorch::StateDict { tensors, wrappers, ignored } = pytorch::read(path)?;
            return Ok(Self { path: path.to_owned(), tensors, wrappers, ignored });
        }
        let tensors = parse_tensors(path, &std::fs::read(path).map_err(io)?)?;
        Ok(Self { path: path.to_owned(), tensors, wrappers: Vec::new(), ignored: Vec::new() })
    }

    fn of_index(path: &Path) -> Result<Self> {
        let files = shards::of_index(path)?;
        let mut whole =
            Self { path: path.to_owned(), tensors: BTreeMap::new(), wrappers: Vec::new(), ignored: Vec::new() };
        for (file, names) in files {
            let mut part = Self::of_file(&file)?;
            for name in names {
                let Some(tensor) = part.tensors.remove(&name) else {
                    let reason = format!("it lists `{name}` in {}, which does not hold it", file.display());
                    return Err(Error::WeightsShards { path: path.to_owned(), reason });
                };
                whole.tensors.insert(name, tensor);
            }
        }
        Ok(whole)
    }

    fn of_parts(folder: &Path, files: &[PathBuf]) -> Result<Self> {
        let mut whole: Option<Self> = None;
        for file in files {
            let part = Self::of_file(file)?;
            let Some(whole) = &mut whole else {
                whole = Some(part);
                continue;
            };
            for (name, tensor) in part.tensors {
                if whole.tensors.insert(name.clone(), tensor).is_some() {
                    let reason = format!("`{name}` is in more than one of its files");
                    return Err(Error::WeightsShards { path: folder.to_owned(), reason });
                }
            }
        }
        whole.ok_or_else(|| Error::WeightsShards { path: folder.to_owned(), reason: "it holds no weights".into() })
    }
}
