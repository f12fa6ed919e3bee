//! Labelled features as rows of f32 or f64, borrowed from a slice or from a contiguous tensor on the CPU.

#[cfg(feature = "candle")]
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};

use crate::{Error, Result};

pub(crate) mod sealed {
    /// Seals [`super::Element`]: the tile code is written for exactly f32 and f64.
    pub trait Sealed: crate::products::Number {
        /// Whether products of deviations neither overflow nor underflow in this type, given the sum of the squares of
        /// `numbers` deviations.
        fn holds_products(squares: f64, numbers: usize) -> bool;
    }
}

/// The type of one feature: f32 or f64. All sums are in f64 either way.
pub trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// Unit round-off of products taken in this type.
    const EPSILON: f64;
    /// The same number in f64, exactly.
    fn wide(self) -> f64;
    /// The nearest number of this type.
    fn narrow(value: f64) -> Self;
}

impl Element for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value as f32
    }
}

impl Element for f64 {
    const EPSILON: f64 = f64::EPSILON;
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value
    }
}

/// Rows of features, checked against their labels.
#[derive(Clone, Copy)]
pub(crate) struct Labelled<'a, E> {
    pub(crate) features: &'a [E],
    pub(crate) width: usize,
}

impl<'a, E: Element> Labelled<'a, E> {
    /// Checks lengths and labels; finiteness is checked while summing, which costs nothing.
    pub(crate) fn new(
        operation: &'static str,
        features: &'a [E],
        labels: &'a [u32],
        width: usize,
        class_count: usize,
    ) -> Result<Self> {
        if width == 0 || !features.len().is_multiple_of(width) {
            return Err(Error::Shape {
                operation,
                expected: format!("whole rows of {width} features (at least one)"),
                actual: format!("{} numbers", features.len()),
            });
        }
        let rows = features.len() / width;
        if rows != labels.len() {
            return Err(Error::LabelCount { operation, features: rows, labels: labels.len() });
        }
        if let Some(row) = labels.iter().position(|&label| label as usize >= class_count) {
            return Err(Error::LabelOutOfRange { operation, row, label: labels[row], class_count });
        }
        Ok(Self { features, width })
    }

    pub(crate) fn row(&self, row: usize) -> &'a [E] {
        &self.features[row * self.width..(row + 1) * self.width]
    }

    /// The first feature that is not finite, in order of rows.
    pub(crate) fn non_finite(&self, operation: &'static str) -> Option<Error> {
        let at = self.features.iter().position(|feature| !feature.wide().is_finite())?;
        let (row, column) = (at / self.width, at % self.width);
        Some(Error::NonFinite { operation, row, column, value: self.features[at].wide() })
    }
}

/// The rows of a contiguous tensor on the CPU.
#[cfg(feature = "candle")]
pub(crate) enum Rows<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

/// Calls `work` with the rows of a tensor [n, `width`]. A contiguous f32 or f64 tensor on the CPU is not copied.
///
/// f16 and bf16 are widened to f32, and tensors of other devices are copied to the CPU, `CHUNK` rows at a time. `work`
/// then runs once for each chunk; its first argument is the first row of the chunk.
#[cfg(feature = "candle")]
pub(crate) fn with_rows(
    operation: &'static str,
    features: &Tensor,
    width: usize,
    mut work: impl FnMut(usize, Rows<'_>) -> Result<()>,
) -> Result<()> {
    let dims = features.dims();
    if dims.len() != 2 || dims[1] != width {
        return Err(Error::Shape {
            operation,
            expected: format!("features [n, {width}]"),
            actual: format!("{dims:?}"),
        });
    }
    let wide = match features.dtype() {
        DType::F64 => DType::F64,
        DType::F32 | DType::F16 | DType::BF16 => DType::F32,
        other => return Err(Error::FeatureType { operation, actual: other.as_str().to_string() }),
    };
    if wide == features.dtype() && matches!(features.device(), Device::Cpu) && features.is_contiguous() {
        return with_contiguous(operation, features, |rows| work(0, rows));
    }
    const CHUNK: usize = 16_384;
    for start in (0..dims[0]).step_by(CHUNK) {
        let rows = CHUNK.min(dims[0] - start);
        let chunk = features.narrow(0, start, rows)?.to_device(&Device::Cpu)?.to_dtype(wide)?.contiguous()?;
        with_contiguous(operation, &chunk, |rows| work(start, rows))?;
    }
    Ok(())
}

#[cfg(feature = "candle")]
fn with_contiguous(operation: &'static str, tensor: &Tensor, work: impl FnOnce(Rows<'_>) -> Result<()>) -> Result<()> {
    let (storage, layout) = tensor.storage_and_layout();
    let span = layout.start_offset()..layout.start_offset() + tensor.elem_count();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(data)) => work(Rows::F32(&data[span])),
        Storage::Cpu(CpuStorage::F64(data)) => work(Rows::F64(&data[span])),
        _ => Err(Error::FeatureType { operation, actual: tensor.dtype().as_str().to_string() }),
    }
}

#[cfg(all(test, feature = "candle"))]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_tensor_is_read_by_rows() {
        let tensor = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.], (3, 2), &Device::Cpu).unwrap().t().unwrap();
        let mut seen = Vec::new();
        with_rows("test", &tensor, 3, |start, rows| {
            assert_eq!(start, 0);
            if let Rows::F32(rows) = rows {
                seen.extend_from_slice(rows);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [1., 3., 5., 2., 4., 6.]);
    }

    #[test]
    fn an_offset_view_is_read_from_its_offset() {
        let tensor = Tensor::from_slice(&[1f64, 2., 3., 4., 5., 6.], (3, 2), &Device::Cpu).unwrap();
        let view = tensor.narrow(0, 1, 2).unwrap();
        let mut seen = Vec::new();
        with_rows("test", &view, 2, |_, rows| {
            if let Rows::F64(rows) = rows {
                seen.extend_from_slice(rows);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [3., 4., 5., 6.]);
    }
}
