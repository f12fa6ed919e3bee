//! The three partial derivatives of T(x, w, g) = ⟨conv(x, w), g⟩, with the algorithm chosen by the shape.

use std::mem::MaybeUninit;

use super::instruction_set::InstructionSet;
use super::operands::Operands;
use super::uninitialised::{writable, written};
use super::{Accuracy, ConvGeometry, Element, direct, winograd};

/// Writes conv(x, weight) + bias into `y`.
///
/// **Definition** y\[n, i, j, o\] = bias\[o\] + Σ over c, a, b of
/// x\[n, i·stride + a·dilation − padding, j·stride + b·dilation − padding, c\] · weight\[o, c, a, b\], where c runs over
/// the channels of o's group and x is zero outside the image.
///
/// **Shapes** `x` `[batch, height, width, in]`, `weight` `[out, in / groups, kernel height, kernel width]`, `bias` `[out]`,
/// `y` `[batch, out height, out width, out]`, all contiguous.
///
/// ```
/// use ops::kernels::{Accuracy, ConvGeometry, conv_forward};
/// let geometry = ConvGeometry {
///     batch: 1, height: 2, width: 3, in_channels: 1, out_channels: 1,
///     kernel: [1, 2], stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1,
/// };
/// let mut y = [0.0f32; 4];
/// conv_forward(&geometry, Accuracy::Fast, &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0], &[10.0, 1.0], Some(&[0.5]), &mut y);
/// assert_eq!(y, [12.5, 24.5, 96.5, 192.5]);
/// ```
///
/// # Panics
/// If the geometry is not [valid](ConvGeometry::validated), or a slice does not have its length.
pub fn conv_forward<T: Element>(
    geometry: &ConvGeometry,
    accuracy: Accuracy,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    forward_with(InstructionSet::best(), geometry, accuracy, Operands { x, weight, bias }, writable(y));
}

/// Writes the gradient of ⟨conv(x, weight), grad_y⟩ with respect to `x` into `grad_x`.
///
/// **Shapes** as [`conv_forward`]'s, `grad_y` as `y` and `grad_x` as `x`.
///
/// ```
/// use ops::kernels::{Accuracy, ConvGeometry, conv_input_grad};
/// let geometry = ConvGeometry {
///     batch: 1, height: 1, width: 3, in_channels: 1, out_channels: 1,
///     kernel: [1, 2], stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1,
/// };
/// let mut grad_x = [0.0f32; 3];
/// conv_input_grad(&geometry, Accuracy::Fast, &[1.0, 2.0], &[10.0, 1.0], &mut grad_x);
/// assert_eq!(grad_x, [10.0, 21.0, 2.0]);
/// ```
///
/// # Panics
/// As [`conv_forward`].
pub fn conv_input_grad<T: Element>(
    geometry: &ConvGeometry,
    accuracy: Accuracy,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [T],
) {
    input_grad_with(InstructionSet::best(), geometry, accuracy, grad_y, weight, writable(grad_x));
}

/// Writes the gradient of ⟨conv(x, weight), grad_y⟩ with respect to `weight` into `grad_weight`.
///
/// **Shapes** as [`conv_forward`]'s, `grad_y` as `y` and `grad_weight` as `weight`.
///
/// ```
/// use ops::kernels::{Accuracy, ConvGeometry, conv_weight_grad};
/// let geometry = ConvGeometry {
///     batch: 1, height: 1, width: 3, in_channels: 1, out_channels: 1,
///     kernel: [1, 2], stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1,
/// };
/// let mut grad_weight = [0.0f32; 2];
/// conv_weight_grad(&geometry, Accuracy::Fast, &[1.0, 2.0, 4.0], &[1.0, 2.0], &mut grad_weight);
/// assert_eq!(grad_weight, [5.0, 10.0]);
/// ```
///
/// # Panics
/// As [`conv_forward`].
pub fn conv_weight_grad<T: Element>(
    geometry: &ConvGeometry,
    accuracy: Accuracy,
    x: &[T],
    grad_y: &[T],
    grad_weight: &mut [T],
) {
    weight_grad_with(InstructionSet::best(), geometry, accuracy, x, grad_y, writable(grad_weight));
}

/// [`conv_forward`] into a new vector.
///
/// # Panics
/// As [`conv_forward`].
pub fn conv_forward_to_vec<T: Element>(
    geometry: &ConvGeometry,
    accuracy: Accuracy,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    let set = InstructionSet::best();
    let write = |y: &mut [MaybeUninit<T>]| forward_with(set, geometry, accuracy, Operands { x, weight, bias }, y);
    // SAFETY: every algorithm writes every output; tests start with outputs of NaN.
    unsafe { written(geometry.output_len(), write) }
}

/// [`conv_input_grad`] into a new vector.
///
/// # Panics
/// As [`conv_forward`].
pub fn conv_input_grad_to_vec<T: Element>(
    geometry: &ConvGeometry,
    accuracy: Accuracy,
    grad_y: &[T],
    weight: &[T],
) -> Vec<T> {
    let set = InstructionSet::best();
    let write = |grad_x: &mut [MaybeUninit<T>]| input_grad_with(set, geometry, accuracy, grad_y, weight, grad_x);
    // SAFETY: every algorithm writes the gradient of every pixel; tests start with gradients of NaN.
    unsafe { written(geometry.input_len(), write) }
}

/// [`conv_weight_grad`] into a new vector.
///
/// # Panics
/// As [`conv_forward`].
pub fn conv_weight_grad_to_vec<T: Element>(
    geometry: &ConvGeometry,
    accuracy: Accuracy,
    x: &[T],
    grad_y: &[T],
) -> Vec<T> {
    let set = InstructionSet::best();
    let write = |grad: &mut [MaybeUninit<T>]| weight_grad_with(set, geometry, accuracy, x, grad_y, grad);
    // SAFETY: every algorithm writes the gradient of every weight; tests start with gradients of NaN.
    unsafe { written(geometry.weight_len(), write) }
}

/// [`conv_forward`] on a given instruction set.
pub(super) fn forward_with<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    accuracy: Accuracy,
    operands: Operands<'_, T>,
    y: &mut [MaybeUninit<T>],
) {
    let Operands { x, weight, bias } = operands;
    check(g, x.len(), weight.len(), y.len());
    assert!(bias.is_none_or(|bias| bias.len() == g.out_channels), "one bias for each output channel");
    match fast(g, accuracy, T::DOUBLE) {
        Some(choice) => winograd::forward(set, choice, g, operands, y),
        None => direct::forward(set, g, operands, y),
    }
}

/// [`conv_input_grad`] on a given instruction set.
pub(super) fn input_grad_with<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    accuracy: Accuracy,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [MaybeUninit<T>],
) {
    check(g, grad_x.len(), weight.len(), grad_y.len());
    match fast(g, accuracy, T::DOUBLE) {
        Some(choice) => winograd::input_grad(set, choice, g, grad_y, weight, grad_x),
        None => direct::input_grad(set, g, grad_y, weight, grad_x),
    }
}

/// [`conv_weight_grad`] on a given instruction set.
pub(super) fn weight_grad_with<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    accuracy: Accuracy,
    x: &[T],
    grad_y: &[T],
    grad_weight: &mut [MaybeUninit<T>],
) {
    check(g, x.len(), grad_weight.len(), grad_y.len());
    match fast(g, accuracy, T::DOUBLE) {
        Some(choice) => winograd::weight_grad(set, choice, g, x, grad_y, grad_weight),
        None => direct::weight_grad(set, g, x, grad_y, grad_weight),
    }
}

/// The number of multiplications of [`conv_input_grad`].
pub(super) fn input_grad_products(g: &ConvGeometry, accuracy: Accuracy, double: bool) -> usize {
    fast(g, accuracy, double).map_or_else(|| g.multiplications(), |choice| winograd::input_grad_products(choice, g))
}

/// The minimal-multiplication scheme, if it is allowed and faster.
fn fast(g: &ConvGeometry, accuracy: Accuracy, double: bool) -> Option<winograd::Choice> {
    (accuracy == Accuracy::Fast && !double).then(|| winograd::choose(g)).flatten()
}

fn check(g: &ConvGeometry, input: usize, weight: usize, output: usize) {
    assert!(g.validated().is_ok(), "invalid convolution geometry {g:?}");
    assert_eq!(input, g.input_len(), "length of the input for {g:?}");
    assert_eq!(weight, g.weight_len(), "length of the weight for {g:?}");
    assert_eq!(output, g.output_len(), "length of the output for {g:?}");
}
