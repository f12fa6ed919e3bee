//! Minimal-multiplication convolution for 3×3 kernels (Winograd; Lavin and Gray): for stride 1, and for stride 2 with padding 1.

mod forward;
mod scheme;
mod strided;
mod tiles;
mod weight_grad;
mod weights;

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::instruction_set::InstructionSet;
use super::operands::Operands;
use super::{ConvGeometry, Element};
use scheme::{Four, Scheme, Toeplitz};
use strided::{Strided, StridedTransposed};
use tiles::TiledImages;
use weights::WeightLayout;

/// The scheme of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// F(4×4, 3×3).
    Four,
    /// 2×2 images with padding 1.
    Toeplitz,
    /// Stride 2 with padding 1.
    Strided,
}

/// With fewer channels the direct sum is as fast: the transforms would leave most of a vector unused.
const FEWEST_CHANNELS: usize = 6;
/// The minimum for stride 2, which saves fewer products.
const FEWEST_CHANNELS_STRIDED: usize = 48;

/// The scheme for this convolution, if one needs clearly fewer multiplications than the direct sum.
pub(crate) fn choose(g: &ConvGeometry) -> Option<Choice> {
    let suits = g.kernel == [3, 3]
        && g.dilation == [1, 1]
        && g.groups == 1
        && g.in_channels.min(g.out_channels) >= FEWEST_CHANNELS
        && g.padding.iter().all(|&padding| padding <= 2);
    if !suits {
        return None;
    }
    if g.stride == [2, 2] {
        let products = g.out_height().div_ceil(2) * g.out_width().div_ceil(2) * 25;
        let pays = g.out_height() * g.out_width() * 9 * 4 >= products * 5;
        let wide = g.in_channels.min(g.out_channels) >= FEWEST_CHANNELS_STRIDED;
        return (g.padding == [1, 1] && wide && pays).then_some(Choice::Strided);
    }
    if g.stride != [1, 1] {
        return None;
    }
    if [g.height, g.width] == [2, 2] && g.padding == [1, 1] {
        return Some(Choice::Toeplitz);
    }
    let (height, width) = (g.out_height().min(g.height), g.out_width().min(g.width));
    let products = height.div_ceil(4) * width.div_ceil(4) * 36;
    (g.out_height().min(g.out_width()) > 2 && height * width * 9 * 2 > products * 3).then_some(Choice::Four)
}

/// A convolution on tiles: the forward pass, or the input gradient, which is also a convolution.
#[derive(Clone, Copy, Debug)]
struct Pass<S> {
    tiles: usize,
    input: TiledImages,
    output: TiledImages,
    layout: WeightLayout,
    scheme: PhantomData<S>,
}

impl<S: Scheme> Pass<S> {
    fn forward(g: &ConvGeometry) -> Self {
        let layout = WeightLayout { row: 9, column: g.in_channels * 9, flipped: false };
        let input = [g.height, g.width, g.in_channels];
        Self::new(g.batch, input, [g.out_height(), g.out_width(), g.out_channels], g.padding, layout)
    }

    /// The input gradient: the convolution of the cotangent with reversed taps and the complementary padding.
    fn input_grad(g: &ConvGeometry) -> Self {
        let layout = WeightLayout { row: g.in_channels * 9, column: 9, flipped: true };
        let output = [g.out_height(), g.out_width(), g.out_channels];
        let padding = g.padding.map(|padding| 2 - padding);
        Self::new(g.batch, output, [g.height, g.width, g.in_channels], padding, layout)
    }

    /// The input gradient of stride 2, whose scheme reverses the taps.
    fn strided_input_grad(g: &ConvGeometry) -> Self {
        let layout = WeightLayout { row: g.in_channels * 9, column: 9, flipped: false };
        let output = [g.out_height(), g.out_width(), g.out_channels];
        Self::new(g.batch, output, [g.height, g.width, g.in_channels], [0, 0], layout)
    }

    fn new(batch: usize, input: [usize; 3], output: [usize; 3], padding: [usize; 2], layout: WeightLayout) -> Self {
        let grid = [output[0].div_ceil(S::OUTPUTS), output[1].div_ceil(S::OUTPUTS)];
        let images = |[height, width, channels]: [usize; 3], step, origin| TiledImages {
            height,
            width,
            channels,
            grid,
            step,
            origin,
        };
        let origin = padding.map(|padding| S::BORDER as isize - padding as isize);
        Self {
            tiles: batch * grid[0] * grid[1],
            input: images(input, S::STEP, origin),
            output: images(output, S::OUTPUTS, [0, 0]),
            layout,
            scheme: PhantomData,
        }
    }

    /// Multiplications of all matrix products.
    fn work(&self) -> usize {
        self.tiles * S::POINTS * S::POINTS * self.input.channels * self.output.channels
    }
}

/// Writes conv(x, weight) + bias into `y`. Slices have the lengths of the geometry, and `choice` suits it.
pub(crate) fn forward<T: Element>(
    set: InstructionSet,
    choice: Choice,
    g: &ConvGeometry,
    operands: Operands<'_, T>,
    y: &mut [MaybeUninit<T>],
) {
    let Operands { x, weight, bias } = operands;
    match choice {
        Choice::Four => forward::convolve(set, &Pass::<Four>::forward(g), x, weight, bias, y),
        Choice::Toeplitz => forward::convolve(set, &Pass::<Toeplitz>::forward(g), x, weight, bias, y),
        Choice::Strided => forward::convolve(set, &Pass::<Strided>::forward(g), x, weight, bias, y),
    }
}

/// Writes the input gradient into `grad_x`. Conditions as for [`forward`].
pub(crate) fn input_grad<T: Element>(
    set: InstructionSet,
    choice: Choice,
    g: &ConvGeometry,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [MaybeUninit<T>],
) {
    match choice {
        Choice::Four => forward::convolve(set, &Pass::<Four>::input_grad(g), grad_y, weight, None, grad_x),
        Choice::Toeplitz => forward::convolve(set, &Pass::<Toeplitz>::input_grad(g), grad_y, weight, None, grad_x),
        Choice::Strided => {
            forward::convolve(set, &Pass::<StridedTransposed>::strided_input_grad(g), grad_y, weight, None, grad_x);
        }
    }
}

/// Multiplications of the matrix products of [`input_grad`].
pub(crate) fn input_grad_products(choice: Choice, g: &ConvGeometry) -> usize {
    match choice {
        Choice::Four => Pass::<Four>::input_grad(g).work(),
        Choice::Toeplitz => Pass::<Toeplitz>::input_grad(g).work(),
        Choice::Strided => Pass::<StridedTransposed>::strided_input_grad(g).work(),
    }
}

/// Writes the weight gradient into `grad_weight`. Conditions as for [`forward`].
pub(crate) fn weight_grad<T: Element>(
    set: InstructionSet,
    choice: Choice,
    g: &ConvGeometry,
    x: &[T],
    grad_y: &[T],
    grad_weight: &mut [MaybeUninit<T>],
) {
    match choice {
        Choice::Four => weight_grad::correlate(set, &Pass::<Four>::forward(g), x, grad_y, grad_weight),
        Choice::Toeplitz => weight_grad::correlate(set, &Pass::<Toeplitz>::forward(g), x, grad_y, grad_weight),
        Choice::Strided => weight_grad::correlate(set, &Pass::<Strided>::forward(g), x, grad_y, grad_weight),
    }
}
