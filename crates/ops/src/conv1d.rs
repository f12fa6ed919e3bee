//! One-dimensional convolution of sequences, by the two-dimensional kernels.

use candle_core::Tensor;

use super::conv::{ConvSettings, conv2d, conv2d_input_gradient, conv2d_weight_gradient};
use crate::kernels::Accuracy;
use crate::{Error, Result};

/// The settings of a one-dimensional convolution, apart from its sizes.
///
/// **Conventions** PyTorch's `Conv1d`: cross-correlation, zeros on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv1dSettings {
    /// Step between neighbouring outputs.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Step between neighbouring taps of the kernel.
    pub dilation: usize,
    /// Number of independent groups of channels.
    pub groups: usize,
}

impl Default for Conv1dSettings {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1 }
    }
}

impl Conv1dSettings {
    /// The same convolution of images of height 1.
    fn of_rows(self, accuracy: Accuracy) -> ConvSettings {
        let Self { stride, padding, dilation, groups } = self;
        ConvSettings { stride: [1, stride], padding: [0, padding], dilation: [1, dilation], groups, accuracy }
    }
}

/// The convolution of sequences `x` with `weight`, plus `bias`, in candle's graph. It is bilinear in `x` and `weight`: the JVP by `x`
/// is the operation itself without bias.
///
/// **Shapes** `x` `[n, l, in]`, `weight` `[out, in / groups, k]` (PyTorch's order), `bias` `[out]`; result `[n, l', out]`.
///
/// **Errors** as [`conv2d`](crate::nhwc::conv2d).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use ops::{Conv1dSettings, nhwc::conv1d};
/// let x = Tensor::new(&[[[1f64], [2.], [4.]]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[[10f64, 1.]]], &Device::Cpu)?;
/// let y = conv1d(&x, &weight, None, Conv1dSettings::default())?;
/// assert_eq!(y.to_vec3::<f64>()?, [[[12.], [24.]]]);
/// # Ok::<(), ops::Error>(())
/// ```
pub fn conv1d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, settings: Conv1dSettings) -> Result<Tensor> {
    require_rank(x, weight.dims())?;
    let settings = settings.of_rows(Accuracy::Fast);
    Ok(conv2d(&x.unsqueeze(1)?, &weight.unsqueeze(2)?, bias, settings)?.squeeze(1)?)
}

/// The gradient of ⟨conv1d(x, weight), g⟩ by x of this shape.
///
/// **Shapes** `g` `[n, l', out]`, result `[n, l, in]`.
///
/// **Errors** as [`conv2d`](crate::nhwc::conv2d), and [`Error::Shape`] if `g` does not have the shape of the output.
pub fn conv1d_input_gradient(g: &Tensor, weight: &Tensor, input: &[usize], settings: Conv1dSettings) -> Result<Tensor> {
    require_rank(g, weight.dims())?;
    let &[n, length, channels] = input else { return Err(wrong_rank(input, weight.dims())) };
    let settings = settings.of_rows(Accuracy::Fast);
    let input = [n, 1, length, channels];
    Ok(conv2d_input_gradient(&g.unsqueeze(1)?, &weight.unsqueeze(2)?, &input, settings)?.squeeze(1)?)
}

/// The gradient of ⟨conv1d(x, weight), g⟩ by a weight of this shape.
///
/// **Shapes** `x` `[n, l, in]`, `g` `[n, l', out]`, result `[out, in / groups, k]`.
///
/// **Errors** as [`conv1d_input_gradient`].
pub fn conv1d_weight_gradient(x: &Tensor, g: &Tensor, weight: &[usize], settings: Conv1dSettings) -> Result<Tensor> {
    require_rank(x, weight)?;
    require_rank(g, weight)?;
    let &[out, channels, taps] = weight else { return Err(wrong_rank(x.dims(), weight)) };
    let settings = settings.of_rows(Accuracy::Fast);
    let weight = [out, channels, 1, taps];
    Ok(conv2d_weight_gradient(&x.unsqueeze(1)?, &g.unsqueeze(1)?, &weight, settings)?.squeeze(2)?)
}

fn require_rank(x: &Tensor, weight: &[usize]) -> Result<()> {
    if x.rank() == 3 && weight.len() == 3 { Ok(()) } else { Err(wrong_rank(x.dims(), weight)) }
}

fn wrong_rank(x: &[usize], weight: &[usize]) -> Error {
    Error::shape("conv1d", x, weight, "sequences are [n, l, c] and the weight is [out, in / groups, k]")
}
