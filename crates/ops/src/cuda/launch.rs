//! One launch of a kernel. Its arguments are in the order of the kernel, and its result is the last argument.

use std::sync::{Arc, OnceLock};

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, CudaView, DeviceRepr, LaunchArgs, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::compile_ptx;
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage};
use candle_core::op::BackpropOp;
use candle_core::{DType, Device, Error, Result, Shape, Storage, Tensor};

use crate::kernels::pool::PoolGeometry;

/// The name under which candle caches the compiled kernels.
const MODULE: &str = "models-ops";
const THREADS: u32 = 256;

/// The kernels as PTX.
fn compiled() -> Result<&'static str> {
    static COMPILED: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compile = || compile_ptx(include_str!("kernels.cu")).map(|ptx| ptx.to_src()).map_err(|error| error.to_string());
    match COMPILED.get_or_init(compile) {
        Ok(ptx) => Ok(ptx),
        Err(reason) => Err(Error::Msg(format!("compiling the kernels for CUDA: {reason}")).bt()),
    }
}

fn integer(size: usize) -> Result<u32> {
    u32::try_from(size).map_err(Error::wrap)
}

/// The parameters of batch norm on the device: values per channel, and whether a ReLU is fused.
#[derive(Default)]
pub(crate) struct Normalising {
    /// Mean, f64.
    mean: Option<Tensor>,
    /// 1/√(σ² + ε), f64.
    inverse: Option<Tensor>,
    /// γ, in the dtype of the batch.
    scale: Option<Tensor>,
    /// β, in the dtype of the batch.
    shift: Option<Tensor>,
    fused_relu: bool,
}

impl Normalising {
    pub(crate) fn new([mean, inverse]: [&Tensor; 2], [scale, shift]: [&Tensor; 2], fused_relu: bool) -> Self {
        let [mean, inverse, scale, shift] = [mean, inverse, scale, shift].map(|values| Some(values.clone()));
        Self { mean, inverse, scale, shift, fused_relu }
    }

    /// Only a mean.
    pub(super) fn around(mean: Tensor) -> Self {
        Self { mean: Some(mean), ..Self::default() }
    }
}

/// The sizes of a pooling in the layout of the kernels.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Pool {
    sizes: [u32; 4],
    kernel: [u32; 2],
    stride: [u32; 2],
    padding: [u32; 2],
    out: [u32; 2],
}

// SAFETY: the struct consists of integers, in the order and layout of the struct of the kernels.
unsafe impl DeviceRepr for Pool {}

impl Pool {
    pub(super) fn new(g: &PoolGeometry) -> Result<Self> {
        let two = |[a, b]: [usize; 2]| -> Result<[u32; 2]> { Ok([integer(a)?, integer(b)?]) };
        Ok(Self {
            sizes: [integer(g.batch)?, integer(g.height)?, integer(g.width)?, integer(g.channels)?],
            kernel: two(g.kernel)?,
            stride: two(g.stride)?,
            padding: two(g.padding)?,
            out: two([g.out_height(), g.out_width()])?,
        })
    }
}

/// The number of parts of the rows in a sum per channel: enough to occupy the device, each with several rows.
pub(super) fn parts(rows: usize, channels: usize) -> usize {
    rows.div_ceil(64).clamp(1, (2048 / channels.div_ceil(32)).max(1))
}

enum Argument {
    Size(u32),
    Number(i32),
    Pool(Pool),
    /// A contiguous tensor that is read; `None` is a null pointer.
    Tensor(Option<Tensor>),
}

/// A launch whose arguments are being collected.
pub(super) struct Call {
    function: CudaFunction,
    stream: Arc<CudaStream>,
    device: CudaDevice,
    dtype: DType,
    config: LaunchConfig,
    arguments: Vec<Argument>,
}

impl Call {
    /// A kernel in the dtype of `x`, with one thread per element of `count`.
    pub(super) fn new(kernel: &str, x: &Tensor, count: usize) -> Result<Self> {
        Self::configured(&format!("{kernel}_{}", x.dtype().as_str()), x, by_element(count)?)
    }

    /// A kernel that exists in f64 only.
    pub(super) fn double(kernel: &str, x: &Tensor, count: usize) -> Result<Self> {
        Self::configured(kernel, x, by_element(count)?)
    }

    /// A kernel with blocks of 32 channels by 8 rows.
    pub(super) fn by_channel(kernel: &str, x: &Tensor, channels: usize, parts: usize) -> Result<Self> {
        let grid_dim = (integer(channels.div_ceil(32))?, integer(parts)?, 1);
        let config = LaunchConfig { grid_dim, block_dim: (32, 8, 1), shared_mem_bytes: 0 };
        Self::configured(&format!("{kernel}_{}", x.dtype().as_str()), x, config)
    }

    fn configured(kernel: &str, x: &Tensor, config: LaunchConfig) -> Result<Self> {
        let Device::Cuda(device) = x.device() else {
            return Err(Error::Msg(format!("{kernel}: the tensor is not on a CUDA device")).bt());
        };
        super::memory::keep_freed(device)?;
        let function = device.get_or_load_custom_func(kernel, MODULE, compiled()?)?.into_cuda_function();
        let stream = device.cuda_stream();
        Ok(Self { function, stream, device: device.clone(), dtype: x.dtype(), config, arguments: Vec::new() })
    }

    fn with(mut self, argument: Argument) -> Self {
        self.arguments.push(argument);
        self
    }

    pub(super) fn size(self, size: usize) -> Result<Self> {
        Ok(self.with(Argument::Size(integer(size)?)))
    }

    pub(super) fn number(self, number: i32) -> Self {
        self.with(Argument::Number(number))
    }

    pub(super) fn pool(self, pool: Pool) -> Self {
        self.with(Argument::Pool(pool))
    }

    /// A tensor in the dtype of the kernel.
    pub(super) fn read(self, x: &Tensor) -> Result<Self> {
        let dtype = self.dtype;
        self.read_as(x, dtype)
    }

    /// A tensor in this dtype.
    pub(super) fn read_as(self, x: &Tensor, dtype: DType) -> Result<Self> {
        if x.dtype() != dtype {
            return Err(Error::UnexpectedDType { msg: "kernel for CUDA", expected: dtype, got: x.dtype() }.bt());
        }
        Ok(self.with(Argument::Tensor(Some(x.contiguous()?))))
    }

    pub(super) fn norm(self, by: &Normalising) -> Result<Self> {
        let dtype = self.dtype;
        let [mean, inverse] = [&by.mean, &by.inverse].map(|values| (values, DType::F64));
        let [scale, shift] = [&by.scale, &by.shift].map(|values| (values, dtype));
        let all = [mean, inverse, scale, shift].into_iter();
        let call = all.into_iter().try_fold(self, |call, (values, dtype)| match values {
            Some(values) => call.read_as(values, dtype),
            None => Ok(call.with(Argument::Tensor(None))),
        })?;
        Ok(call.number(i32::from(by.fused_relu)))
    }

    /// Runs the kernel. The result has this shape and the dtype of the kernel.
    pub(super) fn write(self, shape: &Shape) -> Result<Tensor> {
        let dtype = self.dtype;
        self.write_as(shape, dtype)
    }

    /// Runs the kernel. The result has this shape and dtype.
    pub(super) fn write_as(self, shape: &Shape, dtype: DType) -> Result<Tensor> {
        match dtype {
            DType::F64 => self.run::<f64>(shape.elem_count(), None)?.tensor(shape),
            _ => self.run::<f32>(shape.elem_count(), None)?.tensor(shape),
        }
    }

    /// Runs the kernel, which writes values and positions of this shape.
    pub(super) fn write_with_positions(self, shape: &Shape) -> Result<(Tensor, Tensor)> {
        let (device, count) = (self.device.clone(), shape.elem_count());
        // SAFETY: the kernel writes every position.
        let mut positions = unsafe { device.alloc::<u32>(count)? };
        let values = match self.dtype {
            DType::F64 => self.run::<f64>(count, Some(&mut positions))?.tensor(shape)?,
            _ => self.run::<f32>(count, Some(&mut positions))?.tensor(shape)?,
        };
        Ok((values, Written { slice: positions, device }.tensor(shape)?))
    }

    fn run<T: CudaDType + DeviceRepr>(
        self,
        count: usize,
        positions: Option<&mut CudaSlice<u32>>,
    ) -> Result<Written<T>> {
        // SAFETY: every kernel writes every element of its result.
        let mut slice = unsafe { self.device.alloc::<T>(count)? };
        let guards: Vec<_> = self
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Tensor(Some(tensor)) => Some(tensor.storage_and_layout()),
                _ => None,
            })
            .collect();
        let mut values = Vec::with_capacity(guards.len());
        for (argument, guard) in self.arguments.iter().zip(&guards) {
            values.push(match (argument, guard) {
                (Argument::Size(size), _) => Value::Size(*size),
                (Argument::Number(number), _) => Value::Number(*number),
                (Argument::Pool(pool), _) => Value::Pool(*pool),
                (Argument::Tensor(_), None) => Value::Null(0),
                (Argument::Tensor(_), Some((storage, layout))) => Value::of(storage, layout.start_offset())?,
            });
        }
        let mut builder = self.stream.launch_builder(&self.function);
        values.iter().for_each(|value| value.push(&mut builder));
        builder.arg(&mut slice);
        if let Some(positions) = positions {
            builder.arg(positions);
        }
        // SAFETY: the arguments have the order and types of the kernel's parameters. Sizes are those of the tensors, and threads
        // beyond them return. The kernel does not read null pointers.
        unsafe { builder.launch(self.config) }.map_err(Error::wrap)?;
        Ok(Written { slice, device: self.device.clone() })
    }
}

fn by_element(count: usize) -> Result<LaunchConfig> {
    let blocks = integer(count)?.div_ceil(THREADS);
    Ok(LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 })
}

/// An argument as the kernel receives it.
enum Value<'a> {
    Size(u32),
    Number(i32),
    Pool(Pool),
    F32(CudaView<'a, f32>),
    F64(CudaView<'a, f64>),
    U32(CudaView<'a, u32>),
    Null(u64),
}

impl<'a> Value<'a> {
    fn of(storage: &'a Storage, start: usize) -> Result<Self> {
        let Storage::Cuda(storage) = storage else {
            return Err(Error::Msg("a kernel for CUDA needs tensors on a CUDA device".into()).bt());
        };
        Ok(match candle_core::backend::BackendStorage::dtype(storage) {
            DType::F64 => Value::F64(storage.as_cuda_slice::<f64>()?.slice(start..)),
            DType::U32 => Value::U32(storage.as_cuda_slice::<u32>()?.slice(start..)),
            _ => Value::F32(storage.as_cuda_slice::<f32>()?.slice(start..)),
        })
    }

    fn push<'b>(&'b self, builder: &mut LaunchArgs<'b>) {
        match self {
            Value::Size(size) => builder.arg(size),
            Value::Number(number) => builder.arg(number),
            Value::Pool(pool) => builder.arg(pool),
            Value::F32(view) => builder.arg(view),
            Value::F64(view) => builder.arg(view),
            Value::U32(view) => builder.arg(view),
            Value::Null(pointer) => builder.arg(pointer),
        };
    }
}

/// The result of a kernel.
struct Written<T> {
    slice: CudaSlice<T>,
    device: CudaDevice,
}

impl<T: CudaDType> Written<T> {
    fn tensor(self, shape: &Shape) -> Result<Tensor> {
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(self.slice, self.device));
        Ok(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
    }
}

/// The `[n, a, b]` values of `x` as `[n, b, a]`: images from channels last to channels first, and back.
#[cfg(feature = "cudnn")]
pub(crate) fn transposed<T: CudaDType + DeviceRepr + candle_core::WithDType>(
    device: &CudaDevice,
    x: &CudaView<'_, T>,
    [n, a, b]: [usize; 3],
) -> Result<CudaSlice<T>> {
    let kernel = format!("transpose_{}", T::DTYPE.as_str());
    let function = device.get_or_load_custom_func(&kernel, MODULE, compiled()?)?.into_cuda_function();
    let stream = device.cuda_stream();
    // SAFETY: the kernel writes every element.
    let mut y = unsafe { device.alloc::<T>(n * a * b)? };
    let (rows, columns) = (integer(a)?, integer(b)?);
    let grid_dim = (integer(n)?, columns.div_ceil(32), rows.div_ceil(32));
    let mut builder = stream.launch_builder(&function);
    builder.arg(&rows).arg(&columns).arg(x).arg(&mut y);
    // SAFETY: the arguments have the order and types of the kernel's parameters; x and y hold n·a·b elements.
    unsafe { builder.launch(LaunchConfig { grid_dim, block_dim: (32, 8, 1), shared_mem_bytes: 0 }) }
        .map_err(Error::wrap)?;
    Ok(y)
}
