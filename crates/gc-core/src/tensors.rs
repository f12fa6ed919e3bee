//! Checks and sums that every measurement needs of its tensors.

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use reductions::Widen;

use crate::{Error, Quantity, Result};

/// Returns an error unless the features are floating-point numbers of shape `[samples, p]` with p ≥ 1.
pub(crate) fn check_features(features: &Tensor, samples: usize) -> Result<()> {
    match features.dims() {
        [rows, outputs] if *rows == samples && *outputs > 0 => {}
        got => return Err(Error::FeatureShape { samples, got: got.to_vec() }),
    }
    if features.dtype().is_float() { Ok(()) } else { Err(Error::FeatureDType { got: features.dtype() }) }
}

/// The squared norm of each row of `[n, …]`, accumulated in f64.
pub(crate) fn row_squared_norms(tensor: &Tensor) -> Result<Vec<f64>> {
    match of_each_row(tensor, &SquaredNorm)? {
        Some(squares) => Ok(squares),
        None => Ok(in_f64(tensor)?.flatten_from(1)?.sqr()?.sum(1)?.to_vec1()?),
    }
}

/// The inner product of each row of two tensors `[n, …]` of the same shape, accumulated in f64.
pub(crate) fn row_inner_products(one: &Tensor, other: &Tensor) -> Result<Vec<f64>> {
    let (one, other) = (in_f64(one)?.flatten_from(1)?, in_f64(other)?.flatten_from(1)?);
    Ok((one * other)?.sum(1)?.to_vec1()?)
}

/// What is computed of one row of numbers.
pub(crate) trait OfRow {
    /// The result.
    type Output;

    /// The result of one row, in f64.
    fn of_row<T: Widen>(&self, row: &[T]) -> Self::Output;
}

/// The result of each row of `[n, …]`, read once. None for empty rows, and where the numbers are not f32 or f64 on the CPU.
pub(crate) fn of_each_row<O: OfRow>(tensor: &Tensor, of: &O) -> Result<Option<Vec<O::Output>>> {
    let tensor = tensor.contiguous()?;
    let count = tensor.elem_count();
    let length = count / tensor.dims().first().copied().unwrap_or(1).max(1);
    if length == 0 {
        return Ok(None);
    }
    let (storage, layout) = tensor.storage_and_layout();
    let range = layout.start_offset()..layout.start_offset() + count;
    Ok(match &*storage {
        Storage::Cpu(CpuStorage::F32(numbers)) => numbers.get(range).map(|numbers| rows(numbers, length, of)),
        Storage::Cpu(CpuStorage::F64(numbers)) => numbers.get(range).map(|numbers| rows(numbers, length, of)),
        _ => None,
    })
}

fn rows<T: Widen, O: OfRow>(numbers: &[T], length: usize, of: &O) -> Vec<O::Output> {
    numbers.chunks_exact(length).map(|row| of.of_row(row)).collect()
}

/// Σ x².
struct SquaredNorm;

impl OfRow for SquaredNorm {
    type Output = f64;

    fn of_row<T: Widen>(&self, row: &[T]) -> f64 {
        let [sum] = reductions::vectorized(
            #[inline(always)]
            || {
                reductions::lane_sums(row.len(), |at| {
                    let x = row[at].widen();
                    [x * x]
                })
            },
        );
        sum
    }
}

/// The tensor in f64, on the CPU if its device has no f64.
pub(crate) fn in_f64(tensor: &Tensor) -> Result<Tensor> {
    let tensor = if tensor.device().is_metal() { tensor.to_device(&Device::Cpu)? } else { tensor.clone() };
    Ok(tensor.detach().to_dtype(DType::F64)?)
}

/// The position of the first value that is infinite or NaN.
pub(crate) fn first_non_finite(values: &[f64]) -> Option<usize> {
    values.iter().position(|value| !value.is_finite())
}

/// Returns an error that names the sample if inputs or features `[n, …]` are not finite. `indices` holds the index of the
/// sample of each row.
pub(crate) fn check_finite(
    tensor: &Tensor,
    indices: &[usize],
    quantity: Quantity,
    layer: impl FnOnce() -> Option<String>,
) -> Result<()> {
    // A sum of squares in f64 is finite if and only if every f32 is. An f64 beyond 1e154 overflows, and is refused as well.
    match first_non_finite(&row_squared_norms(tensor)?) {
        None => Ok(()),
        Some(row) => Err(Error::NonFinite { quantity, sample: indices[row % indices.len()], layer: layer() }),
    }
}

/// The relative difference of two roundings of the same value: eight units in the last place of the dtype, at least.
pub(crate) fn rounding(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-12,
        DType::F32 => 1e-5,
        _ => 0.05,
    }
}
