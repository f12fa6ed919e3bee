//! Drop-ins for candle's operations on NCHW tensors `[n, c, h, w]`, with right gradients.
//!
//! The functions have the parameters of candle's methods: `x.max_pool2d(2)?` becomes `max_pool2d(&x, 2)?`. Tensors are f32 or f64,
//! contiguous or not. Gradients are computed by candle's `backward`. Second derivatives need candle's environment variable
//! `CANDLE_GRAD_DO_NOT_DETACH=1`, without which candle detaches gradients.
//!
//! A convolution transposes its operands to channels-last inside, where the CPU kernels work. Everything else works in place.
//! For whole networks in channels-last layout use [`nhwc`](crate::nhwc). The README has the table of candle's operations and
//! their gradients.
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use ops::nchw::{conv2d, max_pool2d, relu};
//! let x = Var::ones((2, 3, 8, 8), DType::F32, &Device::Cpu)?;
//! let weight = Tensor::ones((4, 3, 3, 3), DType::F32, &Device::Cpu)?;
//! let y = max_pool2d(&relu(&conv2d(&x, &weight, 1, 1, 1, 1)?)?, 2)?;
//! assert_eq!(y.dims(), [2, 4, 4, 4]);
//! assert_eq!(y.sum_all()?.backward()?.get(&x).unwrap().dims(), x.dims());
//! # Ok::<(), ops::Error>(())
//! ```

mod conv;
mod pool;

pub use crate::activation::relu;
pub use conv::{conv2d, conv2d_with_bias};
pub use pool::{avg_pool2d, avg_pool2d_with_stride, global_avg_pool2d, max_pool2d, max_pool2d_with_stride};
