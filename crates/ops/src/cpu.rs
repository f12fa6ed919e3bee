//! Conversion from candle's CPU storage to the slices of the kernels.

use candle_core::{CpuStorage, DType, Layout, Result, Tensor, WithDType};

/// The elements of a contiguous tensor in CPU storage, for custom operations of other crates.
///
/// `op` is the name of the operation in errors.
///
/// **Errors** candle's errors if the layout is not contiguous, if the storage has another dtype, or if the layout exceeds the
/// storage.
///
/// ```
/// use candle_core::{Device, Storage, Tensor};
/// let tail = Tensor::new(&[1f64, 2., 3.], &Device::Cpu)?.narrow(0, 1, 2)?;
/// let (storage, layout) = tail.storage_and_layout();
/// let Storage::Cpu(storage) = &*storage else { unreachable!() };
/// assert_eq!(ops::cpu::elements::<f64>("example", storage, layout)?, [2., 3.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn elements<'a, T: WithDType>(op: &'static str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let (start, end) = layout.contiguous_offsets().ok_or(candle_core::Error::RequiresContiguous { op })?;
    storage
        .as_slice::<T>()?
        .get(start..end)
        .ok_or_else(|| candle_core::Error::Msg(format!("{op}: layout {start}..{end} lies outside its storage")).bt())
}

/// Runs `$body` with `$T` bound to the Rust type of a storage's floating-point dtype.
macro_rules! dispatch_float {
    ($op:expr, $storage:expr, $T:ident => $body:expr) => {
        match candle_core::backend::BackendStorage::dtype($storage) {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err($crate::Error::DType { op: $op, expected: "f32 or f64".into(), got: other.as_str().into() }
                .into_candle()),
        }
    };
}
pub(crate) use dispatch_float;

/// Runs `$body` on the elements of tensors on the CPU, without a graph, with `$T` bound to their Rust type.
macro_rules! with_elements {
    ($op:expr, [$first:ident: $first_tensor:expr $(, $name:ident: $tensor:expr)* $(,)?], $T:ident => $body:expr) => {{
        let $first = $first_tensor.contiguous()?;
        $(let $name = $tensor.contiguous()?;)*
        let $first = $first.storage_and_layout();
        $(let $name = $name.storage_and_layout();)*
        let $first = ($crate::cpu::on_cpu($op, &$first.0)?, $first.1);
        $(let $name = ($crate::cpu::on_cpu($op, &$name.0)?, $name.1);)*
        $crate::cpu::dispatch_float!($op, $first.0, $T => {
            let $first = $crate::cpu::elements::<$T>($op, $first.0, $first.1)?;
            $(let $name = $crate::cpu::elements::<$T>($op, $name.0, $name.1)?;)*
            candle_core::Result::Ok($body)
        })?
    }};
}
pub(crate) use with_elements;

/// The storage of a tensor on the CPU.
pub(crate) fn on_cpu<'a>(op: &'static str, storage: &'a candle_core::Storage) -> Result<&'a CpuStorage> {
    match storage {
        candle_core::Storage::Cpu(storage) => Ok(storage),
        _ => Err(candle_core::Error::Msg(format!("{op}: a CPU kernel needs tensors on the CPU")).bt()),
    }
}

/// Returns an error if the dtypes differ.
pub(crate) fn same_dtype(op: &'static str, left: &Tensor, right: &Tensor) -> crate::Result<()> {
    if left.dtype() == right.dtype() {
        return Ok(());
    }
    Err(crate::Error::DType { op, expected: left.dtype().as_str().into(), got: right.dtype().as_str().into() })
}

/// Returns an error unless the dtype is f32 or f64.
pub(crate) fn require_float(op: &'static str, x: &Tensor) -> crate::Result<()> {
    match x.dtype() {
        DType::F32 | DType::F64 => Ok(()),
        other => Err(crate::Error::DType { op, expected: "f32 or f64".into(), got: other.as_str().into() }),
    }
}
