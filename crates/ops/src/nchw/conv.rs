//! Convolution of NCHW tensors: the three bilinear operations of [`conv`](crate::conv), with transposed operands.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result as CandleResult, Shape, Tensor, WithDType};

use crate::composed::{Compose, apply2, apply3};
use crate::conv::{ConvSettings, Family, InputGradient, Output, WeightGradient, require_accuracy, require_bias};
use crate::cpu::{dispatch_float, elements, require_float, same_dtype};
use crate::kernels::{self, Element, transpose::transposed};
use crate::{Error, Result};

/// The convolution of `x` with `kernel`: candle's `Tensor::conv2d`.
///
/// **Definition** `y[n,o,i,j] = Σ_{c,a,b} x[n, c, i·s+a·d−p, j·s+b·d−p] · kernel[o,c,a,b]` with stride s, dilation d and padding p;
/// x is 0 outside the image.
///
/// **Shapes** `x` `[n, in, h, w]`, `kernel` `[out, in / groups, kh, kw]`, result `[n, out, h', w']`.
///
/// **Conventions** The order of the parameters is candle's: padding before stride. In f32 the fastest algorithm is used, with an
/// error of about 2e-6 of the output's root mean square.
///
/// **Errors** [`Error::Shape`] if the sizes do not match, [`Error::DType`] unless both tensors are f32 or both are f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 2., 4.], &Device::Cpu)?.reshape((1, 1, 1, 3))?;
/// let kernel = Tensor::new(&[10f64, 1.], &Device::Cpu)?.reshape((1, 1, 1, 2))?;
/// assert_eq!(ops::nchw::conv2d(&x, &kernel, 0, 1, 1, 1)?.flatten_all()?.to_vec1::<f64>()?, [12., 24.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn conv2d(
    x: &Tensor,
    kernel: &Tensor,
    padding: usize,
    stride: usize,
    dilation: usize,
    groups: usize,
) -> Result<Tensor> {
    let settings = ConvSettings { dilation: [dilation; 2], groups, ..ConvSettings::new(stride, padding) };
    let family = family("conv2d", x, kernel, settings)?;
    apply2(x, kernel, Nchw { kind: Kind::Output, family })
}

/// The convolution of `x` with `kernel`, plus a bias per output channel, as one operation: candle_nn's `Conv2d`.
///
/// **Shapes** as [`conv2d`], `bias` `[out]`.
///
/// **Errors** as [`conv2d`], and [`Error::Shape`] if the bias does not have one value per output channel.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{ConvSettings, nchw::conv2d_with_bias};
/// let x = Tensor::new(&[1f64, 2., 4.], &Device::Cpu)?.reshape((1, 1, 1, 3))?;
/// let kernel = Tensor::new(&[10f64, 1.], &Device::Cpu)?.reshape((1, 1, 1, 2))?;
/// let y = conv2d_with_bias(&x, &kernel, &Tensor::new(&[0.5f64], &Device::Cpu)?, ConvSettings::default())?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [12.5, 24.5]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn conv2d_with_bias(x: &Tensor, kernel: &Tensor, bias: &Tensor, settings: ConvSettings) -> Result<Tensor> {
    let family = family("conv2d", x, kernel, settings)?;
    same_dtype("conv2d", x, bias)?;
    require_bias("conv2d", kernel, bias)?;
    apply3(x, kernel, bias, WithBias(family))
}

/// The geometry of a convolution of NCHW images.
fn family(op: &'static str, x: &Tensor, kernel: &Tensor, settings: ConvSettings) -> Result<Family> {
    require_float(op, x)?;
    same_dtype(op, x, kernel)?;
    require_accuracy(op, x, settings.accuracy)?;
    let &[n, channels, height, width] = x.dims() else {
        return Err(Error::shape(op, x.dims(), kernel.dims(), "the input is [n, c, h, w]"));
    };
    settings.family_of(op, &[n, height, width, channels], kernel.dims())
}

/// One of the three operations.
#[derive(Clone, Copy)]
enum Kind {
    Output,
    InputGradient,
    WeightGradient,
}

/// An operation whose images are NCHW.
#[derive(Clone, Copy)]
struct Nchw {
    kind: Kind,
    family: Family,
}

impl Nchw {
    fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The gradient by `argument`: `op` of the two tensors, unless `argument` is detached.
    fn gradient(self, argument: &Tensor, kind: Kind, [a, b]: [&Tensor; 2]) -> CandleResult<Option<Tensor>> {
        if !argument.track_op() {
            return Ok(None);
        }
        apply2(a, b, self.of(kind)).map(Some).map_err(Error::into_candle)
    }

    /// The result for contiguous operands.
    fn on_slices<T: Element>(&self, a: &[T], b: &[T], bias: Option<&[T]>) -> Vec<T> {
        let Family { geometry: g, accuracy } = &self.family;
        let (pixels, positions) = (g.height * g.width, g.out_height() * g.out_width());
        match self.kind {
            Kind::Output => {
                let x = transposed(a, g.batch, g.in_channels, pixels);
                let y = kernels::conv_forward_to_vec(g, *accuracy, &x, b, bias);
                transposed(&y, g.batch, positions, g.out_channels)
            }
            Kind::InputGradient => {
                let cotangent = transposed(a, g.batch, g.out_channels, positions);
                let x = kernels::conv_input_grad_to_vec(g, *accuracy, &cotangent, b);
                transposed(&x, g.batch, pixels, g.in_channels)
            }
            Kind::WeightGradient => {
                let x = transposed(a, g.batch, g.in_channels, pixels);
                let cotangent = transposed(b, g.batch, g.out_channels, positions);
                kernels::conv_weight_grad_to_vec(g, *accuracy, &x, &cotangent)
            }
        }
    }

    fn shape(&self) -> Shape {
        let g = &self.family.geometry;
        match self.kind {
            Kind::Output => Shape::from((g.batch, g.out_channels, g.out_height(), g.out_width())),
            Kind::InputGradient => Shape::from((g.batch, g.in_channels, g.height, g.width)),
            Kind::WeightGradient => self.family.weight_shape(),
        }
    }
}

fn to_nhwc(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 2, 3, 1))?.contiguous()?)
}

fn to_nchw(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 3, 1, 2))?.contiguous()?)
}

impl Compose<2> for Nchw {
    fn compose(&self, [a, b]: [&Tensor; 2]) -> Result<Tensor> {
        match self.kind {
            Kind::Output => to_nchw(&apply2(&to_nhwc(a)?, b, Output(self.family))?),
            Kind::InputGradient => to_nchw(&apply2(&to_nhwc(a)?, b, InputGradient(self.family))?),
            Kind::WeightGradient => apply2(&to_nhwc(a)?, &to_nhwc(b)?, WeightGradient(self.family)),
        }
    }
}

impl CustomOp2 for Nchw {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Output => "conv2d",
            Kind::InputGradient => "conv2d-input-gradient",
            Kind::WeightGradient => "conv2d-weight-gradient",
        }
    }

    fn cpu_fwd(&self, a: &CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), a, T => {
            let (a, b) = (elements::<T>(self.name(), a, la)?, elements::<T>(self.name(), b, lb)?);
            Ok((<T as WithDType>::to_cpu_storage_owned(self.on_slices(a, b, None)), self.shape()))
        })
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        // The derivatives of each of the three bilinear operations are the other two: see the module `conv`.
        use Kind::{InputGradient, Output, WeightGradient};
        Ok(match self.kind {
            Output => (self.gradient(a, InputGradient, [g, b])?, self.gradient(b, WeightGradient, [a, g])?),
            InputGradient => (self.gradient(a, Output, [g, b])?, self.gradient(b, WeightGradient, [g, a])?),
            WeightGradient => (self.gradient(a, InputGradient, [b, g])?, self.gradient(b, Output, [a, g])?),
        })
    }
}

/// A convolution with bias.
struct WithBias(Family);

impl WithBias {
    fn operation(&self, kind: Kind) -> Nchw {
        Nchw { kind, family: self.0 }
    }
}

impl Compose<3> for WithBias {
    fn compose(&self, [x, kernel, bias]: [&Tensor; 3]) -> Result<Tensor> {
        let y = apply2(x, kernel, self.operation(Kind::Output))?;
        Ok(y.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?)?)
    }
}

impl CustomOp3 for WithBias {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        kernel: &CpuStorage,
        lk: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        dispatch_float!(self.name(), x, T => {
            let (x, kernel) = (elements::<T>(self.name(), x, lx)?, elements::<T>(self.name(), kernel, lk)?);
            let operation = self.operation(Kind::Output);
            let y = operation.on_slices(x, kernel, Some(elements::<T>(self.name(), bias, lb)?));
            Ok((<T as WithDType>::to_cpu_storage_owned(y), operation.shape()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let operation = self.operation(Kind::Output);
        let by_bias = bias.track_op().then(|| g.sum((0, 2, 3))).transpose()?;
        let by_x = operation.gradient(x, Kind::InputGradient, [g, kernel])?;
        Ok((by_x, operation.gradient(kernel, Kind::WeightGradient, [x, g])?, by_bias))
    }
}
