//! Two-dimensional convolution as three bilinear operations that are closed under differentiation.
//!
//! T(x, w, g) = ⟨conv(x, w), g⟩ is [trilinear](https://github.com/geometric-collapse/geometric-collapse/blob/main/docs/src/theory.md#convolution-is-trilinear). Its partial derivatives are the output F(x, w), the input gradient
//! D(g, w) and the weight gradient W(x, g); each is bilinear, and the derivatives of each are the other two:
//!
//! | operation | derivative by the first argument | by the second argument |
//! |---|---|---|
//! | F(x, w) | D(g, w) | W(x, g) |
//! | D(g, w), cotangent h | F(h, w) | W(h, g) |
//! | W(x, g), cotangent v | D(g, v) | F(x, v) |
//!
//! The gradient by a detached argument is not computed.

#[cfg(feature = "cudnn")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result as CandleResult, Shape, Tensor};

use super::activation::relu;
use super::channel::{channel_shift, channel_sum};
use super::composed::{self, Compose, apply2, apply3, is_composed, on_cuda};
use super::cpu::{dispatch_float, elements, require_float, same_dtype};
#[cfg(feature = "cudnn")]
use super::cudnn;
use super::product::relu_mask;
use crate::kernels::{self, Accuracy, ConvGeometry, elementwise};
use crate::{Error, Result};

/// The settings of a convolution, apart from its sizes.
///
/// **Conventions** PyTorch's `Conv2d`: cross-correlation, zero padding on both sides, `[vertical, horizontal]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvSettings {
    /// Step between neighbouring outputs.
    pub stride: [usize; 2],
    /// Rows and columns of zeros on each side.
    pub padding: [usize; 2],
    /// Step between neighbouring taps of the kernel.
    pub dilation: [usize; 2],
    /// Number of independent groups of channels.
    pub groups: usize,
    /// The rounding error that the algorithm may have in f32.
    pub accuracy: Accuracy,
}

impl Default for ConvSettings {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1, accuracy: Accuracy::Fast }
    }
}

impl ConvSettings {
    /// This stride and padding along both axes; the other settings have their defaults.
    pub fn new(stride: usize, padding: usize) -> Self {
        Self { stride: [stride; 2], padding: [padding; 2], ..Self::default() }
    }

    /// The geometry and accuracy of a convolution whose output has the shape of `g`.
    fn family(&self, op: &'static str, g: &Tensor, input: &[usize], weight: &[usize]) -> Result<Family> {
        require_float(op, g)?;
        require_accuracy(op, g, self.accuracy)?;
        let family = self.family_of(op, input, weight)?;
        if g.dims() == family.output_shape().dims() {
            return Ok(family);
        }
        Err(Error::shape(op, g.dims(), &family.output_shape().into_dims(), "a cotangent has the shape of the output"))
    }

    /// Returns an error unless the cotangent has the shape of the output for this input.
    pub(crate) fn check_cotangent(
        &self,
        op: &'static str,
        g: &Tensor,
        input: &[usize],
        weight: &[usize],
    ) -> Result<()> {
        self.family(op, g, input, weight).map(|_| ())
    }

    /// The geometry and accuracy of a convolution of an NHWC input of this shape.
    pub(crate) fn family_of(&self, op: &'static str, input: &[usize], weight: &[usize]) -> Result<Family> {
        Ok(Family { geometry: self.geometry(op, input, weight)?, accuracy: self.accuracy })
    }

    pub(crate) fn geometry(&self, op: &'static str, input: &[usize], weight: &[usize]) -> Result<ConvGeometry> {
        let shape_error = |rule: String| Error::shape(op, input, weight, rule);
        let (&[batch, height, width, in_channels], &[out_channels, group_channels, kernel_height, kernel_width]) =
            (input, weight)
        else {
            return Err(shape_error("the input is [n, h, w, c] and the weight [out, in / groups, kh, kw]".into()));
        };
        if group_channels.checked_mul(self.groups) != Some(in_channels) {
            return Err(shape_error(format!(
                "the weight's second size times groups ({}) is the input's last size",
                self.groups
            )));
        }
        let &Self { stride, padding, dilation, groups, .. } = self;
        let kernel = [kernel_height, kernel_width];
        ConvGeometry { batch, height, width, in_channels, out_channels, kernel, stride, padding, dilation, groups }
            .validated()
            .map_err(|error| shape_error(error.to_string()))
    }
}

/// The convolution of `x` with `weight`, plus `bias`.
///
/// **Definition** `y[n,i,j,o] = bias[o] + Σ_{a,b,c} x[n, i·s+a·d−p, j·s+b·d−p, c] · weight[o,c,a,b]`, taps outside the
/// image being 0.
///
/// **Shapes** `x` `[n, h, w, in]`, `weight` `[out, in / groups, kh, kw]` (PyTorch's order), `bias` `[out]`; result
/// `[n, h', w', out]`.
///
/// **Errors** [`Error::Shape`] if the sizes do not match, if the kernel is larger than the padded image, or if the groups do
/// not divide the channels; [`Error::DType`] unless all tensors are f32 or all are f64.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use ops::{ConvSettings, nhwc::conv2d};
/// let x = Tensor::ones((1, 3, 4, 1), DType::F64, &Device::Cpu)?;
/// let weight = Tensor::ones((1, 1, 3, 3), DType::F64, &Device::Cpu)?;
/// let y = conv2d(&x, &weight, None, ConvSettings::new(1, 1))?;
/// // The number of taps inside the image: 4 in a corner, 6 on a border, 9 in the middle.
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [4., 6., 6., 4., 6., 9., 9., 6., 4., 6., 6., 4.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, settings: ConvSettings) -> Result<Tensor> {
    const OP: &str = "conv2d";
    require_float(OP, x)?;
    same_dtype(OP, x, weight)?;
    require_accuracy(OP, x, settings.accuracy)?;
    let geometry = settings.geometry(OP, x.dims(), weight.dims())?;
    let family = Family { geometry, accuracy: settings.accuracy };
    let Some(bias) = bias else {
        return apply2(x, weight, Output(family));
    };
    same_dtype(OP, x, bias)?;
    require_bias(OP, weight, bias)?;
    if is_composed(x) {
        return channel_shift(&apply2(x, weight, Output(family))?, bias);
    }
    apply3(x, weight, bias, OutputWithBias { family, fused_relu: false })
}

/// max(conv2d(x), 0) as one operation with a fused ReLU, which does not store the output of the convolution.
///
/// **Shapes** as [`conv2d`].
///
/// **Conventions** The derivative of the ReLU at 0 is 0.
///
/// **Errors** as [`conv2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{ConvSettings, nhwc::conv2d_relu};
/// let x = Tensor::new(&[1f64, 2., 3.], &Device::Cpu)?.reshape((1, 1, 3, 1))?;
/// let weight = Tensor::new(&[[[[1f64]]]], &Device::Cpu)?;
/// let y = conv2d_relu(&x, &weight, &Tensor::new(&[-2f64], &Device::Cpu)?, ConvSettings::default())?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [0., 0., 1.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn conv2d_relu(x: &Tensor, weight: &Tensor, bias: &Tensor, settings: ConvSettings) -> Result<Tensor> {
    const OP: &str = "conv2d-relu";
    if is_composed(x) {
        let y = conv2d(x, weight, None, settings)?;
        same_dtype(OP, x, bias)?;
        require_bias(OP, weight, bias)?;
        return shifted_relu(&y, bias);
    }
    require_float(OP, x)?;
    same_dtype(OP, x, weight)?;
    same_dtype(OP, x, bias)?;
    require_accuracy(OP, x, settings.accuracy)?;
    let family = Family { geometry: settings.geometry(OP, x.dims(), weight.dims())?, accuracy: settings.accuracy };
    require_bias(OP, weight, bias)?;
    apply3(x, weight, bias, OutputWithBias { family, fused_relu: true })
}

/// max(y + bias, 0), in one pass if there is a kernel and no graph.
fn shifted_relu(y: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if !y.track_op() && !bias.track_op() {
        on_cuda!(y, shift(y, bias, true));
    }
    relu(&channel_shift(y, bias)?)
}

/// Returns an error for bf16 or TF32 products unless there is a kernel for them.
pub(crate) fn require_accuracy(op: &'static str, x: &Tensor, accuracy: Accuracy) -> Result<()> {
    let products = match accuracy {
        Accuracy::Bf16 => "bf16",
        Accuracy::Tf32 => "tf32",
        Accuracy::Fast | Accuracy::Accurate => return Ok(()),
    };
    if x.dtype() == DType::F32 && has_tensor_cores(x) {
        return Ok(());
    }
    Err(Error::MixedPrecision { op, products, dtype: x.dtype().as_str().into(), device: x.device().location() })
}

#[cfg(feature = "cudnn")]
fn has_tensor_cores(x: &Tensor) -> bool {
    crate::cudnn::has_tensor_cores(x.device())
}

/// Without cuDNN nothing rounds the factors.
#[cfg(not(feature = "cudnn"))]
fn has_tensor_cores(_: &Tensor) -> bool {
    false
}

pub(crate) fn require_bias(op: &'static str, weight: &Tensor, bias: &Tensor) -> Result<()> {
    if weight.dims().first() == bias.dims().first() && bias.rank() == 1 {
        return Ok(());
    }
    Err(Error::shape(op, weight.dims(), bias.dims(), "the bias has one value per output channel"))
}

/// The linear layer y = x·weightᵀ + bias, as PyTorch's `linear`.
///
/// **Shapes** `x` `[n, in]`, `weight` `[out, in]` (PyTorch's order), `bias` `[out]`; result `[n, out]`.
///
/// **Errors** as [`conv2d`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f64, 2.]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[3f64, 4.], [5., 6.], [7., 8.]], &Device::Cpu)?;
/// let y = ops::linear(&x, &weight, None)?;
/// assert_eq!(y.to_vec2::<f64>()?, [[11., 17., 23.]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (&[samples, inputs], &[outputs, weight_inputs]) = (x.dims(), weight.dims()) else {
        return Err(Error::shape("linear", x.dims(), weight.dims(), "the input is [n, in] and the weight [out, in]"));
    };
    if inputs != weight_inputs {
        return Err(Error::shape("linear", x.dims(), weight.dims(), "both have the same second size"));
    }
    let row = x.reshape((1, 1, samples, inputs))?;
    let y = conv2d(&row, &weight.reshape((outputs, inputs, 1, 1))?, bias, ConvSettings::default())?;
    Ok(y.reshape((samples, outputs))?)
}

/// The VJP of a convolution by its input, of shape `input`, for a cotangent `g` of the output.
///
/// **Shapes** `g` `[n, h', w', out]`, `input` `[n, h, w, in]`; result shaped as the input.
///
/// **Errors** as [`conv2d`], and [`Error::Shape`] if `g` does not have the shape of the output.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{ConvSettings, nhwc::conv2d_input_gradient};
/// let weight = Tensor::new(&[[[[10f64, 1.]]]], &Device::Cpu)?;
/// let g = Tensor::new(&[1f64, 2.], &Device::Cpu)?.reshape((1, 1, 2, 1))?;
/// let dx = conv2d_input_gradient(&g, &weight, &[1, 1, 3, 1], ConvSettings::default())?;
/// assert_eq!(dx.flatten_all()?.to_vec1::<f64>()?, [10., 21., 2.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn conv2d_input_gradient(g: &Tensor, weight: &Tensor, input: &[usize], settings: ConvSettings) -> Result<Tensor> {
    const OP: &str = "conv2d-input-gradient";
    same_dtype(OP, g, weight)?;
    let family = settings.family(OP, g, input, weight.dims())?;
    apply2(g, weight, InputGradient(family))
}

/// The VJP of a convolution by its weight, of shape `weight`, for a cotangent `g` of the output.
///
/// **Shapes** `x` `[n, h, w, in]`, `g` `[n, h', w', out]`, `weight` `[out, in / groups, kh, kw]`; result shaped as the weight.
///
/// **Errors** as [`conv2d_input_gradient`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{ConvSettings, nhwc::conv2d_weight_gradient};
/// let x = Tensor::new(&[1f64, 2., 4.], &Device::Cpu)?.reshape((1, 1, 3, 1))?;
/// let g = Tensor::new(&[1f64, 2.], &Device::Cpu)?.reshape((1, 1, 2, 1))?;
/// let dw = conv2d_weight_gradient(&x, &g, &[1, 1, 1, 2], ConvSettings::default())?;
/// assert_eq!(dw.flatten_all()?.to_vec1::<f64>()?, [5., 10.]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn conv2d_weight_gradient(x: &Tensor, g: &Tensor, weight: &[usize], settings: ConvSettings) -> Result<Tensor> {
    const OP: &str = "conv2d-weight-gradient";
    same_dtype(OP, x, g)?;
    let family = settings.family(OP, g, x.dims(), weight)?;
    apply2(x, g, WeightGradient(family))
}

/// The geometry and accuracy of the three operations of one convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    pub(crate) geometry: ConvGeometry,
    pub(crate) accuracy: Accuracy,
}

impl Family {
    /// Convolution has kernels of this crate on the CPU and of cuDNN on CUDA. If it is a matrix product of its operands as stored,
    /// candle's matrix product by cuBLAS is faster on CUDA; it does not round the factors.
    fn has_kernel(&self, x: &Tensor) -> bool {
        let product = composed::is_pointwise(&self.geometry) && !self.accuracy.rounds_factors();
        !is_composed(x) || (cfg!(feature = "cudnn") && x.device().is_cuda() && !product)
    }

    fn input_shape(&self) -> Shape {
        let g = &self.geometry;
        Shape::from((g.batch, g.height, g.width, g.in_channels))
    }

    fn output_shape(&self) -> Shape {
        let g = &self.geometry;
        Shape::from((g.batch, g.out_height(), g.out_width(), g.out_channels))
    }

    pub(crate) fn weight_shape(&self) -> Shape {
        let g = &self.geometry;
        Shape::from((g.out_channels, g.in_channels / g.groups, g.kernel[0], g.kernel[1]))
    }
}

pub(crate) struct Output(pub(crate) Family);
/// A convolution with bias, optionally with a fused ReLU.
struct OutputWithBias {
    family: Family,
    fused_relu: bool,
}
pub(crate) struct InputGradient(pub(crate) Family);
pub(crate) struct WeightGradient(pub(crate) Family);

impl Compose<2> for Output {
    fn compose(&self, [x, weight]: [&Tensor; 2]) -> Result<Tensor> {
        composed::output(&self.0.geometry, x, weight)
    }

    fn has_kernel(&self, x: &Tensor) -> bool {
        self.0.has_kernel(x)
    }
}

impl Compose<3> for OutputWithBias {
    fn compose(&self, [x, weight, bias]: [&Tensor; 3]) -> Result<Tensor> {
        let y = channel_shift(&composed::output(&self.family.geometry, x, weight)?, bias)?;
        if self.fused_relu { relu(&y) } else { Ok(y) }
    }
}

impl Compose<2> for InputGradient {
    fn compose(&self, [g, weight]: [&Tensor; 2]) -> Result<Tensor> {
        composed::input_gradient(&self.0.geometry, g, weight)
    }

    fn has_kernel(&self, x: &Tensor) -> bool {
        self.0.has_kernel(x)
    }
}

impl Compose<2> for WeightGradient {
    fn compose(&self, [x, g]: [&Tensor; 2]) -> Result<Tensor> {
        composed::weight_gradient(&self.0.geometry, x, g)
    }

    fn has_kernel(&self, x: &Tensor) -> bool {
        self.0.has_kernel(x)
    }
}

/// `op` of `first` and `second`, the gradient by `argument`, unless `argument` is detached.
fn if_tracked<C: 'static + CustomOp2 + Compose<2> + Send + Sync>(
    argument: &Tensor,
    first: &Tensor,
    second: &Tensor,
    op: C,
) -> CandleResult<Option<Tensor>> {
    if !argument.track_op() {
        return Ok(None);
    }
    apply2(first, second, op).map(Some).map_err(Error::into_candle)
}

impl CustomOp2 for Output {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, w: &CpuStorage, lw: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let Family { geometry, accuracy } = self.0;
        dispatch_float!(self.name(), x, T => {
            let (x, w) = (elements::<T>(self.name(), x, lx)?, elements::<T>(self.name(), w, lw)?);
            let y = kernels::conv_forward_to_vec(&geometry, accuracy, x, w, None);
            Ok((<T as candle_core::WithDType>::to_cpu_storage_owned(y), self.0.output_shape()))
        })
    }

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        w: &CudaStorage,
        lw: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        Ok((cudnn::output(&self.0.geometry, self.0.accuracy, (x, lx), (w, lw))?, self.0.output_shape()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, g: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        Ok((if_tracked(x, g, w, InputGradient(self.0))?, if_tracked(w, x, g, WeightGradient(self.0))?))
    }
}

impl CustomOp3 for OutputWithBias {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let Family { geometry, accuracy } = self.family;
        dispatch_float!(self.name(), x, T => {
            let (x, w) = (elements::<T>(self.name(), x, lx)?, elements::<T>(self.name(), w, lw)?);
            let b = elements::<T>(self.name(), b, lb)?;
            let mut y = kernels::conv_forward_to_vec(&geometry, accuracy, x, w, Some(b));
            if self.fused_relu {
                elementwise::rectify(&mut y);
            }
            Ok((<T as candle_core::WithDType>::to_cpu_storage_owned(y), self.family.output_shape()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        g: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = &if self.fused_relu { relu_mask(g, y).map_err(Error::into_candle)? } else { g.clone() };
        let bias_gradient = if b.track_op() { Some(channel_sum(g).map_err(Error::into_candle)?) } else { None };
        let (input, weight) = (InputGradient(self.family), WeightGradient(self.family));
        Ok((if_tracked(x, g, w, input)?, if_tracked(w, x, g, weight)?, bias_gradient))
    }
}

impl CustomOp2 for InputGradient {
    fn name(&self) -> &'static str {
        "conv2d-input-gradient"
    }

    fn cpu_fwd(&self, g: &CpuStorage, lg: &Layout, w: &CpuStorage, lw: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let Family { geometry, accuracy } = self.0;
        dispatch_float!(self.name(), g, T => {
            let (g, w) = (elements::<T>(self.name(), g, lg)?, elements::<T>(self.name(), w, lw)?);
            let x = kernels::conv_input_grad_to_vec(&geometry, accuracy, g, w);
            Ok((<T as candle_core::WithDType>::to_cpu_storage_owned(x), self.0.input_shape()))
        })
    }

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(
        &self,
        g: &CudaStorage,
        lg: &Layout,
        w: &CudaStorage,
        lw: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        Ok((cudnn::input_gradient(&self.0.geometry, self.0.accuracy, (g, lg), (w, lw))?, self.0.input_shape()))
    }

    fn bwd(&self, g: &Tensor, w: &Tensor, _: &Tensor, h: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        Ok((if_tracked(g, h, w, Output(self.0))?, if_tracked(w, h, g, WeightGradient(self.0))?))
    }
}

impl CustomOp2 for WeightGradient {
    fn name(&self) -> &'static str {
        "conv2d-weight-gradient"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, g: &CpuStorage, lg: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let Family { geometry, accuracy } = self.0;
        dispatch_float!(self.name(), x, T => {
            let (x, g) = (elements::<T>(self.name(), x, lx)?, elements::<T>(self.name(), g, lg)?);
            let w = kernels::conv_weight_grad_to_vec(&geometry, accuracy, x, g);
            Ok((<T as candle_core::WithDType>::to_cpu_storage_owned(w), self.0.weight_shape()))
        })
    }

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        lx: &Layout,
        g: &CudaStorage,
        lg: &Layout,
    ) -> CandleResult<(CudaStorage, Shape)> {
        Ok((cudnn::weight_gradient(&self.0.geometry, self.0.accuracy, (x, lx), (g, lg))?, self.0.weight_shape()))
    }

    fn bwd(&self, x: &Tensor, g: &Tensor, _: &Tensor, v: &Tensor) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        Ok((if_tracked(x, g, v, InputGradient(self.0))?, if_tracked(g, x, v, Output(self.0))?))
    }
}
