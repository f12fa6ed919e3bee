//! The numbers of the file's tensors, wherever they are stored.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use crate::error::malformed;
use crate::mapped::Mapped;
use crate::message::{self, External, Kind};
use crate::value::{Value, Whole};
use crate::{Error, Result};

/// Reads tensors of one model. Files with external data are mapped once.
pub(crate) struct Weights<'a> {
    folder: Option<&'a Path>,
    pub(crate) dtype: DType,
    pub(crate) device: &'a Device,
    files: HashMap<PathBuf, Arc<Mapped>>,
    /// Bytes of the file with the graph.
    pub(crate) own_bytes: usize,
}

/// How many numbers may be computed from constants beside four for each byte of the files.
const MOST_NUMBERS: usize = 1 << 26;

impl<'a> Weights<'a> {
    /// A reader for a graph in `folder`, whose floats become `dtype`. Without a folder there is no external data.
    pub(crate) fn new(folder: Option<&'a Path>, dtype: DType, device: &'a Device) -> Self {
        Self { folder, dtype, device, files: HashMap::new(), own_bytes: 0 }
    }

    /// The most numbers that constants may have, those that are computed from them included: no file takes much more memory than it
    /// has bytes.
    pub(crate) fn most_numbers(&self) -> usize {
        let bytes = self.files.values().map(|file| file.len()).fold(self.own_bytes, usize::saturating_add);
        MOST_NUMBERS.saturating_add(bytes.saturating_mul(4))
    }

    /// The numbers of a tensor. Sizes are compared with the bytes before anything is allocated.
    pub(crate) fn read(&mut self, tensor: &message::Tensor) -> Result<Value> {
        let (kind, count) = (tensor.element()?, tensor.count()?);
        if let Some(external) = &tensor.external {
            let failed = |reason: String| Error::External { tensor: tensor.name.to_owned(), reason };
            let file = self.file(external).map_err(failed)?;
            let bytes = slice(&file, external, count.checked_mul(kind.size())).map_err(failed)?;
            return self.of_bytes(tensor, kind, bytes);
        }
        match tensor.raw {
            Some(bytes) if count.checked_mul(kind.size()) == Some(bytes.len()) => self.of_bytes(tensor, kind, bytes),
            Some(bytes) => Err(wrong_size(tensor, bytes.len())),
            None => self.of_numbers(tensor, kind, count),
        }
    }

    /// The file with external data: a regular file in the folder of the graph or below it.
    fn file(&mut self, external: &External) -> std::result::Result<Arc<Mapped>, String> {
        let location = external.location;
        let folder = self.folder.ok_or("they are in another file, and the graph was not read from a file")?;
        let plain = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || location.contains('\0') || !Path::new(location).components().all(plain) {
            return Err(format!("`{location}` is not a path within the folder of the graph, and is not read"));
        }
        let missing = |error: std::io::Error| {
            format!(
                "cannot read `{location}` in the folder of the graph: {error}; keep the file with the weights beside the graph"
            )
        };
        let path = folder.join(location).canonicalize().map_err(missing)?;
        if !path.starts_with(folder.canonicalize().map_err(missing)?) {
            return Err(format!(
                "`{location}` is a link that leaves the folder of the graph, and is not read; copy the file"
            ));
        }
        if let Some(file) = self.files.get(&path) {
            return Ok(file.clone());
        }
        let file = Arc::new(Mapped::open(&path).map_err(missing)?);
        self.files.insert(path, file.clone());
        Ok(file)
    }

    fn of_bytes(&self, tensor: &message::Tensor, kind: Kind, bytes: &[u8]) -> Result<Value> {
        fn wide<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> i64) -> Vec<i64> {
            bytes.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
        }
        let dims = || tensor.dims.clone();
        let whole = |data| Ok(Whole::new(kind, dims(), data).into());
        match kind {
            Kind::F32 if self.dtype == DType::F32 => self.floats(tensor, le(bytes, f32::from_le_bytes)),
            Kind::F32 => self.floats(tensor, le(bytes, |bytes| f64::from(f32::from_le_bytes(bytes)))),
            Kind::F64 => self.floats(tensor, le(bytes, f64::from_le_bytes)),
            Kind::F16 => self.floats(tensor, le(bytes, |bytes| f16::from_le_bytes(bytes).to_f32())),
            Kind::Bf16 => self.floats(tensor, le(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32())),
            Kind::U8 => whole(wide(bytes, |[byte]: [u8; 1]| i64::from(byte))),
            Kind::Bool => whole(wide(bytes, |[byte]: [u8; 1]| i64::from(byte != 0))),
            Kind::I8 => whole(wide(bytes, |bytes| i64::from(i8::from_le_bytes(bytes)))),
            Kind::U16 => whole(wide(bytes, |bytes| i64::from(u16::from_le_bytes(bytes)))),
            Kind::I16 => whole(wide(bytes, |bytes| i64::from(i16::from_le_bytes(bytes)))),
            Kind::U32 => whole(wide(bytes, |bytes| i64::from(u32::from_le_bytes(bytes)))),
            Kind::I32 => whole(wide(bytes, |bytes| i64::from(i32::from_le_bytes(bytes)))),
            Kind::U64 | Kind::I64 => whole(wide(bytes, i64::from_le_bytes)),
        }
    }

    fn floats<T: candle_core::WithDType>(&self, tensor: &message::Tensor, numbers: Vec<T>) -> Result<Value> {
        let on_cpu = Tensor::from_vec(numbers, tensor.dims.as_slice(), &Device::Cpu)?;
        Ok(on_cpu.to_dtype(self.dtype)?.to_device(self.device)?.into())
    }

    /// The numbers of the typed fields. Small integers and half floats are in `int32_data`.
    fn of_numbers(&self, tensor: &message::Tensor, kind: Kind, count: usize) -> Result<Value> {
        let typed = tensor.typed()?;
        let bits = |value: &i64| *value as u16;
        match kind {
            Kind::F32 if typed.floats.len() == count => self.floats(tensor, typed.floats),
            Kind::F64 if typed.doubles.len() == count => self.floats(tensor, typed.doubles),
            Kind::F16 if typed.integers.len() == count => {
                self.floats(tensor, typed.integers.iter().map(|value| f16::from_bits(bits(value)).to_f32()).collect())
            }
            Kind::Bf16 if typed.integers.len() == count => {
                self.floats(tensor, typed.integers.iter().map(|value| bf16::from_bits(bits(value)).to_f32()).collect())
            }
            whole if !whole.is_float() && typed.integers.len() == count => {
                let as_bool = |value: i64| if whole == Kind::Bool { i64::from(value != 0) } else { value };
                let numbers = typed.integers.into_iter().map(as_bool).collect();
                Ok(Whole::new(whole, tensor.dims.clone(), numbers).into())
            }
            _ => {
                let found = typed.floats.len() + typed.doubles.len() + typed.integers.len();
                Err(malformed(
                    "TensorProto",
                    format!("the tensor `{}` has shape {:?} and {found} numbers", tensor.name, tensor.dims),
                ))
            }
        }
    }
}

/// The numbers of little-endian bytes.
fn le<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
}

/// The bytes of a tensor within a file: `needed` of them.
fn slice<'f>(file: &'f Mapped, external: &External, needed: Option<usize>) -> std::result::Result<&'f [u8], String> {
    let number = |name: &str, text: Option<&str>| -> std::result::Result<Option<usize>, String> {
        text.map(|text| text.parse().map_err(|_| format!("its {name} is `{text}`, expected a number of bytes")))
            .transpose()
    };
    let needed = needed.ok_or("its size overflows")?;
    let offset = number("offset", external.offset)?.unwrap_or(0);
    let length = number("length", external.length)?.unwrap_or(needed);
    let bytes = offset.checked_add(length).and_then(|end| file.get(offset..end)).ok_or_else(|| {
        format!(
            "`{}` has {} bytes, the tensor is at {offset} with {length}; is it the file of another graph?",
            external.location,
            file.len()
        )
    })?;
    if length != needed {
        return Err(format!("{length} bytes are stated, its shape needs {needed}"));
    }
    Ok(bytes)
}

fn wrong_size(tensor: &message::Tensor, got: usize) -> Error {
    malformed("TensorProto", format!("the tensor `{}` has shape {:?} and {got} bytes", tensor.name, tensor.dims))
}
