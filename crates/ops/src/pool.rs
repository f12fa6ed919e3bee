//! Max pooling with stored positions, average pooling and global average pooling.
//!
//! With the positions of the maxima stored, max pooling is the linear map "gather", whose adjoint is "scatter". Values,
//! gradients and tangents of any order are computed by these two kernels. Average pooling has the adjoint "spread".

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use super::composed::{self, Compose, apply1, is_composed, on_cuda};
use super::cpu::{dispatch_float, elements, require_float, with_elements};
use super::fused_relu::{cotangents_per_row, repeat_rows};
use crate::kernels::pool::{self, PoolGeometry};
use crate::{Error, Result};

/// The settings of a pooling.
///
/// **Conventions** PyTorch's: `[vertical, horizontal]`, padding at most half the kernel. By default output sizes are rounded down, and
/// padding is not part of a mean (PyTorch's default is to count it).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{PoolSettings, nhwc::avg_pool2d};
/// let x = Tensor::new(&[2f64, 4., 6.], &Device::Cpu)?.reshape((1, 1, 3, 1))?;
/// let pooled = |settings| avg_pool2d(&x, settings)?.flatten_all()?.to_vec1::<f64>();
/// let settings = PoolSettings { kernel: [1, 2], stride: [1, 2], ..PoolSettings::default() };
/// assert_eq!(pooled(settings)?, [3.]);
/// assert_eq!(pooled(PoolSettings { ceil_mode: true, ..settings })?, [3., 6.]);
/// let padded = PoolSettings { padding: [0, 1], ..settings };
/// assert_eq!(pooled(padded)?, [2., 5.]);
/// assert_eq!(pooled(PoolSettings { count_include_pad: true, ..padded })?, [1., 5.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Step between neighbouring windows.
    pub stride: [usize; 2],
    /// Rows and columns of padding on each side. Padding is never a maximum.
    pub padding: [usize; 2],
    /// Whether output sizes are rounded up, so that the last window may reach beyond the padded image. Every window starts inside the
    /// image or the padding before it.
    pub ceil_mode: bool,
    /// Whether a mean divides by the number of values of the window inside the padded image instead of inside the image.
    pub count_include_pad: bool,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self::square(1)
    }
}

impl PoolSettings {
    /// Square windows of this size without overlap and padding.
    pub fn square(size: usize) -> Self {
        Self { kernel: [size; 2], stride: [size; 2], padding: [0; 2], ceil_mode: false, count_include_pad: false }
    }

    pub(crate) fn geometry(&self, op: &'static str, x: &Tensor) -> Result<PoolGeometry> {
        require_float(op, x)?;
        self.geometry_of(op, x.dims())
    }

    /// The geometry of a pooling of images of this shape.
    fn geometry_of(&self, op: &'static str, dims: &[usize]) -> Result<PoolGeometry> {
        let refuse = |rule: &str| Error::shape(op, dims, &self.kernel, rule);
        let &[batch, height, width, channels] = dims else {
            return Err(refuse("the input is [n, h, w, c]"));
        };
        if dims.contains(&0) || self.kernel.contains(&0) || self.stride.contains(&0) {
            return Err(refuse("no dimension, kernel size or stride is zero"));
        }
        if (0..2).any(|axis| self.padding[axis] * 2 > self.kernel[axis]) {
            return Err(refuse("the padding is at most half the kernel"));
        }
        if height + 2 * self.padding[0] < self.kernel[0] || width + 2 * self.padding[1] < self.kernel[1] {
            return Err(refuse("the kernel is no larger than the padded image"));
        }
        if height * width > u32::MAX as usize {
            return Err(refuse("one image holds fewer than 2³² pixels"));
        }
        let Self { kernel, stride, padding, ceil_mode, count_include_pad } = *self;
        Ok(PoolGeometry { batch, height, width, channels, kernel, stride, padding, ceil_mode, count_include_pad })
    }
}

/// The maximum over each window.
///
/// **Shapes** `x` `[n, h, w, c]`, result `[n, h', w', c]`.
///
/// **Conventions** The first of equal maxima in row-major order has the whole gradient, as in PyTorch. NaN is a maximum.
///
/// **Errors** [`Error::Shape`] if the window is larger than the padded image, [`Error::DType`] unless `x` is f32 or f64.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use ops::{PoolSettings, nhwc::max_pool2d};
/// let x = Var::from_tensor(&Tensor::new(&[7f64, 7., 1., 2.], &Device::Cpu)?.reshape((1, 2, 2, 1))?)?;
/// let y = max_pool2d(&x, PoolSettings::square(2))?;
/// let gradient = y.backward()?.get(&x).unwrap().flatten_all()?.to_vec1::<f64>()?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [7.]);
/// assert_eq!(gradient, [1., 0., 0., 0.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn max_pool2d(x: &Tensor, settings: PoolSettings) -> Result<Tensor> {
    if !x.track_op() {
        return Ok(max_pool2d_with_positions(x, settings)?.0);
    }
    MaxPositions::of(x, settings)?.gather(x)
}

/// The maximum over each window and its JVP: the tangent at the maximum.
///
/// **Shapes** `x` and `dx` `[n, h, w, c]`, results `[n, h', w', c]`.
///
/// **Errors** as [`max_pool2d`], and [`Error::Shape`] if `dx` does not have the shape of `x`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{PoolSettings, nhwc::max_pool2d_jvp};
/// let image = |values: [f64; 4]| Tensor::new(&values, &Device::Cpu)?.reshape((1, 2, 2, 1));
/// let (y, dy) = max_pool2d_jvp(&image([1., 5., 2., 3.])?, &image([10., 20., 30., 40.])?, PoolSettings::square(2))?;
/// assert_eq!((y.flatten_all()?.to_vec1::<f64>()?, dy.flatten_all()?.to_vec1::<f64>()?), (vec![5.], vec![20.]));
/// # Ok::<(), ops::Error>(())
/// ```
pub fn max_pool2d_jvp(x: &Tensor, dx: &Tensor, settings: PoolSettings) -> Result<(Tensor, Tensor)> {
    let positions = MaxPositions::of(x, settings)?;
    Ok((positions.gather(x)?, positions.gather(dx)?))
}

/// The VJP of max pooling at `x`: each cotangent at the position of its maximum, 0 elsewhere.
///
/// **Shapes** `x` `[n, h, w, c]`, `g` `[n, h', w', c]`; result shaped as `x`.
///
/// **Errors** as [`max_pool2d`], and [`Error::Shape`] if `g` does not have the shape of the output.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{PoolSettings, nhwc::max_pool2d_vjp};
/// let x = Tensor::new(&[1f64, 5., 2., 3.], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
/// let g = Tensor::new(&[7f64], &Device::Cpu)?.reshape((1, 1, 1, 1))?;
/// let dx = max_pool2d_vjp(&x, &g, PoolSettings::square(2))?;
/// assert_eq!(dx.flatten_all()?.to_vec1::<f64>()?, [0., 7., 0., 0.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn max_pool2d_vjp(x: &Tensor, g: &Tensor, settings: PoolSettings) -> Result<Tensor> {
    let positions = MaxPositions::of(x, settings)?;
    // One cotangent per image: the scatter of more is not differentiable.
    if g.dims() != positions.positions.dims() {
        return Err(Error::shape(
            "max-pool-scatter",
            g.dims(),
            positions.positions.dims(),
            "a cotangent has the shape of the output",
        ));
    }
    positions.scatter(g)
}

/// The VJP of global average pooling of images of this height and width: each cotangent is divided equally among the pixels.
///
/// **Shapes** `g` `[n, c]`; result `[n, h, w, c]`.
///
/// **Errors** [`Error::Shape`] if `g` is not `[n, c]`, [`Error::DType`] unless `g` is f32 or f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let g = Tensor::new(&[[8f64]], &Device::Cpu)?;
/// let dx = ops::nhwc::global_avg_pool2d_vjp(&g, [2, 2])?;
/// assert_eq!(dx.flatten_all()?.to_vec1::<f64>()?, [2., 2., 2., 2.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn global_avg_pool2d_vjp(g: &Tensor, [height, width]: [usize; 2]) -> Result<Tensor> {
    const OP: &str = "global-avg-pool";
    require_float(OP, g)?;
    let &[batch, channels] = g.dims() else {
        return Err(Error::shape(OP, g.dims(), &[], "the cotangent is [n, c]"));
    };
    let spread = g.affine(1.0 / (height * width).max(1) as f64, 0.0)?.reshape((batch, 1, 1, channels))?;
    Ok(spread.broadcast_as((batch, height, width, channels))?.contiguous()?)
}

/// The mean over each window.
///
/// The operation is linear, so its JVP is the operation itself.
///
/// **Shapes** `x` `[n, h, w, c]`, result `[n, h', w', c]`.
///
/// **Errors** as [`max_pool2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{PoolSettings, nhwc::avg_pool2d};
/// let x = Tensor::new(&[1f64, 5., 2., 4.], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
/// assert_eq!(avg_pool2d(&x, PoolSettings::square(2))?.flatten_all()?.to_vec1::<f64>()?, [3.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn avg_pool2d(x: &Tensor, settings: PoolSettings) -> Result<Tensor> {
    let geometry = settings.geometry("avg-pool", x)?;
    apply1(x, Average(geometry))
}

/// The VJP of [`avg_pool2d`] of images of this height and width: each cotangent is divided equally among its window.
///
/// **Shapes** `g` `[n, h', w', c]`, result `[n, h, w, c]`.
///
/// **Errors** [`Error::Shape`] if `g` does not have the shape of an output, and as [`avg_pool2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{PoolSettings, nhwc::avg_pool2d_vjp};
/// let g = Tensor::new(&[8f64], &Device::Cpu)?.reshape((1, 1, 1, 1))?;
/// let dx = avg_pool2d_vjp(&g, [2, 2], PoolSettings::square(2))?;
/// assert_eq!(dx.flatten_all()?.to_vec1::<f64>()?, [2., 2., 2., 2.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn avg_pool2d_vjp(g: &Tensor, [height, width]: [usize; 2], settings: PoolSettings) -> Result<Tensor> {
    const OP: &str = "avg-pool-spread";
    require_float(OP, g)?;
    let &[batch, rows, columns, channels] = g.dims() else {
        let rule = "the cotangent is [n, h', w', c]";
        return Err(Error::shape(OP, g.dims(), &[], rule));
    };
    let geometry = settings.geometry_of(OP, &[batch, height, width, channels])?;
    let expected = [geometry.out_height(), geometry.out_width()];
    if [rows, columns] != expected {
        let rule = "a cotangent has the shape of the output";
        return Err(Error::shape(OP, g.dims(), &expected, rule));
    }
    apply1(&g.detach(), Spread(geometry))
}

/// The mean over all pixels.
///
/// **Shapes** `x` `[n, h, w, c]`, result `[n, c]`.
///
/// **Errors** as [`max_pool2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 5., 2., 4.], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
/// assert_eq!(ops::nhwc::global_avg_pool2d(&x)?.to_vec2::<f64>()?, [[3.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn global_avg_pool2d(x: &Tensor) -> Result<Tensor> {
    let &[batch, height, width, channels] = x.dims() else {
        return Err(Error::shape("global-avg-pool", x.dims(), &[], "the input is [n, h, w, c]"));
    };
    let settings = PoolSettings { kernel: [height, width], ..PoolSettings::default() };
    Ok(avg_pool2d(x, settings)?.reshape((batch, channels))?)
}

/// The maximum over each window and its position, without a graph.
///
/// **Shapes** and **Errors** as [`max_pool2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{PoolSettings, nhwc::max_pool2d_with_positions};
/// let x = Tensor::new(&[1f64, 5., 2., 3.], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
/// let (y, positions) = max_pool2d_with_positions(&x, PoolSettings::square(2))?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [5.]);
/// assert_eq!(positions.scatter(&y)?.flatten_all()?.to_vec1::<f64>()?, [0., 5., 0., 0.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn max_pool2d_with_positions(x: &Tensor, settings: PoolSettings) -> Result<(Tensor, MaxPositions)> {
    const OP: &str = "max-pool";
    if is_composed(x) {
        #[cfg(feature = "cuda")]
        if super::cuda::takes(x) {
            let geometry = settings.geometry(OP, x)?;
            let (y, positions) = super::cuda::max_pool(&geometry, &x.detach())?;
            return Ok((y, MaxPositions { geometry, positions }));
        }
        let positions = MaxPositions::of(x, settings)?;
        return Ok((positions.gather(&x.detach())?, positions));
    }
    let geometry = settings.geometry(OP, x)?;
    let shape = pooled_shape(&geometry);
    let (y, positions) = with_elements!(OP, [x: x.detach()], T => {
        let (y, positions) = pool::max_and_positions::<T>(&geometry, x);
        (Tensor::from_vec(y, &shape, &Device::Cpu)?, Tensor::from_vec(positions, &shape, &Device::Cpu)?)
    });
    Ok((y, MaxPositions { geometry, positions }))
}

/// The positions of the maxima of one max pooling, from [`max_pool2d_with_positions`].
#[derive(Debug, Clone)]
pub struct MaxPositions {
    geometry: PoolGeometry,
    positions: Tensor,
}

impl MaxPositions {
    pub(crate) fn new(geometry: PoolGeometry, positions: Tensor) -> Self {
        Self { geometry, positions }
    }

    /// The pixel of each maximum, on the CPU.
    pub(crate) fn tensor(&self) -> &Tensor {
        &self.positions
    }

    pub(crate) fn geometry(&self) -> &PoolGeometry {
        &self.geometry
    }

    /// The operation of [`MaxPositions::gather`].
    pub(crate) fn gathering(&self) -> Gather {
        Gather { geometry: self.geometry, positions: self.positions.clone() }
    }

    /// The adjoint of [`MaxPositions::gathering`].
    pub(crate) fn scattering(&self) -> Scatter {
        Scatter { geometry: self.geometry, positions: self.positions.clone() }
    }

    pub(crate) fn of(x: &Tensor, settings: PoolSettings) -> Result<Self> {
        let geometry = settings.geometry("max-pool", x)?;
        let positions = apply1(&x.detach(), FindMaxima(geometry))?;
        Ok(Self { geometry, positions })
    }

    /// The VJP of the pooling: each cotangent at the position of its maximum, 0 elsewhere.
    ///
    /// **Shapes** `g` `[k·n, h', w', c]`, result `[k·n, h, w, c]`. Row r belongs to image r mod n. The result is differentiable for
    /// k = 1.
    ///
    /// **Errors** [`Error::Shape`] if `g` does not have this shape, [`Error::DType`] unless `g` is f32 or f64.
    pub fn scatter(&self, g: &Tensor) -> Result<Tensor> {
        const OP: &str = "max-pool-scatter";
        require_float(OP, g)?;
        let geometry =
            PoolGeometry { batch: self.geometry.batch * cotangents_per_row(OP, &self.positions, g)?, ..self.geometry };
        let positions = if is_composed(g) { repeat_rows(OP, &self.positions, g)? } else { self.positions.clone() };
        apply1(g, Scatter { geometry, positions })
    }

    /// The size of the positions in bytes.
    pub fn bytes(&self) -> usize {
        self.positions.elem_count() * self.positions.dtype().size_in_bytes()
    }

    /// `body` of the geometry and the positions, which are on the CPU.
    pub(crate) fn on_cpu<R>(
        &self,
        op: &'static str,
        body: impl FnOnce(PoolGeometry, &[u32]) -> Result<R>,
    ) -> Result<R> {
        Ok(with_positions(op, &self.positions, |positions| body(self.geometry, positions).map_err(Error::into_candle))?)
    }

    /// The JVP of the pooling: the tangent at the position of each maximum.
    ///
    /// **Shapes** `x` `[n, h, w, c]`, result `[n, h', w', c]`.
    ///
    /// **Errors** [`Error::Shape`] if `x` does not have the shape of the input, [`Error::DType`] unless `x` is f32 or f64.
    pub fn gather(&self, x: &Tensor) -> Result<Tensor> {
        let g = &self.geometry;
        if x.dims() != [g.batch, g.height, g.width, g.channels] {
            return Err(Error::shape(
                "max-pool",
                &[g.batch, g.height, g.width, g.channels],
                x.dims(),
                "a tangent has the shape of its input",
            ));
        }
        apply1(x, self.gathering())
    }
}

pub(crate) fn pooled_shape(g: &PoolGeometry) -> Shape {
    Shape::from((g.batch, g.out_height(), g.out_width(), g.channels))
}

fn image_shape(g: &PoolGeometry) -> Shape {
    Shape::from((g.batch, g.height, g.width, g.channels))
}

struct FindMaxima(PoolGeometry);

pub(crate) struct Gather {
    geometry: PoolGeometry,
    positions: Tensor,
}

pub(crate) struct Scatter {
    geometry: PoolGeometry,
    positions: Tensor,
}

pub(crate) struct Average(pub(crate) PoolGeometry);
pub(crate) struct Spread(pub(crate) PoolGeometry);

impl Compose<1> for FindMaxima {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if super::cuda::takes(x) {
            return Ok(super::cuda::max_pool(&self.0, x)?.1);
        }
        composed::max_positions(&self.0, x)
    }
}

impl Compose<1> for Gather {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        on_cuda!(x, pool_gather(&self.geometry, x, &self.positions));
        composed::gather(&self.geometry, x, &self.positions)
    }
}

impl Compose<1> for Scatter {
    fn compose(&self, [g]: [&Tensor; 1]) -> Result<Tensor> {
        on_cuda!(g, pool_scatter(&self.geometry, g, &self.positions));
        composed::scatter(&self.geometry, g, &self.positions)
    }
}

impl Compose<1> for Average {
    fn compose(&self, [x]: [&Tensor; 1]) -> Result<Tensor> {
        composed::average(&self.0, x)
    }
}

impl Compose<1> for Spread {
    fn compose(&self, [g]: [&Tensor; 1]) -> Result<Tensor> {
        composed::spread(&self.0, g)
    }
}

impl CustomOp1 for FindMaxima {
    fn name(&self) -> &'static str {
        "max-pool-positions"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => {
            let positions = pool::max_positions(&self.0, elements::<T>(self.name(), x, layout)?);
            Ok((u32::to_cpu_storage_owned(positions), pooled_shape(&self.0)))
        })
    }
}

/// `body` of the positions, which are on the CPU.
fn with_positions<R>(
    op: &'static str,
    positions: &Tensor,
    body: impl FnOnce(&[u32]) -> CandleResult<R>,
) -> CandleResult<R> {
    let (storage, layout) = positions.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(storage) => body(elements::<u32>(op, storage, layout)?),
        _ => Err(candle_core::Error::Msg(format!("{op}: stored positions are on another device than the CPU")).bt()),
    }
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "max-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        with_positions(self.name(), &self.positions, |positions| {
            dispatch_float!(self.name(), x, T => {
                let y = pool::gather(&self.geometry, elements::<T>(self.name(), x, layout)?, positions);
                Ok((T::to_cpu_storage_owned(y), pooled_shape(&self.geometry)))
            })
        })
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        let adjoint = Scatter { geometry: self.geometry, positions: self.positions.clone() };
        apply1(g, adjoint).map(Some).map_err(Error::into_candle)
    }
}

impl CustomOp1 for Scatter {
    fn name(&self) -> &'static str {
        "max-pool-scatter"
    }

    fn cpu_fwd(&self, g: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        with_positions(self.name(), &self.positions, |positions| {
            dispatch_float!(self.name(), g, T => {
                let x = pool::scatter(&self.geometry, elements::<T>(self.name(), g, layout)?, positions);
                Ok((T::to_cpu_storage_owned(x), image_shape(&self.geometry)))
            })
        })
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, h: &Tensor) -> CandleResult<Option<Tensor>> {
        let adjoint = Gather { geometry: self.geometry, positions: self.positions.clone() };
        apply1(h, adjoint).map(Some).map_err(Error::into_candle)
    }
}

impl CustomOp1 for Average {
    fn name(&self) -> &'static str {
        "avg-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => {
            let y = pool::average(&self.0, elements::<T>(self.name(), x, layout)?);
            Ok((T::to_cpu_storage_owned(y), pooled_shape(&self.0)))
        })
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<Option<Tensor>> {
        apply1(g, Spread(self.0)).map(Some).map_err(Error::into_candle)
    }
}

impl CustomOp1 for Spread {
    fn name(&self) -> &'static str {
        "avg-pool-spread"
    }

    fn cpu_fwd(&self, g: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), g, T => {
            let x = pool::spread(&self.0, elements::<T>(self.name(), g, layout)?);
            Ok((T::to_cpu_storage_owned(x), image_shape(&self.0)))
        })
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, h: &Tensor) -> CandleResult<Option<Tensor>> {
        apply1(h, Average(self.0)).map(Some).map_err(Error::into_candle)
    }
}
