//! PyTorch's own files (`.pth`, `.pt`, `.bin`): a zip archive of one pickle and the bytes of each storage.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use candle_core::pickle::Object;
use candle_core::{DType, Device, Tensor};
use zip::{CompressionMethod, ZipArchive};

use super::pickle;
use crate::{Error, Result};

/// The keys under which training scripts store a state dict, the preferred ones first.
const WRAPPERS: [&str; 14] = [
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "student",
    "teacher",
    "ema",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "params_ema",
    "params",
];
/// The most bytes of the pickle itself, which holds names and shapes only.
const LARGEST_PICKLE: u64 = 256 << 20;

/// The tensors of a PyTorch file.
pub(super) struct StateDict {
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// The keys under which the state dict was found, outermost first.
    pub(super) wrappers: Vec<String>,
    /// The other keys under which there are tensors too.
    pub(super) ignored: Vec<String>,
}

/// Reads the state dict of a PyTorch file without executing anything.
pub(super) fn read(path: &Path) -> Result<StateDict> {
    let action = "reading weights";
    let io = |source| Error::Io { path: path.to_owned(), action, source };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut archive = Archive::open(path, file, length)?;
    let object = pickle::read(&archive.pickle()?).map_err(|reason| refused(path, reason))?;
    let Found { entries, wrappers, ignored } = find_state_dict(object).map_err(|reason| refused(path, reason))?;
    let mut tensors = BTreeMap::new();
    for (name, object) in entries {
        let stored = Stored::parse(object).map_err(|problem| problem.into_error(path, &name))?;
        let Some(stored) = stored else { continue };
        tensors.insert(name.clone(), archive.tensor(&name, &stored)?);
    }
    Ok(StateDict { tensors, wrappers, ignored })
}

fn refused(path: &Path, reason: impl Into<String>) -> Error {
    Error::PyTorchFile { path: path.to_owned(), reason: reason.into() }
}

/// The zip archive, whose entries are not compressed: none is longer than the file.
struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
    length: u64,
    /// The folder in the archive, with its slash.
    folder: String,
    storages: HashMap<String, Vec<u8>>,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path, file: File, length: u64) -> Result<Self> {
        let zip = ZipArchive::new(BufReader::new(file));
        let zip =
            zip.map_err(|error| refused(path, format!("its zip archive cannot be read ({error}); is it cut short?")))?;
        let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        if names.iter().any(|name| name.ends_with("constants.pkl") || name.contains("/code/")) {
            let reason = "it is a TorchScript archive, which holds code: save the state dict of the module instead";
            return Err(refused(path, reason));
        }
        let folder = names.iter().find_map(|name| name.strip_suffix("data.pkl"));
        let folder = folder.ok_or_else(|| refused(path, "its zip archive holds no `data.pkl`"))?.to_owned();
        let mut archive = Self { path, zip, length, folder, storages: HashMap::new() };
        if names.iter().any(|name| *name == format!("{}byteorder", archive.folder))
            && archive.entry("byteorder", 16)? != b"little"
        {
            return Err(refused(path, "its numbers are not little-endian"));
        }
        Ok(archive)
    }

    fn pickle(&mut self) -> Result<Vec<u8>> {
        self.entry("data.pkl", LARGEST_PICKLE)
    }

    /// The bytes of an entry, whose size is checked before they are allocated.
    fn entry(&mut self, name: &str, most: u64) -> Result<Vec<u8>> {
        let (path, length) = (self.path, self.length);
        let entry = self.zip.by_name(&format!("{}{name}", self.folder));
        let mut entry = entry.map_err(|error| refused(path, format!("its entry `{name}` cannot be read ({error})")))?;
        if entry.compression() != CompressionMethod::Stored {
            return Err(refused(path, format!("its entry `{name}` is compressed, which `torch.save` never does")));
        }
        let size = entry.size();
        if size > length || size > most {
            let reason =
                format!("its entry `{name}` claims {size} bytes, more than the file has or a state dict needs");
            return Err(refused(path, reason));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        let read = entry.by_ref().take(size).read_to_end(&mut bytes);
        read.map_err(|error| refused(path, format!("its entry `{name}` cannot be read ({error}); is it cut short?")))?;
        if bytes.len() as u64 != size {
            return Err(refused(path, format!("its entry `{name}` is cut short")));
        }
        Ok(bytes)
    }

    /// One tensor, with its strides resolved.
    fn tensor(&mut self, name: &str, stored: &Stored) -> Result<Tensor> {
        if !self.storages.contains_key(&stored.storage) {
            let bytes = self.entry(&format!("data/{}", stored.storage), u64::MAX)?;
            self.storages.insert(stored.storage.clone(), bytes);
        }
        let bytes = self.storages.get(&stored.storage).map_or(&[] as &[u8], Vec::as_slice);
        let outside = || {
            let reason =
                format!("tensor `{name}` of shape {:?} lies outside the bytes that are stored for it", stored.shape);
            refused(self.path, reason)
        };
        let values = stored.values(bytes).ok_or_else(outside)?;
        Ok(Tensor::from_raw_buffer(&values, stored.dtype, &stored.shape, &Device::Cpu)?)
    }
}

/// A tensor as its pickle describes it.
struct Stored {
    dtype: DType,
    shape: Vec<usize>,
    /// In elements, one for each dimension.
    strides: Vec<usize>,
    /// In elements.
    offset: usize,
    /// The name of the entry with its bytes.
    storage: String,
}

/// Why an object of a state dict is no tensor that can be read.
enum Problem {
    /// It is malformed, or of an unknown class.
    Refused(String),
    /// Its numbers cannot be read.
    Numbers(String),
}

impl Problem {
    fn into_error(self, path: &Path, tensor: &str) -> Error {
        match self {
            Problem::Refused(reason) => refused(path, format!("tensor `{tensor}`: {reason}")),
            Problem::Numbers(stored) => {
                Error::WeightsNumbers { path: path.to_owned(), tensor: tensor.to_owned(), stored }
            }
        }
    }
}

impl Stored {
    /// The tensor that an entry of a state dict describes; none for an entry that is no tensor.
    fn parse(object: Object) -> std::result::Result<Option<Self>, Problem> {
        let Some((module, name, args)) = call(object) else { return Ok(None) };
        let mut args = args.into_iter();
        match (module.as_str(), name.as_str()) {
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => match args.next() {
                Some(tensor) => Self::parse(tensor),
                None => Err(malformed()),
            },
            ("torch._tensor", "_rebuild_from_type_v2") => {
                let (Some(callable), Some(Object::Tuple(inner))) = (args.next(), args.nth(1)) else {
                    return Err(malformed());
                };
                let args = Box::new(Object::Tuple(inner));
                Self::parse(Object::Reduce { callable: Box::new(callable), args })
            }
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => {
                let (Some(storage), Some(offset)) = (args.next(), args.next()) else { return Err(malformed()) };
                let (Some(shape), Some(strides)) = (args.next(), args.next()) else { return Err(malformed()) };
                let (dtype, storage) = parse_storage(storage)?;
                let offset = size(offset).ok_or_else(malformed)?;
                let (shape, strides) = (sizes(shape).ok_or_else(malformed)?, sizes(strides).ok_or_else(malformed)?);
                if shape.len() != strides.len() {
                    return Err(malformed());
                }
                Ok(Some(Self { dtype, shape, strides, offset, storage }))
            }
            _ => Ok(None),
        }
    }

    /// The bytes of the elements in row-major order; none where an element lies outside the storage, or where there are more
    /// elements than the storage holds.
    fn values(&self, storage: &[u8]) -> Option<Vec<u8>> {
        let width = self.dtype.size_in_bytes();
        let count = self.shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size))?;
        if count.checked_mul(width)? > storage.len() {
            return None;
        }
        if count == 0 {
            return Some(Vec::new());
        }
        let mut last = self.offset;
        for (size, stride) in self.shape.iter().zip(&self.strides) {
            last = last.checked_add((size - 1).checked_mul(*stride)?)?;
        }
        if last.checked_add(1)?.checked_mul(width)? > storage.len() {
            return None;
        }
        let mut row_major = vec![1; self.shape.len()];
        for axis in (1..self.shape.len()).rev() {
            row_major[axis - 1] = row_major[axis] * self.shape[axis];
        }
        let same = |axis: usize| self.shape[axis] == 1 || self.strides[axis] == row_major[axis];
        if (0..self.shape.len()).all(same) {
            return storage.get(self.offset * width..(self.offset + count) * width).map(<[u8]>::to_vec);
        }
        let mut values = Vec::with_capacity(count * width);
        for element in 0..count {
            let axes = row_major.iter().zip(&self.shape).zip(&self.strides);
            let index: usize = axes.map(|((row, size), stride)| element / row % size * stride).sum();
            let start = (self.offset + index) * width;
            values.extend_from_slice(storage.get(start..start + width)?);
        }
        Some(values)
    }
}

fn malformed() -> Problem {
    Problem::Refused("it is not described as PyTorch describes tensors".into())
}

/// Module, name and arguments of a call; attributes that were set on its result are dropped.
fn call(object: Object) -> Option<(String, String, Vec<Object>)> {
    match object {
        Object::Build { callable, .. } => call(*callable),
        Object::Reduce { callable, args } => match (*callable, *args) {
            (Object::Class { module_name, class_name }, Object::Tuple(args)) => Some((module_name, class_name, args)),
            _ => None,
        },
        _ => None,
    }
}

/// Numbers and entry name of a storage.
fn parse_storage(object: Object) -> std::result::Result<(DType, String), Problem> {
    let Object::PersistentLoad(id) = object else { return Err(malformed()) };
    let Object::Tuple(id) = *id else { return Err(malformed()) };
    let mut id = id.into_iter().skip(1);
    let (Some(Object::Class { class_name, .. }), Some(Object::Unicode(key))) = (id.next(), id.next()) else {
        return Err(malformed());
    };
    let dtype = match class_name.as_str() {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "ByteStorage" => DType::U8,
        other => return Err(Problem::Numbers(other.to_owned())),
    };
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(malformed());
    }
    Ok((dtype, key))
}

fn size(object: Object) -> Option<usize> {
    object.int_or_long().ok().and_then(|size| usize::try_from(size).ok())
}

fn sizes(object: Object) -> Option<Vec<usize>> {
    match object {
        Object::Tuple(elements) => elements.into_iter().map(size).collect(),
        // `torch.Size` is a tuple inside a call.
        other => match call(other)? {
            (module, name, args) if module == "torch" && name == "Size" => sizes(args.into_iter().next()?),
            _ => None,
        },
    }
}

/// A state dict inside the object of a file.
struct Found {
    entries: Vec<(String, Object)>,
    wrappers: Vec<String>,
    ignored: Vec<String>,
}

/// The state dict of a file: the object itself, or what a training script stored under a known key.
fn find_state_dict(object: Object) -> std::result::Result<Found, String> {
    let (mut object, mut wrappers, mut ignored) = (object, Vec::new(), Vec::new());
    loop {
        let Object::Dict(entries) = object else { return Err(not_a_dict(object)) };
        let mut entries: Vec<(String, Object)> =
            entries.into_iter().filter_map(|(key, value)| Some((key.unicode().ok()?, value))).collect();
        let holding: Vec<&str> =
            entries.iter().filter(|(_, value)| is_state_dict(value)).map(|(key, _)| key.as_str()).collect();
        let known = WRAPPERS.into_iter().find(|wrapper| holding.contains(wrapper)).map(str::to_owned);
        let has_tensors = entries.iter().any(|(_, value)| is_tensor(value));
        let only = match holding.as_slice() {
            [only] if !has_tensors => Some((*only).to_owned()),
            _ => None,
        };
        let Some(wrapper) = known.or(only) else {
            if !has_tensors {
                let keys: Vec<&str> = entries.iter().take(5).map(|(key, _)| key.as_str()).collect();
                return Err(format!("it holds no tensors by name; its first keys are {keys:?}"));
            }
            return Ok(Found { entries, wrappers, ignored });
        };
        ignored.extend(holding.iter().filter(|key| **key != wrapper).map(|key| (*key).to_owned()));
        let Some(at) = entries.iter().position(|(key, _)| *key == wrapper) else {
            return Err("its keys changed while they were read".into());
        };
        object = entries.swap_remove(at).1;
        wrappers.push(wrapper);
    }
}

fn is_tensor(object: &Object) -> bool {
    match object {
        Object::Build { callable, .. } => is_tensor(callable),
        Object::Reduce { callable, .. } => match callable.as_ref() {
            Object::Class { module_name, class_name } => {
                class_name.starts_with("_rebuild") && matches!(module_name.as_str(), "torch._utils" | "torch._tensor")
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether it is a dict that holds tensors by name, or a dict of such dicts.
fn is_state_dict(object: &Object) -> bool {
    let Object::Dict(entries) = object else { return false };
    entries.iter().any(|(key, value)| {
        matches!(key, Object::Unicode(_))
            && (is_tensor(value)
                || matches!((key, value), (Object::Unicode(key), Object::Dict(_))
                if WRAPPERS.contains(&key.as_str()) && is_state_dict(value)))
    })
}

fn not_a_dict(object: Object) -> String {
    match call(object) {
        Some((module, name, _)) => pickle::unknown_global(&module, &name),
        None => "it holds no state dict".into(),
    }
}
