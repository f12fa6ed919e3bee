//! The values between nodes: tensors of floats, and arrays of integers and booleans.
//!
//! Floats are candle tensors on the device of the network, and part of candle's graph. Integers and booleans are shapes, axes,
//! indices and masks: they have no derivative, and stay in plain vectors, so that every operator of the standard is defined
//! on them whatever the device supports.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::Result;
use crate::error::operand;
use crate::message::Kind;

/// The most elements that a node may produce from nothing, as `ConstantOfShape` does.
pub(crate) const MOST_ELEMENTS: usize = 1 << 28;

/// A value between nodes.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Floats.
    Float(Tensor),
    /// Integers or booleans.
    Whole(Whole),
}

/// An array of integers or booleans, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Whole {
    pub(crate) kind: Kind,
    pub(crate) dims: Vec<usize>,
    /// Booleans are 0 and 1; u64 has the same bits.
    pub(crate) data: Arc<Vec<i64>>,
}

impl Whole {
    pub(crate) fn new(kind: Kind, dims: Vec<usize>, data: Vec<i64>) -> Self {
        debug_assert_eq!(dims.iter().product::<usize>(), data.len());
        Self { kind, dims, data: Arc::new(data) }
    }

    /// A list of `int64`.
    pub(crate) fn list(data: Vec<i64>) -> Self {
        Self::new(Kind::I64, vec![data.len()], data)
    }

    /// The same numbers in another shape.
    pub(crate) fn reshaped(&self, dims: Vec<usize>) -> Self {
        Self { kind: self.kind, dims, data: self.data.clone() }
    }

    /// The array as a float tensor.
    pub(crate) fn to_tensor(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        let unsigned = self.kind == Kind::U64;
        let numbers = self.data.iter().map(|value| if unsigned { value.cast_unsigned() as f64 } else { *value as f64 });
        let numbers: Vec<f64> = numbers.collect();
        Ok(Tensor::from_vec(numbers, self.dims.as_slice(), &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
    }

    /// The array as indices on a device.
    pub(crate) fn to_indices(&self, device: &Device) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.data.to_vec(), self.dims.as_slice(), &Device::Cpu)?.to_device(device)?)
    }

    /// The array as a mask on a device: 1 where it is not 0.
    pub(crate) fn to_mask(&self, device: &Device) -> Result<Tensor> {
        let mask: Vec<u8> = self.data.iter().map(|value| u8::from(*value != 0)).collect();
        Ok(Tensor::from_vec(mask, self.dims.as_slice(), &Device::Cpu)?.to_device(device)?)
    }
}

impl Value {
    /// The sizes.
    pub(crate) fn dims(&self) -> &[usize] {
        match self {
            Self::Float(tensor) => tensor.dims(),
            Self::Whole(whole) => &whole.dims,
        }
    }

    /// The number of elements.
    pub(crate) fn count(&self) -> usize {
        self.dims().iter().product()
    }

    /// Floats, or an error.
    pub(crate) fn float(&self) -> Result<&Tensor> {
        match self {
            Self::Float(tensor) => Ok(tensor),
            Self::Whole(whole) => Err(operand(format!("expected floats, got {:?}", whole.kind))),
        }
    }

    /// Integers or booleans, or an error.
    pub(crate) fn whole(&self) -> Result<&Whole> {
        match self {
            Self::Whole(whole) => Ok(whole),
            Self::Float(_) => Err(operand("expected integers or booleans, got floats")),
        }
    }

    /// The numbers as f64, in row-major order.
    pub(crate) fn numbers(&self) -> Result<Vec<f64>> {
        Ok(match self {
            Self::Float(tensor) => tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?,
            Self::Whole(whole) => whole.data.iter().map(|value| *value as f64).collect(),
        })
    }

    /// One number.
    pub(crate) fn number(&self) -> Result<f64> {
        match self.numbers()?[..] {
            [number] => Ok(number),
            _ => Err(operand(format!("expected one number, got the shape {:?}", self.dims()))),
        }
    }

    /// The value in another shape of the same number of elements.
    pub(crate) fn reshaped(&self, dims: Vec<usize>) -> Result<Self> {
        Ok(match self {
            Self::Float(tensor) => Self::Float(tensor.reshape(dims)?),
            Self::Whole(whole) => Self::Whole(whole.reshaped(dims)),
        })
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Float(tensor)
    }
}

impl From<Whole> for Value {
    fn from(whole: Whole) -> Self {
        Self::Whole(whole)
    }
}

/// The number of elements of a shape, or an error if it is more than a node may produce.
pub(crate) fn checked_count(dims: &[usize]) -> Result<usize> {
    dims.iter()
        .try_fold(1usize, |count, size| count.checked_mul(*size))
        .filter(|count| *count <= MOST_ELEMENTS)
        .ok_or_else(|| operand(format!("a tensor of shape {dims:?} is too large")))
}

/// A dimension of `rank`, counted from the end where it is negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| operand(format!("there is no dimension {axis} of {rank}")))
}
