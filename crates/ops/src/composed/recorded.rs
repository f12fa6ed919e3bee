//! Operations on the CPU while a tape records them.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Result as CandleResult, Shape, Storage, Tensor, Var,
};

use crate::cpu::on_cpu;
use crate::{Error, Result};

/// Whether a tape records an operation on these tensors.
pub(super) fn is_recorded<const N: usize>(arguments: [&Tensor; N]) -> bool {
    tape::is_recording()
        && arguments.iter().all(|argument| argument.device().is_cpu())
        && arguments.iter().any(|argument| argument.track_op())
}

/// `op` of one contiguous tensor, recorded.
pub(super) fn recorded1<O: CustomOp1 + Send + Sync + 'static>(x: &Tensor, op: O) -> Result<Tensor> {
    let name = op.name();
    let result = with_storage(name, x, |x, lx| op.cpu_fwd(x, lx))?;
    Ok(tape::node(leaf(name, result)?, &[x], move |arguments, y, g| match arguments {
        [x] => Ok(vec![op.bwd(x, y, g)?]),
        _ => Err(arity(name)),
    })?)
}

/// `op` of two contiguous tensors, recorded.
pub(super) fn recorded2<O: CustomOp2 + Send + Sync + 'static>(x: &Tensor, y: &Tensor, op: O) -> Result<Tensor> {
    let name = op.name();
    let result = with_storage(name, x, |x, lx| with_storage(name, y, |y, ly| op.cpu_fwd(x, lx, y, ly)))?;
    Ok(tape::node(leaf(name, result)?, &[x, y], move |arguments, result, g| match arguments {
        [x, y] => {
            let (by_x, by_y) = op.bwd(x, y, result, g)?;
            Ok(vec![by_x, by_y])
        }
        _ => Err(arity(name)),
    })?)
}

/// `op` of three contiguous tensors, recorded.
pub(super) fn recorded3<O: CustomOp3 + Send + Sync + 'static>(
    x: &Tensor,
    y: &Tensor,
    z: &Tensor,
    op: O,
) -> Result<Tensor> {
    let name = op.name();
    let of_all = |x: &CpuStorage, lx: &Layout| {
        with_storage(name, y, |y, ly| with_storage(name, z, |z, lz| op.cpu_fwd(x, lx, y, ly, z, lz)))
    };
    let result = with_storage(name, x, of_all)?;
    Ok(tape::node(leaf(name, result)?, &[x, y, z], move |arguments, result, g| match arguments {
        [x, y, z] => {
            let (by_x, by_y, by_z) = op.bwd(x, y, z, result, g)?;
            Ok(vec![by_x, by_y, by_z])
        }
        _ => Err(arity(name)),
    })?)
}

fn with_storage<R>(
    op: &'static str,
    x: &Tensor,
    body: impl FnOnce(&CpuStorage, &Layout) -> CandleResult<R>,
) -> CandleResult<R> {
    let (storage, layout) = x.storage_and_layout();
    body(on_cpu(op, &storage)?, layout)
}

/// The result as a variable, without a copy.
fn leaf(op: &'static str, (storage, shape): (CpuStorage, Shape)) -> Result<Var> {
    match storage {
        CpuStorage::F32(values) => Ok(Var::from_vec(values, shape, &Device::Cpu)?),
        CpuStorage::F64(values) => Ok(Var::from_vec(values, shape, &Device::Cpu)?),
        other => {
            Err(Error::DType { op, expected: "f32 or f64".into(), got: format!("{:?}", Storage::Cpu(other).dtype()) })
        }
    }
}

fn arity(op: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!("{op}: a recorded operation was differentiated at another number of arguments"))
        .bt()
}
