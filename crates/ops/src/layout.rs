//! Images between the two orders `[n, c, h, w]` and `[n, h, w, c]`.

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use super::composed::{Compose, apply1};
use super::cpu::{dispatch_float, elements, require_float};
use crate::kernels::transpose::transposed;
use crate::{Error, Result};

/// Images `[n, c, h, w]` as `[n, h, w, c]`.
///
/// Its gradient is [`to_nchw`].
///
/// **Errors** [`Error::Shape`] if the tensor does not have four dimensions, [`Error::DType`] unless it is f32 or f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::nhwc::{from_nchw, to_nchw};
/// // One image of two channels with one row of two pixels.
/// let x = Tensor::new(&[1f64, 2., 10., 20.], &Device::Cpu)?.reshape((1, 2, 1, 2))?;
/// let y = from_nchw(&x)?;
/// assert_eq!((y.dims(), y.flatten_all()?.to_vec1::<f64>()?), (&[1, 1, 2, 2][..], vec![1., 10., 2., 20.]));
/// assert_eq!(to_nchw(&y)?.flatten_all()?.to_vec1::<f64>()?, [1., 2., 10., 20.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn from_nchw(x: &Tensor) -> Result<Tensor> {
    reordered(x, Order::ChannelsLast)
}

/// Images `[n, h, w, c]` as `[n, c, h, w]`.
///
/// Its gradient is [`from_nchw`].
///
/// **Errors** as [`from_nchw`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 10., 2., 20.], &Device::Cpu)?.reshape((1, 1, 2, 2))?;
/// assert_eq!(ops::nhwc::to_nchw(&x)?.flatten_all()?.to_vec1::<f64>()?, [1., 2., 10., 20.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn to_nchw(x: &Tensor) -> Result<Tensor> {
    reordered(x, Order::ChannelsFirst)
}

fn reordered(x: &Tensor, order: Order) -> Result<Tensor> {
    require_float(order.name(), x)?;
    if x.rank() != 4 {
        return Err(Error::shape(order.name(), x.dims(), &[], "images have four dimensions"));
    }
    let view = order.view(x)?;
    // A view that is contiguous already needs no copy.
    if view.is_contiguous() { Ok(view) } else { apply1(x, order) }
}

/// The order of the result.
#[derive(Clone, Copy)]
enum Order {
    ChannelsFirst,
    ChannelsLast,
}

impl Order {
    fn view(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::ChannelsFirst => x.permute((0, 3, 1, 2))?,
            Self::ChannelsLast => x.permute((0, 2, 3, 1))?,
        })
    }
}

impl Compose<1> for Order {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        Ok(self.view(x)?.contiguous()?)
    }
}

impl CustomOp1 for Order {
    fn name(&self) -> &'static str {
        match self {
            Self::ChannelsFirst => "to-nchw",
            Self::ChannelsLast => "from-nchw",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let (n, first, second, last) = layout.shape().dims4()?;
        let (rows, columns, shape) = match self {
            Self::ChannelsFirst => (first * second, last, (n, last, first, second)),
            Self::ChannelsLast => (first, second * last, (n, second, last, first)),
        };
        dispatch_float!(self.name(), x, T => {
            let y = transposed(elements::<T>(self.name(), x, layout)?, n, rows, columns);
            Ok((<T as WithDType>::to_cpu_storage_owned(y), Shape::from(shape)))
        })
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        let back = match self {
            Self::ChannelsFirst => Self::ChannelsLast,
            Self::ChannelsLast => Self::ChannelsFirst,
        };
        reordered(g, back).map(Some).map_err(Error::into_candle)
    }
}
