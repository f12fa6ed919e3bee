//! The three derivatives of T(x, w, g) = ⟨conv(x, w), g⟩: each picks the algorithm by shape.

use super::instruction_set::InstructionSet;
use super::{Accuracy, ConvGeometry, Element, direct, winograd};

/// Writes conv(x, weight) + bias into `y`.
///
/// # Panics
/// If the geometry is not [valid](ConvGeometry::validated) or a slice has not the length that it demands.
pub fn conv_forward<T: Element>(
    geometry: &ConvGeometry,
    accuracy: Accuracy,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    forward_with(InstructionSet::best(), geometry, accuracy, x, weight, bias, y);
}

/// Writes the gradient of ⟨conv(x, weight), grad_y⟩ with respect to `x` into `grad_x`.
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
    input_grad_with(InstructionSet::best(), geometry, accuracy, grad_y, weight, grad_x);
}

/// Writes the gradient of ⟨conv(x, weight), grad_y⟩ with respect to `weight` into `grad_weight`.
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
    weight_grad_with(InstructionSet::best(), geometry, accuracy, x, grad_y, grad_weight);
}

/// [`conv_forward`] on a given instruction set.
pub(super) fn forward_with<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    accuracy: Accuracy,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    check(g, x.len(), weight.len(), y.len());
    assert!(bias.is_none_or(|bias| bias.len() == g.out_channels), "one bias for each output channel");
    match fast(g, accuracy, T::DOUBLE) {
        Some(choice) => winograd::forward(set, choice, g, x, weight, bias, y),
        None => direct::forward(set, g, x, weight, bias, y),
    }
}

/// [`conv_input_grad`] on a given instruction set.
pub(super) fn input_grad_with<T: Element>(
    set: InstructionSet,
    g: &ConvGeometry,
    accuracy: Accuracy,
    grad_y: &[T],
    weight: &[T],
    grad_x: &mut [T],
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
    grad_weight: &mut [T],
) {
    check(g, x.len(), grad_weight.len(), grad_y.len());
    match fast(g, accuracy, T::DOUBLE) {
        Some(choice) => winograd::weight_grad(set, choice, g, x, grad_y, grad_weight),
        None => direct::weight_grad(set, g, x, grad_y, grad_weight),
    }
}

/// The minimal-multiplication scheme, where one is allowed and pays.
fn fast(g: &ConvGeometry, accuracy: Accuracy, double: bool) -> Option<winograd::Choice> {
    (accuracy == Accuracy::Fast && !double).then(|| winograd::choose(g)).flatten()
}

fn check(g: &ConvGeometry, input: usize, weight: usize, output: usize) {
    assert!(g.validated().is_ok(), "invalid convolution geometry {g:?}");
    assert_eq!(input, g.input_len(), "length of the input for {g:?}");
    assert_eq!(weight, g.weight_len(), "length of the weight for {g:?}");
    assert_eq!(output, g.output_len(), "length of the output for {g:?}");
}
