//! Stored numbers of any width and byte order as tensors.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};

/// What one stored element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A floating-point number of 2, 4 or 8 bytes.
    Float,
    /// A bfloat16.
    BrainFloat,
    /// A signed integer of 1, 2, 4 or 8 bytes.
    Signed,
    /// An unsigned integer of 1, 2, 4 or 8 bytes.
    Unsigned,
    /// A truth value of one byte.
    Bool,
}

/// How one element is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) kind: Kind,
    /// Bytes of one element.
    pub(super) size: usize,
    pub(super) big_endian: bool,
}

/// The product of a shape's sizes times the bytes of an element, or `None` where it exceeds the address space.
pub(super) fn byte_count(shape: &[usize], size: usize) -> Option<usize> {
    shape.iter().try_fold(size, |product, side| product.checked_mul(*side))
}

impl Element {
    /// The tensor of this shape whose elements, in row-major order, are these bytes.
    ///
    /// Half precision becomes f32, f64 stays f64, and every integer and truth value becomes i64.
    ///
    /// # Errors
    /// A number of bytes other than the shape's; a width that does not exist; an unsigned integer above the largest i64.
    pub(super) fn tensor(self, bytes: &[u8], shape: &[usize]) -> Result<Tensor> {
        if byte_count(shape, self.size) != Some(bytes.len()) {
            bail!("shape {shape:?} needs {} bytes an element, and there are {} bytes in all", self.size, bytes.len());
        }
        let floats = |dtype| Tensor::from_raw_buffer(&self.native(bytes), dtype, shape, &Device::Cpu);
        Ok(match (self.kind, self.size) {
            (Kind::Float, 2) => floats(DType::F16)?.to_dtype(DType::F32)?,
            (Kind::BrainFloat, 2) => floats(DType::BF16)?.to_dtype(DType::F32)?,
            (Kind::Float, 4) => floats(DType::F32)?,
            (Kind::Float, 8) => floats(DType::F64)?,
            (Kind::Signed | Kind::Unsigned | Kind::Bool, _) => {
                Tensor::from_vec(self.integers(bytes)?, shape, &Device::Cpu)?
            }
            (kind, size) => {
                bail!("numbers of kind {kind:?} with {size} bytes cannot be read; convert them to f32 or f64")
            }
        })
    }

    /// The elements in the byte order of this machine.
    fn native(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        if self.big_endian == cfg!(target_endian = "big") {
            return Cow::Borrowed(bytes);
        }
        let mut bytes = bytes.to_vec();
        bytes.chunks_exact_mut(self.size.max(1)).for_each(<[u8]>::reverse);
        Cow::Owned(bytes)
    }

    fn integers(self, bytes: &[u8]) -> Result<Vec<i64>> {
        Ok(match (self.kind, self.size) {
            (Kind::Bool, 1) => bytes.iter().map(|byte| i64::from(*byte != 0)).collect(),
            (Kind::Signed, 1) => self.map(bytes, |b| i64::from(i8::from_le_bytes(b))),
            (Kind::Signed, 2) => self.map(bytes, |b| i64::from(i16::from_le_bytes(b))),
            (Kind::Signed, 4) => self.map(bytes, |b| i64::from(i32::from_le_bytes(b))),
            (Kind::Signed, 8) => self.map(bytes, i64::from_le_bytes),
            (Kind::Unsigned, 1) => self.map(bytes, |b| i64::from(u8::from_le_bytes(b))),
            (Kind::Unsigned, 2) => self.map(bytes, |b| i64::from(u16::from_le_bytes(b))),
            (Kind::Unsigned, 4) => self.map(bytes, |b| i64::from(u32::from_le_bytes(b))),
            (Kind::Unsigned, 8) => {
                let numbers = self.map(bytes, u64::from_le_bytes);
                let number = |number| i64::try_from(number).with_context(|| format!("{number} exceeds 64 signed bits"));
                numbers.into_iter().map(number).collect::<Result<_>>()?
            }
            (kind, size) => bail!("integers of kind {kind:?} with {size} bytes cannot be read; convert them to int64"),
        })
    }

    /// Every element, read from its little-endian bytes.
    fn map<const N: usize, T>(self, bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
        let element = |chunk: &[u8]| {
            let mut array = [0; N];
            array.copy_from_slice(chunk);
            if self.big_endian {
                array.reverse();
            }
            read(array)
        };
        bytes.chunks_exact(N).map(element).collect()
    }
}
