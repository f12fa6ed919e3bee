//! Tensors: their shape and kind, and where their numbers are.

use super::push;
use crate::error::malformed;
use crate::wire::Fields;
use crate::{Error, Result};

const NAME: &str = "TensorProto";

/// `TensorProto`. The numbers are read by [`Tensor::typed`] or sliced from the raw bytes.
#[derive(Debug, Clone)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) dims: Vec<usize>,
    pub(crate) kind: i64,
    /// `raw_data`, little-endian.
    pub(crate) raw: Option<&'a [u8]>,
    /// Where the bytes are in another file, if they are.
    pub(crate) external: Option<External<'a>>,
    message: &'a [u8],
}

/// `external_data`: bytes of a file beside the graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct External<'a> {
    pub(crate) location: &'a str,
    pub(crate) offset: Option<&'a str>,
    pub(crate) length: Option<&'a str>,
}

/// Element types, by the numbers of `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    F64,
    F16,
    Bf16,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    Bool,
}

impl Kind {
    /// The type of a number of `TensorProto.DataType`, or the name of a type that is not read.
    pub(crate) fn of(number: i64) -> std::result::Result<Self, String> {
        Ok(match number {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            5 => Self::I16,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            12 => Self::U32,
            13 => Self::U64,
            16 => Self::Bf16,
            0 => return Err("undefined".to_owned()),
            8 => return Err("string".to_owned()),
            14 | 15 => return Err("complex".to_owned()),
            17..=20 => return Err("8-bit float".to_owned()),
            21 | 22 => return Err("4-bit integer".to_owned()),
            other => return Err(format!("number {other}")),
        })
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::Bf16)
    }

    /// Bytes of one element in `raw_data`.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 | Self::U16 | Self::I16 => 2,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F64 | Self::U64 | Self::I64 => 8,
        }
    }
}

/// The numbers of the typed fields. At most one list is not empty in a valid file.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    pub(crate) floats: Vec<f32>,
    pub(crate) doubles: Vec<f64>,
    /// `int32_data`, `int64_data` and `uint64_data`.
    pub(crate) integers: Vec<i64>,
}

impl<'a> Tensor<'a> {
    pub(super) fn read(message: &'a [u8]) -> Result<Self> {
        let mut tensor = Self { name: "", dims: Vec::new(), kind: 0, raw: None, external: None, message };
        let (mut dims, mut elsewhere, mut external) = (Vec::new(), false, External::default());
        for field in Fields::new(NAME, message) {
            match field? {
                (1, value) => value.integers(NAME, &mut dims)?,
                (2, value) => tensor.kind = value.integer(NAME)?,
                (8, value) => tensor.name = value.text(NAME)?,
                (9, value) => tensor.raw = Some(value.bytes(NAME)?),
                (13, value) => match entry(value.bytes(NAME)?)? {
                    ("location", value) => external.location = value,
                    ("offset", value) => external.offset = Some(value),
                    ("length", value) => external.length = Some(value),
                    _ => {}
                },
                (14, value) => elsewhere = value.integer(NAME)? == 1,
                _ => {}
            }
        }
        if elsewhere {
            tensor.external = Some(external);
        }
        for dim in dims {
            let size = usize::try_from(dim)
                .map_err(|_| malformed(NAME, format!("the tensor `{}` has a size of {dim}", tensor.name)))?;
            push(NAME, &mut tensor.dims, size)?;
        }
        Ok(tensor)
    }

    /// The number of elements.
    pub(crate) fn count(&self) -> Result<usize> {
        // A size of 0 must not hide an overflow of the others: candle multiplies them for its strides.
        let product = self.dims.iter().try_fold(1usize, |product, size| product.checked_mul((*size).max(1)));
        let huge = || malformed(NAME, format!("the tensor `{}` has a size of {:?}", self.name, self.dims));
        product.map(|product| if self.dims.contains(&0) { 0 } else { product }).ok_or_else(huge)
    }

    /// The element type.
    pub(crate) fn element(&self) -> Result<Kind> {
        Kind::of(self.kind).map_err(|kind| Error::ElementType { tensor: self.name.to_owned(), kind })
    }

    /// The numbers of the typed fields.
    pub(crate) fn typed(&self) -> Result<Typed> {
        let mut typed = Typed::default();
        for field in Fields::new(NAME, self.message) {
            match field? {
                (4, value) => value.floats(NAME, &mut typed.floats)?,
                (5 | 7 | 11, value) => value.integers(NAME, &mut typed.integers)?,
                (10, value) => value.doubles(NAME, &mut typed.doubles)?,
                _ => {}
            }
        }
        Ok(typed)
    }
}

/// `StringStringEntryProto`.
fn entry(bytes: &[u8]) -> Result<(&str, &str)> {
    let (mut key, mut text) = ("", "");
    for field in Fields::new("StringStringEntryProto", bytes) {
        match field? {
            (1, value) => key = value.text(NAME)?,
            (2, value) => text = value.text(NAME)?,
            _ => {}
        }
    }
    Ok((key, text))
}
