//! Pooling of NCHW tensors: each of the n·c planes is pooled as an image of one channel.

use candle_core::{CpuStorage, CustomOp1, Layout, Result as CandleResult, Shape, Tensor, ToUsize2};

use crate::composed::{Compose, apply1};
use crate::kernels::pool::PoolGeometry;
use crate::pool::{Average, MaxPositions, PoolSettings, Spread};
use crate::{Error, Result};

/// The maximum over windows of size `sz` without overlap: candle's `Tensor::max_pool2d`.
///
/// **Shapes** `x` `[n, c, h, w]`, result `[n, c, h', w']`. `sz` is a size or a pair (height, width).
///
/// **Conventions** The first of equal maxima in row-major order has the whole gradient, as in PyTorch. NaN is a maximum.
///
/// **Errors** [`Error::Shape`] if the window is larger than the image, [`Error::DType`] unless `x` is f32 or f64.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// let x = Var::from_tensor(&Tensor::new(&[7f64, 7., 1., 2.], &Device::Cpu)?.reshape((1, 1, 2, 2))?)?;
/// let gradients = ops::nchw::max_pool2d(&x, 2)?.backward()?;
/// assert_eq!(gradients.get(&x).unwrap().flatten_all()?.to_vec1::<f64>()?, [1., 0., 0., 0.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn max_pool2d<T: ToUsize2>(x: &Tensor, sz: T) -> Result<Tensor> {
    let sz = sz.to_usize2();
    max_pool2d_with_stride(x, sz, sz)
}

/// The maximum over windows: candle's `Tensor::max_pool2d_with_stride`. Windows may overlap.
///
/// **Shapes**, **Conventions** and **Errors** as [`max_pool2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 5., 2.], &Device::Cpu)?.reshape((1, 1, 1, 3))?;
/// let y = ops::nchw::max_pool2d_with_stride(&x, (1, 2), (1, 1))?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [5., 5.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn max_pool2d_with_stride<T: ToUsize2>(x: &Tensor, kernel_size: T, stride: T) -> Result<Tensor> {
    let (images, planes) = planes("max-pool", x)?;
    let positions = MaxPositions::of(&planes.detach(), settings(kernel_size, stride))?;
    apply1(x, Pool { images, map: Map::Maximum(positions), transposed: false })
}

/// The mean over windows of size `sz` without overlap: candle's `Tensor::avg_pool2d`.
///
/// **Shapes** and **Errors** as [`max_pool2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 5., 2., 4.], &Device::Cpu)?.reshape((1, 1, 2, 2))?;
/// assert_eq!(ops::nchw::avg_pool2d(&x, 2)?.flatten_all()?.to_vec1::<f64>()?, [3.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn avg_pool2d<T: ToUsize2>(x: &Tensor, sz: T) -> Result<Tensor> {
    let sz = sz.to_usize2();
    avg_pool2d_with_stride(x, sz, sz)
}

/// The mean over windows: candle's `Tensor::avg_pool2d_with_stride`. Windows may overlap.
///
/// **Shapes** and **Errors** as [`max_pool2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 5., 2.], &Device::Cpu)?.reshape((1, 1, 1, 3))?;
/// let y = ops::nchw::avg_pool2d_with_stride(&x, (1, 2), (1, 1))?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [3., 3.5]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn avg_pool2d_with_stride<T: ToUsize2>(x: &Tensor, kernel_size: T, stride: T) -> Result<Tensor> {
    let (images, planes) = planes("avg-pool", x)?;
    let geometry = settings(kernel_size, stride).geometry("avg-pool", &planes)?;
    apply1(x, Pool { images, map: Map::Mean(geometry), transposed: false })
}

/// The mean over all pixels: `x.mean((2, 3))` in candle.
///
/// **Shapes** `x` `[n, c, h, w]`, result `[n, c]`.
///
/// **Errors** as [`max_pool2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 5., 2., 4.], &Device::Cpu)?.reshape((1, 1, 2, 2))?;
/// assert_eq!(ops::nchw::global_avg_pool2d(&x)?.to_vec2::<f64>()?, [[3.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn global_avg_pool2d(x: &Tensor) -> Result<Tensor> {
    let ([n, channels], planes) = planes("global-avg-pool", x)?;
    let (_, height, width, _) = planes.dims4()?;
    Ok(avg_pool2d_with_stride(x, (height, width), (1, 1))?.reshape((n, channels))?)
}

fn settings<T: ToUsize2>(kernel_size: T, stride: T) -> PoolSettings {
    let (kernel, stride) = (kernel_size.to_usize2(), stride.to_usize2());
    PoolSettings { kernel: kernel.into(), stride: stride.into(), ..PoolSettings::default() }
}

/// `[n, c]` and the planes `[n·c, h, w, 1]` of `x`.
fn planes(op: &'static str, x: &Tensor) -> Result<([usize; 2], Tensor)> {
    let &[n, channels, height, width] = x.dims() else {
        return Err(Error::shape(op, x.dims(), &[], "the input is [n, c, h, w]"));
    };
    Ok(([n, channels], x.contiguous()?.reshape((n * channels, height, width, 1))?))
}

/// The linear map of a pooling.
#[derive(Clone)]
enum Map {
    Maximum(MaxPositions),
    Mean(PoolGeometry),
}

/// A pooling of all planes, or its adjoint.
#[derive(Clone)]
struct Pool {
    images: [usize; 2],
    map: Map,
    transposed: bool,
}

impl Pool {
    fn geometry(&self) -> &PoolGeometry {
        match &self.map {
            Map::Maximum(positions) => positions.geometry(),
            Map::Mean(geometry) => geometry,
        }
    }

    /// Height and width of the argument, then of the result.
    fn sizes(&self) -> [[usize; 2]; 2] {
        let g = self.geometry();
        let sizes = [[g.height, g.width], [g.out_height(), g.out_width()]];
        if self.transposed { [sizes[1], sizes[0]] } else { sizes }
    }

    fn shape(&self) -> Shape {
        let ([n, channels], [_, [height, width]]) = (self.images, self.sizes());
        Shape::from((n, channels, height, width))
    }
}

impl Compose<1> for Pool {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        let ([n, channels], [[height, width], _]) = (self.images, self.sizes());
        let planes = x.contiguous()?.reshape((n * channels, height, width, 1))?;
        let result = match (&self.map, self.transposed) {
            (Map::Maximum(positions), false) => positions.gather(&planes)?,
            (Map::Maximum(positions), true) => positions.scatter(&planes)?,
            (Map::Mean(geometry), false) => apply1(&planes, Average(*geometry))?,
            (Map::Mean(geometry), true) => apply1(&planes, Spread(*geometry))?,
        };
        Ok(result.reshape(self.shape())?)
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        match self.map {
            Map::Maximum(_) => "max-pool",
            Map::Mean(_) => "avg-pool",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        // The kernels read contiguous elements, whatever their shape.
        let (storage, _) = match (&self.map, self.transposed) {
            (Map::Maximum(positions), false) => positions.gathering().cpu_fwd(x, layout)?,
            (Map::Maximum(positions), true) => positions.scattering().cpu_fwd(x, layout)?,
            (Map::Mean(geometry), false) => Average(*geometry).cpu_fwd(x, layout)?,
            (Map::Mean(geometry), true) => Spread(*geometry).cpu_fwd(x, layout)?,
        };
        Ok((storage, self.shape()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        let adjoint = Self { transposed: !self.transposed, ..self.clone() };
        apply1(g, adjoint).map(Some).map_err(Error::into_candle)
    }
}
